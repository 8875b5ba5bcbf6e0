"""Opening the database: new, ours, or refused with the reason."""

from __future__ import annotations

import base64
import errno
import json
import sqlite3
from contextlib import contextmanager
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING

from answerable.errors import (
    JournalBusy,
    JournalError,
    JournalFull,
    JournalMoved,
    JournalUnreadable,
)
from answerable.journal.sqlite.files import create_private

if TYPE_CHECKING:
    from collections.abc import Generator

APPLICATION = 0x414E5357
VERSION = 1
BUSY_MS = 10_000
MOVED = "this journal goes on elsewhere"
"""What the triggers say that close a journal which was moved."""


@contextmanager
def translated(path: Path) -> Generator[None]:
    """Turn SQLite's errors into ours, which say what to do."""
    try:
        yield
    except sqlite3.Error as error:
        raise translate(error, path) from error


def translate(error: sqlite3.Error, path: Path) -> JournalError:
    """Our error for one of SQLite's."""
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    text = str(error)
    if text == MOVED:
        return moved(path)
    if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        return JournalBusy(
            f"the journal `{path}` is held by another process for more than {BUSY_MS // 1000} s",
            hint="look who has it open; nothing was written",
        )
    if code == sqlite3.SQLITE_FULL or "disk I/O" in text:
        return JournalFull(
            f"the journal `{path}` cannot be written: {text}", hint="free some disk, then resume"
        )
    if code in (sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT):
        return JournalUnreadable(
            f"`{path}` is not a readable journal: {text}",
            hint="restore it from a backup; `answerable audit verify` says how far it can be read",
        )
    if code in (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM):
        return JournalError(
            f"the journal `{path}` cannot be opened for writing: {text}", hint="check the path and its mode"
        )
    return JournalError(f"the journal `{path}` failed: {text}", hint="`answerable doctor` looks closer")


def moved(path: Path) -> JournalMoved:
    """The error for a journal that was moved: it says where to."""
    try:
        db = connect(path, synchronous="FULL", read_only=True)
        try:
            (said,) = db.execute("SELECT value FROM setting WHERE name = 'moved_to'").fetchone()
        finally:
            db.close()
        place = json.loads(said)["to"]
    except (sqlite3.Error, ValueError, TypeError, KeyError):
        place = "another store"
    return JournalMoved(
        f"the journal `{path}` goes on in `{place}`; here it can only be read, and nothing was written",
        hint="name that one with --db; `answerable migrate --help` says how to go back",
    )


def translate_file(error: OSError, path: Path) -> JournalError:
    """Our error for a file beside the database that cannot be written."""
    text = f"large content of the journal `{path}` cannot be written: {error.strerror}"
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return JournalFull(text, hint="free some disk, then resume")
    return JournalError(text, hint=f"check `{path}.blobs` and its mode; nothing was written")


def connect(path: Path, *, synchronous: str, read_only: bool = False) -> sqlite3.Connection:
    """A connection in autocommit mode: transactions are begun by name."""
    uri = f"{path.absolute().as_uri()}?mode={'ro' if read_only else 'rw'}"
    db = sqlite3.connect(uri, uri=True, isolation_level=None, check_same_thread=False, cached_statements=256)
    db.execute(f"PRAGMA busy_timeout = {BUSY_MS}")
    db.execute(f"PRAGMA synchronous = {synchronous}")
    db.execute("PRAGMA foreign_keys = ON")
    return db


def prepare(path: Path) -> bool:
    """Make sure that `path` is a journal of this version; create it where there is no file.

    Returns whether it was created. Raises `JournalUnreadable` for anything that is not ours: a foreign
    database is never touched.
    """
    is_new = not path.exists()
    if is_new:
        if not path.parent.is_dir():
            raise JournalError(f"there is no folder `{path.parent}`", hint="create it, or give another path")
        try:
            create_private(path)
        except FileExistsError:
            is_new = False
    with translated(path):
        db = connect(path, synchronous="FULL")
        try:
            return _prepare(db, path)
        finally:
            db.close()


def _prepare(db: sqlite3.Connection, path: Path) -> bool:
    db.execute("BEGIN IMMEDIATE") if _is_blank(db) else None
    try:
        application = db.execute("PRAGMA application_id").fetchone()[0]
        version = db.execute("PRAGMA user_version").fetchone()[0]
        if _is_blank(db) and application == 0 and version == 0:
            create(db)
            db.execute("COMMIT")
            db.execute("PRAGMA journal_mode = WAL")
            return True
    finally:
        if db.in_transaction:
            db.execute("ROLLBACK")
    check_version(db, path)
    if db.execute("PRAGMA journal_mode").fetchone()[0] != "wal":
        db.execute("PRAGMA journal_mode = WAL")
    return False


def create(db: sqlite3.Connection) -> None:
    """Make the tables, inside the caller's transaction."""
    for statement in _statements():
        db.execute(statement)
    db.execute(f"PRAGMA application_id = {APPLICATION}")
    db.execute(f"PRAGMA user_version = {VERSION}")


def check_version(db: sqlite3.Connection, path: Path) -> None:
    """Refuse what is no journal of this version. Raises `JournalUnreadable`, which names both versions."""
    application = db.execute("PRAGMA application_id").fetchone()[0]
    version = db.execute("PRAGMA user_version").fetchone()[0]
    if application != APPLICATION:
        raise JournalUnreadable(
            f"`{path}` is a database of something else", hint="name a new file, or the right one"
        )
    if version != VERSION:
        older = "an older" if version < VERSION else "a newer"
        raise JournalUnreadable(
            f"`{path}` is a journal of {older} version ({version}; this is {VERSION})",
            hint="use the version of answerable that wrote it, or restore a backup of this version",
        )


def _is_blank(db: sqlite3.Connection) -> bool:
    return db.execute("SELECT count(*) FROM sqlite_master").fetchone()[0] == 0


def _statements() -> list[str]:
    text = files("answerable.journal.sqlite").joinpath("schema.sql").read_text("utf-8")
    code = "\n".join(line for line in text.splitlines() if not line.startswith("--"))
    return [statement for statement in code.split(";") if statement.strip()]


def public_text(raw: bytes) -> str:
    """A public key as the journal writes it."""
    return base64.b64encode(raw).decode()
