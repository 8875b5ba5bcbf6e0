"""What of an agent matters for the worst that it can do: its tools, its limits, its session, and what starts a run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from answerable.engine.agent import seconds

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pydantic import BaseModel

    from answerable.engine.agent import Agent
    from answerable.gates.policy import Bundle
    from answerable.gates.request import Autonomy
    from answerable.kernel.marks import Marks
    from answerable.kernel.tool import SessionSpec, ToolSpec

DAY_S = 86_400


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Subject:
    """An agent as plain values. `tools` are those that its model can call, `known` also those behind facts and undos."""

    name: str
    tenant: str
    bundle: Bundle
    tools: tuple[ToolSpec, ...]
    known: Mapping[str, ToolSpec]
    limits: Mapping[str, int]
    limits_per_day: Mapping[str, int]
    wall_clock_s: float | None
    autonomy: Autonomy
    autonomy_by_tool: Mapping[str, Autonomy]
    sessions: tuple[SessionSpec, ...]
    task: type[BaseModel]
    task_marks: Marks
    task_class: str
    on_behalf_of: str
    prompt: str
    narrows_tools: bool
    """Whether its tool set depends on the task. That is not looked at: the worst task gets all of them."""
    has_program: bool
    """Whether code of its own drives it."""

    def level(self, tool: str) -> Autonomy:
        """How far it may go with a tool."""
        return self.autonomy_by_tool.get(tool, self.autonomy)

    @property
    def days(self) -> int | None:
        """How many UTC days a run can see while nobody is asked; None where nothing limits it.

        Any run can stand across one midnight. It sees one more for each whole day that it may be at work.
        """
        return None if self.wall_clock_s is None else 2 + int(self.wall_clock_s // DAY_S)


def subject_of(agent: Agent, bundle: Bundle, tenant: str = "default") -> Subject:
    """The agent with the rules that it is under."""
    per_day = agent.budget_per_day
    wall_clock = agent.budget.wall_clock
    return Subject(
        name=agent.name,
        tenant=tenant,
        bundle=bundle,
        tools=tuple(tool.spec for tool in agent.tools),
        known={name: tool.spec for name, tool in agent.all_tools().items()},
        limits=agent.budget.limits(),
        limits_per_day={} if per_day is None else per_day.limits(),
        wall_clock_s=None if wall_clock is None else seconds(wall_clock),
        autonomy=agent.autonomy,
        autonomy_by_tool=dict(agent.autonomy_by_tool),
        sessions=agent.sessions(),
        task=agent.task,
        task_marks=agent.task_marks(),
        task_class=agent.task_class,
        on_behalf_of=agent.on_behalf_of,
        prompt=agent.prompt_text(),
        narrows_tools=agent.tools_for is not None,
        has_program=agent.program is not None,
    )
