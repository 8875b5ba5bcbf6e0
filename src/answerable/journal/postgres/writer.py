"""The one thread that writes: it takes what is queued, commits it, and only then answers.

Everything that waits goes into one transaction, whatever the durability: nobody is answered before the commit, so
it is as durable as a commit for each. What one of them is refused for does not touch the others.

When a connection is lost while a commit is under way, nobody knows whether it happened. It is found out on a new
connection before anybody is told anything (`resolve.py`).
"""

from __future__ import annotations

import asyncio
import contextlib
import queue
import random
import threading
import time
from typing import TYPE_CHECKING

import psycopg

from answerable.errors import JournalError
from answerable.journal.postgres.batch import Answer, Commit, commit
from answerable.journal.postgres.connect import RACED, connect, is_lost, translate
from answerable.journal.postgres.resolve import was_committed
from answerable.journal.postgres.wire import Wire

if TYPE_CHECKING:
    from collections.abc import Callable

    from answerable.journal.store import Append, Durability
    from answerable.kernel.entry import Entry

BATCH = 64
"""How many appends share a commit at most."""
BATCH_BYTES = 8 << 20
"""How much content a commit waits to take in."""
QUEUE = 4096
"""More than this waiting is an error: the database does not keep up."""
TRIES = 12
"""How often a batch is read again because another process was faster."""
RECONNECT_S = 15.0
"""How long a server that is gone is waited for before the callers are told."""
RETRY_S = 0.005
"""After a lost race: a moment of random length, longer each time."""

Job = tuple[tuple["Append", ...], asyncio.AbstractEventLoop, "asyncio.Future[tuple[Entry, ...]]"]
Settled = tuple["asyncio.Future[tuple[Entry, ...]]", Answer]


class Writer:
    """A write connection, and the thread that owns it. `holder` says whose shares of budgets are used."""

    def __init__(self, url: str, name: str, durability: Durability, holder: Callable[[], str]) -> None:
        self._url = url
        self._name = name
        self._durability: Durability = durability
        self._holder = holder
        self._queue: queue.SimpleQueue[Job | None] = queue.SimpleQueue()
        self._left: Job | None = None
        self._wire: Wire | None = self._connect()
        self._thread = threading.Thread(target=self._work, name="answerable-journal", daemon=True)
        self._thread.start()

    def _connect(self) -> Wire:
        return Wire(connect(self._url, "writer", self._durability, is_writer=True))

    async def append(self, appends: tuple[Append, ...]) -> tuple[Entry, ...]:
        """Queue appends as one transaction and wait until they are durable, or refused."""
        if self._queue.qsize() > QUEUE:
            raise JournalError(
                "the journal does not keep up with what is asked of it", hint="run fewer at once"
            )
        loop = asyncio.get_running_loop()
        future: asyncio.Future[tuple[Entry, ...]] = loop.create_future()
        self._queue.put((appends, loop, future))
        # A cancelled caller must not leave a commit in doubt, however often it is: it waits for the answer first.
        try:
            return await asyncio.shield(future)
        except asyncio.CancelledError:
            while not future.done():
                with contextlib.suppress(asyncio.CancelledError):
                    await asyncio.wait([future])
            raise

    def close(self) -> None:
        """Finish what is queued and stop."""
        self._queue.put(None)
        self._thread.join()
        if self._wire is not None:
            self._wire.close()

    def _work(self) -> None:
        is_last = False
        while not is_last:
            job = self._queue.get()
            if job is None:
                return
            jobs, size = [job], _size(job)
            while len(jobs) < BATCH and size < BATCH_BYTES:
                try:
                    more = self._queue.get_nowait()
                except queue.Empty:
                    break
                if more is None:
                    is_last = True
                    break
                jobs.append(more)
                size += _size(more)
            self._settle(jobs, self._answers([appends for appends, _, _ in jobs]))

    def _settle(self, jobs: list[Job], answers: list[Answer]) -> None:
        settled: dict[asyncio.AbstractEventLoop, list[Settled]] = {}
        for (_, loop, future), answer in zip(jobs, answers, strict=True):
            settled.setdefault(loop, []).append((future, answer))
        for loop, those in settled.items():
            try:
                loop.call_soon_threadsafe(_tell, those)
            except RuntimeError:  # its loop is closed: nobody waits there any more
                continue

    def _answers(self, jobs: list[tuple[Append, ...]]) -> list[Answer]:
        """Commit jobs together. Where that fails for a reason that one of them may bring, each is tried alone."""
        try:
            return self._commit(jobs)
        except psycopg.Error as error:
            if len(jobs) > 1 and not is_lost(error) and error.sqlstate not in _OF_ALL:
                return [answer for job in jobs for answer in self._answers([job])]
            return [translate(error, self._name)] * len(jobs)
        except BaseException as error:  # noqa: BLE001 - the callers must hear of it, whatever it was
            if len(jobs) > 1 and not isinstance(error, JournalError):
                return [answer for job in jobs for answer in self._answers([job])]
            return [error] * len(jobs)

    def _commit(self, jobs: list[tuple[Append, ...]]) -> list[Answer]:
        deadline = time.monotonic() + RECONNECT_S
        tries = 0
        while True:
            decided: list[Commit] = []
            try:
                if self._wire is None:
                    self._wire = self._connect()
                return commit(self._wire, jobs, me=self._holder(), committing=decided.append)
            except psycopg.Error as error:
                if self._wire is None or self._wire.is_lost:
                    self._let_go()
                    if decided and was_committed(self._url, self._name, decided[-1]):
                        return decided[-1].answers
                    # From here on it is certain that nothing was written.
                    if not is_lost(error) or time.monotonic() > deadline:
                        raise
                elif error.sqlstate not in RACED or tries == TRIES:
                    raise
                tries += 1
                time.sleep(random.uniform(0, RETRY_S) * 2 ** min(tries, 6))  # noqa: S311 - so that two do not meet again

    def _let_go(self) -> None:
        if self._wire is not None:
            self._wire.close()
            self._wire = None


_OF_ALL = frozenset({"53100", "53200", "53300", "55P03", "57014", "25006", *RACED})
"""Refusals that have nothing to do with one append: trying each alone would only take longer."""


def _size(job: Job) -> int:
    return sum(len(payload.body) for append in job[0] for payload in append.payloads)


def _tell(those: list[Settled]) -> None:
    for future, answer in those:
        if future.done():
            continue
        if isinstance(answer, BaseException):
            future.set_exception(answer)
        else:
            future.set_result(answer)
