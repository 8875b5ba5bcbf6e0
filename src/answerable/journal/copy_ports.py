"""What copying needs of a store: rows to read from one moment, and a blank place to write them to.

Rows are tuples in the order of the columns that stand here. All of it is synchronous: a copy owns its connections.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from answerable.journal.store import Custody

Row = tuple[Any, ...]

TRUTH: Final = {
    "entry": ("stream", "seq", "time", "prev", "hash", "body"),
    "payload": ("ref", "subject", "retention", "created", "size", "body", "erased"),
    "subject": ("ref", "key", "label"),
    "notice": ("id", "run", "kind", "created", "attempts", "delivered"),
    "setting": ("name", "value"),
}
"""What is copied, in this order, each sorted by its key. The body of a payload is its content, wherever it lies."""

ORDER: Final = {
    "entry": "stream, seq",
    "payload": "ref",
    "subject": "ref",
    "notice": "id",
    "setting": "name",
}
"""The key of each of them: two stores that hold the same give the same rows in the same order."""

DERIVED: Final = {
    "head": ("stream", "seq", "hash", "epoch", "time"),
    "run": (
        "run",
        "agent",
        "tenant",
        "kind",
        "state",
        "outcome",
        "code",
        "created",
        "started",
        "ended",
        "steps",
        "cost",
        "is_cost_known",
        "owner",
        "epoch",
        "waiting_for",
        "request",
        "wake_at",
        "subject",
        "scripted",
    ),
    "budget": ("id", "unit", "reserved", "spent"),
    "claim": ("key", "rule", "state", "run", "effect", "amount", "count", "cap"),
    "total": ("key", "amount", "count"),
    "effect": (
        "effect",
        "run",
        "path",
        "tool",
        "state",
        "claim",
        "rule",
        "amount",
        "totals",
        "undoes",
    ),
    "halt": ("scope", "epoch", "is_active", "by", "reason", "since"),
}
"""What is rebuilt from the entries, and never copied."""

SEEN: Final = {
    "head": ("stream", "seq", "hash", "epoch", "time"),
    "run": ("run", "agent", "state", "outcome", "epoch"),
    "budget": ("id", "unit", "reserved", "spent"),
    "total": ("key", "amount", "count"),
    "claim": ("key", "state", "amount", "count"),
    "halt": ("scope", "epoch", "is_active"),
}
"""The columns that `journal.derive` computes."""

MOVED_TO: Final = "moved_to"
"""The setting of a journal that goes on elsewhere."""
BACKUP_OF: Final = "backup_of"
"""The setting of a copy that was taken while its journal went on."""
OF_THE_PLACE: Final = frozenset({MOVED_TO, BACKUP_OF})
"""Settings that say something of one database, and not of the journal in it."""


class Size(NamedTuple):
    """How much there is to copy."""

    entries: int
    payloads: int
    payload_max: int
    """Bytes of the largest content."""


class Rows(Protocol):
    """Rows of one moment."""

    name: str
    """What people call the place. Without credentials."""
    custody: Custody

    def truth(self, table: str) -> Iterator[Row]:
        """The rows of a table of `TRUTH`, sorted by its key."""
        ...

    def first(self, stream: str) -> Iterator[Row]:
        """The first entry of a stream, if there is one."""
        ...

    def entry_hash(self, stream: str, seq: int) -> str | None:
        """The hash of one entry, or None."""
        ...

    def setting(self, name: str) -> str | None:
        """One setting, or None."""
        ...

    def close(self) -> None:
        """Let go. What was not committed is as if it had not been."""
        ...


class Source(Rows, Protocol):
    """A journal to copy from."""

    def begin(self, *, alone: bool) -> None:
        """Fix the moment. `alone`: nobody writes from here until the source is closed or let go of."""
        ...

    def size(self) -> Size:
        """How much there is."""
        ...

    def living(self) -> list[str]:
        """The processes that have it open to work on it, as far as can be known from here."""
        ...

    def end_for_writing(self, value: str) -> None:
        """Record that the journal goes on elsewhere, so that no process can append to it any more, and commit."""
        ...

    def take_back(self) -> None:
        """Undo that, and commit."""
        ...


class Target(Rows, Protocol):
    """A blank place. Nothing of what is written can be seen by anybody before `commit`."""

    payload_max: int | None
    """Bytes that one content may have here."""

    def begin(self) -> None:
        """Take the place for oneself. Raises `ConfigError` where something is there already."""
        ...

    def write(self, table: str, rows: Iterable[Row]) -> None:
        """Write all rows of a table of `TRUTH` or `DERIVED`."""
        ...

    def seen(self, table: str) -> Iterator[Row]:
        """The rows of a table of `SEEN`, as `journal.derive` has them."""
        ...

    def commit(self) -> None:
        """Make it durable, and a journal."""
        ...

    def holds(self, journal: str) -> bool:
        """Whether this journal is there, as somebody else would see it."""
        ...
