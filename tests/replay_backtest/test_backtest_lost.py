"""Calls of which something is not there any more: content, tools, rules, and journals that do not hang together."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from tests.engine.workshop import PERMIT, Task, Vendor, asks
from tests.replay_backtest.payments import (
    CAPPED,
    WATCHED,
    Amount,
    agent_of,
    asked_in,
    attempt,
    driven,
    kinds,
    look_up,
    note,
    pays,
    read_mail,
    tried,
)

from answerable import EffectKey, Run, Total, fact, session, tool
from answerable.errors import JournalUnreadable
from answerable.kernel import events
from answerable.project import open_store
from answerable.replay.asked import asked_of


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


@pytest.mark.parametrize(("what", "erased"), [("arguments", 1), ("fact", 2), ("task", 2)])
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


async def test_what_no_rule_reads_need_not_be_there(tmp_path: Path) -> None:
    """Facts and task are gone, and neither bundle ever looked at them; the arguments say what is at stake."""
    agent = agent_of(pays, PERMIT)
    await driven(tmp_path, agent)
    with closing(sqlite3.connect(tmp_path / "journal.db")) as db, db:
        db.execute("UPDATE payload SET body = NULL, erased = 1 WHERE retention IN ('fact', 'task')")

    report = await tried(tmp_path, agent, asks("pay"))

    assert (report.decisions, report.reproduced, report.erased) == (3, 3, 0)
    assert [(flip.stake.money, *flip.kind) for flip in report.flips] == [
        (Decimal(150), "allow", "ask"),
        (Decimal(50), "allow", "ask"),
    ]


async def test_what_a_run_had_learned_from_erased_content_is_not_guessed(tmp_path: Path) -> None:
    """From there on its session is not known, so nothing of it is decided again."""

    async def program(run: Run, task: Task) -> None:
        await attempt(run, "read_mail", number=1)
        await attempt(run, "look_up", name="eve")
        await attempt(run, "read_mail", number=2)
        await attempt(run, "note", text="seen")

    agent = agent_of(program, WATCHED, session={"owner": session(look_up, value="owner")})
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
    await driven(tmp_path, agent_of(looks, WATCHED, session={"owner": session(look_up, value="owner")}))
    other = renamed(look_closer, "look_up")
    agent = agent_of(looks, WATCHED, tools=(read_mail, other, note), session={"owner": session(other)})

    report = await tried(tmp_path, agent)

    ((name, (count, why)),) = report.changed.items()
    assert (name, count) == ("note", 1)
    assert why.startswith("what the run had established is of another form now: ")
    assert report.decisions == 2


async def test_content_that_is_no_content_is_refused(tmp_path: Path) -> None:
    """A task that somebody overwrote names nobody."""
    agent = agent_of(looks, WATCHED)
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
    agent = agent_of(pays, WATCHED, tools=tools)

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
