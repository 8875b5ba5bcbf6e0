"""The SQLite file: opened so that nothing can be written, checked for its shape, read row by row (section 7)."""

from __future__ import annotations

import os
import sqlite3
import stat
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from answerable.journal.verify.canonical import MalformedError
from answerable.journal.verify.reader import CannotReadError, RawText

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator, Sequence

    from answerable.journal.verify.reader import Row
    from answerable.journal.verify.report import Findings

APPLICATION_ID: Final = 0x414E5357
USER_VERSION: Final = 1

_VALUE_BYTES_MAX: Final = 64 * 1024 * 1024
"""No value of a journal comes near this; a longer one ends the reading instead of the memory."""
_DAMAGES_MAX: Final = 10

_COLUMNS: Final = {
    "entry": ("stream", "seq", "time", "prev", "hash", "body"),
    "head": ("stream", "seq", "hash", "epoch", "time"),
    "payload": ("ref", "subject", "retention", "created", "size", "body", "erased"),
    "subject": ("ref", "key"),
}
_KEYS: Final = {"entry": ("stream", "seq"), "head": ("stream",), "payload": ("ref",), "subject": ("ref",)}
_NO_INDEX: Final = ("entry", "head")
"""A second index could answer a query with other rows than the table holds."""


_ENTRY: Final = "SELECT stream, seq, time, prev, hash, body FROM entry"
_INLINE_BYTES_MAX: Final = 1024 * 1024
_CHUNK_BYTES: Final = 1024 * 1024


class SqliteReader:
    """One SQLite journal, in one read transaction. See `Reader`."""

    inline_max: int | None = _INLINE_BYTES_MAX
    references_at_once: int = 1
    payloads_at_once: int = 1

    def __init__(self, connection: sqlite3.Connection, path: Path) -> None:
        self._connection = connection
        self._path = path
        self._blobs = Path(f"{path}.blobs")

    def check_shape(self, findings: Findings) -> bool:
        """See `Reader.check_shape`. Pages are looked at too."""
        if not check_shape(self._connection, findings):
            return False
        check_pages(self._connection, self._path, findings)
        return True

    def count(self) -> int:
        """See `Reader.count`. SQLite was asked before whether table and index agree."""
        return self._connection.execute("SELECT count(*) FROM entry NOT INDEXED").fetchone()[0]

    def entries(self) -> Iterator[Row]:
        """See `Reader.entries`."""
        return iter(self._connection.execute(f"{_ENTRY} ORDER BY stream, seq"))

    def entry(self, stream: str, seq: int) -> Row | None:
        """See `Reader.entry`."""
        return self._connection.execute(f"{_ENTRY} WHERE stream = ? AND seq = ?", (stream, seq)).fetchone()

    def head_row(self, stream: str) -> Row | None:
        """See `Reader.head_row`."""
        query = "SELECT seq, hash, epoch, time FROM head WHERE stream = ?"
        return self._connection.execute(query, (stream,)).fetchone()

    def heads_without_entries(self) -> Iterator[Row]:
        """See `Reader.heads_without_entries`."""
        has_entries = "EXISTS (SELECT 1 FROM entry WHERE entry.stream = head.stream)"
        return iter(self._connection.execute(f"SELECT stream, seq FROM head WHERE NOT {has_entries}"))

    def payload_rows(self) -> Iterator[Row]:
        """See `Reader.payload_rows`."""
        return iter(
            self._connection.execute(
                "SELECT ref, subject, retention, created, size, body, erased FROM payload"
            )
        )

    def known_payloads(self, refs: Sequence[str]) -> set[str]:
        """See `Reader.known_payloads`."""
        query = "SELECT 1 FROM payload WHERE ref = ?"
        return {ref for ref in refs if self._connection.execute(query, (ref,)).fetchone() is not None}

    def subject_keys(self, subjects: Sequence[str]) -> dict[str, Any]:
        """See `Reader.subject_keys`."""
        query = "SELECT key FROM subject WHERE ref = ?"
        rows = {subject: self._connection.execute(query, (subject,)).fetchone() for subject in subjects}
        return {subject: row[0] for subject, row in rows.items() if row is not None}

    def has_file(self, ref: str) -> bool:
        """See `Reader.has_file`."""
        return (self._blobs / ref).exists()

    def file_chunks(self, ref: str) -> Iterator[bytes]:
        """See `Reader.file_chunks`. Only of a plain file, since a hostile one might be a pipe or a link."""
        try:
            descriptor = os.open(self._blobs / ref, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        except OSError as error:
            raise MalformedError(
                "payload_missing", f"was not erased, but its content is gone: {error.strerror}"
            ) from None
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            os.close(descriptor)
            raise MalformedError("payload_missing", "its content is in something that is no plain file")
        with os.fdopen(descriptor, "rb") as file:
            while chunk := file.read(_CHUNK_BYTES):
                yield chunk


@contextmanager
def opened(path: Path) -> Generator[SqliteReader]:
    """The file in one read transaction: all of it sees one moment, also while others write.

    Falls back to an immutable opening where a copy stands alone in a place that cannot be written, because
    SQLite otherwise wants to put a file beside it.
    """
    _check_is_file(path)
    connection = _connect(path)
    try:
        yield SqliteReader(connection, path)
    finally:
        connection.close()


def _check_is_file(path: Path) -> None:
    try:
        is_file = path.is_file()
    except (OSError, ValueError) as error:
        raise CannotReadError(f"the path cannot be used: {error}") from None
    if not is_file:
        raise CannotReadError("there is no such file")


def _connect(path: Path) -> sqlite3.Connection:
    try:
        return _begun(path, "mode=ro")
    except sqlite3.OperationalError as error:
        if _has_content(path, "-wal") or _has_content(path, "-journal"):
            words = (
                "a side file holds unfinished work; copy it and the database to a place that can be written"
            )
            raise CannotReadError(f"{error}: {words}") from None
    except sqlite3.Error as error:
        raise CannotReadError(str(error)) from None
    try:
        return _begun(path, "mode=ro&immutable=1")
    except sqlite3.Error as error:
        raise CannotReadError(str(error)) from None


def _has_content(path: Path, suffix: str) -> bool:
    side = Path(f"{path}{suffix}")
    return side.is_file() and side.stat().st_size > 0


def _begun(path: Path, options: str) -> sqlite3.Connection:
    connection = sqlite3.connect(f"{path.absolute().as_uri()}?{options}", uri=True, isolation_level=None)
    try:
        connection.text_factory = RawText
        connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, _VALUE_BYTES_MAX)
        connection.execute("PRAGMA trusted_schema = OFF")
        connection.execute("PRAGMA cell_size_check = ON")
        connection.execute("BEGIN")
        connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    except sqlite3.Error:
        connection.close()
        raise
    return connection


def check_shape(connection: sqlite3.Connection, findings: Findings) -> bool:
    """Whether the rows can be read at all; says what is not as section 7 has it."""
    application_id = connection.execute("PRAGMA application_id").fetchone()[0]
    if application_id != APPLICATION_ID:
        words = f"application_id is {application_id:#x}, not {APPLICATION_ID:#x}"
        findings.add("application_id", None, None, words)
    user_version = connection.execute("PRAGMA user_version").fetchone()[0]
    if user_version != USER_VERSION:
        findings.add("user_version", None, None, f"user_version is {user_version}, not {USER_VERSION}")
    usable = [_check_table(connection, table, findings) for table in _COLUMNS]
    return all(usable)


def check_pages(connection: sqlite3.Connection, path: Path, findings: Findings) -> None:
    """Let SQLite look its own pages over; a last page that is cut short it would fill up with zeros."""
    (page_bytes,) = connection.execute("PRAGMA page_size").fetchone()
    if path.stat().st_size % page_bytes:
        findings.add("damaged", None, None, "the file ends in the middle of a page: it was cut short")
    for (line,) in connection.execute(f"PRAGMA quick_check({_DAMAGES_MAX})"):
        words = bytes(line).decode("utf-8", "replace")
        if words != "ok":
            findings.add("damaged", None, None, f"SQLite says: {words!a:.200}")


def _check_table(connection: sqlite3.Connection, table: str, findings: Findings) -> bool:
    kind = connection.execute("SELECT type FROM sqlite_master WHERE name = ?", (table,)).fetchone()
    if kind is None or bytes(kind[0]) != b"table":
        findings.add("schema", None, None, f"there is no table `{table}`")
        return False
    columns = {
        bytes(name).decode("utf-8", "replace"): (position, hidden)
        for _, name, _, _, _, position, hidden in connection.execute(f"PRAGMA table_xinfo({table})")
    }
    if any(columns.get(name, (0, 1))[1] for name in _COLUMNS[table]):
        findings.add("schema", None, None, f"table `{table}` lacks a column, or computes it")
        return False
    key = sorted((position, name) for name, (position, _) in columns.items() if position)
    if tuple(name for _, name in key) != _KEYS[table]:
        findings.add("schema", None, None, f"the primary key of `{table}` is another")
    if table == "entry" and columns.keys() != set(_COLUMNS[table]):
        findings.add("schema", None, None, "table `entry` has columns that the specification does not have")
    if table in _NO_INDEX:
        _check_indexes(connection, table, findings)
    return True


def _check_indexes(connection: sqlite3.Connection, table: str, findings: Findings) -> None:
    query = "SELECT 1 FROM sqlite_master WHERE type = 'index' AND lower(tbl_name) = ? AND sql IS NOT NULL"
    if connection.execute(query, (table,)).fetchone() is not None:
        findings.add("schema", None, None, f"table `{table}` has another index, which may answer for it")
