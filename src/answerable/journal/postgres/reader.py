"""Everything that is only read, and the few small writes that no entry causes. One statement for each question."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import psycopg
from psycopg_pool import AsyncConnectionPool, PoolTimeout

from answerable.errors import JournalBusy
from answerable.journal.postgres.connect import CONNECT_S, conninfo, is_lost, settings, translate
from answerable.journal.rows import entries_in

if TYPE_CHECKING:
    from collections.abc import Sequence

    from answerable.journal.store import Durability
    from answerable.kernel.entry import Entry

POOL_MAX = 4
"""How many questions are asked at once."""
GIVE_UP_S = 3
"""How long a lost connection is tried again in the background, ever more seldom; after that, when somebody asks."""

Row = tuple[Any, ...]


class Reader:
    """A few connections for questions. A connection that was dropped is replaced."""

    def __init__(self, url: str, name: str, durability: Durability) -> None:
        self._name = name
        self._settings = settings(durability)
        self._pool = AsyncConnectionPool(
            conninfo(url, "reader"),
            min_size=1,
            max_size=POOL_MAX,
            timeout=CONNECT_S,
            reconnect_timeout=GIVE_UP_S,
            open=False,
            kwargs={"autocommit": True, "prepare_threshold": 0},
            configure=self._configure,
            name="answerable-reader",
        )

    async def _configure(self, db: psycopg.AsyncConnection[Any]) -> None:
        await db.execute(self._settings)

    async def open(self) -> None:
        """Connect."""
        await self._pool.open()

    async def ask(self, sql: str, values: Sequence[object] = ()) -> list[Row]:
        """The rows that answer a question. A connection that turns out to be dead is replaced once.

        Raises `JournalBusy` where the database cannot be reached, and otherwise what the error means.
        """
        try:
            try:
                return await self._ask(sql, values)
            except psycopg.Error as error:
                if not is_lost(error):
                    raise
            await self._pool.check()
            return await self._ask(sql, values)
        except PoolTimeout as error:
            raise JournalBusy(
                f"the journal `{self._name}` is not there, or has no connection to spare",
                hint="the server was stopped or is starting, or the network is cut; try again when it is back",
            ) from error
        except psycopg.Error as error:
            raise translate(error, self._name) from error

    async def _ask(self, sql: str, values: Sequence[object]) -> list[Row]:
        async with self._pool.connection() as db:
            cursor = await db.execute(sql.encode(), values)
            return await cursor.fetchall() if cursor.description else []

    async def ask_at_once(self, questions: Sequence[str]) -> list[list[Row]]:
        """The answers to several questions, all of one moment."""
        try:
            async with self._pool.connection() as db, db.transaction():
                await db.execute(b"SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
                return [await (await db.execute(question.encode())).fetchall() for question in questions]
        except psycopg.Error as error:
            raise translate(error, self._name) from error

    async def entries(self, stream: str, after: int) -> list[Entry]:
        """The entries of a stream, read strictly."""
        rows = await self.ask(
            "SELECT stream, seq, time, prev, hash, body FROM answerable.entry"
            " WHERE stream = %s AND seq > %s ORDER BY seq",
            (stream, after),
        )
        return entries_in(stream, rows)

    async def close(self) -> None:
        """Let go of the connections."""
        await self._pool.close()
