"""What every store says in the same way: rows read strictly, halts in force, an append that came too late."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NoReturn

from answerable.errors import JournalConflict, JournalFenced, JournalUnreadable
from answerable.journal.store import Halt
from answerable.kernel.entry import Entry, parse_entry

if TYPE_CHECKING:
    from collections.abc import Iterable

    from answerable.journal.store import Append
    from answerable.kernel.entry import Head


def entries_in(stream: str, rows: Iterable[tuple[Any, ...]]) -> list[Entry]:
    """The entries in rows of (stream, seq, time, prev, hash, body). Raises `JournalUnreadable` where one holds none."""
    try:
        return [parse_entry(*row) for row in rows]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise JournalUnreadable(
            f"`{stream}` holds an entry that cannot be read: {error}",
            hint="`answerable audit verify` names every place that was changed",
        ) from None


def halts_in(rows: Iterable[tuple[Any, ...]]) -> tuple[Halt, ...]:
    """The halts in force among rows of (scope, epoch, by, reason, since, is active)."""
    return tuple(
        Halt(scope=row[0], epoch=row[1], by=row[2], reason=row[3], since=row[4]) for row in rows if row[5]
    )


def refuse(append: Append, now: Head) -> NoReturn:
    """Refuse an append whose stream stands elsewhere than it saw. Raises `JournalFenced` or `JournalConflict`."""
    if now.epoch > append.epoch:
        raise JournalFenced(
            f"`{append.stream}` has a newer owner (epoch {now.epoch}, ours is {append.epoch})",
            hint="another process took the run over; this one stops",
        )
    seen = append.expect.seq if append.expect else 0
    raise JournalConflict(
        f"`{append.stream}` stands at {now.seq}, not at {seen}",
        hint="somebody else wrote in between; read again and decide again",
    )
