"""What a journal store promises. Each store is native to its database; they share only these tests.

The public conformance suite is `answerable.testing.check_journal_store`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from answerable.kernel.entry import Entry, Head
    from answerable.kernel.events import Event

Durability = Literal["full", "group", "relaxed"]


@dataclass(frozen=True, slots=True)
class Payload:
    """Content on its way into the journal, already encoded and named."""

    ref: str
    subject: str
    retention: str
    body: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Append:
    """One entry to be appended, with its payloads.

    `expect` is the head that the writer saw; None where any process may write the stream. `epoch` is the
    owner's, 0 outside run streams.
    """

    stream: str
    events: tuple[Event, ...]
    expect: Head | None
    epoch: int
    now: int
    payloads: tuple[Payload, ...] = ()


@dataclass(frozen=True, slots=True)
class Erased:
    """Content that is gone: past its retention, or erased. Never an empty value."""

    ref: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Halt:
    """A halt in force."""

    scope: str
    epoch: int
    by: str
    reason: str
    since: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRow:
    """One line of the list of runs: a derived row, enough to find what to look at."""

    run: str
    agent: str
    tenant: str
    kind: str
    state: str
    outcome: str | None
    code: str | None
    created: int
    started: int | None
    ended: int | None
    steps: int
    cost: int
    is_cost_known: bool
    owner: str | None
    epoch: int
    waiting_for: str | None
    request: str | None
    wake_at: int | None
    subject: str
    scripted: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice:
    """Something that a person must be told; delivered at least once."""

    id: int
    run: str
    kind: str
    created: int
    attempts: int


class JournalStore(Protocol):
    """A journal in a database."""

    journal: str
    """The journal's id."""
    tenant_key: bytes

    async def append(self, *appends: Append) -> tuple[Entry, ...]:
        """Append entries, all in one transaction, with every derived row that they cause.

        When this returns they are durable as the store's durability says. Raises `JournalConflict`,
        `JournalFenced`, or a `GuardRefused`: nothing was written then. Raises `JournalFull`, `JournalBusy`
        or `JournalError` once it is certain that nothing was written; a commit whose reply was lost has
        been read back before this returns or raises.
        """
        ...

    async def entries(self, stream: str, *, after: int = 0) -> list[Entry]:
        """The entries of a stream with a higher `seq`, in order."""
        ...

    async def head(self, stream: str) -> Head:
        """Where a stream stands; `EMPTY` where it has no entries."""
        ...

    async def payloads(self, refs: Iterable[str]) -> dict[str, bytes | Erased]:
        """The content behind refs. What is not there is `Erased`."""
        ...

    async def subject(self, label: str) -> tuple[str, bytes]:
        """The ref and key of the person called `label`; made when first asked for."""
        ...

    async def subject_key(self, ref: str) -> bytes | None:
        """The key of a subject; None once destroyed."""
        ...

    async def runs(self, *, states: Sequence[str] = (), run: str | None = None) -> list[RunRow]:
        """The list of runs, oldest first."""
        ...

    def halts(self) -> tuple[int, tuple[Halt, ...]]:
        """The halt epoch and the halts in force. Blocking and cheap: it is the last look before a send."""
        ...

    def epoch(self, stream: str) -> int:
        """The owner's epoch of a run's stream. Blocking and cheap: it is the last look before a send."""
        ...

    async def budget(self, budget: str) -> dict[str, tuple[int, int]]:
        """Unit → (reserved, spent)."""
        ...

    async def total(self, key: str) -> tuple[int, int]:
        """(amount in micros, count) of a running total."""
        ...

    async def claim(self, key: str) -> tuple[str, int, int] | None:
        """(state, amount, count) of a claim, or None."""
        ...

    def is_alive(self, owner: str) -> bool:
        """Whether the process that took a run under this name still exists."""
        ...

    async def notices(self) -> list[Notice]:
        """What people have not been told yet, oldest first."""
        ...

    async def delivered(self, notice: int, *, is_done: bool) -> None:
        """Record an attempt to deliver a notice, and whether it is done."""
        ...

    async def close(self) -> None:
        """Finish what is queued, and let go of the database."""
        ...
