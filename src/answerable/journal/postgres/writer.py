"""The one thread that writes: it takes what is queued, commits it, and only then answers.

Everything that waits goes into one transaction, whatever the durability: nobody is answered before the commit, so
it is as durable as a commit for each. What one of them is refused for does not touch the others.

When a connection is lost while a commit is under way, nobody knows whether it happened. It is found out on a new
connection before anybody is told anything (`resolve.py`).
"""

from __future__ import annotations

import random
import time
from typing import TYPE_CHECKING

import psycopg

from answerable.errors import JournalError
from answerable.journal.mailbox import Mailbox, post
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
TRIES = 12
"""How often a batch is read again because another process was faster."""
RECONNECT_S = 15.0
"""How long a server that is gone is waited for before the callers are told."""
RETRY_S = 0.005
"""After a lost race: a moment of random length, longer each time."""


class Writer:
    """A write connection, and the thread that owns it. `holder` says whose shares of budgets are used."""

    def __init__(self, url: str, name: str, durability: Durability, holder: Callable[[], str]) -> None:
        self._url = url
        self._name = name
        self._durability: Durability = durability
        self._holder = holder
        self._wire: Wire | None = self._connect()
        self._box: Mailbox[tuple[Append, ...], tuple[Entry, ...]] = Mailbox(
            "answerable-journal", self._answers, at_once=BATCH, size=_size, size_max=BATCH_BYTES
        )

    def _connect(self) -> Wire:
        return Wire(connect(self._url, "writer", self._durability, is_writer=True))

    async def append(self, appends: tuple[Append, ...]) -> tuple[Entry, ...]:
        """Queue appends as one transaction and wait until they are durable, or refused."""
        return await post(self._box, appends)

    def close(self) -> None:
        """Finish what is queued and stop."""
        self._box.close()
        if self._wire is not None:
            self._wire.close()

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


def _size(appends: tuple[Append, ...]) -> int:
    return sum(len(payload.body) for append in appends for payload in append.payloads)
