"""Calls that are hard to decide again: other gates, what a run learned, crashes, lost content, other tools, old journals."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import pytest
from pydantic import BaseModel, Field
from tests.compat.desk import POLICY as OLD_POLICY
from tests.compat.desk import desk as old_desk
from tests.compat.test_released_journals import made as old_runs
from tests.compat.test_released_journals import rebuilt
from tests.engine.workshop import PERMIT, Task, Vendor, asks, make_agent, runtime_of
from tests.replay_backtest.mornings import Listening

from answerable import (
    Budget,
    EffectKey,
    Impact,
    Run,
    ToolFailed,
    Total,
    Trusted,
    fact,
    session,
    tool,
)
from answerable.errors import AnswerableError, JournalUnreadable
from answerable.kernel import events
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


async def test_what_a_run_learned_is_learned_again(tmp_path: Path) -> None:
    """Classes, session facts, calls and order, acts of the program, batches: asked again, it is the same question."""

    async def program(run: Run, task: Task) -> None:
        await run.take_in("memory", "adam is fine", data_class="memories", is_trusted=True)
        await run.gather([("look_up", {"name": "eve"}), ("read_mail", {"number": 1})])
        await attempt(run, "pay", name="owner of eve", amount="10")
        await attempt(run, "note", text="one")
        await run.endorse("adam", why="checked by hand")
        await run.declassify("mail", why="nothing of it is kept")
        await attempt(run, "note", text="two")
        await attempt(run, "look_up", name="adam")
        await attempt(run, "note", text="two")
        await attempt(run, "pay", amount="many")
        await run.gather(
            [("read_mail", {"number": 2}), ("note", {"text": "three"}), ("read_mail", {"number": 3})]
        )

    agent = agent_of(
        program, CURIOUS, session={"owner": session(look_up, value="owner")}, budget=Budget(tool_calls=12)
    )
    listening = await driven(tmp_path, agent)

    asked = await asked_in(tmp_path, agent)

    assert [each.request for each in asked] == [request for request, _ in listening.asked]
    seen = [each.request for each in asked if each.request is not None]
    assert {frozenset(each.classes_read) for each in seen} >= {
        frozenset({"internal", "memories"}),
        frozenset({"internal", "memories", "accounts"}),
        frozenset({"internal", "memories", "accounts", "mail"}),
    }
    assert any(each.session for each in seen)
    assert any(label.origin == "field" or label.is_trusted for each in seen for label in each.labels.values())
    assert len({each.budget_left["tool_calls"] for each in seen}) > 5
    assert (await tried(tmp_path, agent)).is_baseline_sound


async def test_a_run_that_crashed_is_asked_again_as_it_was(tmp_path: Path) -> None:
    """What was decided again after a wake does not count itself."""

    async def program(run: Run, task: Task) -> None:
        await attempt(run, "read_mail", number=1)
        await attempt(run, "pay", name="eve", amount="500")
        await attempt(run, "note", text="paid")

    agent = agent_of(program)
    listening = Listening(bundle_of(agent))
    async with runtime_of(tmp_path, agent, bundles={agent.name: listening}) as runtime:
        waiting = await runtime.run(agent, Task())
        await runtime.answer(waiting.run, "grant", approver="lea", private_key=b"lea".ljust(32, b"."))
    async with runtime_of(tmp_path, agent, bundles={agent.name: listening}, seed=2) as runtime:
        await runtime.drive(waiting.run)

    asked = await asked_in(tmp_path, agent)
    report = await tried(tmp_path, agent, CAPPED.replace("100.00", "600.00"))

    assert [each.request for each in asked] == [request for request, _ in listening.asked]
    assert [each.request.calls_before for each in asked if each.request is not None] == [0, 1, 1, 2]
    assert (report.decisions, report.calls, report.reproduced) == (4, 3, 4)
    assert kinds(report) == [("pay", "ask", "allow", "done", "")]


@tool(effect="read", rate="5/s")
async def ask_slowly(number: int) -> str:
    """Ask somebody who answers few."""
    return str(number)


@tool(effect="read", price_usd="0.01")
async def buy(number: int) -> str:
    """Ask somebody who wants to be paid."""
    return str(number)


@pytest.mark.parametrize("beside", ["ask_slowly", "buy"])
async def test_reads_that_overtake_each_other_are_approximate(tmp_path: Path, beside: str) -> None:
    """Where some of a batch wait for a turn or a commit, the entries do not say which was asked about first."""

    async def program(run: Run, task: Task) -> None:
        await run.gather([(beside, {"number": each}) for each in range(3)] + [("read_mail", {"number": 3})])
        await run.gather([("read_mail", {"number": 4}), ("read_mail", {"number": 5})])
        await run.call(beside, number=6)

    agent = agent_of(program, PERMIT, tools=(ask_slowly, buy, read_mail))
    listening = await driven(tmp_path, agent)

    asked = await asked_in(tmp_path, agent)
    report = await tried(tmp_path, agent)

    assert [each.is_exact for each in asked] == [False] * 4 + [True] * 3
    assert all(each.request in [request for request, _ in listening.asked] for each in asked if each.is_exact)
    assert (report.decisions, report.approximate, report.reproduced) == (7, 4, 3)


@pytest.mark.parametrize(
    ("autonomy", "became"), [("shadow", "shadowed"), ("propose", "waiting"), ("full", "waiting")]
)
async def test_every_level_of_autonomy_comes_out_as_recorded(
    tmp_path: Path, autonomy: Any, became: str
) -> None:
    """Shadow passes what would have been asked; who may only propose asks as well as the rules."""

    async def program(run: Run, task: Task) -> None:
        await run.call("pay", name="eve", amount="150")

    agent = agent_of(program, autonomy=autonomy)
    await driven(tmp_path, agent)

    same, freer = await tried(tmp_path, agent), await tried(tmp_path, agent, PERMIT)

    assert (same.reproduced, same.unlike, same.flips) == (1, [], [])
    assert kinds(freer) == [("pay", "ask", "allow", became, "")]
    assert freer.flips[0].stake.money == 150
    assert freer.flips[0].stake.currency == "EUR"


async def test_a_call_that_only_may_be_proposed_comes_out_as_recorded(tmp_path: Path) -> None:
    """The rules allow it; the autonomy gate asks."""

    async def program(run: Run, task: Task) -> None:
        await run.call("pay", name="eve", amount="50")

    agent = agent_of(program, autonomy="propose")
    await driven(tmp_path, agent)

    report = await tried(tmp_path, agent, CAPPED.replace("100.00", "40.00"))

    assert report.reproduced == 1
    assert kinds(report) == [("pay", "allow", "ask", "waiting", "")]


async def test_a_call_that_another_gate_stopped_is_said_to_be(tmp_path: Path) -> None:
    """Whatever the rules say: it was a repetition, or the budget was spent."""

    async def program(run: Run, task: Task) -> None:
        await attempt(run, "note", text="same")
        await attempt(run, "note", text="same")
        await attempt(run, "note", text="other")

    agent = agent_of(program, PERMIT, budget=Budget(tool_calls=2))
    await driven(tmp_path, agent)

    report = await tried(tmp_path, agent, asks("note"))

    assert report.reproduced == 3
    assert sorted(kinds(report)) == [
        ("note", "allow", "ask", "done", ""),
        ("note", "allow", "ask", "stopped", "budget"),
        ("note", "allow", "ask", "stopped", "repeat"),
    ]
    assert report.sums()["allow", "ask"].undeclared == 3


async def test_a_read_has_nothing_at_stake(tmp_path: Path) -> None:
    """It changes no record and moves no money."""

    async def program(run: Run, task: Task) -> None:
        await attempt(run, "read_mail", number=1)

    agent = agent_of(program, PERMIT)
    await driven(tmp_path, agent)

    sums = (await tried(tmp_path, agent, asks("read_mail"))).sums()["allow", "ask"]

    assert (sums.calls, sums.money, sums.records, sums.undeclared) == (1, {}, 0, 0)


async def test_a_call_without_its_fact_was_not_asked_about(tmp_path: Path) -> None:
    """It is left out, and counted."""

    async def program(run: Run, task: Task) -> None:
        trouble.append(ToolFailed("down", failure="upstream"))
        await attempt(run, "pay", name="eve", amount="50")

    agent = agent_of(program)
    await driven(tmp_path, agent)

    report = await tried(tmp_path, agent, asks("pay"))

    assert (report.unasked, report.decisions, report.undecided, report.flips) == (1, 0, 0, [])


async def test_a_call_that_was_not_valid_is_no_call(tmp_path: Path) -> None:
    """No rule ever saw it."""

    async def program(run: Run, task: Task) -> None:
        await attempt(run, "pay", name="eve", amount="much")

    agent = agent_of(program)
    await driven(tmp_path, agent)

    report = await tried(tmp_path, agent, asks("pay"))

    assert (report.runs, report.decisions, report.unasked) == (0, 0, 0)


def part_of(decided: events.CallDecided, state: Any, what: str) -> str:
    """The ref of a part of what a call was decided on."""
    match what:
        case "arguments":
            assert decided.args is not None
            return decided.args
        case "fact":
            return decided.facts["account"]
        case _:
            return state.created.task


@pytest.mark.parametrize(("what", "erased"), [("arguments", 1), ("fact", 2), ("task", 3)])
async def test_what_has_been_erased_is_counted_and_never_guessed(
    tmp_path: Path, what: str, erased: int
) -> None:
    """The other calls of the run are decided again; both payments had the one fact, and without the task none knows for whom."""
    agent = agent_of(pays)
    await driven(tmp_path, agent)
    store = await open_store(f"sqlite:///{tmp_path / 'journal.db'}", must_exist=True)
    (told,) = [told async for told in asked_of(store, agent, await store.runs())]
    large = next(each.event for each in told.asked if each.event.verdict != "allow")
    await store.destroy([part_of(large, told.state, what)], now=1)
    await store.close()

    report = await tried(tmp_path, agent, PERMIT)

    assert (report.erased, report.decisions, report.undecided) == (erased, 3 - erased, erased)
    assert report.is_baseline_sound
    assert report.flips == []


async def test_what_a_run_had_learned_from_erased_content_is_not_guessed(tmp_path: Path) -> None:
    """From there on its session is not known, so nothing of it is decided again."""

    async def program(run: Run, task: Task) -> None:
        await attempt(run, "read_mail", number=1)
        await attempt(run, "look_up", name="eve")
        await attempt(run, "read_mail", number=2)
        await attempt(run, "note", text="seen")

    agent = agent_of(program, CURIOUS, session={"owner": session(look_up, value="owner")})
    await driven(tmp_path, agent)
    store = await open_store(f"sqlite:///{tmp_path / 'journal.db'}", must_exist=True)
    (told,) = [told async for told in asked_of(store, agent, await store.runs())]
    found = next(step for step in told.state.calls.values() if step.decided.tool == "look_up")
    assert found.ended is not None
    assert found.ended.result is not None
    await store.destroy([found.ended.result], now=1)
    await store.close()

    report = await tried(tmp_path, agent)

    assert (report.decisions, report.erased, report.is_baseline_sound) == (2, 2, True)


async def looks(run: Run, task: Task) -> None:
    """A letter, an account, and a note."""
    await attempt(run, "read_mail", number=1)
    await attempt(run, "look_up", name="eve")
    await attempt(run, "note", text="seen")


async def test_what_a_tool_that_is_gone_told_the_run_is_not_known(tmp_path: Path) -> None:
    """What came after it is decided again, and said to be approximate."""
    await driven(tmp_path, agent_of(looks, PERMIT))

    report = await tried(tmp_path, agent_of(looks, PERMIT, tools=(look_up, note)))

    assert report.changed == {"read_mail": (1, "there is no tool `read_mail` any more")}
    assert (report.decisions, report.approximate) == (2, 2)


async def test_what_was_established_in_another_form_is_not_guessed(tmp_path: Path) -> None:
    """The tool that established it answers with a number now; from there on nothing is decided again."""
    await driven(tmp_path, agent_of(looks, PERMIT, session={"owner": session(look_up, value="owner")}))
    other = renamed(look_closer, "look_up")
    agent = agent_of(looks, PERMIT, tools=(read_mail, other, note), session={"owner": session(other)})

    report = await tried(tmp_path, agent)

    ((name, (count, why)),) = report.changed.items()
    assert (name, count) == ("note", 1)
    assert why.startswith("what the run had established is of another form now: ")
    assert report.decisions == 2


async def test_content_that_is_no_content_is_refused(tmp_path: Path) -> None:
    """A task that somebody overwrote names nobody."""
    agent = agent_of(looks, PERMIT)
    await driven(tmp_path, agent)
    for body in (b"{", b"[]"):
        with closing(sqlite3.connect(tmp_path / "journal.db")) as db, db:
            assert db.execute("UPDATE payload SET body = ? WHERE retention = 'task'", (body,)).rowcount == 1
        with pytest.raises(JournalUnreadable, match="not what its entry committed to"):
            await tried(tmp_path, agent)


@tool(
    mode="native_key",
    facts={"account": fact(look_up, name="{name}")},
    totals=(Total(name="paid", of="amount"),),
)
async def pay_by_purpose(name: str, amount: Amount, purpose: str, *, key: EffectKey, vendor: Vendor) -> str:
    """The payment with another argument."""
    return vendor.do(key)


@tool(
    mode="native_key",
    facts={"owner": fact(look_up, name="{name}")},
    totals=(Total(name="paid", of="amount"),),
)
async def pay_by_owner(name: str, amount: Amount, *, key: EffectKey, vendor: Vendor) -> str:
    """The payment with a fact of another name."""
    return vendor.do(key)


@tool(
    mode="native_key",
    facts={"account": fact(look_up, name="{name}")},
    totals=(Total(name="sum", of="amount"),),
)
async def pay_by_sum(name: str, amount: Amount, *, key: EffectKey, vendor: Vendor) -> str:
    """The payment with a total of another name."""
    return vendor.do(key)


@tool(effect="irreversible", mode="at_most_once")
async def pay_for_ever(name: str, amount: Amount, *, key: EffectKey, vendor: Vendor) -> str:
    """The payment that cannot be taken back."""
    return vendor.do(key)


@tool(effect="read")
async def look_closer(name: str) -> Decimal:
    """The account as a number."""
    return Decimal(1)


@tool(
    mode="native_key",
    facts={"account": fact(look_closer, name="{name}")},
    totals=(Total(name="paid", of="amount"),),
)
async def pay_by_number(name: str, amount: Amount, *, key: EffectKey, vendor: Vendor) -> str:
    """The payment with a fact of another form."""
    return vendor.do(key)


def renamed(changed: Any, name: str = "pay") -> Any:
    """A tool under the name of another."""
    return replace(changed, spec=replace(changed.spec, name=name))


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        (pay_by_purpose, "its arguments are not what `pay` takes now: `purpose`: Field required"),
        (pay_by_owner, "`pay` has a fact `owner` that was not read then"),
        (pay_by_sum, "`pay` has a total `sum` that was not kept then"),
        (pay_for_ever, "`pay` was a write, and is a irreversible now"),
        (pay_by_number, "its fact `account` is not what `look_closer` answers now"),
        (None, "there is no tool `pay` any more"),
    ],
)
async def test_a_tool_that_is_another_one_now_is_counted_apart(
    tmp_path: Path, changed: Any, why: str
) -> None:
    """With the reason; the calls of the other tools are decided again, but under rules that are others now."""
    await driven(tmp_path, agent_of(pays))
    tools = (look_up, read_mail, note) if changed is None else (look_up, read_mail, note, renamed(changed))
    agent = agent_of(pays, PERMIT, tools=tools)

    report = await tried(tmp_path, agent, PERMIT)

    ((name, (count, said)),) = report.changed.items()
    assert (name, count, said.startswith(why)) == ("pay", 2, True), said
    assert (report.decisions, report.other_rules, report.undecided, report.flips) == (1, 1, 2, [])


async def test_a_decision_under_other_rules_is_compared_with_what_the_present_ones_say(
    tmp_path: Path,
) -> None:
    """A candidate that equals the rules in force changes nothing, whatever was recorded before."""
    await driven(tmp_path, agent_of(pays, PERMIT))
    now = agent_of(pays, CAPPED)

    same, freer = await tried(tmp_path, now), await tried(tmp_path, now, PERMIT)

    assert (same.other_rules, same.reproduced, same.flips) == (3, 0, [])
    assert kinds(freer) == [("pay", "ask", "allow", "done", "")]


async def test_nothing_is_compared_over_a_baseline_that_does_not_hold(tmp_path: Path) -> None:
    """Somebody changed what was asked for: the recorded answer does not follow from it."""
    agent = agent_of(pays)
    await driven(tmp_path, agent)
    (large,) = [each.event.args for each in await asked_in(tmp_path, agent) if each.event.verdict != "allow"]
    with closing(sqlite3.connect(tmp_path / "journal.db")) as db, db:
        db.execute("UPDATE payload SET body = ? WHERE ref = ?", (b'{"amount":"15","name":"eve"}', large))

    report = await tried(tmp_path, agent, asks("note"))

    assert not report.is_baseline_sound
    assert report.flips == []
    ((unlike,),) = [report.unlike]
    assert (unlike.tool, unlike.recorded) == ("pay", "require_approval by policy: needs-a-person")
    assert unlike.now == "allow: may-do-everything"


async def test_a_run_that_cannot_be_folded_is_refused(tmp_path: Path) -> None:
    """A journal that lacks an entry is not decided again."""
    agent = agent_of(pays)
    await driven(tmp_path, agent)
    with closing(sqlite3.connect(tmp_path / "journal.db")) as db, db:
        for (name,) in db.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall():
            db.execute(f"DROP TRIGGER {name}")
        db.execute("DELETE FROM entry WHERE stream LIKE 'run/%' AND seq = 1")

    with pytest.raises(JournalUnreadable, match="cannot be read"):
        await tried(tmp_path, agent)


async def test_a_journal_of_an_older_version_is_decided_again_approximately(tmp_path: Path) -> None:
    """Its entries hold neither time nor autonomy nor budgets; what the rules read is there all the same."""
    path, agent = rebuilt("0.1.0", tmp_path), old_desk()
    current = load_rules(agent, {"desk.cedar": OLD_POLICY})
    lower = load_rules(agent, {"desk.cedar": OLD_POLICY.replace("100.00", "40.00")})
    store = await open_store(f"sqlite:///{path}", must_exist=True)
    try:
        asked = [each async for told in asked_of(store, agent, await store.runs()) for each in told.asked]
        report = await backtest(store, agent, current, lower)
    finally:
        await store.close()

    assert len(asked) == report.decisions == report.approximate == report.other_rules > 5
    assert {each.request.autonomy for each in asked if each.request is not None} == {"capped"}
    assert all(each.request is not None and each.request.now_us == each.time for each in asked)
    assert all(each.request is not None and not each.request.budget_left for each in asked)
    assert [(flip.run, *flip.kind, flip.stake.money, flip.is_exact) for flip in report.flips] == [
        (old_runs("0.1.0")["runs"]["ended"], "allow", "ask", Decimal(42), False)
    ]
    assert kinds(report) == [("refund", "allow", "ask", "done", "")]
