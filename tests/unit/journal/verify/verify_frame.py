"""The frame of the museum of bad journals: one defect each, by name, with the findings it must give."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from tests.unit.journal.verify.verify_builder import edited
from tests.unit.journal.verify.verify_stories import STREAM, run_with_read, told

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.unit.journal.verify.verify_builder import Journal

Json = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Bad:
    """One exhibit."""

    shows: str
    journal: Journal
    expect: frozenset[str]
    head: Json | None = None


MUSEUM: Final[dict[str, Callable[[], Bad]]] = {}


def exhibit(*expect: str) -> Callable[[Callable[[], Journal | tuple[Journal, Json]]], Callable[[], Bad]]:
    """Put a tampered journal, or a journal and a head, into the museum under the function's name."""

    def put(make: Callable[[], Journal | tuple[Journal, Json]]) -> Callable[[], Bad]:
        def build() -> Bad:
            made = make()
            journal, head = made if isinstance(made, tuple) else (made, None)
            shows = (make.__doc__ or "").strip()
            return Bad(shows=shows, journal=journal, head=head, expect=frozenset(expect))

        MUSEUM[make.__name__] = build
        return build

    return put


def rewritten(change: Callable[[bytes], bytes], seq: int = 2, stream: str = STREAM) -> Journal:
    """A run with a read, one body of which was changed by somebody who recomputed every hash after it."""
    return told(run_with_read, changes={(stream, seq): change})


def replaced(old: str, new: str, seq: int = 2) -> Journal:
    """As `rewritten`, replacing text in the body."""

    def change(raw: bytes) -> bytes:
        assert old.encode() in raw
        return raw.replace(old.encode(), new.encode(), 1)

    return rewritten(change, seq)


def with_event(number: int, edit: Callable[[Json], None], seq: int = 2) -> Journal:
    """As `rewritten`, editing one event and encoding the body properly again."""
    return rewritten(edited(lambda body: edit(body["events"][number])), seq)
