"""The file: opened so that nothing can be written, checked for its shape, read row by row."""

from __future__ import annotations

import sqlite3
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Generator

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


class CannotReadError(Exception):
    """The file cannot be read as a database. Never leaves this package."""


class RawText(bytes):
    """The bytes of a TEXT value, so that they are not taken for a BLOB, nor trusted as UTF-8."""

    __slots__ = ()


Row = tuple[Any, ...]


@contextmanager
def opened(path: Path) -> Generator[sqlite3.Connection]:
    """A connection in one read transaction: all of it sees one moment, also while others write.

    Falls back to an immutable opening where a copy stands alone in a place that cannot be written, because
    SQLite otherwise wants to put a file beside it.
    """
    _check_is_file(path)
    connection = _connect(path)
    try:
        yield connection
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
