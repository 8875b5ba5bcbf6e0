"""Several processes on one journal: halts are a barrier, budgets hold, and who is dead is known."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from tests.postgres.proxy import Proxy
from tests.postgres.racer import ASK, BUDGET
from tests.postgres.stores import SLOW_COMMIT, note, opened
from tests.postgres_server import Server, database, execute, postgres_url, until

from answerable.errors import (
    BudgetExceeded,
    ClaimHeld,
    HaltInForce,
    JournalConflict,
    JournalFenced,
    TotalsMoved,
)
from answerable.journal.derive import derive
from answerable.journal.postgres import batch, lease, statements
from answerable.journal.postgres.connect import connect
from answerable.journal.postgres.wire import Statement, Wire
from answerable.journal.store import Append
from answerable.testing.store_events import NOW, ended, halt, intended, run_name, settled, write_run

if TYPE_CHECKING:
    from collections.abc import Generator

__all__ = ["postgres_url"]
ROOT = Path(__file__).parents[2]


@contextmanager
def racers(url: str, count: int, limit: int) -> Generator[list[subprocess.Popen[str]]]:
    """Processes that intend and settle until they are killed."""
    env = {**os.environ, "PYTHONPATH": f"{ROOT / 'src'}:{ROOT}"}
    command = [sys.executable, "-m", "tests.postgres.racer", url]
    started = [
        subprocess.Popen(
            [*command, str(number), str(limit)], cwd=ROOT, env=env, stdout=subprocess.PIPE, text=True
        )
        for number in range(1, count + 1)
    ]
    try:
        for each in started:
            assert each.stdout is not None
            assert each.stdout.readline() == "ready\n"
        yield started
    finally:
        for each in started:
            each.kill()
            each.wait()
            assert each.stdout is not None
            each.stdout.close()


def used(url: str) -> int:
    """What is reserved and spent of the shared budget, by all shares."""
    return execute(
        url, f"SELECT coalesce(sum(reserved + spent), 0) FROM answerable.budget WHERE id = '{BUDGET}'"
    )[0][0]


def intents(url: str) -> int:
    """How many intents are in the journal."""
    return execute(url, "SELECT count(*) FROM answerable.entry WHERE body LIKE '%CallIntended%'")[0][0]


async def test_no_intent_commits_after_a_halt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Three processes intend as fast as they can. By the times at which the server committed, the halt is a barrier."""
    monkeypatch.setenv("ANSWERABLE_HOME", str(tmp_path))
    server = Server()
    try:
        execute(server.url, "ALTER SYSTEM SET track_commit_timestamp = on")
        server.restart()
        with database(server.url) as url, racers(url, 3, 10**9):
            await until(lambda: intents(url) > 100)
            async with opened(url) as store:
                raised = Append(
                    stream="tenant/default", events=(halt("all", 1),), expect=None, epoch=0, now=NOW
                )
                begun = time.monotonic()
                await store.append(raised)
                took = time.monotonic() - begun
                after = intents(url)
                await asyncio.sleep(0.4)
                assert intents(url) == after
            ((late, of_halt),) = execute(
                url,
                "SELECT max(pg_xact_commit_timestamp(xmin)) FILTER (WHERE body LIKE '%CallIntended%'),"
                " max(pg_xact_commit_timestamp(xmin)) FILTER (WHERE body LIKE '%HaltRaised%')"
                " FROM answerable.entry",
            )
            assert late < of_halt
            assert took < 1
    finally:
        server.close()


async def test_a_halt_covers_what_comes_after_it_in_its_own_batch(postgres_url: str) -> None:
    """By agent too: whose run it is must be known although no halt was in force when the batch was read."""
    run = run_name(1)
    async with opened(postgres_url) as store:
        head = (await write_run(store, run)).head
    raised = Append(stream="tenant/default", events=(halt("agent:desk", 1),), expect=None, epoch=0, now=NOW)
    intent = Append(stream=f"run/{run}", events=(intended(run),), expect=head, epoch=1, now=NOW)
    wire = Wire(connect(postgres_url, "writer", is_writer=True))
    try:
        first, second = batch.commit(wire, [(raised,), (intent,)], me="own_1", committing=lambda _: None)
    finally:
        wire.close()

    assert isinstance(first, tuple)
    assert isinstance(second, HaltInForce)


def test_a_commit_that_was_rolled_back_is_not_taken_for_one(postgres_url: str) -> None:
    """PostgreSQL answers COMMIT of a failed transaction without an error."""
    wire = Wire(connect(postgres_url, "writer", is_writer=True))
    try:
        wire.ask([(statements.BEGIN, ())])
        with pytest.raises(psycopg.Error):
            wire.ask([(Statement("wrong", "SELECT 1 / 0"), ())])
        with pytest.raises(psycopg.InternalError, match="rolled back"):
            wire.ask([(statements.COMMIT, ())])
    finally:
        wire.close()


async def test_a_budget_of_processes_that_are_killed_is_never_overspent_and_never_wasted(
    postgres_url: str,
) -> None:
    """Two of four die between reserving and settling. What is used stays within the limit, and all of it is used."""
    limit, worst = 4000, 0
    with racers(postgres_url, 4, limit) as started:
        killed = iter(started[:2])
        deadline = time.monotonic() + 20
        while used(postgres_url) <= limit - ASK:
            worst = max(worst, used(postgres_url))
            if worst > limit // 3 and (one := next(killed, None)) is not None:
                one.kill()
            assert time.monotonic() < deadline, (
                f"{worst} of {limit} are used: the rest is refused to everybody"
            )
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.2)
        assert used(postgres_url) <= limit
    async with opened(postgres_url) as store:
        entries = [entry for stream in await store.streams() for entry in await store.entries(stream)]
        stored = await store.derived_tables()
        expected = derive(entries)
        assert stored["budget"] == expected.budgets
        assert stored["head"] == expected.heads
        assert stored["run"] == expected.runs
        granted = execute(
            postgres_url,
            "SELECT sum(CASE WHEN holder = '' THEN reserved + spent ELSE granted END) FROM answerable.budget",
        )
        assert granted[0][0] <= limit


async def test_of_processes_that_race_for_one_thing_one_wins(postgres_url: str) -> None:
    """One claim, one total, the last of one budget, one head: the others get the refusal that it is, and no other."""
    async with opened(postgres_url) as one, opened(postgres_url) as other:
        for number in range(8):
            runs = [run_name(2 * number), run_name(2 * number + 1)]
            heads = [(await write_run(one, run)).head for run in runs]
            claim = {"key": f"{number:064x}", "rule": "once", "amount": 1, "cap": 0}
            total = (f"{number:064x}", "day", 1, 0, 0)
            reserve = ((f"agent:a{number}:day", "money", 6, 10),)
            for path, extra, error in (
                ("1.0", {"claim": claim}, ClaimHeld),
                ("2.0", {"totals": (total,)}, TotalsMoved),
                ("3.0", {"reserve": reserve}, BudgetExceeded),
            ):
                appends = [
                    Append(
                        stream=f"run/{run}",
                        events=(intended(run, path=path, **extra),),
                        expect=head,
                        epoch=1,
                        now=NOW,
                    )
                    for run, head in zip(runs, heads, strict=True)
                ]
                answers = await asyncio.gather(
                    one.append(appends[0]), other.append(appends[1]), return_exceptions=True
                )
                assert {type(answer) for answer in answers} == {tuple, error}
                heads = [
                    head if isinstance(answer, BaseException) else answer[0].head
                    for head, answer in zip(heads, answers, strict=True)
                ]
            same = [
                store.append(
                    Append(
                        stream=f"run/{runs[0]}", events=(settled(path),), expect=heads[0], epoch=1, now=NOW
                    )
                )
                for store, path in ((one, "8.0"), (other, "9.0"))
            ]
            answers = await asyncio.gather(*same, return_exceptions=True)
            assert {type(answer) for answer in answers} == {tuple, JournalConflict}


async def test_a_stale_owner_fails_alone_in_a_group(postgres_url: str) -> None:
    """The others of its batch are committed with it refused."""
    async with opened(postgres_url, durability="group") as store:
        runs = [run_name(number) for number in range(12)]
        heads = [(await write_run(store, run)).head for run in runs]
        await write_run(store, runs[5], head=heads[5], epoch=2)
        answers = await asyncio.gather(
            *(
                store.append(
                    Append(stream=f"run/{run}", events=(settled("1.0"),), expect=head, epoch=1, now=NOW)
                )
                for run, head in zip(runs, heads, strict=True)
            ),
            return_exceptions=True,
        )

        assert [index for index, answer in enumerate(answers) if isinstance(answer, JournalFenced)] == [5]
        assert sum(isinstance(answer, tuple) for answer in answers) == 11


async def test_who_settles_for_the_dead_has_a_share_below_zero(postgres_url: str) -> None:
    """The sums are right, and the share of the dead goes when somebody needs the room."""
    run = run_name(1)
    async with opened(postgres_url) as dead:
        await dead.take_name("own_dead")
        head = (await write_run(dead, run)).head
        (entry,) = await dead.append(
            Append(
                stream=f"run/{run}",
                events=(intended(run, reserve=((BUDGET, "money", 80, 100),)),),
                expect=head,
                epoch=1,
                now=NOW,
            )
        )
    async with opened(postgres_url) as store:
        await store.take_name("own_next")
        done = ended("1.0", run=run, settle=((BUDGET, "money", 80, 30),))
        (entry,) = await store.append(
            Append(stream=f"run/{run}", events=(done,), expect=entry.head, epoch=1, now=NOW)
        )
        assert execute(postgres_url, "SELECT reserved FROM answerable.budget WHERE holder = 'own_next'") == [
            (-80,)
        ]
        assert await store.budget(BUDGET) == {"money": (0, 30)}
        again = intended(run, path="2.0", reserve=((BUDGET, "money", 70, 100),))
        await store.append(Append(stream=f"run/{run}", events=(again,), expect=entry.head, epoch=1, now=NOW))

        assert await store.budget(BUDGET) == {"money": (70, 30)}
        assert execute(postgres_url, "SELECT holder FROM answerable.budget ORDER BY holder") == [
            ("",),
            ("own_next",),
        ]


async def test_a_share_that_is_being_made_is_seen_by_who_waits_for_the_parent(postgres_url: str) -> None:
    """The first grant of one process is not committed yet when another asks: it waits, and then sees it."""
    async with opened(postgres_url) as first, opened(postgres_url) as one, opened(postgres_url) as other:
        asks: list[Append] = []
        for number, (store, amount) in enumerate(((first, 1), (one, 900), (other, 900))):
            await store.take_name(f"own_{number}")
            run = run_name(number)
            head = (await write_run(store, run)).head
            event = intended(run, reserve=((BUDGET, "money", amount, 1000),))
            asks.append(Append(stream=f"run/{run}", events=(event,), expect=head, epoch=1, now=NOW))
        await first.append(asks[0])
        execute(postgres_url, SLOW_COMMIT)
        granted = asyncio.ensure_future(one.append(asks[1]))
        await asyncio.sleep(0.3)
        with pytest.raises(BudgetExceeded):
            await other.append(asks[2])

        await granted
        assert used(postgres_url) == 901


async def test_a_halt_is_heard_at_once(postgres_url: str) -> None:
    """Within fifty milliseconds of its commit; and after a cut connection at the latest within a second or two."""
    with Proxy(postgres_url) as proxy:
        async with opened(postgres_url) as store, opened(proxy.url) as listening:

            async def raised(epoch: int) -> float:
                event = halt("all", epoch)
                await store.append(
                    Append(stream="tenant/default", events=(event,), expect=None, epoch=0, now=NOW)
                )
                return time.monotonic()

            async def heard(epoch: int) -> float:
                while (await listening.halts())[0] != epoch:
                    await listening.changed()
                return time.monotonic()

            took: list[float] = []
            await listening.changed()
            await asyncio.sleep(0.1)
            for epoch in range(1, 6):
                waiting = asyncio.ensure_future(heard(epoch))
                await asyncio.sleep(0.05)
                at = await raised(epoch)
                took.append(await waiting - at)
            assert sorted(took)[2] < 0.05, took
            proxy.cut_all()
            waiting = asyncio.ensure_future(heard(6))
            at = await raised(6)
            assert await waiting - at < 2.5


# Who lives


async def test_a_name_lives_until_it_is_given_up_or_its_lease_runs_out(
    postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the server's clock; a clean end is known at once."""
    async with opened(postgres_url) as looking:
        async with opened(postgres_url) as store:
            await store.take_name("own_1")
            await write_run(store, run_name(1))
            assert await looking.is_alive("own_1")
            (row,) = await looking.workers()
            assert (row.owner, row.pid, row.is_alive, row.runs) == ("own_1", os.getpid(), True, 1)
            assert row.heartbeat_age_s < 5

            execute(postgres_url, "UPDATE answerable.worker SET heartbeat = heartbeat - interval '1 hour'")
            assert not await looking.is_alive("own_1")
            assert not store.is_fenced
            store._lease.renew()
            assert store.is_fenced
            assert await looking.is_alive("own_1")

            execute(postgres_url, "DELETE FROM answerable.worker")
            store._lease.renew()
            assert await looking.is_alive("own_1")
        assert not await looking.is_alive("own_1")
        assert await looking.workers() == []


async def test_a_heartbeat_goes_on_beside_a_busy_loop_and_past_a_cut_connection(
    postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It has a thread and a connection of its own."""
    monkeypatch.setattr(lease, "LEASE_S", 0.3)
    with Proxy(postgres_url) as proxy:
        async with opened(proxy.url) as store:
            await store.take_name("own_1")

            def beat() -> Any:
                return execute(postgres_url, "SELECT heartbeat FROM answerable.worker")[0][0]

            first = beat()
            time.sleep(0.35)  # the event loop stands still
            second = beat()
            assert second > first
            proxy.cut_all()
            await until(lambda: beat() > second)
            await store.append(note())
