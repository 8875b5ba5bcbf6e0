"""What a journal store promises. Each store is native to its database; they share only these tests.

The public conformance suite is `answerable.testing.check_journal_store`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from answerable.kernel.entry import Entry, Head
    from answerable.kernel.events import Event
    from answerable.kernel.throttle import Ask, Limits, Report, Turn

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
class Look:
    """What is looked at last before a send, read from the database and nowhere else."""

    epoch: int
    """The owner's epoch of the run's stream."""
    halts: tuple[Halt, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Custody:
    """What is kept of a journal outside of its database, because it must not be lost or changed with it."""

    name: str
    """What people call the journal. Without credentials: it is printed."""
    key: Path
    """The key that signs heads."""
    head: Path
    """The last head that was exported: a journal behind it is refused."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that was looked at. `bad` means that something is wrong; `warn` that somebody should know."""

    name: str
    level: Literal["ok", "warn", "bad"]
    message: str
    hint: str = ""


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
class WorkerRow:
    """A process that owns runs, or did."""

    owner: str
    host: str
    pid: int
    version: str
    started: int
    """Microseconds of UTC."""
    heartbeat_age_s: float
    """How long ago it was last heard of; nothing where the kernel itself says that it lives."""
    is_alive: bool
    runs: int
    """How many running runs it owns."""
    releases: tuple[str, ...] = ()
    """What it can drive: `AGENT@RELEASE` each."""


@dataclass(frozen=True, slots=True)
class Due:
    """A run that somebody should drive, and the state of the journal that says so."""

    run: str
    mark: str
    """Names that state: as long as it is the same, there is nothing new to look at."""
    is_timed: bool = False
    """Whether it is due because its time has come."""
    is_begun: bool = True
    """Whether somebody drove it before: what was begun goes before what was not."""


def due_of(row: Sequence[Any]) -> Due:
    """A due run, from a row of run, its head, its inbox's head, its state, whether its time has come, the last halt.

    The mark says where its streams stand, which halts came before, and why it is due beyond that.
    """
    run, seq, inbox, state, is_timed, halts = row
    why = "d" if state == "running" else "t" if is_timed else ""
    return Due(run, f"{seq}.{inbox}.{halts}{why}", bool(is_timed), state != "created")


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
    public_key: str
    """The key of its heads (base64), as its first entry names it."""
    tenant_key: bytes
    custody: Custody
    halt_epoch: int
    """The halt epoch that was last read here: what an intent says that it knew of."""

    async def take_name(self, owner: str, releases: Sequence[str] = ()) -> None:
        """Own runs under this name from now on; `is_alive` and `workers` say so until this process ends.

        `releases` is what it can drive, for others to see.
        """
        ...

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

    async def streams(self) -> list[str]:
        """The names of all streams, sorted."""
        ...

    async def entry_hash(self, stream: str, seq: int) -> str | None:
        """The hash of one entry, or None where there is none."""
        ...

    def now(self) -> int:
        """The journal's clock, in microseconds of UTC."""
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

    async def open_runs(self, agent: str) -> int:
        """How many runs of an agent have not ended. Cheap: it is asked before each is accepted."""
        ...

    async def halts(self) -> tuple[int, tuple[Halt, ...]]:
        """The halt epoch and the halts in force."""
        ...

    async def look(self, stream: str) -> Look:
        """The last look before a send: who owns the run, and what is halted, as the database says now."""
        ...

    async def changed(self) -> None:
        """Return once something may have changed: a halt within 50 ms, anything else within a second.

        It may also return for no reason.
        """
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

    async def is_alive(self, owner: str) -> bool:
        """Whether the process that took a run under this name still exists, as far as can be known from here."""
        ...

    async def workers(self) -> list[WorkerRow]:
        """The processes that own runs, the first to start first; those that died may be missing."""
        ...

    async def due(
        self,
        now: int,
        limit: int,
        *,
        after: str | None = None,
        run: str | None = None,
        is_orphan: bool = False,
    ) -> list[Due]:
        """Driven runs that somebody should drive now, the oldest first; those behind the run `after`; or `run` alone.

        With `is_orphan` only those whose owner is dead, which is asked often.

        Due is a run that was never begun; one that ran and whose owner is dead; one that waits and whose time has come,
        whose inbox has entries (it may have taken them in already: the mark says), or that waits for its release. What a
        halt of everything, of its agent or of itself covers is not due until that is lifted, but for a run that was
        being driven: it is ended. Costs little however many runs wait.
        """
        ...

    async def take_turn(self, key: str, limits: Limits, ask: Ask) -> Turn:
        """A turn for a send, under limits that every process of this journal shares; see `kernel.throttle`.

        Kept beside the entries and not derived from them: a read has no intent, so they do not say how many were sent.
        """
        ...

    async def tell_turn(self, key: str, limits: Limits, report: Report) -> None:
        """What came of a turn. Whoever asks for one afterwards, in any process, is answered accordingly."""
        ...

    async def open_effects(self) -> list[str]:
        """The runs that have an effect which may have happened, one for each effect."""
        ...

    async def payloads_before(self, retention: str, before: int) -> list[str]:
        """Refs of a class's content that is older than `before` and that no open run may still need."""
        ...

    async def destroy(self, refs: Sequence[str], now: int) -> None:
        """Destroy content: the row keeps its name and says when."""
        ...

    async def derived_tables(self) -> dict[str, dict[object, object]]:
        """Every derived table as stored, in the form that `journal.derive` computes; all of one moment."""
        ...

    async def findings(self) -> list[Finding]:
        """What this kind of store has to say of its own health."""
        ...

    async def notices(self) -> list[Notice]:
        """What people have not been told yet, oldest first."""
        ...

    async def take_notice(self, *, after: int = 0, for_s: float) -> Notice | None:
        """Take the oldest notice behind the notice `after` that is not delivered and that nobody has taken.

        For so many seconds it is given to nobody else, or until `delivered` says that it is not done: whoever takes one
        delivers it in that time. One that was taken by a process that died is given out again afterwards.
        """
        ...

    async def delivered(self, notice: int, *, is_done: bool) -> None:
        """Record an attempt to deliver a notice, and whether it is done. One that is not is nobody's again."""
        ...

    async def close(self) -> None:
        """Finish what is queued, and let go of the database."""
        ...
