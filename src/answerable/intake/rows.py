"""The rows of a watched table: taken and marked in one transaction, in SQLite and in PostgreSQL.

A row stays taken by nobody until its run is in the journal. Whoever dies in between lets go of it with its
connection, and the next one gets the same run for it.
"""

from __future__ import annotations

import asyncio
import sqlite3
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from answerable.errors import AnswerableError, ConfigError
from answerable.journal.opening import is_postgres, journal_path
from answerable.journal.sqlite.connect import APPLICATION

if TYPE_CHECKING:
    from collections.abc import Sequence

    from psycopg import AsyncConnection

    from answerable.intake.doors import Queue
    from answerable.kernel.ids import RunId

COLUMNS = ("id", "payload", "run", "error", "taken_at")
BUSY_S = 5.0
_SQLITE_NOW = "strftime('%Y-%m-%dT%H:%M:%fZ', 'now')"


class QueueUnreachable(AnswerableError):
    """The database of a queue cannot be read or written now; nothing of it is lost."""


@dataclass(frozen=True, slots=True)
class Row:
    """A row that nobody has taken."""

    id: Any
    payload: Any


@dataclass(frozen=True, slots=True)
class Mark:
    """What is written into a row: its run, or why it can never be one."""

    id: Any
    run: RunId | None
    error: str | None


class Rows(Protocol):
    """A table, and one transaction at a time on it."""

    async def open(self) -> None:
        """Connect, and look whether the table is one. Raises `ConfigError`, `QueueUnreachable`."""
        ...

    async def take(self, limit: int) -> list[Row]:
        """Hold the next rows that nobody has taken, in order of their ids."""
        ...

    async def mark(self, marks: Sequence[Mark]) -> None:
        """Write what became of them, and let go."""
        ...

    async def release(self) -> None:
        """Let go without having changed anything."""
        ...

    async def close(self) -> None:
        """Disconnect. Whatever is held is let go."""
        ...


def rows_of(queue: Queue) -> Rows:
    """The rows of a queue. Raises `ConfigError` where what they need is not installed."""
    if not is_postgres(queue.database):
        return SqliteRows(queue)
    try:
        import psycopg
    except ImportError:
        raise ConfigError(
            f"the queue `{queue.name}` in PostgreSQL needs a package that is not installed: `psycopg`",
            hint='pip install "answerable[postgres]"',
        ) from None
    del psycopg
    return PostgresRows(queue)


def _check_columns(queue: Queue, there: Sequence[str]) -> None:
    if missing := [name for name in COLUMNS if name not in there]:
        raise ConfigError(
            f"`{queue.table}` of the queue `{queue.name}` has no {', '.join(f'`{name}`' for name in missing)}",
            hint="it needs `id`, which grows, `payload` (JSON), and `run`, `error`, `taken_at`, which are empty",
        )


class SqliteRows:
    """See `Rows`. The write lock of the database is held from taking to marking, for some milliseconds."""

    def __init__(self, queue: Queue) -> None:
        self._queue = queue
        self._path = Path(journal_path(queue.database))
        self._db: sqlite3.Connection | None = None

    async def open(self) -> None:
        """See `Rows.open`."""
        await asyncio.to_thread(self._open)

    def _open(self) -> None:
        if not self._path.is_file():
            raise ConfigError(
                f"there is no database `{self._path}` for the queue `{self._queue.name}`",
                hint="make it, with its table, before its queue is watched",
            )
        uri = f"{self._path.absolute().as_uri()}?mode=rw"
        try:
            db = sqlite3.connect(uri, uri=True, isolation_level=None, check_same_thread=False, timeout=BUSY_S)
        except sqlite3.Error as error:
            raise self._unreachable(error) from None
        self._db = db
        try:
            if db.execute("PRAGMA application_id").fetchone()[0] == APPLICATION:
                raise ConfigError(
                    f"`{self._path}` is a journal, and no place for a queue",
                    hint="put the table into a database of its own",
                )
            found = db.execute(f"SELECT * FROM {self._queue.table} LIMIT 0")
            _check_columns(self._queue, [column[0] for column in found.description])
        except sqlite3.OperationalError as error:
            if "no such table" in str(error):
                _check_columns(self._queue, [])
            raise self._unreachable(error) from None

    async def take(self, limit: int) -> list[Row]:
        """See `Rows.take`."""
        return await asyncio.to_thread(self._take, limit)

    def _take(self, limit: int) -> list[Row]:
        assert self._db is not None
        select = f"SELECT id, payload FROM {self._queue.table} WHERE taken_at IS NULL ORDER BY id LIMIT ?"
        try:
            if not self._db.execute(select, (1,)).fetchall():
                return []  # looked without the lock: an empty queue never gets into the way of its writers
            self._db.execute("BEGIN IMMEDIATE")
            return [Row(*row) for row in self._db.execute(select, (limit,)).fetchall()]
        except sqlite3.Error as error:
            raise self._unreachable(error) from None

    async def mark(self, marks: Sequence[Mark]) -> None:
        """See `Rows.mark`."""
        await asyncio.to_thread(self._mark, marks)

    def _mark(self, marks: Sequence[Mark]) -> None:
        assert self._db is not None
        try:
            self._db.executemany(
                f"UPDATE {self._queue.table} SET run = ?, error = ?, taken_at = {_SQLITE_NOW} WHERE id = ?",
                [(mark.run, mark.error, mark.id) for mark in marks],
            )
            self._db.execute("COMMIT")
        except sqlite3.Error as error:
            raise self._unreachable(error) from None

    async def release(self) -> None:
        """See `Rows.release`."""
        if self._db is not None and self._db.in_transaction:
            await asyncio.to_thread(self._db.rollback)

    async def close(self) -> None:
        """See `Rows.close`."""
        if self._db is not None:
            self._db.close()
            self._db = None

    def _unreachable(self, error: sqlite3.Error) -> QueueUnreachable:
        return QueueUnreachable(
            f"the queue `{self._queue.name}` cannot be read or written: {error}",
            hint=f"look at `{self._path}`; its rows are kept",
        )


class PostgresRows:
    """See `Rows`. Rows that another watcher holds are passed over."""

    def __init__(self, queue: Queue) -> None:
        self._queue = queue
        self._db: AsyncConnection[Any] | None = None

    async def open(self) -> None:
        """See `Rows.open`."""
        import psycopg

        try:
            self._db = await psycopg.AsyncConnection.connect(
                self._queue.database, connect_timeout=10, application_name="answerable intake"
            )
            found = await self._db.execute(f"SELECT * FROM {self._queue.table} LIMIT 0".encode())
            _check_columns(self._queue, [column.name for column in found.description or ()])
            await self._db.rollback()
        except psycopg.errors.UndefinedTable:
            _check_columns(self._queue, [])
        except psycopg.Error as error:
            raise self._unreachable(error) from None

    async def take(self, limit: int) -> list[Row]:
        """See `Rows.take`."""
        import psycopg

        assert self._db is not None
        select = (
            f"SELECT id, payload::text FROM {self._queue.table} WHERE taken_at IS NULL"
            " ORDER BY id LIMIT %s FOR UPDATE SKIP LOCKED"
        )
        try:
            found = await self._db.execute(select.encode(), (limit,))
            rows = [Row(*row) for row in await found.fetchall()]
            if not rows:
                await self._db.rollback()
            return rows
        except psycopg.Error as error:
            raise self._unreachable(error) from None

    async def mark(self, marks: Sequence[Mark]) -> None:
        """See `Rows.mark`."""
        import psycopg

        assert self._db is not None
        update = (
            f"UPDATE {self._queue.table} SET run = %s, error = %s, taken_at = clock_timestamp() WHERE id = %s"
        )
        try:
            async with self._db.cursor() as cursor:
                await cursor.executemany(update.encode(), [(mark.run, mark.error, mark.id) for mark in marks])
            await self._db.commit()
        except psycopg.Error as error:
            raise self._unreachable(error) from None

    async def release(self) -> None:
        """See `Rows.release`."""
        import psycopg

        if self._db is not None and not self._db.closed:
            try:
                await self._db.rollback()
            except psycopg.Error as error:
                raise self._unreachable(error) from None

    async def close(self) -> None:
        """See `Rows.close`."""
        if self._db is not None:
            await self._db.close()
            self._db = None

    def _unreachable(self, error: Exception) -> QueueUnreachable:
        # A database's own words may hold a row's content: only their kind is said.
        return QueueUnreachable(
            f"the queue `{self._queue.name}` cannot be read or written: {type(error).__name__}",
            hint="look at its database; its rows are kept",
        )
