"""The SQLite store: one writer thread, one reader connection, keys and heads beside the file."""

from __future__ import annotations

import asyncio
import os
import platform
import sqlite3
from pathlib import Path
from typing import TYPE_CHECKING, Any

from answerable.errors import JournalUnreadable
from answerable.journal.limits import limit_findings
from answerable.journal.rows import entries_in, halts_in
from answerable.journal.sqlite import health
from answerable.journal.sqlite.connect import connect, moved, prepare, translate, translated
from answerable.journal.sqlite.due import due
from answerable.journal.sqlite.files import OwnerLock, is_alive, owners, sweep
from answerable.journal.sqlite.throttle import SqliteThrottle
from answerable.journal.sqlite.writer import LargeBody, Writer, read_head
from answerable.journal.store import (
    Append,
    Custody,
    Due,
    Durability,
    Erased,
    Finding,
    Halt,
    Look,
    Notice,
    RunRow,
    WorkerRow,
)
from answerable.kernel.entry import EMPTY, Entry, Head
from answerable.kernel.events import JournalCreated
from answerable.kernel.ids import named, tenant_stream

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from answerable.kernel.throttle import Ask, Limits, Report, Turn

SUBJECTS_MAX = 10_000
"""How many subjects' keys stay in memory; the rest are read again when somebody asks."""
PAYLOADS_AT_ONCE = 64
"""So many are read in one go."""
LOOK_EVERY_S = 0.04
"""How often another process's commits are looked for."""
_HALTS = "SELECT scope, epoch, by, reason, since, is_active FROM halt"
_LOOK = f"{_HALTS} WHERE is_active UNION ALL SELECT * FROM (SELECT NULL, coalesce((SELECT epoch FROM head WHERE stream = ?), 0), NULL, NULL, NULL, 0)"
_RUN = (
    "SELECT run, agent, tenant, kind, state, outcome, code, created, started, ended, steps, cost, is_cost_known,"
    " owner, epoch, waiting_for, request, wake_at, subject, scripted FROM run"
)


class SqliteJournal:
    """A journal in one file. Create it with `SqliteJournal.open`."""

    def __init__(
        self,
        path: Path,
        durability: Durability,
        entropy: Callable[[int], bytes],
        clock: Callable[[], int],
    ) -> None:
        self.path = path
        self.durability = durability
        self.journal = ""
        self.tenant_key = b""
        self.public_key = ""
        self.halt_epoch = 0
        self.custody = custody_of(path)
        self._entropy = entropy
        self._clock = clock
        self._owners = path.with_name(f"{path.name}.owners")
        self._large = LargeBody(path.with_name(f"{path.name}.blobs"))
        self._throttle = SqliteThrottle(path.with_name(f"{path.name}.limits"), clock)
        self._writer = Writer(path, durability, self._large)
        self._db = connect(path, synchronous="FULL")
        self._small = connect(path, synchronous="FULL")
        self._subjects: dict[str, tuple[str, bytes]] = {}
        self._lock: OwnerLock | None = None
        self._version = -1

    @classmethod
    async def open(
        cls,
        path: Path,
        *,
        entropy: Callable[[int], bytes],
        clock: Callable[[], int],
        durability: Durability = "full",
        tenant: str = "default",
        public_key: str = "",
    ) -> SqliteJournal:
        """Open the journal at `path`, or create it.

        `public_key` (base64) is the key of its heads; it is written into a new journal. Raises
        `JournalUnreadable` for a file that is not a journal of this version.
        """
        prepare(path)
        with translated(path):
            store = cls(path, durability, entropy, clock)
            try:
                await store._begin(tenant, public_key)
            except BaseException:
                await store.close()
                raise
        return store

    async def _begin(self, tenant: str, public_key: str) -> None:
        stream = tenant_stream("default")
        first = await self.entries(stream)
        if not first:
            created = JournalCreated(journal=named("jnl", self._entropy(16)), key=public_key, format=1)
            append = Append(stream=stream, events=(created,), expect=EMPTY, epoch=0, now=self._clock())
            try:
                await self._writer.append((append,))
            except Exception:  # another process may have been first; what counts is what is there now
                if not await self.entries(stream):
                    raise
            first = await self.entries(stream)
        created = first[0].events[0]
        if not isinstance(created, JournalCreated):
            raise JournalUnreadable(
                f"`{self.path}` does not begin as a journal", hint="`answerable audit verify` names the place"
            )
        self.journal, self.public_key = created.journal, created.key
        _, self.tenant_key = await self.subject(f"tenant:{tenant}")

    async def take_name(self, owner: str, releases: Sequence[str] = ()) -> None:
        """See `JournalStore.take_name`. The kernel lets it go when the process dies.

        Raises `JournalMoved` for a journal that goes on in another store.
        """
        from answerable import __version__

        with translated(self.path):
            if self._db.execute("SELECT 1 FROM setting WHERE name = 'moved_to'").fetchone():
                raise moved(self.path)
        sweep(self._owners)
        about = {"host": platform.node(), "pid": os.getpid(), "version": __version__}
        self._lock = OwnerLock(
            self._owners, owner, {**about, "started": self._clock(), "releases": list(releases)}
        )

    async def append(self, *appends: Append) -> tuple[Entry, ...]:
        """See `JournalStore.append`."""
        return await self._writer.append(appends)

    async def entries(self, stream: str, *, after: int = 0) -> list[Entry]:
        """See `JournalStore.entries`. Raises `JournalUnreadable` where a row does not hold an entry."""
        with translated(self.path):
            rows = self._db.execute(
                "SELECT stream, seq, time, prev, hash, body FROM entry WHERE stream = ? AND seq > ? ORDER BY seq",
                (stream, after),
            ).fetchall()
        return entries_in(stream, rows)

    async def head(self, stream: str) -> Head:
        """See `JournalStore.head`."""
        with translated(self.path):
            return read_head(self._db, stream)

    async def streams(self) -> list[str]:
        """The names of all streams, sorted."""
        with translated(self.path):
            return [row[0] for row in self._db.execute("SELECT stream FROM head ORDER BY stream")]

    async def entry_hash(self, stream: str, seq: int) -> str | None:
        """The hash of one entry, or None where there is none."""
        with translated(self.path):
            row = self._db.execute(
                "SELECT hash FROM entry WHERE stream = ? AND seq = ?", (stream, seq)
            ).fetchone()
        return row[0] if row else None

    def now(self) -> int:
        """The journal's clock, in microseconds of UTC."""
        return self._clock()

    async def payloads(self, refs: Iterable[str]) -> dict[str, bytes | Erased]:
        """See `JournalStore.payloads`."""
        found: dict[str, bytes | Erased] = {ref: Erased(ref) for ref in refs}
        wanted = list(found)
        with translated(self.path):
            for start in range(0, len(wanted), PAYLOADS_AT_ONCE):
                some = wanted[start : start + PAYLOADS_AT_ONCE]
                places = ", ".join("?" * len(some))
                rows = self._db.execute(
                    f"SELECT ref, body FROM payload WHERE erased IS NULL AND ref IN ({places})", some
                )
                for ref, body in rows:
                    found[ref] = self._large_body(ref) if body is None else body
        return found

    def _large_body(self, ref: str) -> bytes | Erased:
        try:
            return (self._large.folder / ref).read_bytes()
        except OSError:
            return Erased(ref)

    async def subject(self, label: str) -> tuple[str, bytes]:
        """See `JournalStore.subject`."""
        known = self._subjects.get(label)
        if known is not None:
            return known
        with translated(self.path):
            row = self._small.execute("SELECT ref, key FROM subject WHERE label = ?", (label,)).fetchone()
            if row is None:
                ref = label if label.startswith("tenant:") else named("sub", self._entropy(16))
                self._small.execute(
                    "INSERT INTO subject VALUES (?, ?, ?) ON CONFLICT DO NOTHING",
                    (ref, self._entropy(32), label),
                )
                row = self._small.execute("SELECT ref, key FROM subject WHERE label = ?", (label,)).fetchone()
        if len(self._subjects) > SUBJECTS_MAX:
            self._subjects.clear()
        self._subjects[label] = (row[0], row[1])
        return row[0], row[1]

    async def subject_key(self, ref: str) -> bytes | None:
        """See `JournalStore.subject_key`."""
        with translated(self.path):
            row = self._db.execute("SELECT key FROM subject WHERE ref = ?", (ref,)).fetchone()
        return row[0] if row else None

    async def runs(self, *, states: Sequence[str] = (), run: str | None = None) -> list[RunRow]:
        """See `JournalStore.runs`."""
        where, values = ["1"], list[str]()
        if states:
            where.append(f"state IN ({', '.join('?' * len(states))})")
            values += states
        if run is not None:
            where.append("run = ?")
            values.append(run)
        with translated(self.path):
            rows = self._db.execute(
                f"{_RUN} WHERE {' AND '.join(where)} ORDER BY created, run", values
            ).fetchall()
        names = RunRow.__slots__
        found: list[RunRow] = []
        for row in rows:
            taken: tuple[Any, ...] = (*row[:12], bool(row[12]), *row[13:19], bool(row[19]))
            found.append(RunRow(**dict(zip(names, taken, strict=True))))
        return found

    async def open_runs(self, agent: str) -> int:
        """See `JournalStore.open_runs`. The index of open runs is read, and nothing of those that ended."""
        with translated(self.path):
            row = self._db.execute(
                "SELECT count(*) FROM run WHERE state <> 'ended' AND agent = ?", (agent,)
            ).fetchone()
        return int(row[0])

    async def halts(self) -> tuple[int, tuple[Halt, ...]]:
        """See `JournalStore.halts`."""
        with translated(self.path):
            rows = self._db.execute(_HALTS).fetchall()
        if rows:
            self.halt_epoch = max(row[1] for row in rows)
        return self.halt_epoch if rows else 0, halts_in(rows)

    async def look(self, stream: str) -> Look:
        """See `JournalStore.look`."""
        try:  # before every send: no context manager
            rows = self._db.execute(_LOOK, (stream,)).fetchall()
        except sqlite3.Error as error:
            raise translate(error, self.path) from error
        owner = rows.pop()
        return Look(epoch=owner[1], halts=halts_in(rows))

    async def changed(self) -> None:
        """See `JournalStore.changed`. Looking costs a few microseconds, so it is looked often."""
        while True:
            with translated(self.path):
                version = self._db.execute("PRAGMA data_version").fetchone()[0]
            if version != self._version:
                self._version = version
                return
            await asyncio.sleep(LOOK_EVERY_S)

    async def budget(self, budget: str) -> dict[str, tuple[int, int]]:
        """See `JournalStore.budget`."""
        with translated(self.path):
            rows = self._db.execute(
                "SELECT unit, reserved, spent FROM budget WHERE id = ?", (budget,)
            ).fetchall()
        return {unit: (reserved, spent) for unit, reserved, spent in rows}

    async def total(self, key: str) -> tuple[int, int]:
        """See `JournalStore.total`."""
        with translated(self.path):
            row = self._db.execute("SELECT amount, count FROM total WHERE key = ?", (key,)).fetchone()
        return (row[0], row[1]) if row else (0, 0)

    async def claim(self, key: str) -> tuple[str, int, int] | None:
        """See `JournalStore.claim`."""
        with translated(self.path):
            row = self._db.execute("SELECT state, amount, count FROM claim WHERE key = ?", (key,)).fetchone()
        return (row[0], row[1], row[2]) if row else None

    async def take_turn(self, key: str, limits: Limits, ask: Ask) -> Turn:
        """See `JournalStore.take_turn`."""
        return await self._throttle.take(key, limits, ask)

    async def tell_turn(self, key: str, limits: Limits, report: Report) -> None:
        """See `JournalStore.tell_turn`."""
        await self._throttle.tell(key, limits, report)

    async def open_effects(self) -> list[str]:
        """The runs that have an effect which may have happened, one for each effect."""
        with translated(self.path):
            return [
                row[0]
                for row in self._db.execute("SELECT run FROM effect WHERE state IN ('started', 'unknown')")
            ]

    async def payloads_before(self, retention: str, before: int) -> list[str]:
        """Refs of a class's content that is older than `before` and that no open run may still need."""
        with translated(self.path):
            return [
                row[0]
                for row in self._db.execute(
                    "SELECT ref FROM payload WHERE retention = ? AND created < ? AND erased IS NULL AND subject NOT IN"
                    " (SELECT subject FROM run WHERE state <> 'ended' UNION SELECT run.subject FROM effect JOIN run"
                    " USING (run) WHERE effect.state IN ('started', 'unknown'))",
                    (retention, before),
                )
            ]

    async def destroy(self, refs: Sequence[str], now: int) -> None:
        """Destroy content: the row keeps its name and says when."""
        with translated(self.path):
            self._small.execute("BEGIN IMMEDIATE")
            self._small.executemany(
                "UPDATE payload SET body = NULL, erased = ? WHERE ref = ?", [(now, ref) for ref in refs]
            )
            self._small.execute("COMMIT")
        for ref in refs:
            (self._large.folder / ref).unlink(missing_ok=True)

    async def derived_tables(self) -> dict[str, dict[object, object]]:
        """See `JournalStore.derived_tables`."""
        with translated(self.path):
            read = self._db.execute
            read("BEGIN")  # one moment for all of them: nothing else runs on this connection until the commit
            found: dict[str, dict[object, object]] = {
                "head": {r[0]: r[1:] for r in read("SELECT stream, seq, hash, epoch, time FROM head")},
                "run": {r[0]: r[1:] for r in read("SELECT run, agent, state, outcome, epoch FROM run")},
                "budget": {(r[0], r[1]): r[2:] for r in read("SELECT id, unit, reserved, spent FROM budget")},
                "total": {r[0]: r[1:] for r in read("SELECT key, amount, count FROM total")},
                "claim": {r[0]: r[1:] for r in read("SELECT key, state, amount, count FROM claim")},
                "halt": {r[0]: (r[1], bool(r[2])) for r in read("SELECT scope, epoch, is_active FROM halt")},
            }
            read("COMMIT")
        return found

    async def findings(self) -> list[Finding]:
        """See `JournalStore.findings`."""
        return [*health.findings(self.path), *limit_findings(self._throttle.states(), self._clock())]

    async def is_alive(self, owner: str) -> bool:
        """See `JournalStore.is_alive`."""
        return is_alive(self._owners, owner)

    async def workers(self) -> list[WorkerRow]:
        """See `JournalStore.workers`. Those that died are swept away."""
        with translated(self.path):
            running = dict(
                self._db.execute(
                    "SELECT owner, count(*) FROM run WHERE state <> 'ended' AND state = 'running' GROUP BY owner"
                ).fetchall()
            )
        rows = [
            WorkerRow(
                owner=owner,
                host=about["host"],
                pid=about["pid"],
                version=about["version"],
                started=about["started"],
                heartbeat_age_s=0.0,
                is_alive=True,
                runs=running.get(owner, 0),
                releases=tuple(about["releases"]),
            )
            for owner, about in owners(self._owners).items()
        ]
        return sorted(rows, key=lambda row: (row.started, row.owner))

    async def due(
        self,
        now: int,
        limit: int,
        *,
        after: str | None = None,
        run: str | None = None,
        is_orphan: bool = False,
    ) -> list[Due]:
        """See `JournalStore.due`."""
        with translated(self.path):
            return due(
                self._db,
                lambda owner: is_alive(self._owners, owner),
                now,
                limit,
                after=after,
                run=run,
                is_orphan=is_orphan,
            )

    async def notices(self) -> list[Notice]:
        """See `JournalStore.notices`."""
        with translated(self.path):
            rows = self._db.execute(
                "SELECT id, run, kind, created, attempts FROM notice WHERE delivered IS NULL ORDER BY id"
            ).fetchall()
        return [Notice(id=r[0], run=r[1], kind=r[2], created=r[3], attempts=r[4]) for r in rows]

    async def take_notice(self, *, after: int = 0, for_s: float) -> Notice | None:
        """See `JournalStore.take_notice`. Looking writes nothing; who loses against another process looks again."""
        now = self._clock()
        with translated(self.path):
            while row := self._db.execute(
                "SELECT id, run, kind, created, attempts FROM notice WHERE delivered IS NULL AND id > ?"
                " AND (taken IS NULL OR taken <= ?) ORDER BY id LIMIT 1",
                (after, now),
            ).fetchone():
                is_ours = self._small.execute(
                    "UPDATE notice SET taken = ? WHERE id = ? AND delivered IS NULL"
                    " AND (taken IS NULL OR taken <= ?)",
                    (now + int(for_s * 1_000_000), row[0], now),
                ).rowcount
                if is_ours:
                    return Notice(id=row[0], run=row[1], kind=row[2], created=row[3], attempts=row[4])
        return None

    async def delivered(self, notice: int, *, is_done: bool) -> None:
        """See `JournalStore.delivered`."""
        with translated(self.path):
            self._small.execute(
                "UPDATE notice SET attempts = attempts + 1, delivered = ?, taken = NULL"
                " WHERE id = ? AND delivered IS NULL",
                (self._clock() if is_done else None, notice),
            )

    async def close(self) -> None:
        """See `JournalStore.close`."""
        await asyncio.to_thread(self._writer.close)
        self._throttle.close()
        for db in (self._db, self._small):
            try:
                db.close()
            except sqlite3.Error:  # nothing was being written here
                continue
        if self._lock is not None:
            self._lock.release()


def custody_of(path: Path) -> Custody:
    """Key and last head lie beside the file."""
    return Custody(
        name=str(path), key=path.with_name(f"{path.name}.key"), head=path.with_name(f"{path.name}.head")
    )
