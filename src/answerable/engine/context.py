"""What one run works with: its pen, its agent, the rules in force now, and the services around it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from answerable.engine.agent import Agent, seconds
from answerable.engine.learning import Learned
from answerable.engine.signals import Halted
from answerable.kernel.ids import utc_day

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from answerable.engine.perform import Performer
    from answerable.engine.ports import Ports
    from answerable.engine.recorder import Recorder
    from answerable.gates.approval import Approver
    from answerable.gates.pipeline import Policy
    from answerable.gates.request import Autonomy
    from answerable.kernel.events import Reserve, Settle
    from answerable.kernel.tool import ToolSpec
    from answerable.models.port import Message, ModelPort
    from answerable.tools.declare import Tool


@dataclass(frozen=True, slots=True, kw_only=True)
class Person:
    """For whom a run acts, and on whose request."""

    on_behalf_of: str = ""
    requested_by: str = ""


@dataclass(slots=True, kw_only=True)
class Context:
    """See the module. `is_stopping` is asked before anything new is begun."""

    recorder: Recorder
    agent: Agent
    tools: Mapping[str, Tool]
    policy: Policy
    approvers: Mapping[str, Approver]
    performer: Performer
    model: Callable[[str], ModelPort]
    ports: Ports
    tenant: str
    person: Person
    can_park: bool
    is_stopping: Callable[[], bool]
    facts: dict[str, tuple[int, str]] = field(default_factory=dict[str, tuple[int, str]])
    """Facts read so far: key → (when they were asked for, on the monotonic clock in ns; ref)."""
    asked: list[str] = field(default_factory=list[str])
    """Refs of the messages that the run's code last sent to a model, this time."""
    sealed: dict[int, tuple[Message, str]] = field(default_factory=dict[int, "tuple[Message, str]"])
    """Messages that have a ref already, by identity."""
    learned: Learned = field(default_factory=Learned)
    """Where values come from, and what was established once."""
    specs: dict[str, ToolSpec] = field(init=False)
    """Every tool as a value, by name."""
    stopped_by: Halted | None = None
    """The halt for which the run's work was cancelled: set by whoever cancels it."""

    def __post_init__(self) -> None:
        self.specs = {name: tool.spec for name, tool in self.tools.items()}

    def autonomy(self, tool: str) -> Autonomy:
        """How far the agent may go with this tool, now."""
        return self.agent.autonomy_by_tool.get(tool, self.agent.autonomy)

    def usable(self, offered: frozenset[str] | None) -> frozenset[str]:
        """The tools that may be called: those offered, or else all, less what the run's tool set leaves out.

        What takes an effect back is never left out.
        """
        usable = frozenset(self.tools) if offered is None else offered
        fixed = self.recorder.state.tool_set
        if fixed is None:
            return usable
        undos = (
            {tool.spec.undo for tool in self.tools.values() if tool.spec.undo}
            if offered is None
            else set[str]()
        )
        return usable & (set(fixed) | undos)

    def scopes(self, tool: str | None = None) -> frozenset[str]:
        """The halts that would stop this run, or a call of `tool` in it."""
        covers = {"all", f"run:{self.recorder.run}", f"agent:{self.agent.name}"}
        if tool is not None:
            covers.add(f"tool:{tool}")
        return frozenset(covers)

    async def halted(self, tool: str | None = None) -> Halted | None:
        """The signal for a halt in force that covers this run, or a call of `tool` in it; None where none does."""
        covers = self.scopes(tool)
        for halt in (await self.recorder.store.halts())[1]:
            if halt.scope in covers:
                return Halted(halt.scope, halt.reason)
        return None

    def limits(self, now_us: int) -> list[tuple[str, str, int]]:
        """Every budget that this run counts against: (budget, unit, limit)."""
        return limits_of(self.agent, self.recorder.run, now_us)

    def day_budget(self, now_us: int) -> str:
        """The id of the agent's budget of the day, in UTC."""
        return day_budget(self.agent, now_us)

    def wall_clock_us(self) -> int | None:
        """The limit of time at work, in microseconds."""
        limit = self.agent.budget.wall_clock
        return None if limit is None else int(seconds(limit) * 1e6)

    def reserve(self, now_us: int, asked: Mapping[str, int]) -> tuple[Reserve, ...]:
        """What an intent reserves for `asked` (unit → amount)."""
        return tuple(
            (budget, unit, asked[unit], limit)
            for budget, unit, limit in self.limits(now_us)
            if asked.get(unit)
        )


def day_budget(agent: Agent, now_us: int) -> str:
    """The id of an agent's budget of a day, in UTC."""
    return f"agent:{agent.name}:{utc_day(now_us)}"


def limits_of(agent: Agent, run: str, now_us: int) -> list[tuple[str, str, int]]:
    """Every budget that a run of `agent` counts against: (budget, unit, limit)."""
    limits = [(f"run:{run}", unit, limit) for unit, limit in agent.budget.limits().items()]
    if agent.budget_per_day is None:
        return limits
    day = day_budget(agent, now_us)
    return limits + [(day, unit, limit) for unit, limit in agent.budget_per_day.limits().items()]


def settle(reserved: tuple[Reserve, ...], spent: Mapping[str, int]) -> tuple[Settle, ...]:
    """What an outcome settles: everything that was reserved, against what was spent."""
    return tuple((budget, unit, amount, spent.get(unit, 0)) for budget, unit, amount, _ in reserved)
