"""The limits of tools, shared by all processes of all machines: a row for each tool, locked while a turn is taken.

Time is the server's, read while the row is locked: the clocks of machines differ, and it must not fall. The commits are not
waited for (`synchronous_commit` is off): what is lost with a server is a few turns.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, TypeVar

import psycopg
from psycopg_pool import AsyncConnectionPool, PoolTimeout

from answerable.errors import JournalBusy, JournalError
from answerable.journal.postgres.connect import CONNECT_S, conninfo, is_lost, settings, translate
from answerable.kernel.throttle import Throttle, parse_throttle, take, tell

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from answerable.kernel.throttle import Ask, Limits, Report, Turn

POOL_MAX = 2
"""How many turns a process takes at once."""
_CLOCK = "(extract(epoch FROM clock_timestamp()) * 1000000)::bigint"
_READ = f"SELECT state, {_CLOCK} FROM answerable.throttle WHERE key = %s"
# The clock is read by the outer query, so after the wait for the row.
_LOCK = (
    "WITH row AS MATERIALIZED (SELECT state FROM answerable.throttle WHERE key = %s FOR UPDATE)"
    f" SELECT state, {_CLOCK} FROM row"
)
_MAKE = "INSERT INTO answerable.throttle (key, state) VALUES (%s, %s) ON CONFLICT DO NOTHING"
_WRITE = "UPDATE answerable.throttle SET state = %s WHERE key = %s"
_ALL = f"SELECT key, state, {_CLOCK} FROM answerable.throttle"

Answer = TypeVar("Answer")
Db = psycopg.AsyncConnection[Any]


class PostgresThrottle:
    """See the module. Nothing is connected before the first turn: tools without limits cost nothing."""

    def __init__(self, url: str, name: str) -> None:
        self._url = url
        self._name = name
        self._pool: AsyncConnectionPool[Db] | None = None
        self._opening = asyncio.Lock()

    async def take(self, key: str, limits: Limits, ask: Ask) -> Turn:
        """See `JournalStore.take_turn`."""
        if limits.rate is None:  # a breaker that is closed is only looked at
            turn = await self._do(lambda db: _peek(db, key, limits, ask))
            if turn is not None:
                return turn
        return await self._do(lambda db: _change(db, key, lambda s, now: take(s, limits, ask, now)))

    async def tell(self, key: str, limits: Limits, report: Report) -> None:
        """See `JournalStore.tell_turn`."""
        await self._do(lambda db: _change(db, key, lambda s, now: (tell(s, limits, report, now), None)))

    async def states(self) -> tuple[dict[str, Throttle], int]:
        """Every limit that is kept, by its key, and the time at which it was so."""
        rows = await self._do(_all)
        return {key: parse_throttle(text) for key, text, _ in rows}, max((row[2] for row in rows), default=0)

    async def close(self) -> None:
        """Let go of the connections."""
        if self._pool is not None:
            await self._pool.close()
            self._pool = None

    async def _opened(self) -> AsyncConnectionPool[Db]:
        async with self._opening:
            if self._pool is None:
                pool: AsyncConnectionPool[Db] = AsyncConnectionPool(
                    conninfo(self._url, "limits"),
                    min_size=1,
                    max_size=POOL_MAX,
                    timeout=CONNECT_S,
                    open=False,
                    kwargs={"autocommit": True, "prepare_threshold": 0},
                    configure=_configure,
                    name="answerable-limits",
                )
                await pool.open()
                self._pool = pool
            return self._pool

    async def _do(self, act: Callable[[Db], Awaitable[Answer]]) -> Answer:
        """Do it. A connection that turns out to be dead is replaced once: a turn taken twice is one send fewer."""
        pool = await self._opened()
        for is_last in (False, True):
            try:
                async with pool.connection() as db:
                    return await act(db)
            except PoolTimeout as error:
                raise JournalBusy(
                    f"the journal `{self._name}` gave no connection in {CONNECT_S} s", hint="nothing was sent"
                ) from error
            except psycopg.Error as error:
                if is_last or not is_lost(error):
                    raise translate(error, self._name) from error
            except ValueError as error:
                raise JournalError(
                    f"the limits of tools in `{self._name}` cannot be read: {error}",
                    hint="delete the rows of `answerable.throttle`: limits begin anew",
                ) from error
        raise AssertionError


async def _configure(db: Db) -> None:
    await db.execute(settings("relaxed"))


async def _all(db: Db) -> list[tuple[Any, ...]]:
    return await (await db.execute(_ALL)).fetchall()


async def _peek(db: Db, key: str, limits: Limits, ask: Ask) -> Turn | None:
    """The answer where it changes nothing."""
    row = await (await db.execute(_READ, (key,))).fetchone()
    if row is None:
        row = (Throttle().to_text(), 0)
    state = parse_throttle(row[0])
    after, turn = take(state, limits, ask, row[1])
    return turn if after is state else None


async def _change(db: Db, key: str, change: Callable[[Throttle, int], tuple[Throttle, Answer]]) -> Answer:
    async with db.transaction():
        row = await (await db.execute(_LOCK, (key,))).fetchone()
        if row is None:
            await db.execute(_MAKE, (key, Throttle().to_text()))
            row = await (await db.execute(_LOCK, (key,))).fetchone()
        assert row is not None
        state = parse_throttle(row[0])
        after, answer = change(state, row[1])
        if after is not state:
            await db.execute(_WRITE, (after.to_text(), key))
    return answer
