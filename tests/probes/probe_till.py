"""A till behind the real gate: what reached it is counted, and what the journal says of a call is read back.

Every probe asks by both doors: as a program does (`run.call`, Python values) and as a model does (raw JSON text).
Nothing is replaced: `open_runtime`, a SQLite journal, a bundle that was loaded, tools that act.
"""

from __future__ import annotations

import json
import tempfile
from dataclasses import dataclass, field, replace
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import pytest
from pydantic import Field
from tests.engine.workshop import Task, healthy, make_agent, runtime_of

from answerable import Arguments, EffectKey, Run, Text, tool
from answerable.engine.recorder import Recorder
from answerable.errors import AnswerableError, CallRefused, PolicyError
from answerable.kernel import events
from answerable.models.port import Message, ModelReply, ToolCall
from answerable.patterns.tool_caller import tool_caller
from answerable.project import bundle_of
from answerable.testing import ScriptedModel, say, use

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from answerable import Tool
    from answerable.kernel.ids import RunId


class Till:
    """The outside. It remembers exactly what each tool was given, by the run that gave it."""

    def __init__(self) -> None:
        self.got: list[tuple[str, object]] = []

    def take(self, name: str, given: object) -> str:
        """Something happens: a refund is paid, a letter is sent."""
        self.got.append((name, given))
        return "done"


class Order(Arguments):
    """What is inside a transfer."""

    amount: Decimal
    to: list[str] = Field(default_factory=list)
    note: Text = ""


@tool(mode="native_key")
async def refund(order_id: str, amount: Decimal, *, key: EffectKey, till: Till) -> str:
    """Pay back. No bound but that of the rules."""
    return till.take("refund", (order_id, amount))


@tool(mode="native_key")
async def pay_cents(order_id: str, cents: int, *, key: EffectKey, till: Till) -> str:
    """Pay in whole cents."""
    return till.take("pay_cents", (order_id, cents))


@tool(mode="native_key")
async def transfer(order: Order, *, key: EffectKey, till: Till) -> str:
    """Pay an order: the amount is inside."""
    return till.take("transfer", (order.amount, tuple(order.to), order.note))


@tool(mode="native_key", effect="irreversible")
async def send_mail(to: list[str], body: Text, *, key: EffectKey, till: Till) -> str:
    """Send a letter."""
    return till.take("send_mail", (tuple(to), body))


@tool(mode="native_key")
async def query(action: str, table: str, *, key: EffectKey, till: Till) -> str:
    """Do something to a table; the action is any text."""
    return till.take("query", (action, table))


@tool(mode="native_key")
async def change_plan(
    plan: Literal["free", "paid"], days: int = 30, note: str | None = None, *, key: EffectKey, till: Till
) -> str:
    """Change a plan: a closed list, a default, and something that may be left out."""
    return till.take("change_plan", (plan, days, note))


@tool(mode="native_key")
async def pay_in(
    amount: Annotated[Decimal, Field(gt=0)], currency: str, *, key: EffectKey, till: Till
) -> str:
    """Pay in a currency."""
    return till.take("pay_in", (amount, currency))


@tool(mode="native_key")
async def book(at: datetime, *, key: EffectKey, till: Till) -> str:
    """Book a time."""
    return till.take("book", at)


TOOLS = (refund, pay_cents, transfer, send_mail, query, change_plan, pay_in, book)

OPEN = '@id("all") @text("The agent may use all of its tools.")\npermit (principal, action, resource);\n'
"""Deny-first, on purpose: whatever is not understood by the rules below it would be permitted."""


def forbid(name: str, action: str, condition: str, notes: str = "") -> str:
    """A forbid over one tool."""
    return (
        f'@id("{name}") @text("{name.capitalize()}.") {notes}\n'
        f'forbid (principal, action == Action::"{action}", resource)\n{condition};\n'
    )


CAPS = (
    OPEN
    + forbid("cap", "refund", 'when { context.args.amount.greaterThan(decimal("500.00")) }')
    + forbid("floor", "refund", 'when { context.args.amount.lessThan(decimal("0.01")) }')
    + forbid("cents-cap", "pay_cents", "when { context.args.cents > 50000 }")
    + forbid("cents-floor", "pay_cents", "unless { context.args.cents > -1 }")
    + forbid(
        "transfer-cap", "transfer", 'unless { context.args.order.amount.lessThanOrEqual(decimal("500.00")) }'
    )
    + forbid("known-only", "transfer", 'unless { ["DE1", "DE2"].containsAll(context.args.order.to) }')
    + forbid("ours-only", "send_mail", 'unless { ["ana@corp.example"].containsAll(context.args.to) }')
    + forbid("dollars-only", "pay_in", 'unless { context.args.currency == "USD" }')
    + forbid("pay-cap", "pay_in", 'when { context.args.amount.greaterThan(decimal("500.00")) }')
)
"""The caps of every tool, each as a forbid beside "permit everything"."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Came:
    """What came of one call: what the tool was given, and the decision as the journal holds it."""

    sent: tuple[object, ...] = ()
    decided: tuple[tuple[str, str, str, str], ...] = ()
    """Verdict, gate, code and reason of each decision."""
    rules: tuple[str, ...] = ()
    intents: int = 0
    error: str = ""
    """What the caller was told, where an error is how it ended."""

    @property
    def is_refused(self) -> bool:
        """Nothing was sent or even intended, and why is on record."""
        verdicts = [verdict for verdict, *_ in self.decided]
        reasons = [reason for *_, reason in self.decided]
        return not self.sent and not self.intents and verdicts == ["deny"] and all(reasons)

    @property
    def code(self) -> str:
        """Why the last call did not pass."""
        return self.decided[-1][2] if self.decided else ""

    @property
    def reason(self) -> str:
        """The same in words."""
        return self.decided[-1][3] if self.decided else self.error


@dataclass(slots=True)
class Door:
    """One way to ask: a program with Python values, or a model with raw text."""

    name: str
    cases: Mapping[str, tuple[Tool | str, Any]]
    heard: dict[str, str] = field(default_factory=dict[str, str])

    async def program(self, run: Run, task: Task) -> str:
        """What drives the run of one case."""
        what, given = self.cases[task.id]
        if self.name == "model":
            return await tool_caller(run, task)
        try:
            if isinstance(given, tuple):
                await run.call(what, *given)
            else:
                await run.call(what, **given)
        except AnswerableError as error:
            self.heard[task.id] = str(error)
            if not isinstance(error, CallRefused):
                raise
        return "done"

    def model(self, messages: tuple[Message, ...], *_: Any) -> ModelReply:
        """What the model answers: the call of the case, and then nothing more."""
        if any(message.role == "tool" for message in messages):
            return say("I give up")
        asked = next(message.text for message in messages if message.role == "user")
        what, raw = self.cases[json.loads(asked)["id"]]
        return use(ToolCall(id="", name=what if isinstance(what, str) else what.name, arguments=raw))


async def through(
    folder: Path,
    door: Literal["program", "model"],
    cases: Mapping[str, tuple[Tool | str, Any]],
    *,
    policy: str = CAPS,
    tools: Sequence[Tool] = TOOLS,
    **more: Any,
) -> dict[str, Came]:
    """Ask once for each case, each in a run of its own, through the real gate; what came of each."""
    folder = Path(tempfile.mkdtemp(dir=folder))  # a journal of its own: one task is one run
    way, till = Door(door, cases), Till()
    agent = make_agent(tools, way.program, policy=policy, **more)
    models = {"scripted:clerk": ScriptedModel("clerk", way.model)}
    came: dict[str, Came] = {}
    async with runtime_of(folder, agent, models=models, resources={"till": till}) as runtime:
        for name in cases:
            before = len(till.got)
            outcome = await runtime.run(agent, Task(id=name))
            came[name] = await _came(runtime, outcome.run, till.got[before:], way.heard.get(name, ""))
    await healthy(folder)
    return came


async def _came(runtime: Any, run: RunId, got: list[tuple[str, object]], error: str) -> Came:
    recorder = await Recorder.load(runtime.store, runtime.ports, run)
    entries = await runtime.store.entries(f"run/{run}")
    happened = [event for entry in entries for event in entry.events]
    decided = [event for event in happened if isinstance(event, events.CallDecided)]
    said = [await recorder.content(event.why) if event.why else {} for event in decided]
    return Came(
        sent=tuple(given for _, given in got),
        decided=tuple(
            (event.verdict, event.gate, event.code or "", str(why.get("reason", "")))
            for event, why in zip(decided, said, strict=True)
        ),
        rules=tuple(rule for event in decided for rule in event.rules),
        intents=sum(isinstance(event, events.CallIntended) for event in happened),
        error=error,
    )


def raw(**arguments: str) -> str:
    """JSON text in which each value stands as it is written."""
    return "{" + ", ".join(f'"{name}": {text}' for name, text in arguments.items()) + "}"


def slipped(came: Mapping[str, Came]) -> dict[str, Came]:
    """Those that were not refused as they must be: nothing sent, nothing intended, and the reason recorded."""
    return {name: each for name, each in came.items() if not each.is_refused}


def refused_when_read(
    policy: str | Mapping[str, str] | Path, *, tools: Sequence[Tool] = TOOLS, **more: Any
) -> str:
    """What the bundle of an agent with these rules is refused with: the text of a file, several files, or a folder."""
    sources: Any = {"rules.cedar": policy} if isinstance(policy, str) else policy
    agent = replace(make_agent(tools, policy=CAPS, **more), policy=sources)
    with pytest.raises(PolicyError) as caught:
        bundle_of(agent)
    found = str(caught.value)
    assert "\n  hint: " in found, "a refusal says what to do"
    return found


def taken(policies: Mapping[str, str]) -> list[str]:
    """The names of those that were read without a word although each of them has to be refused."""
    found: list[str] = []
    for name, policy in policies.items():
        try:
            refused_when_read(policy)
        except pytest.fail.Exception:
            found.append(name)
    return found
