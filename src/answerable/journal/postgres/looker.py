"""The last look before a send: everybody who waits for one is answered by one round trip.

A process with many runs looks as often as it sends. One connection for each look would make looks wait for each other,
and a look that waits is a send that is late. So one thread asks for all streams at once. What it answers was read after
each of those who get it had asked.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import psycopg

from answerable.errors import JournalBusy
from answerable.journal.mailbox import Mailbox
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


class Looker:
    """One connection, and the thread that owns it from the first look on."""

    def __init__(self, url: str, name: str, durability: Durability) -> None:
        self._url = url
        self._name = name
        self._durability: Durability = durability
        self._wire: Wire | None = None
        self._box: Mailbox[str, Look] = Mailbox("answerable-look", self._answers, at_once=AT_ONCE)

    async def look(self, stream: str) -> Look:
        """Who owns a stream, and what is halted, read after this was called. Raises `JournalError`."""
        try:
            async with asyncio.timeout(ANSWER_S):
                return await self._box.ask(stream)
        except TimeoutError:
            raise JournalBusy(
                f"the journal `{self._name}` does not say who owns `{stream}`",
                hint="nothing was sent; look at the database and the network to it",
            ) from None

    def close(self) -> None:
        """Answer who waits, and stop."""
        self._box.close()
        if self._wire is not None:
            self._wire.close()

    def _answers(self, streams: list[str]) -> list[Look | BaseException]:
        try:
            epochs, halts = self._ask(sorted(set(streams)))
        except psycopg.Error as error:
            return [translate(error, self._name)] * len(streams)
        return [Look(epoch=epochs.get(stream, 0), halts=halts) for stream in streams]

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
