"""The limits of tools, shared by all processes of this machine: a small database of its own beside the journal.

It is apart from the journal's file on purpose: a turn must not wait until somebody's entry is on the disk, nor an entry
for a turn. Nothing of the audit is in it. Deleted, it is made again, with every limit as new.
"""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
from typing import TYPE_CHECKING, TypeVar

from answerable.errors import JournalBusy, JournalError
from answerable.journal.sqlite.connect import BUSY_MS
from answerable.journal.sqlite.files import create_private
from answerable.kernel.throttle import Throttle, parse_throttle, take, tell

if TYPE_CHECKING:
    from collections.abc import Callable, Generator
    from pathlib import Path

    from answerable.kernel.throttle import Ask, Limits, Report, Turn

AGAIN_S = 0.0005
"""How soon a row that another process writes is asked for again. A change takes some ten microseconds."""
Answer = TypeVar("Answer")
_BUSY = (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)


class SqliteThrottle:
    """See the module. Nothing is opened before the first turn: tools without limits cost nothing."""

    def __init__(self, path: Path, clock: Callable[[], int]) -> None:
        self.path = path
        self._clock = clock
        self._db: sqlite3.Connection | None = None

    async def take(self, key: str, limits: Limits, ask: Ask) -> Turn:
        """See `JournalStore.take_turn`."""
        if limits.rate is None:  # a breaker that is closed is only looked at
            turn = await self._patiently(lambda db: self._peek(db, key, limits, ask))
            if turn is not None:
                return turn
        return await self._patiently(
            lambda db: self._change(db, key, lambda s, now: take(s, limits, ask, now))
        )

    async def tell(self, key: str, limits: Limits, report: Report) -> None:
        """See `JournalStore.tell_turn`."""
        await self._patiently(
            lambda db: self._change(db, key, lambda s, now: (tell(s, limits, report, now), None))
        )

    def states(self) -> dict[str, Throttle]:
        """Every limit that is kept, by its key."""
        if not self.path.exists():
            return {}
        with self._translated():
            return {
                key: parse_throttle(text)
                for key, text in self._open().execute("SELECT key, state FROM throttle")
            }

    def close(self) -> None:
        """Let go of the file."""
        if self._db is not None:
            with contextlib.suppress(sqlite3.Error):
                self._db.close()
            self._db = None

    def _open(self) -> sqlite3.Connection:
        if self._db is None:
            with contextlib.suppress(FileExistsError):
                create_private(self.path)
            db = sqlite3.connect(self.path, isolation_level=None, check_same_thread=False, timeout=0)
            try:
                # Without a sync for each commit: what is lost with the machine's power is a few turns. `NORMAL` keeps
                # the file itself sound.
                db.execute("PRAGMA journal_mode = WAL")
                db.execute("PRAGMA synchronous = NORMAL")
                db.execute(
                    "CREATE TABLE IF NOT EXISTS throttle (key TEXT PRIMARY KEY, state TEXT NOT NULL) WITHOUT ROWID"
                )
            except BaseException:
                db.close()
                raise
            self._db = db
        return self._db

    async def _patiently(self, act: Callable[[sqlite3.Connection], Answer]) -> Answer:
        """Do it as soon as nobody else is at it, without holding up the event loop."""
        loop = asyncio.get_running_loop()
        give_up_at = loop.time() + BUSY_MS / 1000
        while True:
            with self._translated():
                try:
                    return act(self._open())
                except sqlite3.OperationalError as error:
                    if error.sqlite_errorcode & 0xFF not in _BUSY or loop.time() > give_up_at:
                        raise
            await asyncio.sleep(AGAIN_S)

    def _peek(self, db: sqlite3.Connection, key: str, limits: Limits, ask: Ask) -> Turn | None:
        """The answer where it changes nothing."""
        state = _read(db, key)
        after, turn = take(state, limits, ask, self._clock())
        return turn if after is state else None

    def _change(
        self,
        db: sqlite3.Connection,
        key: str,
        change: Callable[[Throttle, int], tuple[Throttle, Answer]],
    ) -> Answer:
        db.execute("BEGIN IMMEDIATE")
        try:
            state = _read(db, key)
            after, answer = change(
                state, self._clock()
            )  # the time is read while nobody else can write: it does not fall
            if after is not state:
                db.execute(
                    "INSERT INTO throttle VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET state = excluded.state",
                    (key, after.to_text()),
                )
            db.execute("COMMIT")
        finally:
            if db.in_transaction:
                db.execute("ROLLBACK")
        return answer

    @contextlib.contextmanager
    def _translated(self) -> Generator[None]:
        try:
            yield
        except (sqlite3.Error, ValueError) as error:
            if isinstance(error, sqlite3.Error) and getattr(error, "sqlite_errorcode", 0) & 0xFF in _BUSY:
                raise JournalBusy(
                    f"`{self.path}` is held by another process for more than {BUSY_MS // 1000} s",
                    hint="look who has it open; nothing was sent",
                ) from error
            raise JournalError(
                f"the limits of tools in `{self.path}` cannot be kept: {error}",
                hint="delete the file when nothing runs: limits begin anew, the journal is not touched",
            ) from error


def _read(db: sqlite3.Connection, key: str) -> Throttle:
    row = db.execute("SELECT state FROM throttle WHERE key = ?", (key,)).fetchone()
    return parse_throttle(row[0]) if row else Throttle()
