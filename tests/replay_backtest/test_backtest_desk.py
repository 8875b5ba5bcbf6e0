"""A morning at the refund desk decided again: exactly what was asked, and exactly what other rules would have changed."""

from __future__ import annotations

import asyncio
import shutil
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from tests.postgres_server import postgres_url
from tests.replay_backtest.mornings import (
    Listening,
    contents,
    desk,
    desk_at,
    journal,
    rules_of,
    run_of,
    ticket_of,
    without,
    work,
)

from answerable.kernel.ids import RunId
from answerable.replay.asked import asked_of
from answerable.replay.backtest import BacktestReport, backtest

if TYPE_CHECKING:
    from collections.abc import Callable

    from answerable import Agent
    from answerable.gates.request import PolicyRequest

__all__ = ["postgres_url"]
Made = tuple[Path, "Agent", list[tuple["PolicyRequest", frozenset[str]]]]

Expected = set[tuple[str, str, str, str, str | None, str]]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    """The journal of a morning, the agent, and what its rules were really asked."""
    folder = tmp_path_factory.mktemp("morning")
    agent = desk()
    listening = Listening(rules_of(agent))
    asyncio.run(work(f"sqlite:///{folder / 'desk.db'}", folder, agent, listening))
    return folder, agent, listening.asked


@pytest.fixture
def morning(made: Made, tmp_path: Path) -> str:
    """A copy of it, to be changed."""
    shutil.copytree(made[0], tmp_path, dirs_exist_ok=True)
    return f"sqlite:///{tmp_path / 'desk.db'}"


async def tried(url: str, change: Callable[[str], str]) -> BacktestReport:
    """The morning decided again, under the desk's rules and under these, changed."""
    agent = desk()
    async with journal(url) as store:
        return await backtest(store, agent, rules_of(agent), rules_of(agent, change))


def flipped(report: BacktestReport) -> Expected:
    """What flipped: ticket, tool, from, to, money, and what became of it."""
    return {
        (
            ticket_of(flip.run),
            flip.tool,
            *flip.kind,
            None if flip.stake.money is None else f"{flip.stake.money:.2f}",
            flip.became,
        )
        for flip in report.flips
    }


def put(old: str, new: str) -> Callable[[str], str]:
    """A change of the rules that must change something."""

    def change(text: str) -> str:
        assert old in text
        return text.replace(old, new)

    return change


def both(*changes: Callable[[str], str]) -> Callable[[str], str]:
    """Several changes, one after the other."""

    def change(text: str) -> str:
        for each in changes:
            text = each(text)
        return text

    return change


ORDER_CAP, CUSTOMER_CAP = (
    f'totals.{name}.amount.greaterThan(decimal("{{}}"))' for name in ("order", "customer_day")
)
CAP = (
    '@text("More than $500 for one order, in one refund or in several, needs a person.")\n'
    '@decision("require_approval")\n@approvers("support-lead")\n'
)


def caps(amount: str) -> Callable[[str], str]:
    """Another cap for an order and for a customer's day."""
    return both(*(put(cap.format("500.00"), cap.format(amount)) for cap in (ORDER_CAP, CUSTOMER_CAP)))


async def test_what_is_asked_again_is_what_was_asked(morning: str, made: Made) -> None:
    """Every request is put together again exactly, with every approval: nothing is missing, nothing is added."""
    _, agent, left = made
    left = list(left)
    async with journal(morning) as store:
        async for told in asked_of(store, agent, await store.runs()):
            for asked in told.asked:
                assert asked.is_exact
                assert asked.request is not None, asked.problem
                left.remove((asked.request, frozenset(asked.event.discharged)))

    assert left == []


async def test_the_same_rules_say_the_same(morning: str) -> None:
    """The baseline comes out as recorded, also what was parked and granted, denied, and refused by other gates."""
    report = await tried(morning, str)

    assert report.is_baseline_sound
    assert report.reproduced == report.decisions > 150
    assert report.decisions > report.calls, "what was granted was decided twice"
    assert (report.other_rules, report.approximate, report.unasked, report.undecided) == (0, 0, 0, 0)
    assert report.flips == []
    assert report.sums() == {}


FLIPS: dict[str, tuple[Any, Expected]] = {
    "a lower cap": (
        caps("300.00"),
        {
            ("T-1145", "create_refund", "allow", "ask", "500.00", "done"),
            ("T-1118", "create_refund", "allow", "ask", "400.00", "done"),
        },
    ),
    "a higher cap": (
        caps("600.00"),
        {
            ("T-1116", "create_refund", "ask", "allow", "501.00", "done"),
            ("T-1121", "create_refund", "ask", "allow", "300.00", "waiting"),
        },
    ),
    "no look at whom it belongs to": (
        without("refund-own-order"),
        {
            ("T-1135", "create_refund", "deny", "allow", "450.00", "refused"),
            ("T-1122", "create_refund", "deny", "allow", "27.00", "refused"),
            ("T-1134", "create_refund", "deny", "ask", "9000.00", "refused"),
        },
    ),
    "no look at who is watched": (
        without("refund-watched-customer"),
        {("T-1144", "create_refund", "ask", "allow", "40.00", "no")},
    ),
    "a cap that nobody lifts": (
        put(CAP, '@text("More than $500 for one order is never refunded.")\n'),
        {
            ("T-1117", "create_refund", "ask", "deny", "6900.00", "done"),
            ("T-1116", "create_refund", "ask", "deny", "501.00", "done"),
            ("T-1118", "create_refund", "ask", "deny", "400.00", "waiting"),
        },
    ),
    "another person": (
        put(CAP, CAP.replace("support-lead", "finance")),
        {
            ("T-1117", "create_refund", "ask", "ask others", "6900.00", "done"),
            ("T-1116", "create_refund", "ask", "ask others", "501.00", "done"),
            ("T-1118", "create_refund", "ask", "ask others", "400.00", "waiting"),
        },
    ),
    "no letters": (
        put('action in [Action::"draft_reply", Action::"send_reply"]', 'action == Action::"draft_reply"'),
        {("T-1138", "send_reply", "ask", "deny", None, "waiting")},
    ),
    "another text": (put("needs a person.", "needs somebody."), set()),
}


@pytest.mark.parametrize("name", FLIPS)
async def test_exactly_these_calls_would_have_met_another_answer(morning: str, name: str) -> None:
    """By ticket, with the money, and what became of each in reality."""
    change, expected = FLIPS[name]

    report = await tried(morning, change)

    assert report.is_baseline_sound
    assert flipped(report) == expected
    assert len(report.flips) == len(expected)


async def test_flips_are_summed_by_kind_with_what_newly_goes_through_first(morning: str) -> None:
    """Calls, money by currency, records, runs, and what became of them."""
    report = await tried(morning, without("refund-own-order"))

    sums = report.sums()
    assert list(sums) == [("deny", "allow"), ("deny", "ask")]
    allowed = sums["deny", "allow"]
    assert (allowed.calls, allowed.money, allowed.records) == (2, {"USD": Decimal("477.00")}, 2)
    assert (len(allowed.runs), dict(allowed.became), allowed.undeclared) == (2, {"refused": 2}, 0)
    assert [flip.stake.money for flip in report.flips] == [Decimal(450), Decimal(27), Decimal(9000)]
    first = report.flips[0]
    assert list(first.current.rules) == ["refund-own-order"]
    assert first.current.rules["refund-own-order"].startswith("Money goes back only to")
    assert list(first.candidate.rules) == ["may-refund"]


async def test_who_would_be_asked_is_said_with_how_many(morning: str) -> None:
    """Two people from finance besides the lead."""
    report = await tried(morning, without("refund-own-order"))

    asked = next(flip for flip in report.flips if flip.candidate.answer == "ask")

    assert asked.candidate.people == ((("finance",), 2), (("support-lead",), 1))


async def test_nothing_is_written(morning: str, made: Made) -> None:
    """Every table is as it was, to the last row."""
    path = Path(morning.removeprefix("sqlite:///"))
    before = contents(path)

    await tried(morning, caps("300.00"))

    assert contents(path) == before


async def test_a_journal_that_is_being_written_is_read_as_it_stands(morning: str, tmp_path: Path) -> None:
    """A worker goes on with the morning's runs in between; what is read hangs together all the same."""
    agent = desk()
    bundle = rules_of(agent)
    seen: list[RunId] = []
    async with desk_at(morning, tmp_path, agent, bundle, "at work") as runtime, journal(morning) as store:
        async for told in asked_of(store, agent, await store.runs()):
            if not seen:
                await runtime.answer(
                    run_of("T-1121"), "grant", approver="lea", private_key=b"lea".ljust(32, b".")
                )
                await runtime.drive_all(concurrency=1)
            seen.append(told.run)
            assert all(asked.request is not None for asked in told.asked)
        report = await backtest(store, agent, bundle, bundle)

    assert len(seen) == 45
    assert report.is_baseline_sound


async def test_a_day_or_a_run_can_be_chosen(morning: str) -> None:
    """Later days have no decisions; one run has its own."""
    agent, tomorrow = desk(), 1_788_480_000_000_000
    bundle, lower = rules_of(agent), rules_of(agent, caps("300.00"))
    async with journal(morning) as store:
        rows = await store.runs()
        later = await backtest(store, agent, bundle, lower, since=tomorrow)
        today = await backtest(store, agent, bundle, lower, since=tomorrow - 86_400_000_000)
        one = await backtest(store, agent, bundle, lower, rows=[r for r in rows if r.run == run_of("T-1145")])

    assert (later.runs, later.decisions, later.flips) == (0, 0, [])
    assert (today.runs, len(today.flips)) == (43, 2)
    assert (one.runs, {ticket for ticket, *_ in flipped(one)}) == (1, {"T-1145"})


async def test_a_journal_in_postgres_says_the_same(postgres_url: str, tmp_path: Path) -> None:
    """The same morning, the same flips."""
    agent = desk()
    await work(postgres_url, tmp_path, agent, rules_of(agent))

    lower, higher = await tried(postgres_url, caps("300.00")), await tried(postgres_url, caps("600.00"))

    assert lower.reproduced == lower.decisions > 150
    assert flipped(lower) == FLIPS["a lower cap"][1]
    assert flipped(higher) == FLIPS["a higher cap"][1]
