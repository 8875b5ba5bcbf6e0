"""Workers on PostgreSQL: what is handed out is driven, by one worker at a time, whatever happens to the others."""

from __future__ import annotations

import asyncio
import signal
import time
from typing import TYPE_CHECKING

import pytest
from tests.dispatch.child import runtime_at
from tests.dispatch.crew import Crew, until, until_state
from tests.engine.workshop import Task, key_of, kinds_of
from tests.postgres_server import execute, postgres_url

from answerable.cli.workers import left_waiting
from answerable.journal.store import Due

if TYPE_CHECKING:
    from collections.abc import Generator
    from pathlib import Path

__all__ = ["postgres_url"]
LEASE_S = 2


@pytest.fixture
def crew(postgres_url: str, tmp_path: Path) -> Generator[Crew]:
    with Crew(postgres_url, tmp_path) as crew:
        yield crew


async def epochs_of(runtime: object, run: str) -> list[int]:
    return [entry.epoch for entry in await runtime.store.entries(f"run/{run}")]  # type: ignore[attr-defined]


async def test_what_is_enqueued_is_driven_once_by_whoever_is_free(crew: Crew) -> None:
    """Two workers share the work, and no effect happens twice; being told twice changes nothing."""
    await asyncio.gather(crew.hire(), crew.hire())
    async with runtime_at(crew.url, crew.folder) as runtime:
        runs = await runtime.submit("clerk", [Task(id=f"t-{n}", text="pay pay") for n in range(30)])
        await runtime.enqueue(runs)
        await runtime.enqueue(runs)
        await until_state(runtime, "ended", *runs)

    keys = [line[1] for line in crew.paper.lines("pay")]
    assert (len(keys), len(set(keys))) == (60, 60)
    assert {line[2] for line in crew.paper.lines()} == {str(hand.pid) for hand in crew.hands}


async def test_another_worker_takes_over_within_the_lease_and_a_second(crew: Crew) -> None:
    """It dies by kill -9 in the middle of a send: the run goes on elsewhere, under the same key."""
    await asyncio.gather(crew.hire(), crew.hire())
    async with runtime_at(crew.url, crew.folder) as runtime:
        (run,) = await runtime.submit("clerk", [Task(text="slow:1 pay")])
        await runtime.enqueue([run])
        await until(lambda: crew.paper.lines("slow"))
        (busy,) = [hand for hand in crew.hands if str(hand.pid) == crew.paper.lines("slow")[0][2]]
        busy.send(signal.SIGKILL)
        took = await until(lambda: len(crew.paper.lines("slow")) == 2)
        await until_state(runtime, "ended", run)

    sent, again = crew.paper.lines("slow")
    assert took <= LEASE_S + 1
    assert sent[1] == again[1]
    assert sent[2] != again[2]


async def test_a_worker_that_was_paused_past_its_lease_writes_nothing(crew: Crew) -> None:
    """It wakes up, finds the run taken, appends nothing to it, and works on."""
    paused = await crew.hire()
    async with runtime_at(crew.url, crew.folder) as runtime:
        (run,) = await runtime.submit("clerk", [Task(text="slow:0.5 pay")])
        await runtime.enqueue([run])
        await until(lambda: crew.paper.lines("slow"))
        paused.send(signal.SIGSTOP)
        other = await crew.hire()
        await until_state(runtime, "ended", run)
        before = await epochs_of(runtime, run)
        paused.send(signal.SIGCONT)
        await until(lambda: paused.said("lease_lost"))
        await asyncio.sleep(0.5)
        after = await epochs_of(runtime, run)
        other.send(signal.SIGTERM)
        await other.ended()
        (next_run,) = await runtime.submit("clerk", [Task(id="next", text="pay")])
        await runtime.enqueue([next_run])
        await until_state(runtime, "ended", next_run)

    assert before == after
    assert after == sorted(after)
    assert [line[2] for line in crew.paper.lines("pay")] == [str(other.pid), str(paused.pid)]


async def test_a_busy_event_loop_does_not_lose_its_lease(crew: Crew) -> None:
    """A step blocks the loop for twice the lease; the run is not begun elsewhere, and ends."""
    await asyncio.gather(crew.hire(), crew.hire())
    async with runtime_at(crew.url, crew.folder) as runtime:
        (run,) = await runtime.submit("clerk", [Task(text=f"busy:{2 * LEASE_S} pay")])
        await runtime.enqueue([run])
        await until_state(runtime, "ended", run)
        kinds = await kinds_of(runtime, run)

    assert len(crew.paper.lines("busy")) == 1
    assert kinds.count("RunAdopted") == 1
    assert not [hand for hand in crew.hands if hand.said("lease_lost")]


async def test_what_nobody_was_told_of_is_found(crew: Crew) -> None:
    """The process died between the journal and the queue: the reconciler finds the run within seconds."""
    await crew.hire()
    async with runtime_at(crew.url, crew.folder) as runtime:
        (run,) = await runtime.submit("clerk", [Task(text="pay")])
        took = await until_state(runtime, "ended", run)

    assert took < 5


async def test_an_answer_given_elsewhere_wakes_the_run_at_once(crew: Crew) -> None:
    """Approve in another process: within a second, each time; and a run that a halt covered, once it is lifted."""
    await crew.hire()
    took: list[float] = []
    async with runtime_at(crew.url, crew.folder) as runtime:
        (run,) = await runtime.submit("clerk", [Task(text="refund refund refund")])
        await runtime.enqueue([run])
        for number in range(3):
            await until_state(runtime, "waiting", run)
            begun = time.monotonic()
            await runtime.answer(run, "grant", approver="lea", private_key=key_of("lea"))
            await until(lambda number=number: len(crew.paper.lines("refund")) > number)
            took.append(time.monotonic() - begun)
        await until_state(runtime, "ended", run)
        await runtime.halt("agent:clerk", by="ops", reason="a test")
        (held,) = await runtime.submit("clerk", [Task(id="held", text="pay")])
        await runtime.enqueue([held])
        await asyncio.sleep(0.3)
        (row,) = await runtime.store.runs(run=held)
        begun = time.monotonic()
        await runtime.lift("agent:clerk", by="ops", reason="over")
        await until_state(runtime, "ended", held)
        lifted = time.monotonic() - begun

    assert row.state == "created"
    assert max(*took, lifted) < 1


async def test_a_drain_ends_what_is_being_sent_and_gives_the_rest_to_others(crew: Crew) -> None:
    """SIGTERM: exit 0, the send has its outcome, the next step is another worker's, and it begins at once."""
    await asyncio.gather(crew.hire(lease_s=30), crew.hire(lease_s=30))
    async with runtime_at(crew.url, crew.folder) as runtime:
        (run,) = await runtime.submit("clerk", [Task(text="slow:1 pay")])
        await runtime.enqueue([run])
        await until(lambda: crew.paper.lines("slow"))
        busy, idle = crew.hands
        if str(busy.pid) != crew.paper.lines("slow")[0][2]:
            busy, idle = idle, busy
        busy.send(signal.SIGTERM)
        code = await busy.ended()
        took = await until(lambda: crew.paper.lines("pay"))
        await until_state(runtime, "ended", run)
        kinds = await kinds_of(runtime, run)

    assert (code, len(crew.paper.lines("slow")), len(crew.paper.lines("slept"))) == (0, 1, 1)
    assert [line[2] for line in crew.paper.lines("pay")] == [str(idle.pid)]
    assert kinds.count("CallEnded") == 2
    assert took < 1
    assert busy.said("given_back")


async def test_a_run_waits_for_its_release_and_that_is_said(crew: Crew) -> None:
    """A worker of another release leaves it as it is; once its own comes back it goes on."""
    wrong = await crew.hire()
    async with runtime_at(crew.url, crew.folder, prompt="Do it otherwise.") as runtime:
        (run,) = await runtime.submit("clerk", [Task(text="pay")])
        await runtime.enqueue([run])
        await until(lambda: wrong.said("waits_for_release"))
        (row,) = await runtime.store.runs(run=run)
        waiting = await left_waiting(runtime.store, await runtime.store.workers())
        await crew.hire(prompt="Do it otherwise.")
        await until_state(runtime, "ended", run)
        none = await left_waiting(runtime.store, await runtime.store.workers())

    assert (row.state, row.epoch) == ("created", 0)
    assert [each["run"] for each in waiting] == [run]
    assert none == []


async def test_a_second_task_for_a_run_does_not_take_it_from_who_drives_it(crew: Crew) -> None:
    """The queue doubled a task: the other worker sees that the run is being driven, and asks again later."""
    await asyncio.gather(crew.hire(), crew.hire())
    async with runtime_at(crew.url, crew.folder) as runtime:
        (run,) = await runtime.submit("clerk", [Task(text="slow:1.5 pay")])
        await runtime.enqueue([run])
        await until(lambda: crew.paper.lines("slow"))
        new = await runtime.dispatcher.enqueue([Due(run, f"doubled {number}") for number in range(4)])
        await until_state(runtime, "ended", run)
        kinds = await kinds_of(runtime, run)

    assert new == 4
    assert [len(crew.paper.lines(what)) for what in ("slow", "slept", "pay")] == [1, 1, 1]
    assert kinds.count("RunAdopted") == 1


async def test_a_queue_that_was_lost_is_made_anew_from_the_journal(crew: Crew) -> None:
    """It held no truth: the next worker finds every run that is due."""
    first = await crew.hire()
    async with runtime_at(crew.url, crew.folder) as runtime:
        (run,) = await runtime.submit("clerk", [Task(text="refund")])
        await runtime.enqueue([run])
        await until_state(runtime, "waiting", run)
        first.send(signal.SIGTERM)
        await first.ended()
        execute(crew.url, "DROP SCHEMA absurd CASCADE")
        await runtime.answer(run, "grant", approver="lea", private_key=key_of("lea"))
        (other,) = await runtime.submit("clerk", [Task(id="other", text="pay")])
        await runtime.enqueue([other])
        await crew.hire()
        await until_state(runtime, "ended", run, other)

    assert [len(crew.paper.lines(what)) for what in ("refund", "pay")] == [1, 1]
