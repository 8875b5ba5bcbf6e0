"""The PostgreSQL store: one thread that writes, a few connections that read, one that listens, one that says we live."""

from __future__ import annotations

import asyncio
import os
import platform
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

import psycopg

from answerable.errors import JournalError, JournalUnreadable
from answerable.journal.limits import limit_findings
from answerable.journal.postgres import health, schema
from answerable.journal.postgres.connect import translate
from answerable.journal.postgres.custody import custody_of
from answerable.journal.postgres.due import due
from answerable.journal.postgres.lease import IS_ALIVE, WORKERS, Lease
from answerable.journal.postgres.listen import Listener
from answerable.journal.postgres.looker import Looker
from answerable.journal.postgres.reader import Reader
from answerable.journal.postgres.rows import PAYLOAD_BYTES_MAX
from answerable.journal.postgres.throttle import PostgresThrottle
from answerable.journal.postgres.writer import Writer
from answerable.journal.rows import halts_in
from answerable.journal.store import (
    Append,
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

    from answerable.journal.store import Custody
    from answerable.kernel.throttle import Ask, Limits, Report, Turn

SUBJECTS_MAX = 10_000
"""How many subjects' keys stay in memory; the rest are read again when somebody asks."""
_HALTS = "SELECT scope, epoch, by, reason, since, is_active FROM answerable.halt"
_RUN = (
    "SELECT run, agent, tenant, kind, state, outcome, code, created, started, ended, steps, cost, is_cost_known,"
    " owner, epoch, waiting_for, request, wake_at, subject, scripted FROM answerable.run"
)
_ERASABLE = (
    "SELECT ref FROM answerable.payload WHERE retention = %s AND created < %s AND erased IS NULL AND subject NOT IN"
    " (SELECT subject FROM answerable.run WHERE state <> 'ended' UNION SELECT run.subject FROM answerable.effect"
    " JOIN answerable.run USING (run) WHERE effect.state IN ('started', 'unknown'))"
)
_DERIVED = {
    "head": "SELECT stream, seq, hash, epoch, time FROM answerable.head",
    "run": "SELECT run, agent, state, outcome, epoch FROM answerable.run",
    "total": "SELECT key, amount, count FROM answerable.total",
    "claim": "SELECT key, state, amount, count FROM answerable.claim",
    "halt": "SELECT scope, epoch, is_active FROM answerable.halt",
}
_TAKE_NOTICE = (
    "UPDATE answerable.notice SET taken = clock_timestamp() + make_interval(secs => %s) WHERE id ="
    " (SELECT id FROM answerable.notice WHERE delivered IS NULL AND id > %s"
    " AND (taken IS NULL OR taken <= clock_timestamp()) ORDER BY id LIMIT 1 FOR UPDATE SKIP LOCKED)"
    " RETURNING id, run, kind, created, attempts"
)
_BUDGETS = "SELECT id, unit, sum(reserved)::bigint, sum(spent)::bigint FROM answerable.budget"


class PostgresJournal:
    """A journal in a PostgreSQL database. Create it with `PostgresJournal.open`."""

    def __init__(
        self,
        url: str,
        custody: Custody,
        durability: Durability,
        entropy: Callable[[int], bytes],
        clock: Callable[[], int],
    ) -> None:
        self.durability: Durability = durability
        self.journal = ""
        self.tenant_key = b""
        self.public_key = ""
        self.halt_epoch = 0
        self.custody = custody
        self._url = url
        self._entropy = entropy
        self._clock = clock
        # Without a name of its own a process has shares of budgets too; they are merged when others need them.
        self._holder = f"unnamed-{platform.node()}-{os.getpid()}"
        self._lease: Lease | None = None
        self._subjects: dict[str, tuple[str, bytes]] = {}
        self._reader = Reader(url, custody.name, durability)
        self._throttle = PostgresThrottle(url, custody.name)
        self._listener = Listener(url)
        self._looker = Looker(url, custody.name, durability)
        self._writer = Writer(url, custody.name, durability, lambda: self._holder)

    @classmethod
    async def open(
        cls,
        url: str,
        *,
        entropy: Callable[[int], bytes],
        clock: Callable[[], int],
        durability: Durability = "full",
        tenant: str = "default",
        public_key: str = "",
        must_exist: bool = False,
    ) -> PostgresJournal:
        """Open the journal in the database at `url`, or create it there.

        `public_key` (base64) is the key of its heads; it is written into a new journal. With `must_exist` none is
        created. Raises `JournalUnreadable` for a schema that is not a journal of this version.
        """
        custody = custody_of(url)
        await asyncio.to_thread(schema.prepare, url, custody.name, must_exist=must_exist)
        try:
            store = cls(url, custody, durability, entropy, clock)
        except psycopg.Error as error:
            raise translate(error, custody.name) from error
        try:
            await store._reader.open()
            await store._begin(tenant, public_key)
        except BaseException:
            await store.close()
            raise
        return store

    async def _begin(self, tenant: str, public_key: str) -> None:
        stream = tenant_stream("default")
        first = await self._reader.ask(
            "SELECT EXISTS (SELECT FROM answerable.entry WHERE stream = %s AND seq = 1)", (stream,)
        )
        if first == [(False,)]:
            created = JournalCreated(journal=named("jnl", self._entropy(16)), key=public_key, format=1)
            append = Append(stream=stream, events=(created,), expect=EMPTY, epoch=0, now=self._clock())
            try:
                await self._writer.append((append,))
            except Exception:  # another process may have been first; what counts is what is there now
                if not await self.entry_hash(stream, 1):
                    raise
        entries = await self.entries(stream)
        begun = entries[0].events[0] if entries else None
        if not isinstance(begun, JournalCreated):
            raise JournalUnreadable(
                f"`{self.custody.name}` does not begin as a journal",
                hint="`answerable audit verify` names the place",
            )
        self.journal, self.public_key = begun.journal, begun.key
        _, self.tenant_key = await self.subject(f"tenant:{tenant}")

    async def take_name(self, owner: str, releases: Sequence[str] = ()) -> None:
        """See `JournalStore.take_name`. A row says it, and is renewed from a thread until `close`."""
        await asyncio.to_thread(self._let_go)
        self._lease = await asyncio.to_thread(
            Lease, self._url, self.custody.name, owner, _version(), tuple(releases)
        )
        self._holder = owner

    def _let_go(self) -> None:
        if self._lease is not None:
            self._lease.release()
            self._lease = None

    @property
    def is_fenced(self) -> bool:
        """Whether others may have taken runs of ours, because we were not heard of for longer than the lease."""
        return self._lease is not None and self._lease.is_fenced

    async def append(self, *appends: Append) -> tuple[Entry, ...]:
        """See `JournalStore.append`. Raises `JournalError` for content larger than a row may hold."""
        for append in appends:
            for payload in append.payloads:
                if len(payload.body) > PAYLOAD_BYTES_MAX:
                    raise JournalError(
                        f"content of {len(payload.body)} bytes is over the {PAYLOAD_BYTES_MAX} that a row may hold",
                        hint="keep it elsewhere, and its address and digest in the journal",
                    )
        return await self._writer.append(appends)

    async def entries(self, stream: str, *, after: int = 0) -> list[Entry]:
        """See `JournalStore.entries`. Raises `JournalUnreadable` where a row does not hold an entry."""
        return await self._reader.entries(stream, after)

    async def head(self, stream: str) -> Head:
        """See `JournalStore.head`."""
        rows = await self._reader.ask(
            "SELECT seq, hash, epoch, time FROM answerable.head WHERE stream = %s", (stream,)
        )
        return Head(*rows[0]) if rows else EMPTY

    async def streams(self) -> list[str]:
        """See `JournalStore.streams`."""
        return [
            row[0] for row in await self._reader.ask("SELECT stream FROM answerable.head ORDER BY stream")
        ]

    async def entry_hash(self, stream: str, seq: int) -> str | None:
        """See `JournalStore.entry_hash`."""
        rows = await self._reader.ask(
            "SELECT hash FROM answerable.entry WHERE stream = %s AND seq = %s", (stream, seq)
        )
        return rows[0][0] if rows else None

    def now(self) -> int:
        """See `JournalStore.now`."""
        return self._clock()

    async def payloads(self, refs: Iterable[str]) -> dict[str, bytes | Erased]:
        """See `JournalStore.payloads`."""
        wanted = list(dict.fromkeys(refs))
        rows = await self._reader.ask(
            "SELECT ref, body FROM answerable.payload WHERE ref = ANY(%s) AND erased IS NULL", (wanted,)
        )
        found = {ref: body for ref, body in rows if body is not None}
        return {ref: found.get(ref, Erased(ref)) for ref in wanted}

    async def subject(self, label: str) -> tuple[str, bytes]:
        """See `JournalStore.subject`."""
        known = self._subjects.get(label)
        if known is not None:
            return known
        question = "SELECT ref, key FROM answerable.subject WHERE label = %s"
        rows = await self._reader.ask(question, (label,))
        if not rows:
            ref = label if label.startswith("tenant:") else named("sub", self._entropy(16))
            await self._reader.ask(
                "INSERT INTO answerable.subject (ref, key, label) VALUES (%s, %s, %s) ON CONFLICT DO NOTHING",
                (ref, self._entropy(32), label),
            )
            rows = await self._reader.ask(question, (label,))
        if len(self._subjects) > SUBJECTS_MAX:
            self._subjects.clear()
        self._subjects[label] = (rows[0][0], rows[0][1])
        return self._subjects[label]

    async def subject_key(self, ref: str) -> bytes | None:
        """See `JournalStore.subject_key`."""
        rows = await self._reader.ask("SELECT key FROM answerable.subject WHERE ref = %s", (ref,))
        return rows[0][0] if rows else None

    async def runs(self, *, states: Sequence[str] = (), run: str | None = None) -> list[RunRow]:
        """See `JournalStore.runs`."""
        where, values = ["true"], list[object]()
        if states:
            where.append("state = ANY(%s)")
            values.append(list(states))
            if "ended" not in states:
                where.append("state <> 'ended'")  # said in so many words, for the index of open runs
        if run is not None:
            where.append("run = %s")
            values.append(run)
        rows = await self._reader.ask(f"{_RUN} WHERE {' AND '.join(where)} ORDER BY created, run", values)
        return [RunRow(**dict(zip(RunRow.__slots__, row, strict=True))) for row in rows]

    async def open_runs(self, agent: str) -> int:
        """See `JournalStore.open_runs`. The index of open runs is read, and nothing of those that ended."""
        rows = await self._reader.ask(
            "SELECT count(*) FROM answerable.run WHERE state <> 'ended' AND agent = %s", (agent,)
        )
        return int(rows[0][0])

    async def halts(self) -> tuple[int, tuple[Halt, ...]]:
        """See `JournalStore.halts`."""
        rows = await self._reader.ask(_HALTS)
        self.halt_epoch = max((row[1] for row in rows), default=0)
        return self.halt_epoch, halts_in(rows)

    async def look(self, stream: str) -> Look:
        """See `JournalStore.look`. One round trip for all who ask at the same time."""
        return await self._looker.look(stream)

    async def changed(self) -> None:
        """See `JournalStore.changed`."""
        await self._listener.changed()

    async def budget(self, budget: str) -> dict[str, tuple[int, int]]:
        """See `JournalStore.budget`. Of a shared budget, all shares together."""
        rows = await self._reader.ask(f"{_BUDGETS} WHERE id = %s GROUP BY id, unit", (budget,))
        return {unit: (reserved, spent) for _, unit, reserved, spent in rows}

    async def total(self, key: str) -> tuple[int, int]:
        """See `JournalStore.total`."""
        rows = await self._reader.ask("SELECT amount, count FROM answerable.total WHERE key = %s", (key,))
        return (rows[0][0], rows[0][1]) if rows else (0, 0)

    async def claim(self, key: str) -> tuple[str, int, int] | None:
        """See `JournalStore.claim`."""
        rows = await self._reader.ask(
            "SELECT state, amount, count FROM answerable.claim WHERE key = %s", (key,)
        )
        return (rows[0][0], rows[0][1], rows[0][2]) if rows else None

    async def take_turn(self, key: str, limits: Limits, ask: Ask) -> Turn:
        """See `JournalStore.take_turn`."""
        return await self._throttle.take(key, limits, ask)

    async def tell_turn(self, key: str, limits: Limits, report: Report) -> None:
        """See `JournalStore.tell_turn`."""
        await self._throttle.tell(key, limits, report)

    async def is_alive(self, owner: str) -> bool:
        """See `JournalStore.is_alive`: heard of within the lease, by the server's clock."""
        return await self._reader.ask(IS_ALIVE, (owner,)) == [(True,)]

    async def workers(self) -> list[WorkerRow]:
        """See `JournalStore.workers`. Those that died lately are there too."""
        found: list[WorkerRow] = []
        for row in await self._reader.ask(WORKERS):
            taken: tuple[Any, ...] = (*row[:-1], tuple(row[-1]))
            found.append(WorkerRow(**dict(zip(WorkerRow.__slots__, taken, strict=True))))
        return found

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
        return await due(self._reader, now, limit, after=after, run=run, is_orphan=is_orphan)

    async def open_effects(self) -> list[str]:
        """See `JournalStore.open_effects`."""
        rows = await self._reader.ask(
            "SELECT run FROM answerable.effect WHERE state IN ('started', 'unknown') ORDER BY run"
        )
        return [row[0] for row in rows]

    async def payloads_before(self, retention: str, before: int) -> list[str]:
        """See `JournalStore.payloads_before`."""
        return [row[0] for row in await self._reader.ask(_ERASABLE, (retention, before))]

    async def destroy(self, refs: Sequence[str], now: int) -> None:
        """See `JournalStore.destroy`."""
        await self._reader.ask(
            "UPDATE answerable.payload SET body = NULL, erased = %s WHERE ref = ANY(%s)", (now, list(refs))
        )

    async def derived_tables(self) -> dict[str, dict[object, object]]:
        """See `JournalStore.derived_tables`."""
        *answers, budgets = await self._reader.ask_at_once(
            [*_DERIVED.values(), f"{_BUDGETS} GROUP BY id, unit"]
        )
        found: dict[str, dict[object, object]] = {
            name: {row[0]: tuple(row[1:]) for row in rows}
            for name, rows in zip(_DERIVED, answers, strict=True)
        }
        found["budget"] = {(row[0], row[1]): (row[2], row[3]) for row in budgets}
        return found

    async def findings(self) -> list[Finding]:
        """See `JournalStore.findings`."""
        kept, now = await self._throttle.states()
        return [*(await health.findings(self._reader, self.durability)), *limit_findings(kept, now)]

    async def notices(self) -> list[Notice]:
        """See `JournalStore.notices`."""
        rows = await self._reader.ask(
            "SELECT id, run, kind, created, attempts FROM answerable.notice WHERE delivered IS NULL ORDER BY id"
        )
        return [Notice(id=r[0], run=r[1], kind=r[2], created=r[3], attempts=r[4]) for r in rows]

    async def take_notice(self, *, after: int = 0, for_s: float) -> Notice | None:
        """See `JournalStore.take_notice`. By the server's clock."""
        rows = await self._reader.ask(_TAKE_NOTICE, (for_s, after))
        return Notice(**dict(zip(Notice.__slots__, rows[0], strict=True))) if rows else None

    async def delivered(self, notice: int, *, is_done: bool) -> None:
        """See `JournalStore.delivered`."""
        await self._reader.ask(
            "UPDATE answerable.notice SET attempts = attempts + 1, delivered = %s, taken = NULL"
            " WHERE id = %s AND delivered IS NULL",
            (self._clock() if is_done else None, notice),
        )

    async def close(self) -> None:
        """See `JournalStore.close`. The name is given up: others may take over at once."""
        await asyncio.to_thread(self._writer.close)
        await asyncio.to_thread(self._let_go)
        await self._throttle.close()
        await asyncio.to_thread(self._looker.close)
        await self._listener.close()
        await self._reader.close()


def _version() -> str:
    try:
        return version("answerable")
    except PackageNotFoundError:
        return "unknown"
