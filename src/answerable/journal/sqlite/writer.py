"""The one thread that writes: it takes what is queued, commits it, and only then answers.

In `group` durability everything that waits goes into one commit; if one is refused, all are written again with
a savepoint for each, so that one stale fence fails alone. In `full` and `relaxed` each append is a commit.
"""

from __future__ import annotations

import sqlite3
from typing import TYPE_CHECKING

from answerable.errors import AnswerableError
from answerable.journal.mailbox import Mailbox, post
from answerable.journal.rows import refuse
from answerable.journal.sqlite import files
from answerable.journal.sqlite.connect import connect, translate, translate_file
from answerable.journal.sqlite.project import project
from answerable.kernel.encoding import NotEncodable
from answerable.kernel.entry import EMPTY, Entry, Head, make_entry

if TYPE_CHECKING:
    from pathlib import Path

    from answerable.journal.store import Append, Durability

BATCH = 64
"""How many appends share a commit at most."""
CHECKPOINT_PAGES = 4096
"""Pages in the log (16 MiB) before they are moved into the file, which waits for the disk twice."""
CACHE_KIB = 16 * 1024
"""What the writer keeps in memory. A commit of many runs that does not fit is written to the log twice."""

Answer = tuple[Entry, ...] | BaseException
"""What one caller is told: the entries of its appends, or why there are none."""


class Writer:
    """A write connection, and the thread that owns it."""

    def __init__(self, path: Path, durability: Durability, large_body: LargeBody) -> None:
        self._path = path
        self._synchronous = "NORMAL" if durability == "relaxed" else "FULL"
        self._large_body = large_body
        self._db = self._connect()
        self._box: Mailbox[tuple[Append, ...], tuple[Entry, ...]] = Mailbox(
            "answerable-journal", self.commit, at_once=BATCH if durability == "group" else 1
        )

    def _connect(self) -> sqlite3.Connection:
        db = connect(self._path, synchronous=self._synchronous)
        db.execute(f"PRAGMA wal_autocheckpoint = {CHECKPOINT_PAGES}")
        db.execute(f"PRAGMA cache_size = -{CACHE_KIB}")
        return db

    async def append(self, appends: tuple[Append, ...]) -> tuple[Entry, ...]:
        """Queue appends as one transaction and wait until they are durable, or refused."""
        return await post(self._box, appends)

    def close(self) -> None:
        """Finish what is queued and stop."""
        self._box.close()
        self._db.close()

    def commit(self, jobs: list[tuple[Append, ...]]) -> list[Answer]:
        """Commit jobs together, and say what became of each. For the thread that owns the connection."""
        answers: list[Answer] = []
        try:
            self._db.execute("BEGIN IMMEDIATE")
            try:
                for appends in jobs:
                    answers.append(self._append_all(appends))  # noqa: PERF401 - what came before an error counts
            except (AnswerableError, NotEncodable) as refused:
                self._rollback()
                answers = [refused] if len(jobs) == 1 else []  # it is the answer to one of them only
                if len(jobs) > 1:
                    answers = self._each_alone(jobs)
            if self._db.in_transaction:
                self._db.execute("COMMIT")
        except sqlite3.Error as error:
            self._rollback()
            return [self._after_failure(error, answer) for answer in self._padded(answers, len(jobs))]
        except OSError as error:  # content that has a file of its own
            self._rollback()
            return [translate_file(error, self._path)] * len(jobs)
        except BaseException:
            self._rollback()
            raise
        return answers

    def _each_alone(self, jobs: list[tuple[Append, ...]]) -> list[Answer]:
        """All again after a refusal, each append in a savepoint.

        They are not there from the start because they cost every page twice, and refusals are rare.
        """
        self._db.execute("BEGIN IMMEDIATE")
        return [self._try(appends) for appends in jobs]

    def _padded(self, answers: list[Answer], count: int) -> list[Answer]:
        return answers + [()] * (count - len(answers))

    def _rollback(self) -> None:
        if self._db.in_transaction:
            try:
                self._db.execute("ROLLBACK")
            except sqlite3.Error:
                self._db.close()
                self._db = self._connect()

    def _after_failure(self, error: sqlite3.Error, answer: Answer) -> Answer:
        """A failed commit may still have happened: read back on a new connection before anything else."""
        if isinstance(answer, BaseException):
            return answer
        if answer:
            try:
                db = connect(self._path, synchronous="FULL", read_only=True)
                try:
                    last = answer[-1]
                    found = db.execute(
                        "SELECT hash FROM entry WHERE stream = ? AND seq = ?", (last.stream, last.seq)
                    ).fetchone()
                finally:
                    db.close()
            except sqlite3.Error as unreadable:
                return translate(unreadable, self._path)
            if found is not None and found[0] == last.hash:
                return answer
        return translate(error, self._path)

    def _try(self, appends: tuple[Append, ...]) -> Answer:
        self._db.execute("SAVEPOINT one")
        try:
            entries = self._append_all(appends)
        except (AnswerableError, NotEncodable) as refused:
            self._db.execute("ROLLBACK TO one")
            self._db.execute("RELEASE one")
            return refused
        self._db.execute("RELEASE one")
        return entries

    def _append_all(self, appends: tuple[Append, ...]) -> tuple[Entry, ...]:
        return tuple([self._append(append) for append in appends])

    def _append(self, append: Append) -> Entry:
        db = self._db
        head = append.expect
        if head is None:
            head = read_head(db, append.stream)
        entry = make_entry(append.stream, head, append.epoch, append.now, append.events)
        if head.seq == 0:
            moved = db.execute(
                "INSERT INTO head VALUES (?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
                (entry.stream, entry.seq, entry.hash, entry.epoch, entry.time),
            ).rowcount
        else:
            moved = db.execute(
                "UPDATE head SET seq = ?, hash = ?, epoch = ?, time = ? WHERE stream = ? AND seq = ? AND hash = ?",
                (entry.seq, entry.hash, entry.epoch, entry.time, entry.stream, head.seq, head.hash),
            ).rowcount
        if not moved:
            refuse(append, read_head(self._db, append.stream))
        for payload in append.payloads:
            body = self._large_body(payload.ref, payload.body)
            db.execute(
                "INSERT INTO payload VALUES (?, ?, ?, ?, ?, ?, NULL) ON CONFLICT (ref) DO UPDATE SET"
                " created = excluded.created, body = excluded.body, erased = NULL",
                (payload.ref, payload.subject, payload.retention, entry.time, len(payload.body), body),
            )
        db.execute(
            "INSERT INTO entry VALUES (?, ?, ?, ?, ?, ?)",
            (entry.stream, entry.seq, entry.time, entry.prev, entry.hash, entry.body),
        )
        project(db, entry)
        return entry


class LargeBody:
    """Where content goes that is too large for a row: a file, written before the commit that names it."""

    def __init__(self, folder: Path, inline_max: int = 1 << 20) -> None:
        self.folder = folder
        self.inline_max = inline_max

    def __call__(self, ref: str, body: bytes) -> bytes | None:
        """The body to keep in the row, or None once it is in its file."""
        if len(body) <= self.inline_max:
            return body
        self.folder.mkdir(mode=0o700, exist_ok=True)
        files.write_private(self.folder / ref, body)
        return None


def read_head(db: sqlite3.Connection, stream: str) -> Head:
    """Where a stream stands, by its head row."""
    row = db.execute("SELECT seq, hash, epoch, time FROM head WHERE stream = ?", (stream,)).fetchone()
    return Head(*row) if row else EMPTY
