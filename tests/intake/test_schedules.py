"""Schedules: each tick is one run, in however many processes, and clocks that change invent or lose none."""

from __future__ import annotations

import asyncio
import json
import sys
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.intake.offices import intake_of, make_office, project_in, runs, serving

from answerable.engine.intake import Accepted
from answerable.errors import ConfigError, IntakeFull
from answerable.intake import doors_of
from answerable.intake.doors import Schedule
from answerable.intake.keeper import Keeper
from answerable.intake.ticks import Daily, Every, cron
from answerable.kernel.ids import RunId
from answerable.testing import FakeClock, fake_ports

if TYPE_CHECKING:
    from pathlib import Path

BERLIN = "Europe/Berlin"
SCHEDULE = '[[intake.schedule]]\nname = "digest"\nagent = "desk"\n{when}\ntask = {{ id = "D-{{tick}}", note = "for {{date}}" }}\n'
DYING = [sys.executable, "-m", "tests.intake.dying", "watch"]


def utc(text: str) -> datetime:
    """A moment."""
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def between(ticks: Every | Daily, start: datetime, end: datetime) -> list[str]:
    """The ticks in a span, as text, found forwards."""
    found: list[str] = []
    at: datetime | None = start
    while (at := ticks.after(at)) is not None and at <= end:
        found.append(at.strftime("%d %H:%M"))
    return found


@pytest.mark.parametrize(
    ("line", "day", "expected"),
    [
        ("30 2 * * *", "2026-03-28", ["28 01:30", "29 01:30", "30 00:30"]),  # 02:30 is not there: 03:30
        ("0 2 * * *", "2026-03-28", ["28 01:00", "29 01:00", "30 00:00"]),
        ("30 7 * * *", "2026-03-28", ["28 06:30", "29 05:30", "30 05:30"]),
        ("30 2 * * *", "2026-10-24", ["24 00:30", "25 00:30", "26 01:30"]),  # twice: the first counts
        ("0 3 * * *", "2026-10-24", ["24 01:00", "25 02:00", "26 02:00"]),
    ],
)
def test_a_time_of_day_comes_once_a_day_when_clocks_change(line: str, day: str, expected: list[str]) -> None:
    start = utc(day) - timedelta(hours=2)
    assert between(cron(line, BERLIN), start, start + timedelta(days=3)) == expected


def test_what_comes_every_half_hour_follows_the_passing_of_time() -> None:
    """46 in the short day, 50 in the long one, and always half an hour apart."""
    ticks = cron("*/30 * * * *", BERLIN)
    for day, count in (("2026-03-28T23:00", 46), ("2026-10-24T22:00", 50)):
        start = utc(day) - timedelta(minutes=1)
        found = between(ticks, start, start + timedelta(minutes=30 * count))
        assert len(found) == len(set(found)) == count
        stamps = [utc(f"2026-01-{each[:2]}T{each[3:]}") for each in found]
        assert {b - a for a, b in pairwise(stamps)} == {timedelta(minutes=30)}


LINES = st.sampled_from(
    [
        "30 2 * * *",
        "*/7 * * * *",
        "0 * * * *",
        "15 1-3 * * *",
        "0 0 1 * *",
        "30 2 * * SUN",
        "5 4 29 2 *",
        "* 2 * * *",
    ]
)
ZONES = st.sampled_from(
    [BERLIN, "America/New_York", "Australia/Lord_Howe", "Asia/Kolkata", "UTC", "Africa/Casablanca"]
)
MOMENTS = st.datetimes(datetime(2024, 1, 1), datetime(2029, 1, 1)).map(
    lambda moment: moment.replace(tzinfo=UTC)
)
NEAR_CHANGES = st.sampled_from(
    ["2026-03-29T01:00", "2026-10-25T01:00", "2026-11-01T06:00", "2026-03-08T07:00", "2026-04-04T15:00"]
).flatmap(lambda text: st.integers(-14_000, 14_000).map(lambda off: utc(text) + timedelta(seconds=off)))
EVERY = st.integers(1, 100_000).map(Every)
TICKS = st.one_of(EVERY, st.builds(cron, LINES, ZONES))


@settings(deadline=None, max_examples=150)
@given(TICKS, st.one_of(MOMENTS, NEAR_CHANGES))
def test_a_tick_is_the_same_from_wherever_it_is_looked_for(ticks: Every | Daily, now: datetime) -> None:
    """Forwards and back, from any moment: nothing lies between a tick and the next."""
    latest, upcoming = ticks.latest(now), ticks.after(now)
    assert latest is not None
    assert upcoming is not None
    assert latest <= now < upcoming
    assert ticks.after(latest) == upcoming
    assert ticks.before(upcoming) == latest
    assert ticks.latest(latest) == latest


class Journal:
    """What the keepers of a schedule see of a journal, which outlives them."""

    def __init__(self) -> None:
        self.events: list[str] = []
        self.is_full = False


@dataclass
class FakeIntake:
    """An intake on that journal, at a time that the test says."""

    journal: Journal
    clock: FakeClock
    ports: Any = field(init=False)

    def __post_init__(self) -> None:
        self.ports = fake_ports(0, clock=self.clock)

    async def has_run(self, _: str, source: str) -> bool:
        return source in self.journal.events

    async def accept(self, _: Any, tasks: list[Any], *, sources: list[str], **__: Any) -> list[Accepted]:
        assert len(tasks) == len(sources) == 1
        if sources[0] in self.journal.events:
            return [Accepted(RunId(sources[0]), is_new=False)]
        if self.journal.is_full:
            raise IntakeFull("full")
        self.journal.events.append(sources[0])
        return [Accepted(RunId(sources[0]), is_new=True)]


def schedule(catch_up: str, seconds: int = 60) -> Schedule:
    """A schedule of a minute."""
    from zoneinfo import ZoneInfo

    agent: Any = type("Agent", (), {"name": "desk"})
    return Schedule(
        name="s",
        agent=agent,
        ticks=Every(seconds),
        zone=ZoneInfo("UTC"),
        catch_up=catch_up,
        task={"id": "x"},  # pyright: ignore[reportArgumentType]
    )


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["a looks", "b looks", "a starts anew", "b starts anew", "it fills", "it empties"]),
        st.integers(0, 400),
    ),
    max_size=30,
)


@settings(deadline=None, max_examples=150)
@given(STEPS, st.sampled_from(["all", "one", "none"]))
def test_each_tick_is_taken_once_whoever_starts_anew(steps: list[tuple[str, int]], catch_up: str) -> None:
    """Two processes, any restarts, any pauses, a journal that is full now and then."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("answerable.intake.keeper.LOOK_BACK_TICKS", 400)
        asyncio.run(_any_restarts(steps, catch_up))


async def _any_restarts(steps: list[tuple[str, int]], catch_up: str) -> None:
    journal, plan = Journal(), schedule(catch_up)
    clock = FakeClock()
    keepers = {name: Keeper(plan, FakeIntake(journal, clock)) for name in "ab"}  # pyright: ignore[reportArgumentType]
    for keeper in keepers.values():
        await keeper.look()
    for what, seconds in [*steps, ("it empties", 0), ("a looks", 60), ("b looks", 0)]:
        clock.advance(seconds)
        if what.endswith("anew"):
            keepers[what[0]] = Keeper(plan, FakeIntake(journal, clock))  # pyright: ignore[reportArgumentType]
        elif what.endswith("looks"):
            await keepers[what[0]].look()
        else:
            journal.is_full = what == "it fills"
        seen = [datetime.fromisoformat(event.removeprefix("schedule:s:")) for event in journal.events]
        assert len(seen) == len(set(seen)), "a tick was taken twice"
        now = datetime.fromtimestamp(clock.now_us() / 1e6, UTC)
        assert all(tick <= now for tick in seen)
        if catch_up == "all" and seen:  # from the first tick on there is no hole
            assert len(seen) == (max(seen) - min(seen)) // timedelta(minutes=1) + 1
    if journal.events and catch_up != "none":  # and at the end the latest is there
        assert max(seen) == plan.ticks.latest(now)


async def test_after_a_night_off_one_none_or_all_are_made_up_for() -> None:
    for catch_up, expected in (("one", 1), ("none", 0), ("all", 10)):
        journal, clock = Journal(), FakeClock()
        keeper = Keeper(schedule(catch_up), FakeIntake(journal, clock))  # pyright: ignore[reportArgumentType]
        await keeper.look()
        clock.advance(60)
        await keeper.look()
        assert len(journal.events) == 1
        clock.advance(600)
        again = Keeper(schedule(catch_up), FakeIntake(journal, clock))  # pyright: ignore[reportArgumentType]
        runs_, wait = await again.look()
        assert (len(runs_), len(journal.events)) == (expected, 1 + expected)
        assert 0 < wait <= 1


async def test_where_there_is_no_room_a_tick_waits() -> None:
    journal, clock = Journal(), FakeClock()
    keeper = Keeper(schedule("one"), FakeIntake(journal, clock))  # pyright: ignore[reportArgumentType]
    await keeper.look()
    journal.is_full = True
    for _ in range(3):
        clock.advance(60)
        assert (await keeper.look())[0] == []
    journal.is_full = False
    assert len((await keeper.look())[0]) == 1  # the latest; the older ones would only repeat it
    assert len(journal.events) == 1


async def test_a_tick_in_a_real_journal_carries_its_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("answerable.intake.keeper.LOOK_BACK_TICKS", 50)
    folder = make_office(tmp_path, SCHEDULE.format(when='daily_at = "07:30"\ntimezone = "Europe/Berlin"'))
    clock = FakeClock(utc("2026-10-25T06:29"))
    async with intake_of(folder, ports=fake_ports(1, clock=clock)) as (project, intake):
        (plan,) = doors_of(project).schedules
        keepers = [Keeper(plan, intake) for _ in range(10)]
        for keeper in keepers:
            await keeper.look()
        clock.advance(3600)
        said = await asyncio.gather(*(keeper.look() for keeper in keepers))
        runs_ = [run for runs, _ in said for run in runs]
        assert len(runs_) == len(await intake.store.runs()) == 1
        assert await intake.has_run("desk", "schedule:digest:2026-10-25T06:30:00Z")
        (body,) = [
            json.loads(body)
            for body in (await intake.store.payloads(await _refs(intake))).values()
            if isinstance(body, bytes)
        ]
        assert body["task"]["id"] == "D-2026-10-25T06:30:00Z"
        assert body["task"]["note"] == "for 2026-10-25"
        assert body["requested_by"] == "schedule:digest"


async def _refs(intake: Any) -> list[str]:
    rows = await intake.store.runs()
    (entry,) = await intake.store.entries(f"run/{rows[0].run}")
    return [entry.events[0].task]


def test_two_processes_and_a_kill_make_one_run_of_each_tick(tmp_path: Path) -> None:
    """For some seconds, with a tick each second; one of them dies by kill -9 and is started again."""
    folder = make_office(tmp_path, SCHEDULE.format(when='every = "1s"\ncatch_up = "all"'))
    program = [*DYING, "never", str(folder)]
    with serving(folder, command=program):
        with serving(folder, command=program) as second:
            time.sleep(1.3)
            second.process.kill()
        with serving(folder, command=program):
            time.sleep(1.3)
    project = project_in(folder)
    created = sorted(row.created // 1_000_000 for row in runs(folder))
    assert len(created) >= 2
    (plan,) = doors_of(project).schedules
    first = datetime.fromtimestamp(created[0], UTC)
    asyncio.run(_no_hole(folder, plan, first, len(created)))


async def _no_hole(folder: Path, plan: Schedule, first: datetime, count: int) -> None:
    async with intake_of(folder) as (_, intake):
        found = [
            await intake.has_run("desk", plan.source(first + timedelta(seconds=number)))
            for number in range(-3, count + 3)
        ]
    assert sum(found) == count
    assert "".join("x" if each else "." for each in found).strip(".") == "x" * count


@pytest.mark.parametrize(
    ("line", "timezone"),
    [
        ("* * * *", "UTC"),
        ("61 * * * *", "UTC"),
        ("0 0 * * * *", "UTC"),
        ("* * * * *", "Mars/Olympus"),
        ("* * * * *", "../etc"),
    ],
)
def test_what_is_no_schedule_is_refused(line: str, timezone: str) -> None:
    with pytest.raises(ConfigError):
        cron(line, timezone)
