"""The one journal that all simulated processes share: the real SQLite store over a database in memory, with no thread.

Every commit goes through the real writer's code, savepoints included. Beside it stands what the checks need and the
database does not keep: in which order everything was committed, and what a replica that is behind would still answer.
"""

from __future__ import annotations

import sqlite3
from functools import cache
from typing import TYPE_CHECKING, Any

from answerable.journal.heads import public_key_for
from answerable.journal.limits import limit_findings
from answerable.journal.sqlite.connect import create
from answerable.journal.sqlite.due import due
from answerable.journal.sqlite.files import create_private
from answerable.journal.sqlite.store import SqliteJournal, custody_of
from answerable.journal.sqlite.throttle import SqliteThrottle
from answerable.journal.sqlite.writer import LargeBody, Writer
from answerable.kernel.events import CallEnded, CallIntended, ModelEnded, ModelIntended

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Sequence
    from pathlib import Path

    from answerable.journal.store import Append, Due, Finding
    from answerable.kernel.entry import Entry

Answer = tuple["Entry", ...] | BaseException


@cache
def _template() -> sqlite3.Connection:
    """An empty journal, as the real code makes it."""
    template = sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)
    create(template)
    return template


class InlineWriter(Writer):
    """The real writer without its thread: what is committed is answered before `commit` returns."""

    def __init__(self, db: sqlite3.Connection, path: Path, large_body: LargeBody) -> None:
        self._path = path
        self._synchronous = "FULL"
        self._large_body = large_body
        self._db = db

    def _connect(self) -> sqlite3.Connection:
        return self._db

    def tear(self, appends: tuple[Append, ...]) -> None:
        """Begin a transaction and die in it."""
        self._db.execute("BEGIN IMMEDIATE")
        try:
            self._append_all(appends)
        except Exception:  # noqa: BLE001, S110 - it would have been refused
            pass
        finally:
            self._db.execute("ROLLBACK")

    async def append(self, appends: tuple[Append, ...]) -> tuple[Entry, ...]:
        """See `Writer.append`."""
        return taken(self.commit([appends])[0])

    def close(self) -> None:
        """There is no thread."""


def taken(answer: Answer) -> tuple[Entry, ...]:
    """The entries, or the refusal raised."""
    if isinstance(answer, BaseException):
        raise answer
    return answer


def inline(coroutine: Coroutine[Any, Any, Any]) -> Any:
    """What a coroutine returns that waits for nothing."""
    try:
        coroutine.send(None)
    except StopIteration as done:
        return done.value
    coroutine.close()
    message = "a simulated journal waits for nothing"
    raise RuntimeError(message)


class Ledger(SqliteJournal):
    """See the module."""

    def __init__(self, folder: Path, entropy: Callable[[int], bytes], clock: Callable[[], int]) -> None:
        path = folder / "journal.db"
        self.path = path
        self.durability = "full"
        self.journal = ""
        self.tenant_key = b""
        self.public_key = ""
        self.halt_epoch = 0
        self.custody = custody_of(path)
        self._entropy = entropy
        self._clock = clock
        self._owners = path.with_name("owners")
        self._large = LargeBody(path.with_name("blobs"))
        self._throttle = SqliteThrottle(path.with_name("limits"), clock)
        self._db = sqlite3.connect(
            ":memory:", isolation_level=None, cached_statements=256, check_same_thread=False
        )
        _template().backup(self._db)
        self._small = self._db
        self._writer = self.writer = InlineWriter(self._db, path, self._large)
        self._subjects = {}
        self._lock = None
        self._version = -1
        self.log: list[Entry] = []
        """Every entry in the order in which it was committed; its place, from 1, is its version."""
        self.seen: dict[tuple[str, str], list[tuple[int, Any]]] = {}
        """(table, id) → what it was, with the version since when: what a replica may still say."""
        self.watchers: list[Callable[[Entry], None]] = []
        """Called with each entry once it is committed."""
        inline(self._begin("default", public_key_for(self.custody, entropy, is_new=True)))
        for stream in inline(self.streams()):
            self.log += inline(self.entries(stream))

    def commit(self, *queued: tuple[Append, ...]) -> list[Answer]:
        """Commit what is queued as one transaction, and take note of what it changed."""
        answers = self.writer.commit(list(queued))
        for answer in answers:
            if not isinstance(answer, BaseException):
                self._noted(answer)
        return answers

    def _noted(self, entries: Sequence[Entry]) -> None:
        for entry in entries:
            self.log.append(entry)
            self._remember(entry)
            for watcher in self.watchers:
                watcher(entry)

    def _remember(self, entry: Entry) -> None:
        if entry.stream.startswith("tenant/"):
            self._keep("halts", "", inline(super().halts()))
        for event in entry.events:
            match event:
                case CallIntended():
                    budgets = {one[0] for one in event.reserve}
                    for total in event.totals:
                        self._keep("total", total[0], inline(super().total(total[0])))
                case ModelIntended():
                    budgets = {one[0] for one in event.reserve}
                case CallEnded() | ModelEnded():
                    budgets = {one[0] for one in event.settle}
                case _:
                    continue
            for budget in sorted(budgets):
                self._keep("budget", budget, inline(super().budget(budget)))

    def _keep(self, table: str, name: str, value: Any) -> None:
        self.seen.setdefault((table, name), []).append((len(self.log), value))

    def as_of(self, table: str, name: str, version: int, empty: Any) -> Any:
        """What `name` was at a version."""
        was = [value for since, value in self.seen.get((table, name), ()) if since <= version]
        return was[-1] if was else empty

    def due_for(
        self,
        is_alive: Callable[[str], bool],
        now: int,
        limit: int,
        *,
        after: str | None,
        run: str | None,
        is_orphan: bool,
    ) -> list[Due]:
        """What should be driven, where `is_alive` says who lives."""
        return due(self._db, is_alive, now, limit, after=after, run=run, is_orphan=is_orphan)

    def export(self, path: Path) -> None:
        """Write the journal into a file of its own, for those who read files."""
        create_private(path)
        copy = sqlite3.connect(path)
        self._db.backup(copy)
        copy.execute("PRAGMA journal_mode = WAL")
        copy.close()

    async def findings(self) -> list[Finding]:
        """Nothing can be wrong with its files: it has none. Limits are those of its tools."""
        return limit_findings(self._throttle.states(), self._clock())

    async def close(self) -> None:
        """Processes come and go; it stays."""

    def dispose(self) -> None:
        """Let go of the memory."""
        self._throttle.close()
        self._db.close()
