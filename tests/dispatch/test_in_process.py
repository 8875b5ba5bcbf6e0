"""Work without an engine: a worker asks its journal, drives what is due, and leaves what is not for it."""

from __future__ import annotations

import asyncio
import time
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from tests.dispatch.child import Paper, runtime_at
from tests.dispatch.crew import until, until_state
from tests.engine.workshop import Task, key_of, kinds_of

from answerable.cli.workers import left_waiting
from answerable.engine.dispatch.port import DONE, Lease
from answerable.errors import JournalBusy
from answerable.testing import Fault, FaultyStore
from answerable.worker.loop import Worker

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator
    from pathlib import Path

    from answerable.engine.runtime import Runtime


@asynccontextmanager
async def working(folder: Path, **more: Any) -> AsyncGenerator[tuple[Runtime, Worker]]:
    """A worker on the journal of a folder; it is drained in the end."""
    async with runtime_at(f"sqlite:///{folder / 'journal.db'}", folder, is_worker=True, **more) as runtime:
        worker = Worker(runtime, concurrency=4)
        work = asyncio.ensure_future(worker.work())
        try:
            yield runtime, worker
        finally:
            worker.drain()
            await work


def elsewhere(folder: Path, **more: Any) -> Any:
    """Another process on the same journal, as far as the journal can tell."""
    return runtime_at(f"sqlite:///{folder / 'journal.db'}", folder, **more)


async def test_what_others_accept_is_driven(tmp_path: Path) -> None:
    """Nobody is told: the journal is asked."""
    async with working(tmp_path) as (_, worker), elsewhere(tmp_path) as other:
        runs = await other.submit("clerk", [Task(id=f"t-{n}", text="pay pay") for n in range(20)])
        await until_state(other, "ended", *runs)

    assert worker.tally.ended == {"unverified": 20}
    assert len({line[1] for line in Paper(tmp_path).lines("pay")}) == 40


async def test_an_answer_given_elsewhere_wakes_the_run(tmp_path: Path) -> None:
    """Within a second."""
    async with working(tmp_path), elsewhere(tmp_path) as other:
        (run,) = await other.submit("clerk", [Task(text="refund")])
        await until_state(other, "waiting", run)
        await other.answer(run, "grant", approver="lea", private_key=key_of("lea"))
        took = await until_state(other, "ended", run)

    assert took < 1


async def test_two_workers_on_one_file_do_not_get_in_each_others_way(tmp_path: Path) -> None:
    """Both see every run; each is driven by one of them, and no effect happens twice."""
    async with working(tmp_path) as (ours, first), working(tmp_path) as (_, second):
        runs = await ours.submit("clerk", [Task(id=f"t-{n}", text="pay pay") for n in range(24)])
        await until_state(ours, "ended", *runs)
        adopted = [(await kinds_of(ours, run)).count("RunAdopted") for run in runs]

    keys = [line[1] for line in Paper(tmp_path).lines("pay")]
    assert (len(keys), len(set(keys))) == (48, 48)
    assert set(adopted) == {1}
    assert first.tally.ended.get("unverified", 0) + second.tally.ended.get("unverified", 0) >= 24


async def test_a_run_of_another_release_is_left_as_it_is(tmp_path: Path) -> None:
    """Nothing is written, it is listed, and a worker that has the release drives it."""
    async with working(tmp_path), elsewhere(tmp_path, prompt="Another.") as other:
        (run,) = await other.submit("clerk", [Task(text="pay")])
        await asyncio.sleep(0.6)
        (row,) = await other.store.runs(run=run)
        listed = await left_waiting(other.store, await other.store.workers())
        async with working(tmp_path, prompt="Another."):
            await until_state(other, "ended", run)

    assert (row.state, row.epoch, [each["run"] for each in listed]) == ("created", 0, [run])


async def test_a_drain_ends_the_send_and_leaves_the_rest(tmp_path: Path) -> None:
    """The outcome is there, the next step was not begun, and the health pages say what goes on."""
    async with working(tmp_path) as (runtime, worker):
        (run,) = await runtime.submit("clerk", [Task(text="slow:0.3 pay")])
        await until(lambda: Paper(tmp_path).lines("slow"))
        await asyncio.sleep(0.1)
        before = (worker.health.alive(), worker.health.ready())
        worker.drain()
        during = worker.health.ready()
        await until(lambda: Paper(tmp_path).lines("slept"))
        await asyncio.sleep(0.1)
        (row,) = await runtime.store.runs(run=run)
        kinds = await kinds_of(runtime, run)

    assert before == ((True, []), (True, []))
    assert during == (False, ["it is draining: it takes nothing new"])
    assert (row.state, kinds.count("CallEnded"), Paper(tmp_path).lines("pay")) == ("running", 1, [])


async def test_a_lease_takes_a_run_from_those_it_names_and_from_nobody_else(tmp_path: Path) -> None:
    """Whoever had it is fenced: it appends nothing more. A living owner that is not named keeps its run."""
    async with elsewhere(tmp_path) as first, elsewhere(tmp_path) as second:
        (run,) = await first.submit("clerk", [Task(text="slow:0.4 pay")])
        drive = asyncio.ensure_future(first.drive(run))
        await until(lambda: Paper(tmp_path).lines("slow"))
        left = await second.drive(run, lease=Lease(run=run, mark=""))
        taken = await second.drive(run, lease=Lease(run=run, mark="", instead_of=frozenset({first.owner})))
        fenced = await drive
        epochs = [entry.epoch for entry in await second.store.entries(f"run/{run}")]

    assert left.state == "running"
    assert (taken.name, fenced.name) == ("unverified", None)
    assert epochs == sorted(epochs)
    assert len(Paper(tmp_path).lines("pay")) == 1


async def test_a_run_that_is_let_go_stops_at_its_next_step(tmp_path: Path) -> None:
    """The send comes to its end, and the run stays open."""
    async with elsewhere(tmp_path) as runtime:
        (run,) = await runtime.submit("clerk", [Task(text="slow:0.2 pay")])
        drive = asyncio.ensure_future(runtime.drive(run))
        await until(lambda: Paper(tmp_path).lines("slow"))
        runtime.let_go(run)
        outcome = await drive
        again = await runtime.drive(run)

    assert (outcome.state, again.name) == ("running", "unverified")
    assert len(Paper(tmp_path).lines("slept")) == 1


async def test_a_journal_that_fails_costs_the_worker_nothing(tmp_path: Path) -> None:
    """What cannot be driven now is given back for later, and the worker goes on."""
    async with elsewhere(tmp_path) as runtime:
        worker = Worker(runtime, concurrency=1)

        async def busy(*_: object, **__: object) -> Any:
            raise JournalBusy("held")

        runtime.drive = busy  # type: ignore[method-assign]
        verdicts = [await worker.drive(Lease(run="run_x", mark="", tries=tries)) for tries in (1, 3, 20)]

    assert [(verdict.kind, verdict.delay_s) for verdict in verdicts] == [
        ("again", 1),
        ("again", 4),
        ("again", 60),
    ]


async def test_what_was_looked_at_in_vain_is_not_looked_at_again(tmp_path: Path) -> None:
    """An answer that does not count leaves a run waiting: it costs one look."""
    async with elsewhere(tmp_path) as runtime:
        (run,) = await runtime.submit("clerk", [Task(text="pay")])
        looks: list[str] = []

        async def look(lease: Lease) -> Any:
            looks.append(lease.mark)
            return DONE

        work = asyncio.ensure_future(runtime.dispatcher.work(look, lambda _: None, concurrency=4))
        await until(lambda: looks)
        await runtime.enqueue([run])
        begun = time.monotonic()
        await asyncio.sleep(0.4)
        runtime.dispatcher.drain()
        await work

    assert looks == ["1.0.0"]
    assert time.monotonic() - begun < 2


async def test_a_run_that_failed_half_way_is_gone_on_with(tmp_path: Path) -> None:
    """The journal was gone for a moment; the run is still ours, and nobody else would come back to it."""
    faults = ["CallIntended"]

    def lose(appends: Any) -> Fault | None:
        kinds = {type(event).__name__ for append in appends for event in append.events}
        return Fault.LOST_REQUEST if faults and faults[0] in kinds and faults.pop() else None

    async with working(tmp_path, wrap_store=lambda store: FaultyStore(store, fault=lose)) as (
        runtime,
        worker,
    ):
        (run,) = await runtime.submit("clerk", [Task(text="pay")])
        await until_state(runtime, "ended", run)
        kinds = await kinds_of(runtime, run)

    assert kinds.count("RunAdopted") == 2
    assert len(Paper(tmp_path).lines("pay")) == 1
    assert worker.tally.ended == {"unverified": 1}
