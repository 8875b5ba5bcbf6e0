"""The last look before a send: everybody who waits for one is answered by one round trip.

A process with many runs looks as often as it sends. One connection for each look would make looks wait for each other,
and a look that waits is a send that is late. So one thread asks for all streams at once. What it answers was read after
each of those who get it had asked.
"""

from __future__ import annotations

import asyncio
import queue
import threading
from typing import TYPE_CHECKING

import psycopg

from answerable.errors import JournalBusy
from answerable.journal.postgres import rows as tables
from answerable.journal.postgres.connect import connect, is_lost, translate
from answerable.journal.postgres.wire import Statement, Wire
from answerable.journal.store import Halt, Look

if TYPE_CHECKING:
    from collections.abc import Sequence

    from answerable.journal.store import Durability

AT_ONCE = 256
ANSWER_S = 10.0
"""How long an answer is waited for: after that nothing may be sent on it anyway."""
_EPOCHS = Statement(
    "look_epochs", "SELECT stream, epoch FROM answerable.head WHERE stream = ANY($1)", takes="T", gives="ti"
)
_HALTS = Statement(
    "look_halts",
    f"SELECT {', '.join(tables.HALT.columns)} FROM answerable.halt WHERE is_active",
    gives=tables.HALT.types,
)

Job = tuple[str, asyncio.AbstractEventLoop, "asyncio.Future[Look]"]
Told = tuple["asyncio.Future[Look]", Look | BaseException]


class Looker:
    """One connection, and the thread that owns it from the first look on."""

    def __init__(self, url: str, name: str, durability: Durability) -> None:
        self._url = url
        self._name = name
        self._durability: Durability = durability
        self._queue: queue.SimpleQueue[Job | None] = queue.SimpleQueue()
        self._wire: Wire | None = None
        self._thread: threading.Thread | None = None

    async def look(self, stream: str) -> Look:
        """Who owns a stream, and what is halted, read after this was called. Raises `JournalError`."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, name="answerable-look", daemon=True)
            self._thread.start()
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Look] = loop.create_future()
        self._queue.put((stream, loop, future))
        try:
            async with asyncio.timeout(ANSWER_S):
                return await future
        except TimeoutError:
            raise JournalBusy(
                f"the journal `{self._name}` does not say who owns `{stream}`",
                hint="nothing was sent; look at the database and the network to it",
            ) from None

    def close(self) -> None:
        """Answer who waits, and stop."""
        if self._thread is not None:
            self._queue.put(None)
            self._thread.join()
        if self._wire is not None:
            self._wire.close()

    def _work(self) -> None:
        is_last = False
        while not is_last:
            jobs: list[Job] = []
            more = self._queue.get()
            while more is not None:
                jobs.append(more)
                if len(jobs) == AT_ONCE:
                    break
                try:
                    more = self._queue.get_nowait()
                except queue.Empty:
                    break
            is_last = more is None
            if jobs:
                self._answer(jobs)

    def _answer(self, jobs: list[Job]) -> None:
        told: dict[asyncio.AbstractEventLoop, list[Told]] = {}
        try:
            epochs, halts = self._ask(sorted({stream for stream, _, _ in jobs}))
            answers: list[Look | BaseException] = [
                Look(epoch=epochs.get(stream, 0), halts=halts) for stream, _, _ in jobs
            ]
        except psycopg.Error as error:
            answers = [translate(error, self._name)] * len(jobs)
        except BaseException as error:  # noqa: BLE001 - the callers must hear of it, whatever it was
            answers = [error] * len(jobs)
        for (_, loop, future), answer in zip(jobs, answers, strict=True):
            told.setdefault(loop, []).append((future, answer))
        for loop, those in told.items():
            try:
                loop.call_soon_threadsafe(_tell, those)
            except RuntimeError:  # its loop is closed: nobody waits there any more
                continue

    def _ask(self, streams: Sequence[str]) -> tuple[dict[str, int], tuple[Halt, ...]]:
        """Ask, and once more on a new connection where the old one turns out to be dead."""
        for is_again in (False, True):
            try:
                if self._wire is None:
                    self._wire = Wire(connect(self._url, "look", self._durability))
                halts, epochs = self._wire.ask([(_HALTS, ()), (_EPOCHS, (streams,))])
                break
            except psycopg.Error as error:
                if self._wire is not None and self._wire.is_lost:
                    self._wire.close()
                    self._wire = None
                if is_again or not is_lost(error):
                    raise
        else:
            raise AssertionError
        rows = [tables.HALT.split(row) for row in halts]
        return dict(epochs), tuple(
            Halt(scope=scope, epoch=row.epoch, by=row.by, reason=row.reason, since=row.since)
            for scope, row in rows
        )


def _tell(those: list[Told]) -> None:
    for future, answer in those:
        if future.done():
            continue
        if isinstance(answer, BaseException):
            future.set_exception(answer)
        else:
            future.set_result(answer)
