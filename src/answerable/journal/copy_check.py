"""What was written is read back: every entry and its chain, all content, and the derived tables.

The derived tables are held against `journal.derive`, which shares nothing with the code that rebuilt them.
"""

from __future__ import annotations

import hashlib
import sqlite3
from itertools import zip_longest
from typing import TYPE_CHECKING, Any, Final

from answerable.errors import JournalError
from answerable.journal.copy_ports import SEEN
from answerable.journal.derive import derive
from answerable.kernel.entry import EMPTY, Entry, parse_entry

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from answerable.journal.copy_ports import Row, Target
    from answerable.journal.derive import Derived

_SCRATCH: Final = """
CREATE TABLE head (stream, seq, hash, epoch, time);
CREATE TABLE run (run, agent, state, outcome, epoch);
CREATE TABLE budget (id, unit, reserved, spent);
CREATE TABLE total (key, amount, count);
CREATE TABLE claim (key, state, amount, count);
CREATE TABLE halt (scope PRIMARY KEY, epoch, is_active);
"""
_WANTED: Final = {
    "head": "SELECT * FROM head ORDER BY stream",
    "run": "SELECT * FROM run ORDER BY run",
    "budget": "SELECT id, unit, sum(reserved), sum(spent) FROM budget GROUP BY id, unit ORDER BY id, unit",
    "total": "SELECT key, sum(amount), sum(count) FROM total GROUP BY key ORDER BY key",
    "claim": "SELECT key, coalesce(max(CASE state WHEN 'done' THEN NULL ELSE state END), 'done'), sum(amount),"
    " sum(count) FROM claim GROUP BY key ORDER BY key",
    "halt": "SELECT * FROM halt ORDER BY scope",
}


class Digest:
    """One number for a whole table, as its rows go by."""

    def __init__(self) -> None:
        self._digest = hashlib.sha256()
        self.rows = 0

    def through(self, rows: Iterable[Row]) -> Iterator[Row]:
        """The same rows, each taken into account."""
        for row in rows:
            self.rows += 1
            for value in row:
                part = value if isinstance(value, bytes) else str(value).encode()
                self._digest.update(len(part).to_bytes(8, "big") + part)
            yield row

    @property
    def value(self) -> str:
        """What the rows came to, in their order."""
        return f"{self.rows}:{self._digest.hexdigest()}"


def read_entry(row: Row, before: Entry | None) -> Entry:
    """The entry in a row, in its place in the chain. Raises `JournalError` where it is none, or not there."""
    expected = before.head if before is not None and before.stream == row[0] else EMPTY
    try:
        entry = parse_entry(*row)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise _broken(row, str(error)) from None
    if entry.seq != expected.seq + 1 or entry.prev != expected.hash:
        raise _broken(row, f"it does not follow entry {expected.seq}")
    return entry


def _broken(row: Row, why: str) -> JournalError:
    return JournalError(
        f"`{row[0]}` entry {row[1]} cannot be copied: {why}",
        hint="`answerable audit verify` names every place that was changed; keep the journal as it is",
    )


def check_entries(target: Target, expected: Digest, wanted: Wanted) -> Iterator[int]:
    """Read every entry back. Yields how many were read."""
    digest, before = Digest(), None
    for row in digest.through(target.truth("entry")):
        before = read_entry(row, before)
        wanted.take(before)
        yield digest.rows
    _same("entry", expected, digest)


def check_table(target: Target, table: str, expected: Digest, kept: Iterable[Row] | None = None) -> None:
    """Read another table back."""
    digest = Digest()
    for _ in digest.through(target.truth(table) if kept is None else kept):
        continue
    _same(table, expected, digest)


def _same(table: str, expected: Digest, found: Digest) -> None:
    if expected.value != found.value:
        raise JournalError(
            f"the copy is not what was read: `{table}` has {found.rows} rows of {expected.rows}, or other ones",
            hint="nothing was kept of it; look at disk and memory, and copy again",
        )


class Wanted:
    """What `journal.derive` says of entries that pass by, stream after stream. Close it.

    Runs whose effects are undone by other runs are derived together: `links` names their streams.
    """

    def __init__(self, links: frozenset[str] = frozenset()) -> None:
        self._db = sqlite3.connect("", isolation_level=None, check_same_thread=False)
        self._db.executescript(f"PRAGMA synchronous = OFF; PRAGMA journal_mode = OFF; {_SCRATCH} BEGIN")
        self._links = links
        self._linked: list[Entry] = []
        self._stream: list[Entry] = []

    def take(self, entry: Entry) -> None:
        """The next entry."""
        if entry.stream in self._links:
            self._linked.append(entry)
            return
        if self._stream and self._stream[0].stream != entry.stream:
            self._add(derive(self._stream))
            self._stream = []
        self._stream.append(entry)

    def check(self, target: Target) -> None:
        """Hold the derived tables of the target against all that was taken. Raises `JournalError`."""
        self._add(derive(self._stream))
        self._add(derive(self._linked))
        for table in SEEN:
            wanted = self._db.execute(_WANTED[table])
            for want, have in zip_longest(_counted(table, wanted), _counted(table, target.seen(table))):
                if want != have:
                    raise JournalError(
                        f"the derived table `{table}` came out wrong: {have}, and the entries say {want}",
                        hint="nothing was kept of the copy; this is a mistake of ours",
                    )

    def close(self) -> None:
        """Let the scratch database go."""
        self._db.close()

    def _add(self, derived: Derived) -> None:
        add = self._db.executemany
        add("INSERT INTO head VALUES (?, ?, ?, ?, ?)", _flat(derived.heads))
        add("INSERT INTO run VALUES (?, ?, ?, ?, ?)", _flat(derived.runs))
        add("INSERT INTO budget VALUES (?, ?, ?, ?)", [(*key, *row) for key, row in derived.budgets.items()])
        add("INSERT INTO total VALUES (?, ?, ?)", _flat(derived.totals))
        add("INSERT INTO claim VALUES (?, ?, ?, ?)", _flat(derived.claims))
        add("INSERT OR REPLACE INTO halt VALUES (?, ?, ?)", _flat(derived.halts))


def _flat(rows: dict[str, Any]) -> list[Row]:
    return [(key, *row) for key, row in rows.items()]


def _counted(table: str, rows: Iterable[Row]) -> Iterator[Row]:
    """Rows as they are compared: a total of nothing is as good as none."""
    return (tuple(row) for row in rows if table != "total" or tuple(row[1:]) != (0, 0))
