"""A SQLite journal as something to copy from, and a new file as something to copy to."""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
import sqlite3
from contextlib import closing, suppress
from itertools import islice
from typing import TYPE_CHECKING, Final

from answerable.errors import ConfigError, JournalError
from answerable.journal.copy_ports import DERIVED, MOVED_TO, ORDER, SEEN, TRUTH, Size
from answerable.journal.sqlite import files
from answerable.journal.sqlite.connect import (
    MOVED,
    check_version,
    connect,
    create,
    translate_file,
    translated,
)
from answerable.journal.sqlite.store import custody_of
from answerable.journal.sqlite.writer import LargeBody

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from answerable.journal.copy_ports import Row

PART: Final = ".part"
BATCH: Final = 1000
_CLOSED: Final = ("entry", "payload")
"""Whoever wants to append or erase must hear that the journal is elsewhere, whatever version it runs."""


class _Rows:
    """Rows of a SQLite journal, read by one connection."""

    _db: sqlite3.Connection

    def __init__(self, path: Path) -> None:
        self.path = path
        self.name = str(path.absolute())
        self.custody = custody_of(path)
        self._blobs = path.with_name(f"{path.name}.blobs")

    def truth(self, table: str) -> Iterator[Row]:
        """See `Rows.truth`."""
        rows = self._read(f"SELECT {', '.join(TRUTH[table])} FROM {table} ORDER BY {ORDER[table]}", table)
        return rows if table != "payload" else map(self._with_body, rows)

    def _read(self, query: str, table: str) -> Iterator[Row]:
        with translated(self.path):
            cursor = self._db.execute(query)
        while True:
            with translated(self.path):
                rows = cursor.fetchmany(_at_once(table))
            if not rows:
                return
            yield from rows

    def _with_body(self, row: Row) -> Row:
        ref, *kept, body, erased = row
        if body is None and erased is None:
            # Content that is missing stays missing: the verifier says so of the copy as of the journal.
            with suppress(FileNotFoundError):
                body = (self._blobs / ref).read_bytes()
        return (ref, *kept, body, erased)

    def first(self, stream: str) -> Iterator[Row]:
        """See `Rows.first`."""
        columns = ", ".join(TRUTH["entry"])
        with translated(self.path):
            query = f"SELECT {columns} FROM entry WHERE stream = ? AND seq = 1"
            return iter(self._db.execute(query, (stream,)).fetchall())

    def setting(self, name: str) -> str | None:
        """See `Rows.setting`."""
        with translated(self.path):
            row = self._db.execute("SELECT value FROM setting WHERE name = ?", (name,)).fetchone()
        return row[0] if row else None

    def entry_hash(self, stream: str, seq: int) -> str | None:
        """See `Rows.entry_hash`."""
        query = "SELECT hash FROM entry WHERE stream = ? AND seq = ?"
        with translated(self.path):
            row = self._db.execute(query, (stream, seq)).fetchone()
        return row[0] if row else None


class SqliteSource(_Rows):
    """A journal in a file. Raises `ConfigError` where there is none, `JournalUnreadable` where it is not ours."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        if not path.exists():
            raise ConfigError(f"there is no journal `{path}`", hint="name one that is there: sqlite:///PATH")
        with translated(path):
            self._db = connect(path, synchronous="FULL", read_only=True)
            try:
                check_version(self._db, path)
            except BaseException:
                self._db.close()
                raise

    def begin(self, *, alone: bool) -> None:
        """See `Source.begin`. Whoever writes to it meanwhile waits, and is told after ten seconds."""
        with translated(self.path):
            if alone and os.access(self.path, os.W_OK):
                self._db.close()
                self._db = connect(self.path, synchronous="FULL")
                self._db.execute("BEGIN IMMEDIATE")
            else:
                self._db.execute("BEGIN")
            self._db.execute("SELECT count(*) FROM sqlite_master").fetchone()

    def size(self) -> Size:
        """See `Source.size`."""
        with translated(self.path):
            (entries,) = self._db.execute("SELECT count(*) FROM entry").fetchone()
            row = self._db.execute("SELECT count(*), coalesce(max(size), 0) FROM payload").fetchone()
        return Size(entries, *row)

    def living(self) -> list[str]:
        """See `Source.living`: whoever holds a lock beside the file."""
        folder = self.path.with_name(f"{self.path.name}.owners")
        names = sorted(lock.stem for lock in folder.glob("*.lock"))
        return [name for name in names if files.is_alive(folder, name)]

    def end_for_writing(self, value: str) -> None:
        """See `Source.end_for_writing`."""
        if not os.access(self.path, os.W_OK):
            raise ConfigError(
                f"`{self.path}` cannot be written, so it cannot be said there that the journal moved",
                hint="a copy that leaves it as it is: --while-running",
            )
        with translated(self.path):
            self._db.execute("INSERT OR REPLACE INTO setting VALUES (?, ?)", (MOVED_TO, value))
            for table in _CLOSED:
                for verb in ("INSERT", "UPDATE"):
                    self._db.execute(
                        f"CREATE TRIGGER IF NOT EXISTS moved_{table}_{verb.lower()} BEFORE {verb} ON {table}"
                        f" BEGIN SELECT RAISE(ABORT, '{MOVED}'); END"
                    )
            self._db.execute("COMMIT")

    def take_back(self) -> None:
        """See `Source.take_back`."""
        with translated(self.path):
            for table in _CLOSED:
                for verb in ("insert", "update"):
                    self._db.execute(f"DROP TRIGGER IF EXISTS moved_{table}_{verb}")
            self._db.execute("DELETE FROM setting WHERE name = ?", (MOVED_TO,))
            if self._db.in_transaction:
                self._db.execute("COMMIT")

    def close(self) -> None:
        """See `Rows.close`."""
        self._db.close()


class SqliteTarget(_Rows):
    """A file that is not there yet: written under another name, and given its own once it is whole."""

    payload_max: int | None = None

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self._part = path.with_name(f"{path.name}{PART}")
        self._lock = -1
        self._is_done = False
        self._large = LargeBody(self._blobs)

    def begin(self) -> None:
        """See `Target.begin`. What a copy that broke off has left behind is removed."""
        if self.path.exists():
            raise ConfigError(
                f"`{self.path}` is there already", hint="name a new file: nothing is overwritten"
            )
        if not self.path.parent.is_dir():
            raise ConfigError(f"there is no folder `{self.path.parent}`", hint="create it")
        is_ours = self._part.exists()
        if not is_ours and self._blobs.exists():
            raise ConfigError(
                f"`{self._blobs}` is there already, and no journal that it belongs to",
                hint="name a new file, or move that folder away",
            )
        for end in ("-wal", "-journal"):
            if self.path.with_name(self.path.name + end).exists():
                # SQLite would take what is in it for a part of the new file.
                raise ConfigError(
                    f"`{self.path}{end}` is left of another database", hint="move it away, or name a new file"
                )
        self._lock = os.open(self._part, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, files.PRIVATE)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(self._lock)
            self._lock = -1
            raise ConfigError(f"somebody else is copying to `{self.path}`", hint="wait for it") from None
        os.ftruncate(self._lock, 0)
        self._remove_beside()
        with translated(self._part):
            self._db = sqlite3.connect(self._part, isolation_level=None, check_same_thread=False)
            # Nobody sees the file before it is whole, so its way there need not be undone.
            self._db.execute("PRAGMA synchronous = OFF")
            self._db.execute("PRAGMA journal_mode = OFF")
            self._db.execute("BEGIN")
            create(self._db)

    def write(self, table: str, rows: Iterable[Row]) -> None:
        """See `Target.write`."""
        columns = TRUTH.get(table) or DERIVED[table]
        marks = ", ".join("?" * len(columns))
        statement = f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({marks})"
        flow = iter(rows) if table != "payload" else map(self._without_large, rows)
        with translated(self._part):
            while batch := list(islice(flow, _at_once(table))):
                self._db.executemany(statement, batch)

    def _without_large(self, row: Row) -> Row:
        ref, *kept, body, erased = row
        try:
            return (ref, *kept, body if body is None else self._large(ref, body), erased)
        except OSError as error:
            raise translate_file(error, self.path) from error

    def seen(self, table: str) -> Iterator[Row]:
        """See `Target.seen`."""
        keys = "1, 2" if table == "budget" else "1"
        return self._read(f"SELECT {', '.join(SEEN[table])} FROM {table} ORDER BY {keys}", table)

    def commit(self) -> None:
        """See `Target.commit`. The link is the one step that makes it a journal."""
        with translated(self._part):
            self._db.execute("COMMIT")
            self._db.execute("PRAGMA journal_mode = WAL")
            self._db.close()
        try:
            os.fsync(self._lock)
            if self._blobs.exists():
                files.sync_folder(self._blobs)
            os.link(self._part, self.path)
            self._is_done = True
            self._part.unlink()
            files.sync_folder(self.path.parent)
        except OSError as error:
            if error.errno == errno.EEXIST:
                raise ConfigError(f"`{self.path}` is there by now", hint="name a new file") from None
            raise JournalError(
                f"`{self.path}` cannot be written: {error.strerror}", hint="look at the disk; then copy again"
            ) from error

    def holds(self, journal: str) -> bool:
        """See `Target.holds`. The file has its name, or it has not."""
        del journal
        return self._is_done

    def close(self) -> None:
        """See `Rows.close`."""
        if self._lock < 0:
            return
        with suppress(sqlite3.Error, AttributeError):
            self._db.close()
        if not self._is_done:
            self._remove_beside()
            self._part.unlink(missing_ok=True)
        os.close(self._lock)
        self._lock = -1

    def _remove_beside(self) -> None:
        """Remove everything of a copy that broke off, but for the file that says so, which goes last."""
        for end in ("-wal", "-shm", "-journal"):
            self._part.with_name(self._part.name + end).unlink(missing_ok=True)
        if self._blobs.exists():
            shutil.rmtree(self._blobs)


def _at_once(table: str) -> int:
    """How many rows are in memory together: content is as large as a megabyte, or in files larger."""
    return 16 if table == "payload" else BATCH


def is_there(path: Path) -> bool:
    """Whether there is a journal in the file."""
    if not path.exists():
        return False
    with closing(SqliteSource(path)):
        return True
