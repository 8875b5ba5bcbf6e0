"""The kit that tests are made of does what it says."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest

from answerable.errors import JournalError, JournalFull
from answerable.journal.sqlite import SqliteJournal
from answerable.journal.store import Append
from answerable.testing import FakeClock, Fault, FaultyStore, Point, fake_ports, fixed_entropy
from answerable.testing.store_events import seen

if TYPE_CHECKING:
    from pathlib import Path


async def test_sleepers_wake_in_the_order_of_their_time() -> None:
    """Time jumps from sleep to sleep and takes no real time."""
    clock, woken = FakeClock(), list[tuple[str, float]]()
    begun = clock.now_us()

    async def sleeper(name: str, seconds: float) -> None:
        await clock.sleep(seconds)
        woken.append((name, (clock.now_us() - begun) / 1e6))

    async def twice() -> None:
        await sleeper("first", 10)
        await sleeper("second", 10)

    await asyncio.gather(sleeper("long", 3600), twice(), sleeper("short", 15), sleeper("none", 0))

    assert woken == [("none", 0), ("first", 10), ("short", 15), ("second", 20), ("long", 3600)]
    assert clock.monotonic_ns() == 3600 * 10**9


async def test_without_autojump_time_stands_still() -> None:
    """Only `advance` moves it, and a sleeper that was cancelled is forgotten."""
    clock = FakeClock(datetime(2026, 1, 1, tzinfo=UTC), autojump=False)
    sleeper = asyncio.ensure_future(clock.sleep(5))
    other = asyncio.ensure_future(clock.sleep(5))
    await asyncio.sleep(0.01)
    assert not sleeper.done()

    other.cancel()
    clock.advance(4.9)
    await asyncio.sleep(0)
    assert not sleeper.done()
    clock.advance(0.1)
    await asyncio.wait([sleeper, other])

    assert sleeper.done()
    assert clock.now_us() == int(datetime(2026, 1, 1, 0, 0, 5, tzinfo=UTC).timestamp() * 1e6)


async def test_a_wall_clock_may_be_set_back_and_a_monotonic_one_not() -> None:
    """As on real machines."""
    clock = FakeClock()
    wall, monotonic = clock.now_us(), clock.monotonic_ns()
    await clock.sleep(10)
    clock.set_back(60)

    assert clock.now_us() == wall - 50 * 10**6
    assert clock.monotonic_ns() == monotonic + 10**10


def test_fixed_chance_is_the_same_every_time_and_another_for_another_seed() -> None:
    """And never the same twice in a row."""
    one, again, other = fixed_entropy(1), fixed_entropy(1), fixed_entropy(2)
    drawn = [one(16) for _ in range(3)]

    assert drawn == [again(16) for _ in range(3)]
    assert len({*drawn, other(16)}) == 4
    assert len(fake_ports("a").entropy(7)) == 7


@pytest.mark.parametrize(
    ("fault", "error", "is_written", "points"),
    [
        (None, None, True, ["before", "after"]),
        (Fault.LOST_REQUEST, JournalError, False, ["before"]),
        (Fault.LOST_REPLY, JournalError, True, ["before", "after"]),
        (Fault.FULL_DISK, JournalFull, False, []),
    ],
)
async def test_a_fault_is_carried_out_as_it_says(
    fault: Fault | None, error: Any, is_written: bool, points: list[str], tmp_path: Path
) -> None:
    """A lost request did nothing, a lost reply did everything, and the caller cannot tell."""
    passed: list[Point] = []
    inside = await SqliteJournal.open(tmp_path / "j.db", entropy=fixed_entropy(), clock=lambda: 0)
    store = FaultyStore(inside, fault=lambda _: fault, at_point=passed.append)
    append = Append(stream="agent/a", events=(seen("a" * 64),), expect=None, epoch=0, now=1)
    try:
        if error is None:
            await store.append(append)
        else:
            with pytest.raises(error):
                await store.append(append)
        assert bool(await store.entries("agent/a")) is is_written
    finally:
        await store.close()

    assert [point.when for point in passed] == points
    assert [str(point) for point in passed] == [f"{when} ReleaseSeen" for when in points]
    assert [point.number for point in passed] == list(range(1, len(points) + 1))
