"""What a store promises of the limits that it keeps for tools: one bucket and one breaker for all processes.

These checks take real time: a store reads its own clock, or its server's.
"""

from __future__ import annotations

import asyncio
import itertools
import time
from typing import TYPE_CHECKING

from answerable.kernel.throttle import Ask, Breaker, Limits, Rate, Report, Turn
from answerable.testing.store_checking import Stores, check, must

if TYPE_CHECKING:
    from answerable.journal.store import JournalStore

KEY = "default/pay"
INTERVAL_US = 20_000
RATE = Limits(rate=Rate(calls=50), breaker=None, lease_us=INTERVAL_US)
SLOW_US = 500_000
SLOW = Limits(rate=Rate(calls=2), breaker=None, lease_us=SLOW_US)
PAUSE_S = 0.4
BREAKER = Limits(
    rate=None, breaker=Breaker(failures=3, within_s=60, pause_s=PAUSE_S), lease_us=int(PAUSE_S * 1e6)
)
PATIENT = Ask(patience_us=60_000_000)
SILENCE_US = 5_000_000
CROWD = 8


@check
async def _turns_are_shared_by_all_processes(stores: Stores) -> None:
    views = [await stores.open() for _ in range(3)]
    begun = time.monotonic()
    turns = await asyncio.gather(*(views[index % 3].take_turn(KEY, RATE, PATIENT) for index in range(30)))
    took_us = (time.monotonic() - begun) * 1e6
    times = sorted(turn.at for turn in turns)
    gaps = [later - earlier for earlier, later in itertools.pairwise(times)]
    must(min(gaps) >= INTERVAL_US, "two processes were given turns too close to each other")
    must(sum(gaps) <= len(gaps) * INTERVAL_US + took_us, "turns of the rate were lost")
    other = await views[0].take_turn("default/look", RATE, PATIENT)
    must(other.verdict == "go", "a tool waits for the limit of another")


@check
async def _a_turn_that_was_waited_for_is_kept(stores: Stores) -> None:
    store = await stores.open()
    await store.take_turn(KEY, SLOW, PATIENT)
    held = await store.take_turn(KEY, SLOW, PATIENT)
    must((held.verdict, held.wait_us > 0) == ("wait", True), f"the second turn at once is {held}")
    await asyncio.sleep(held.wait_us / 1e6 + 0.005)
    turn = await store.take_turn(KEY, SLOW, Ask(patience_us=0, held=held))
    must((turn.verdict, turn.at) == ("go", held.at), "a turn that was waited for is lost")


@check
async def _who_would_wait_too_long_is_refused(stores: Stores) -> None:
    store = await stores.open()
    await store.take_turn(KEY, SLOW, PATIENT)
    for _ in range(3):
        turn = await store.take_turn(KEY, SLOW, Ask(patience_us=1_000))
        must(turn.verdict == "rate_limited", f"a turn later than its caller would wait is `{turn.verdict}`")
        must(turn.wait_us <= SLOW_US, "who was refused took a turn nevertheless")


@check
async def _a_vendor_that_asks_for_silence_gets_it_from_everybody(stores: Stores) -> None:
    store, elsewhere = await stores.open(), await stores.open()
    await store.tell_turn(KEY, RATE, Report(result="failed", retry_after_us=SILENCE_US))
    turn = await elsewhere.take_turn(KEY, RATE, PATIENT)
    must(
        SILENCE_US // 2 < turn.wait_us <= SILENCE_US,
        f"after a `retry_after` of {SILENCE_US} us a turn is {turn.wait_us} us away",
    )


async def _opened(stores: Stores) -> list[JournalStore]:
    """Two views of a journal in which the breaker has just opened."""
    views = [await stores.open() for _ in range(2)]
    for number in range(3):
        turn = await views[number % 2].take_turn(KEY, BREAKER, PATIENT)
        must(turn.verdict == "go", "a closed breaker lets nothing through")
        await views[number % 2].tell_turn(KEY, BREAKER, Report(result="failed"))
    return views


async def _let_through(views: list[JournalStore]) -> list[Turn]:
    """Who of a crowd may go now."""
    turns = await asyncio.gather(
        *(views[index % 2].take_turn(KEY, BREAKER, PATIENT) for index in range(CROWD))
    )
    must({turn.verdict for turn in turns} <= {"go", "circuit_open"}, "a breaker makes somebody wait")
    return [turn for turn in turns if turn.verdict == "go"]


@check
async def _an_open_breaker_lets_one_trial_through(stores: Stores) -> None:
    views = await _opened(stores)
    must(await _let_through(views) == [], "an open breaker lets something through")
    await asyncio.sleep(PAUSE_S)
    trials = await _let_through(views)
    must(len(trials) == 1, f"after the pause {len(trials)} calls of {CROWD} are let through, not 1")
    await views[0].tell_turn(KEY, BREAKER, Report(result="failed", trial=trials[0].trial))
    must(await _let_through(views) == [], "a trial that failed does not open it again")
    await asyncio.sleep(PAUSE_S)
    (trial,) = await _let_through(views)
    await views[1].tell_turn(KEY, BREAKER, Report(result="ok", trial=trial.trial))
    must(len(await _let_through(views)) == CROWD, "a trial that went through does not close it")


@check
async def _a_trial_that_nobody_tells_of_is_given_up(stores: Stores) -> None:
    views = await _opened(stores)
    await asyncio.sleep(PAUSE_S)
    first = await _let_through(views)
    await asyncio.sleep(PAUSE_S)
    second = await _let_through(views)
    must((len(first), len(second)) == (1, 1), "a trial whose process died is not made again")
    must(first[0].trial != second[0].trial, "two trials have one name")


@check
async def _limits_outlive_the_process(stores: Stores) -> None:
    await _opened(stores)
    await stores.close()
    store = await stores.open()
    found = [finding for finding in await store.findings() if KEY in finding.message]
    must([finding.level for finding in found] == ["warn"], "the store does not say that a breaker is open")
    await asyncio.sleep(PAUSE_S)
    turn = await store.take_turn(KEY, BREAKER, PATIENT)
    must(turn.trial == 1, "a breaker is forgotten when the store is opened again")
