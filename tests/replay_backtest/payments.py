"""An agent that looks accounts up and pays, with rules on it; and its journal decided again."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import BaseModel, Field
from tests.engine.workshop import PERMIT, Task, Vendor, asks, make_agent, runtime_of
from tests.replay_backtest.mornings import Listening

from answerable import EffectKey, Impact, Run, Total, Trusted, fact, tool
from answerable.errors import AnswerableError
from answerable.project import bundle_of, load_rules, open_store
from answerable.replay.asked import asked_of
from answerable.replay.backtest import backtest

if TYPE_CHECKING:
    from answerable import Agent
    from answerable.replay.asked import Asked
    from answerable.replay.backtest import BacktestReport

Amount = Annotated[Decimal, Field(gt=0, le=20_000, decimal_places=2)]


class Account(BaseModel):
    """What the company keeps of somebody."""

    owner: Annotated[str, Trusted()]
    limit: Decimal


trouble: list[Exception] = []


@tool(effect="read", data_class="accounts")
async def look_up(name: str) -> Account:
    """Look an account up."""
    if trouble:
        raise trouble.pop()
    return Account(owner=f"owner of {name}", limit=Decimal(500))


@tool(effect="read", data_class="mail")
async def read_mail(number: int) -> str:
    """Read a letter."""
    return f"letter {number}"


@tool(
    mode="native_key",
    impact=Impact(money="amount", currency="EUR"),
    facts={"account": fact(look_up, name="{name}")},
    totals=(Total(name="paid", of="amount", by="{name}"),),
)
async def pay(name: str, amount: Amount, *, key: EffectKey, vendor: Vendor) -> str:
    """Pay somebody."""
    return vendor.do(key)


@tool(mode="upsert")
async def note(text: str, *, key: EffectKey, vendor: Vendor) -> str:
    """Write a note; it does not say what that changes."""
    return vendor.do(key)


TOOLS = (look_up, read_mail, pay, note)
CAPPED = asks("pay", when='context.args.amount.greaterThan(decimal("100.00"))')
CURIOUS = (
    PERMIT
    + """
@id("not-after-mail") @text("Nothing is noted once letters were read.")
forbid (principal, action == Action::"note", resource)
when { context.run.classes_read.contains("mail") && context.history.pay.done > 0 };
@id("one-owner") @text("One owner's account is looked at.")
forbid (principal, action == Action::"look_up", resource)
when { context.session has owner && context.session.owner.value == "owner of eve" && context.args.name == "adam" };
@id("not-at-the-end") @text("The last calls are kept for reading.")
forbid (principal, action in Action::"write", resource)
when { context.budget has tool_calls && context.budget.tool_calls < 2 };
"""
)


WATCHED = (
    PERMIT
    + """
@id("not-for-ever") @text("Nobody makes more than a hundred calls.")
forbid (principal, action, resource) when { context.run.calls_before > 100 };
"""
)
"""Rules that look at something of every call."""


def agent_of(program: Any, policy: str = CAPPED, **more: Any) -> Agent:
    """An agent with all of the tools, driven by a program."""
    return make_agent(more.pop("tools", TOOLS), program, policy=policy, **more)


async def attempt(run: Run, name: str, /, **arguments: Any) -> object:
    """A call, whatever comes of it."""
    try:
        return await run.call(name, **arguments)
    except AnswerableError as error:
        return error


async def driven(folder: Path, agent: Agent, *, vendor: Vendor | None = None, **more: Any) -> Listening:
    """One run, driven as far as it goes, and what its rules were asked."""
    listening = Listening(bundle_of(agent))
    async with runtime_of(folder, agent, vendor=vendor, bundles={agent.name: listening}, **more) as runtime:
        await runtime.run(agent, Task())
    return listening


async def asked_in(folder: Path, agent: Agent) -> list[Asked]:
    """The decisions of a folder's journal, in order."""
    store = await open_store(f"sqlite:///{folder / 'journal.db'}", must_exist=True)
    try:
        return [asked async for told in asked_of(store, agent, await store.runs()) for asked in told.asked]
    finally:
        await store.close()


async def tried(folder: Path, agent: Agent, candidate: str | None = None) -> BacktestReport:
    """A folder's journal decided again, by the agent's rules and by others."""
    current = bundle_of(agent)
    other = current if candidate is None else load_rules(agent, {"rules.cedar": candidate})
    store = await open_store(f"sqlite:///{folder / 'journal.db'}", must_exist=True)
    try:
        return await backtest(store, agent, current, other)
    finally:
        await store.close()


def kinds(report: BacktestReport) -> list[tuple[str, ...]]:
    """What flipped: the tool, from, to, what became of it, and the gate that stopped it."""
    return [(flip.tool, *flip.kind, flip.became, flip.stopped_by) for flip in report.flips]


async def pays(run: Run, task: Task) -> None:
    """A small payment, a large one, and a note."""
    await attempt(run, "pay", name="eve", amount="50")
    await attempt(run, "note", text="paid")
    await attempt(run, "pay", name="eve", amount="150")
