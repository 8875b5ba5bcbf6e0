"""An agent as declared: who owns it, what it may use, when its work is done, and what it may spend."""

from __future__ import annotations

import inspect
import math
import re
from collections.abc import Awaitable, Callable, Collection, Mapping
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from pydantic import BaseModel

from answerable.errors import ConfigError
from answerable.gates.provenance import RESERVED
from answerable.gates.request import Autonomy
from answerable.kernel.encoding import INTEGER_MAX, encode_payload, sha256_hex
from answerable.kernel.marks import MarkError, marks_of_model
from answerable.kernel.money import to_micros
from answerable.kernel.tool import SessionSpec, holes
from answerable.tools.declare import Arguments, Fact, Tool
from answerable.tools.promises import NAME

if TYPE_CHECKING:
    from answerable.engine.run import Run
    from answerable.kernel.marks import Marks

_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")
_DURATION = re.compile(r"([0-9]+(?:\.[0-9]+)?)(ms|s|m|h|d)")
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


def seconds(text: str | float) -> float:
    """`"90s"`, `"2m"`, `"24h"`, `"7d"` or a number, in seconds. Raises `ConfigError` for anything else."""
    if isinstance(text, (int, float)) and not isinstance(text, bool) and 0 < text < math.inf:
        return float(text)
    match = _DURATION.fullmatch(str(text))
    if match is None or float(match[1]) <= 0:
        raise ConfigError(f"`{text}` is not a duration", hint='write it as "90s", "2m", "24h" or "7d"')
    return float(match[1]) * _SECONDS[match[2]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """Hard limits. What is not set is not limited; a run always has a limit on tool and model calls."""

    tool_calls: int = 30
    model_calls: int = 30
    tokens: int | None = None
    money: str | None = None
    """US dollars as text, for instance `"0.40"`."""
    wall_clock: str | float | None = None
    """Time that the run is at work, as in `"2m"`; waiting for a person does not count."""

    def limits(self) -> dict[str, int]:
        """Unit → limit, in the units of the journal. Raises `ConfigError` for an amount that is none."""
        limits = {"tool_calls": self.tool_calls, "model_calls": self.model_calls}
        if self.tokens is not None:
            limits["tokens"] = self.tokens
        if self.money is not None:
            try:
                limits["money"] = to_micros(Decimal(self.money))
            except (InvalidOperation, ValueError):
                raise ConfigError(
                    f"the budget `money={self.money}` is no amount", hint='write dollars as text: "0.40"'
                ) from None
        for unit, limit in limits.items():
            if type(limit) is not int or not 0 <= limit <= INTEGER_MAX:
                raise ConfigError(f"the budget `{unit}={limit}` is no limit", hint="a whole number from 0")
        if self.wall_clock is not None:
            seconds(self.wall_clock)
        return limits


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """What a done check answers, and why in one sentence."""

    is_done: bool
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DoneCheck:
    """A pure function over the task and facts read from the system of record after the last step."""

    function: Callable[..., Check]
    facts: Mapping[str, Fact] = field(default_factory=dict[str, Fact])


def done_check(**facts: Fact) -> Callable[[Callable[..., Check]], DoneCheck]:
    """Declare when the work is done: `@done_check(order=fact(get_order, order_id="{order_id}"))`.

    The function gets the task and, by name, each fact; templates are over the task's fields. It never sees
    the model's words. It must be pure: same facts, same answer.
    """

    def register(function: Callable[..., Check]) -> DoneCheck:
        names = list(inspect.signature(function).parameters)
        if set(names[1:]) != set(facts):
            raise ConfigError(
                f"the done check `{function.__name__}` takes {names[1:]} and declares {sorted(facts)}",
                hint="first the task, then each declared fact by its name",
            )
        return DoneCheck(function=function, facts=facts)

    return register


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """What a run establishes once: `session(find_user_by_email, find_user_by_zip, value="user_id")`."""

    tools: tuple[Tool, ...]
    value: str = ""


def session(*tools: Tool, value: str = "") -> Session:
    """Declare a session fact: the first done call of one of these tools establishes it, later ones never change it.

    `value` is a dotted path into the result (by default the whole result); what is None there establishes nothing.
    Rules read `context.session.NAME.value` and `.by`, after asking `context.session has NAME`. Raises `ConfigError`
    where no tool is named.
    """
    if not tools:
        raise ConfigError(
            "a session fact has no tool", hint="name the tools whose first done call establishes it"
        )
    return Session(tools=tools, value=value)


Program = Callable[["Run", Any], Awaitable[object]]
"""What drives a run: an async function of the run and its task."""


@dataclass(frozen=True, kw_only=True)
class Agent:
    """One agent.

    Everything in it is part of its release, except limits, autonomy and policy, which are always the current ones.

    `task` is a strict model (inherit `answerable.Arguments`) of what the agent is given. `source`, `subject`
    and `on_behalf_of` are templates over it: the event that the task came from, the person whose data it holds,
    and the user for whom the agent acts. Raises `ConfigError` for what cannot be run safely.
    """

    name: str
    owner: str
    prompt: str | Path
    tools: list[Tool]
    models: list[str]
    policy: Path | Mapping[str, str]
    """A folder of `.cedar` files, or file name → text."""
    task: type[BaseModel]
    done: DoneCheck | None = None
    budget: Budget = field(default_factory=Budget)
    budget_per_day: Budget | None = None
    autonomy: Autonomy = "capped"
    autonomy_by_tool: Mapping[str, Autonomy] = field(default_factory=dict[str, "Autonomy"])
    source: str = ""
    subject: str = ""
    on_behalf_of: str = ""
    approval_ttl: str = "24h"
    """How long people have to answer. Then the answer is no."""
    program: Program | None = None
    """What drives a run; by default the single-agent tool caller."""
    tokens_per_reply: int = 1024
    roles: tuple[str, ...] = ()
    """Policy roles of the agent's principal."""
    tool_sets: Mapping[str, Collection[str]] = field(default_factory=dict[str, Collection[str]])
    """Tools by the name of a set, for rules on `resource in ToolSet::"NAME"`."""
    session: Mapping[str, Session] = field(default_factory=dict[str, Session])
    """What a run establishes once, by name, for rules on its later calls."""
    tools_for: Callable[[Any], Collection[str]] | None = None
    """The tools for a task, by name: fixed and journaled before the run reads anything. It must be pure."""
    task_class: str = "internal"
    """Data class of the task."""

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise ConfigError(f"`{self.name}` is no agent name", hint="use a-z, 0-9, _ and -, at most 64")
        if not self.owner:
            raise ConfigError(f"the agent `{self.name}` has no owner", hint="name who answers for it")
        if not self.models:
            raise ConfigError(
                f"the agent `{self.name}` has no model", hint='as in models=["openai:gpt-4o-mini"]'
            )
        if not issubclass(self.task, Arguments):
            raise ConfigError(
                f"the task of `{self.name}` is not strict", hint="inherit it from `answerable.Arguments`"
            )
        names = [tool.name for tool in self.tools]
        twice = {name for name in names if names.count(name) > 1}
        if twice:
            raise ConfigError(
                f"the agent `{self.name}` has two tools called {sorted(twice)}", hint="rename one"
            )
        reserved = sorted(RESERVED & set(names))
        if reserved:
            raise ConfigError(
                f"a tool cannot be called `{reserved[0]}`: labels name a source of every run so",
                hint="rename the tool",
            )
        for name, declared in self.session.items():
            self._check_session(name, declared)
        unknown = set(self.autonomy_by_tool) - set(names)
        if unknown:
            raise ConfigError(f"`autonomy_by_tool` names {sorted(unknown)}", hint=f"tools are {names}")
        facts = self.done.facts.values() if self.done is not None else ()
        mapped = [template for fact in facts for template in fact.arguments.values()]
        for template in (self.source, self.subject, self.on_behalf_of, *mapped):
            for hole in holes(template):
                if hole.split(".")[0] not in self.task.model_fields:
                    raise ConfigError(
                        f"`{{{hole}}}` is no field of the task of `{self.name}`",
                        hint=f"fields are {', '.join(self.task.model_fields)}",
                    )
        self.task_marks()
        self.budget.limits()
        if self.budget_per_day is not None:
            self.budget_per_day.limits()
            if self.budget_per_day.wall_clock is not None:
                raise ConfigError(
                    "`budget_per_day` has a `wall_clock`, but time at work is counted by the run",
                    hint="put it into `budget`",
                )
        levels = get_args(Autonomy)
        for level in (self.autonomy, *self.autonomy_by_tool.values()):
            if level not in levels:
                raise ConfigError(
                    f"`{level}` is no level of autonomy", hint=f"it is one of {', '.join(levels)}"
                )
        seconds(self.approval_ttl)

    def _check_session(self, name: str, declared: Session) -> None:
        if not NAME.fullmatch(name):
            raise ConfigError(
                f"`{name}` is no name for a session fact", hint="use a-z, 0-9 and _, at most 64"
            )
        for tool in declared.tools:
            if tool not in self.tools:
                raise ConfigError(
                    f"the session fact `{name}` is established by `{tool.name}`, which `{self.name}` cannot call",
                    hint="name tools that are among the agent's",
                )

    def sessions(self) -> tuple[SessionSpec, ...]:
        """The session facts, as rules are checked against them."""
        return tuple(
            SessionSpec(name=name, tools=tuple(tool.name for tool in declared.tools), value=declared.value)
            for name, declared in sorted(self.session.items())
        )

    def task_marks(self) -> Marks:
        """What is marked in the fields of a task. Raises `ConfigError` for a mark that cannot be kept."""
        try:
            marks = marks_of_model(self.task)
        except MarkError as error:
            raise ConfigError(
                f"the task of `{self.name}` is marked in a way that cannot be kept: {error}"
            ) from None
        if any(node.is_hidden for node in marks.nodes()):
            raise ConfigError(
                f"the task of `{self.name}` has a hidden field",
                hint="the task is what the model is told; hide values in the results of tools",
            )
        return marks

    def all_tools(self) -> dict[str, Tool]:
        """Every tool by name: those offered to the model, and those that facts and undos use."""
        found: dict[str, Tool] = {}
        queue = list(self.tools)
        if self.done is not None:
            queue += [fact.tool for fact in self.done.facts.values()]
        while queue:
            tool = queue.pop(0)
            known = found.setdefault(tool.name, tool)
            if known is not tool:
                raise ConfigError(f"two tools are called `{tool.name}`", hint="rename one")
            queue += [fact.tool for fact in tool.facts.values() if fact.tool.name not in found]
            if tool.undo is not None and tool.undo.name not in found:
                queue.append(tool.undo)
        return found

    def prompt_text(self) -> str:
        """The prompt. Raises `ConfigError` where its file cannot be read."""
        if isinstance(self.prompt, str):
            return self.prompt
        try:
            return self.prompt.read_text("utf-8")
        except OSError as error:
            raise ConfigError(
                f"the prompt of `{self.name}` cannot be read: {error}", hint="create it"
            ) from None

    def release(self) -> str:
        """Digest of the prompt, the tools and the models: what a run is pinned to."""
        described = {
            "agent": self.name,
            "prompt": self.prompt_text(),
            "models": self.models,
            "tools": {name: tool.spec.fingerprint() for name, tool in sorted(self.all_tools().items())},
            "task": self.task.model_json_schema(),
            "tokens_per_reply": self.tokens_per_reply,
        }
        return sha256_hex(encode_payload(described))
