"""Calls that are hard to decide again: other gates, what a run learned, crashes, batches, and an old journal."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from tests.compat.desk import POLICY as OLD_POLICY
from tests.compat.desk import desk as old_desk
from tests.compat.test_released_journals import made as old_runs
from tests.compat.test_released_journals import rebuilt
from tests.engine.workshop import PERMIT, Task, asks, runtime_of
from tests.replay_backtest.mornings import Listening
from tests.replay_backtest.payments import (
    CAPPED,
    CURIOUS,
    agent_of,
    asked_in,
    attempt,
    driven,
    kinds,
    look_up,
    read_mail,
    tried,
    trouble,
)

from answerable import Budget, Run, ToolFailed, session, tool
from answerable.project import bundle_of, load_rules, open_store
from answerable.replay.asked import asked_of
from answerable.replay.backtest import backtest


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
