"""A journal store that fails on purpose, around any real one.

Faults come in pairs, because an error may mean that it happened: a lost request was never carried out, a lost
reply was, and the caller hears the same.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from answerable.errors import JournalError, JournalFull

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from answerable.journal.store import Append, Erased, Halt, JournalStore, Look, Notice, RunRow
    from answerable.kernel.entry import Entry, Head


class Fault(StrEnum):
    """What happens to one append."""

    LOST_REQUEST = "lost request"
    """It fails, and nothing was written."""
    LOST_REPLY = "lost reply"
    """It fails, and everything was written."""
    FULL_DISK = "full disk"
    """It is refused: there is no room. Nothing was written."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """A moment at which a process may die: before an append is asked for, or after it is durable."""

    number: int
    """Counted from 1, over the life of the wrapper."""
    when: str
    """`before` or `after`."""
    kinds: tuple[str, ...]
    """The types of the events, in order."""
    entries: tuple[Entry, ...] = ()
    """What was acknowledged; empty before."""

    def __str__(self) -> str:
        return f"{self.when} {'+'.join(self.kinds)}"


class FaultyStore:
    """A `JournalStore` around another: `fault` picks what goes wrong with an append, `at_point` sees each moment.

    `fault` gets the appends and answers with a `Fault`, or None where all goes well. `at_point` may kill the
    process. Everything that the protocol does not name goes to the store inside as it is.
    """

    def __init__(
        self,
        inside: JournalStore,
        *,
        fault: Callable[[Sequence[Append]], Fault | None] | None = None,
        at_point: Callable[[Point], None] | None = None,
    ) -> None:
        self.inside = inside
        self.fault = fault
        self.at_point = at_point
        self._passed = 0

    @property
    def journal(self) -> str:
        """See `JournalStore.journal`."""
        return self.inside.journal

    @property
    def tenant_key(self) -> bytes:
        """See `JournalStore.tenant_key`."""
        return self.inside.tenant_key

    async def append(self, *appends: Append) -> tuple[Entry, ...]:
        """As the store inside, unless a fault is due. Raises `JournalError` then, or `JournalFull`."""
        fault = self.fault(appends) if self.fault is not None else None
        if fault is Fault.FULL_DISK:
            raise JournalFull("the disk is full, says the test", hint="free some disk, then resume")
        self._pass("before", appends)
        if fault is Fault.LOST_REQUEST:
            raise JournalError("the request was lost, says the test")
        entries = await self.inside.append(*appends)
        self._pass("after", appends, entries)
        if fault is Fault.LOST_REPLY:
            raise JournalError("the reply was lost, says the test")
        return entries

    def _pass(self, when: str, appends: Sequence[Append], entries: tuple[Entry, ...] = ()) -> None:
        self._passed += 1
        if self.at_point is not None:
            kinds = tuple(type(event).__name__ for append in appends for event in append.events)
            self.at_point(Point(number=self._passed, when=when, kinds=kinds, entries=entries))

    async def entries(self, stream: str, *, after: int = 0) -> list[Entry]:
        """See `JournalStore.entries`."""
        return await self.inside.entries(stream, after=after)

    async def head(self, stream: str) -> Head:
        """See `JournalStore.head`."""
        return await self.inside.head(stream)

    async def payloads(self, refs: Iterable[str]) -> dict[str, bytes | Erased]:
        """See `JournalStore.payloads`."""
        return await self.inside.payloads(refs)

    async def subject(self, label: str) -> tuple[str, bytes]:
        """See `JournalStore.subject`."""
        return await self.inside.subject(label)

    async def subject_key(self, ref: str) -> bytes | None:
        """See `JournalStore.subject_key`."""
        return await self.inside.subject_key(ref)

    async def runs(self, *, states: Sequence[str] = (), run: str | None = None) -> list[RunRow]:
        """See `JournalStore.runs`."""
        return await self.inside.runs(states=states, run=run)

    async def halts(self) -> tuple[int, tuple[Halt, ...]]:
        """See `JournalStore.halts`."""
        return await self.inside.halts()

    async def look(self, stream: str) -> Look:
        """See `JournalStore.look`."""
        return await self.inside.look(stream)

    async def changed(self) -> None:
        """See `JournalStore.changed`."""
        await self.inside.changed()

    async def budget(self, budget: str) -> dict[str, tuple[int, int]]:
        """See `JournalStore.budget`."""
        return await self.inside.budget(budget)

    async def total(self, key: str) -> tuple[int, int]:
        """See `JournalStore.total`."""
        return await self.inside.total(key)

    async def claim(self, key: str) -> tuple[str, int, int] | None:
        """See `JournalStore.claim`."""
        return await self.inside.claim(key)

    async def is_alive(self, owner: str) -> bool:
        """See `JournalStore.is_alive`."""
        return await self.inside.is_alive(owner)

    async def notices(self) -> list[Notice]:
        """See `JournalStore.notices`."""
        return await self.inside.notices()

    async def take_notice(self, *, after: int = 0, for_s: float) -> Notice | None:
        """See `JournalStore.take_notice`."""
        return await self.inside.take_notice(after=after, for_s=for_s)

    async def delivered(self, notice: int, *, is_done: bool) -> None:
        """See `JournalStore.delivered`."""
        await self.inside.delivered(notice, is_done=is_done)

    async def close(self) -> None:
        """See `JournalStore.close`."""
        await self.inside.close()

    def __getattr__(self, name: str) -> Any:
        """What a particular store has besides the protocol."""
        return getattr(self.inside, name)
