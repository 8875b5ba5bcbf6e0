"""What the journal says is due, on each store; and who is listed as alive."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest
from tests.dispatch.child import runtime_at
from tests.engine.workshop import Task, key_of
from tests.postgres_server import database

from answerable.engine.dispatch.reconcile import PAGE, Reconciler, wake_all

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Sequence
    from pathlib import Path

    from answerable.engine.runtime import Runtime
    from answerable.journal.store import Due

DAY_US = 24 * 3600 * 1_000_000


@asynccontextmanager
async def two_on(kind: str, folder: Path) -> AsyncGenerator[tuple[Runtime, Runtime]]:
    """Two processes, as far as the journal can tell, on one journal of a kind."""
    if kind == "sqlite":
        url = f"sqlite:///{folder / 'journal.db'}"
        async with runtime_at(url, folder, is_worker=True) as first, runtime_at(url, folder) as second:
            yield first, second
        return
    with database() as url:
        async with runtime_at(url, folder, is_worker=True) as first, runtime_at(url, folder) as second:
            yield first, second


@pytest.fixture(params=["sqlite", "postgresql"])
def kind(request: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("ANSWERABLE_HOME", str(tmp_path / "home"))
    return request.param


async def due_in(runtime: Runtime, at: int | None = None, **more: Any) -> list[tuple[str, str]]:
    now = runtime.store.now() if at is None else at
    return [(due.run, due.mark) for due in await runtime.store.due(now, 10, **more)]


async def test_a_run_is_due_when_there_is_a_reason_to_drive_it(kind: str, tmp_path: Path) -> None:
    """Created, answered, out of time, left by a dead owner: yes. Waiting, driven, halted, ended: no."""
    async with two_on(kind, tmp_path) as (first, second):
        (run,) = await first.submit("clerk", [Task(text="refund slow:0.5")])
        created = await due_in(first)
        await first.halt("agent:clerk", by="ops", reason="a test")
        halted = await due_in(first)
        await first.lift("agent:clerk", by="ops", reason="over")
        lifted = await due_in(first)
        await first.drive(run)
        waiting = await due_in(second)
        expired = await due_in(second, second.store.now() + 365 * DAY_US)
        await second.answer(run, "grant", approver="lea", private_key=key_of("lea"))
        answered = await due_in(second, run=run)
        drive = asyncio.ensure_future(first.drive(run))
        while (await second.store.runs(run=run))[0].state != "running":
            await asyncio.sleep(0.01)
        driven = await due_in(second)
        await drive
        ended = await due_in(second)

    seq = created[0][1]
    assert (seq, halted, [mark for _, mark in lifted]) == ("1.0.0", [], ["1.0.2"])
    assert (waiting, driven, ended) == ([], [], [])
    assert expired[0][1].endswith("t")
    assert answered[0][1].split(".")[1] == "1"
    assert created[0][0] == lifted[0][0] == expired[0][0] == answered[0][0] == run


async def test_a_run_whose_owner_died_is_due(kind: str, tmp_path: Path) -> None:
    """Its mark says so, so that it is not taken for something that was looked at before."""
    async with two_on(kind, tmp_path) as (first, second):
        (run,) = await second.submit("clerk", [Task(text="slow:0.1")])
        drive = asyncio.ensure_future(first.drive(run))
        while (await second.store.runs(run=run))[0].state != "running":
            await asyncio.sleep(0.01)
        first.let_go(run)
        await drive
        while_alive = await due_in(second)
        await first.close()
        after = await due_in(second)

    assert while_alive == []
    assert [each[0] for each in after] == [run]
    assert after[0][1].endswith("d")


async def test_due_is_read_in_pages_the_oldest_first(kind: str, tmp_path: Path) -> None:
    """Each run once, in the order in which they were accepted."""
    async with two_on(kind, tmp_path) as (first, _):
        runs = [(await first.submit("clerk", [Task(id=f"t-{n}")]))[0] for n in range(5)]
        head = await first.store.due(first.store.now(), 2)
        tail = await first.store.due(first.store.now(), 10, after=head[-1].run)

    assert [due.run for due in (*head, *tail)] == runs


async def test_workers_are_listed_with_what_they_can_drive(kind: str, tmp_path: Path) -> None:
    """A process that takes no work of others lists nothing that it can drive."""
    async with two_on(kind, tmp_path) as (first, second):
        rows = {row.owner: row for row in await second.store.workers()}
        (run,) = await second.submit("clerk", [Task(text="slow:0.2")])
        drive = asyncio.ensure_future(first.drive(run))
        while (await second.store.runs(run=run))[0].state != "running":
            await asyncio.sleep(0.01)
        holding = {row.owner: row.runs for row in await second.store.workers()}
        await drive
        await first.store.close()
        left = [row.owner for row in await second.store.workers() if row.is_alive]

    assert rows[first.owner].is_alive
    assert rows[first.owner].pid
    assert list(rows[first.owner].releases) == first.releases()
    assert rows[second.owner].releases == ()
    assert holding == {first.owner: 1, second.owner: 0}
    assert left == [second.owner]


class Ear:
    """A dispatcher that only listens."""

    def __init__(self) -> None:
        self.heard: list[str] = []

    async def enqueue(self, due: Sequence[Due]) -> int:
        self.heard += [each.run for each in due]
        return len(due)


async def test_the_reconciler_tells_each_state_of_a_run_once(tmp_path: Path) -> None:
    """And again once the journal says something else of it; where another process reconciles it is silent."""
    url, ear, alone = f"sqlite:///{tmp_path / 'journal.db'}", Ear(), [True]

    async def is_alone() -> bool:
        return alone[0]

    async with runtime_at(url, tmp_path) as runtime:
        runs = await runtime.submit("clerk", [Task(id=f"t-{n}", text="refund") for n in range(3)])
        reconciler = Reconciler(runtime.store, ear, is_alone)  # type: ignore[arg-type]
        first, second = await reconciler.look(), await reconciler.look()
        await runtime.drive(runs[0])
        await runtime.answer(runs[0], "grant", approver="lea", private_key=key_of("lea"))
        third = await reconciler.look()
        alone[0] = False
        fourth = await reconciler.look()

    assert (first, second, third, fourth) == (3, 0, 1, 0)
    assert sorted(ear.heard) == sorted([*runs, runs[0]])


async def test_everything_that_is_due_is_told_page_by_page(kind: str, tmp_path: Path) -> None:
    """More than a page, each run once."""
    async with two_on(kind, tmp_path) as (first, _):
        runs = await first.submit("clerk", [Task(id=f"t-{n}", text="refund") for n in range(PAGE + 20)])
        ear = Ear()
        new = await wake_all(first.store, ear)  # type: ignore[arg-type]

    assert new == len(runs) == len(set(ear.heard))
