"""Watched tables, in real databases: each row is one run, whoever dies between the run and the mark."""

from __future__ import annotations

import asyncio
import json
import sqlite3
import sys
from typing import TYPE_CHECKING

import pytest
from tests.intake.offices import (
    CANARY,
    Table,
    heard,
    intake_of,
    make_office,
    project_in,
    runs,
    runs_in,
    serving,
)
from tests.postgres_server import blank_url, execute

from answerable.errors import ConfigError, JournalFull
from answerable.intake import doors_of, run_doors
from answerable.intake.queue import QueueWatcher
from answerable.intake.rows import QueueUnreachable
from answerable.project import open_project

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from answerable.kernel.ids import RunId

__all__ = ["blank_url", "heard"]
QUEUE = '[[intake.queue]]\nname = "work"\nagent = "{agent}"\ndatabase = "sqlite:///work.db"\ntable = "work"\nlook_every = "50ms"\ntake = 3\n'
DYING = [sys.executable, "-m", "tests.intake.dying", "watch"]
IN_POSTGRES = "CREATE TABLE work (id bigserial PRIMARY KEY, payload jsonb NOT NULL, run text, error text, taken_at timestamptz)"


def make_queue(folder: Path, agent: str = "desk", intake: str = "") -> tuple[Path, Table]:
    """A project that watches a table, and the table."""
    made = make_office(folder, intake + QUEUE.format(agent=agent))
    return made, Table(made / "work.db")


def ticket(number: int) -> str:
    """A payload."""
    return json.dumps({"id": f"Q-{number}"})


async def watched(folder: Path, *, until: Callable[[], bool], watchers: int = 1) -> list[list[RunId]]:
    """Watch until something is so. What was told on the way."""
    told: list[list[RunId]] = []

    async def tell(runs: list[RunId]) -> None:
        told.append(runs)

    async with intake_of(folder) as (project, intake):
        stop = asyncio.Event()
        doors = doors_of(project)
        work = [
            asyncio.create_task(run_doors(intake, doors, stop, on_accepted=tell)) for _ in range(watchers)
        ]
        for _ in range(500):
            if until() or any(task.done() for task in work):
                break
            await asyncio.sleep(0.02)
        stop.set()
        await asyncio.gather(*work)
        assert until()
    return told


async def test_rows_become_runs_in_order(tmp_path: Path) -> None:
    folder, table = make_queue(tmp_path)
    table.put(*(ticket(number) for number in range(7)))
    told = await watched(folder, until=lambda: all(row[1] for row in table.rows()))
    rows = table.rows()
    assert [run for batch in told for run in batch] == [run for _, run, _, _ in rows]
    assert [len(batch) for batch in told] == [3, 3, 1]
    assert {error for _, _, error, _ in rows} == {None}
    assert all(at and at.startswith("20") for *_, at in rows)
    assert {row.run for row in await runs_in(folder)} == {run for _, run, _, _ in rows}


async def test_a_row_that_is_no_task_is_marked_and_keeps_no_other_from_its_run(
    tmp_path: Path, heard: list[str]
) -> None:
    folder, table = make_queue(tmp_path)
    table.put(ticket(1), "{", json.dumps({"id": "Q-2", "note": 5, CANARY: 1}), "null", ticket(3))
    await watched(folder, until=lambda: all(row[3] for row in table.rows()))
    rows = table.rows()
    assert [bool(run) for _, run, _, _ in rows] == [True, False, False, False, True]
    errors = [error or "" for _, _, error, _ in rows]
    assert ["JSON" in errors[1], "`note`" in errors[2], "object" in errors[3]] == [True] * 3
    refused = [line for line in heard if "queue_row_refused" in line]
    assert sorted(refused) == [
        line for number in (2, 3, 4) for line in refused if f"'row': '{number}'" in line
    ]
    assert len(refused) == 3
    assert CANARY not in str(heard)


async def test_two_tables_rows_with_one_event_are_one_run(tmp_path: Path) -> None:
    """The agent says what an event is; a row that repeats one gets the run that is there."""
    folder, table = make_queue(tmp_path)
    table.put(ticket(1), ticket(1))
    await watched(folder, until=lambda: all(row[1] for row in table.rows()))
    assert len({run for _, run, _, _ in table.rows()}) == 1


async def test_without_a_source_the_row_is_the_event(tmp_path: Path) -> None:
    folder, table = make_queue(tmp_path, "plain")
    table.put(ticket(1), ticket(1))
    await watched(folder, until=lambda: all(row[1] for row in table.rows()))
    assert len({run for _, run, _, _ in table.rows()}) == 2


async def test_watchers_at_once_take_each_row_once(tmp_path: Path) -> None:
    folder, table = make_queue(tmp_path, "plain")
    table.put(*(ticket(number) for number in range(40)))
    told = await watched(folder, until=lambda: all(row[1] for row in table.rows()), watchers=3)
    assert sorted(run for batch in told for run in batch) == sorted(str(run) for _, run, _, _ in table.rows())
    assert len(await runs_in(folder)) == 40


def test_killed_between_run_and_mark_a_row_is_still_one_run(tmp_path: Path) -> None:
    folder, table = make_queue(tmp_path, "plain")
    table.put(ticket(1), ticket(2))
    for _ in range(2):
        with serving(folder, command=[*DYING, "after", str(folder)]) as dying:
            assert dying.process.wait(10) == -9
        assert [run for _, run, _, _ in table.rows()] == [None, None]
    left = {row.run for row in runs(folder)}
    assert len(left) == 2

    asyncio.run(watched(folder, until=lambda: all(row[1] for row in table.rows())))
    assert {run for _, run, _, _ in table.rows()} == left == {row.run for row in runs(folder)}


async def test_a_runtime_is_told_and_drives_what_came_in(tmp_path: Path, heard: list[str]) -> None:
    """The doors of a process that drives runs too; that telling it fails takes nothing back."""
    folder, table = make_queue(tmp_path)
    table.put(ticket(1))
    told: list[RunId] = []

    async def tell(runs: list[RunId]) -> None:
        told.extend(runs)
        raise RuntimeError(CANARY)

    project, stop = project_in(folder), asyncio.Event()
    async with open_project(project) as runtime:
        doors = asyncio.create_task(run_doors(runtime, doors_of(project), stop, on_accepted=tell))
        for _ in range(500):
            if told:
                break
            await asyncio.sleep(0.02)
        assert (await runtime.drive(told[0])).state == "ended"
        stop.set()
        await doors
    assert [run for _, run, _, _ in table.rows()] == told
    assert any("nobody_could_be_told" in line for line in heard)
    assert CANARY not in str(heard)


async def test_a_full_house_leaves_rows_where_they_are(tmp_path: Path) -> None:
    folder, table = make_queue(tmp_path, intake="[intake]\nmax_open = 4\n\n")
    table.put(*(ticket(number) for number in range(7)))
    await watched(folder, until=lambda: len([row for row in table.rows() if row[1]]) == 4)
    async with intake_of(folder) as (project, intake):
        watcher = QueueWatcher(doors_of(project).queues[0], intake)
        assert await watcher.look() == ([], False)
        intake.max_open = 6
        assert len((await watcher.look())[0]) == 2
        await watcher.close()
    assert [bool(run) for _, run, _, _ in table.rows()] == [True] * 6 + [False]


async def test_a_journal_that_fails_leaves_rows_where_they_are(tmp_path: Path) -> None:
    folder, table = make_queue(tmp_path)
    table.put(ticket(1))
    async with intake_of(folder) as (project, intake):
        write = intake.store.append

        async def full(*_: object) -> None:
            raise JournalFull("no room")

        intake.store.append = full  # pyright: ignore[reportAttributeAccessIssue]
        watcher = QueueWatcher(doors_of(project).queues[0], intake)
        with pytest.raises(JournalFull):
            await watcher.look()
        table.put(ticket(2))  # the lock on the table is let go: others can write
        intake.store.append = write
        assert len((await watcher.look())[0]) == 2
        await watcher.close()


async def test_a_database_that_cannot_be_read_now_is_tried_again(
    tmp_path: Path, heard: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("answerable.intake.rows.BUSY_S", 0.05)
    folder, table = make_queue(tmp_path)
    table.put(ticket(1))
    holder = sqlite3.connect(table.path, isolation_level=None)
    holder.execute("BEGIN EXCLUSIVE")
    asyncio.get_running_loop().call_later(0.5, holder.rollback)
    await watched(folder, until=lambda: not holder.in_transaction and all(row[1] for row in table.rows()))
    holder.close()
    assert any("queue_failed" in line and "QueueUnreachable" in line for line in heard)


@pytest.mark.parametrize(
    ("sql", "said"),
    [
        ("DROP TABLE work", "has no `id`"),
        ("ALTER TABLE work DROP COLUMN error", "has no `error`"),
        ("PRAGMA application_id = 0x414E5357", "is a journal"),
    ],
)
async def test_a_table_that_is_no_queue_is_refused(tmp_path: Path, sql: str, said: str) -> None:
    folder, table = make_queue(tmp_path)
    db = sqlite3.connect(table.path)
    db.execute(sql)
    db.commit()
    db.close()
    async with intake_of(folder) as (project, intake):
        watcher = QueueWatcher(doors_of(project).queues[0], intake)
        with pytest.raises(ConfigError, match=said):
            await watcher.look()
        await watcher.close()


async def test_a_database_that_is_not_there_is_refused(tmp_path: Path) -> None:
    folder = make_office(tmp_path, QUEUE.format(agent="desk"))
    async with intake_of(folder) as (project, intake):
        with pytest.raises(ConfigError, match="there is no database"):
            await QueueWatcher(doors_of(project).queues[0], intake).look()


def in_postgres(folder: Path) -> Path:
    """A project that watches a table in PostgreSQL; its address is in the environment."""
    text = QUEUE.format(agent="plain").replace('database = "sqlite:///work.db"', 'database_env = "WORK_URL"')
    return make_office(folder, text)


async def test_rows_in_postgresql(tmp_path: Path, blank_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Three watchers, each passing over what another holds; a poison row; no row twice."""
    monkeypatch.setenv("WORK_URL", blank_url)
    folder = in_postgres(tmp_path)
    execute(blank_url, IN_POSTGRES)
    execute(
        blank_url,
        "INSERT INTO work (payload) SELECT jsonb_build_object('id', 'Q-' || n) FROM generate_series(1, 30) n",
    )
    execute(blank_url, "INSERT INTO work (payload) VALUES ('{\"noot\": 1.5}')")
    told = await watched(
        folder, until=lambda: not execute(blank_url, "SELECT 1 FROM work WHERE taken_at IS NULL"), watchers=3
    )
    rows = execute(blank_url, "SELECT run, error FROM work ORDER BY id")
    assert sorted(run for batch in told for run in batch) == sorted(run for run, _ in rows if run)
    assert len({run for run, _ in rows if run}) == 30
    assert rows[-1][0] is None
    assert "`noot`" in rows[-1][1]


async def test_killed_between_run_and_mark_in_postgresql(
    tmp_path: Path, blank_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WORK_URL", blank_url)
    folder = in_postgres(tmp_path)
    execute(blank_url, IN_POSTGRES)
    execute(blank_url, 'INSERT INTO work (payload) VALUES (\'{"id": "Q-1"}\')')
    with serving(folder, command=[*DYING, "after", str(folder)]) as dying:
        assert await asyncio.to_thread(dying.process.wait, 10) == -9
    assert execute(blank_url, "SELECT run FROM work") == [(None,)]
    (left,) = await runs_in(folder)
    await watched(folder, until=lambda: execute(blank_url, "SELECT run FROM work") == [(left.run,)])
    assert [row.run for row in await runs_in(folder)] == [left.run]


async def test_a_table_in_postgresql_that_is_no_queue_is_refused(
    tmp_path: Path, blank_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = in_postgres(tmp_path)
    for sql, url, expected in (
        ("SELECT 1", blank_url, ConfigError),
        ("CREATE TABLE work (id bigserial)", blank_url, ConfigError),
        ("SELECT 1", "postgresql://nobody@127.0.0.1:1/none", QueueUnreachable),
    ):
        execute(blank_url, sql)
        monkeypatch.setenv("WORK_URL", url)
        async with intake_of(folder) as (project, intake):
            watcher = QueueWatcher(doors_of(project).queues[0], intake)
            with pytest.raises(expected):
                await watcher.look()
            await watcher.close()
