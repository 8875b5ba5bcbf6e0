"""A PostgreSQL journal as something to copy from, and a blank database as something to copy to."""

from __future__ import annotations

import asyncio
from contextlib import closing, contextmanager
from itertools import count
from typing import TYPE_CHECKING, Any, Final

import psycopg

from answerable.errors import ConfigError
from answerable.journal.copy_ports import DERIVED, MOVED_TO, ORDER, SEEN, TRUTH, Size
from answerable.journal.postgres import schema
from answerable.journal.postgres.connect import LOCK_MS, conninfo, translate
from answerable.journal.postgres.custody import custody_of
from answerable.journal.postgres.escrow import NO_CAP, PARENT
from answerable.journal.postgres.lease import ALIVE
from answerable.journal.postgres.rows import PAYLOAD_BYTES_MAX

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable, Iterator

    from answerable.journal.copy_ports import Row

BATCH: Final = 2000
LARGE: Final = 1 << 20
"""Content of more bytes is fetched by itself, so that a batch of rows fits into memory."""
_LARGE_BATCH: Final = 50
_SETTINGS: Final = {
    "client_encoding": "UTF8",
    "timezone": "UTC",
    "search_path": "pg_catalog",
    "statement_timeout": "0",
    "idle_in_transaction_session_timeout": "0",
    "lock_timeout": str(LOCK_MS),
}
"""A copy may take hours, and stands still while the other side writes."""
_PAYLOADS: Final = (
    "SELECT ref, subject, retention, created, size,"
    f" CASE WHEN octet_length(body) > {LARGE} THEN NULL ELSE body END, erased, octet_length(body)"
    " FROM answerable.payload ORDER BY ref"
)
_BYTES: Final = frozenset({("payload", "body"), ("subject", "key")})
_BOOLEANS: Final = frozenset({"is_active", "is_cost_known", "scripted"})
_NUMBERS: Final = frozenset(
    (
        *(
            "amount",
            "attempts",
            "cap",
            "cost",
            "count",
            "created",
            "delivered",
            "ended",
            "epoch",
            "erased",
            "granted",
        ),
        *("id", "reserved", "seq", "since", "size", "spent", "started", "steps", "time", "wake_at"),
    )
)
_BUDGET: Final = ("id", "holder", "unit", "granted", "reserved", "spent", "cap")
_SUMMED: Final = (
    "SELECT id, unit, sum(reserved)::bigint, sum(spent)::bigint FROM answerable.budget GROUP BY id, unit"
    " ORDER BY id, unit"
)
_MOVED: Final = """
CREATE OR REPLACE FUNCTION answerable.moved() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    RAISE EXCEPTION 'it goes on in %', (SELECT value::json->>'to' FROM answerable.setting WHERE name = 'moved_to')
    USING ERRCODE = 'AN001'; END $$;
CREATE OR REPLACE TRIGGER moved BEFORE INSERT OR UPDATE ON answerable.entry EXECUTE FUNCTION answerable.moved();
CREATE OR REPLACE TRIGGER moved BEFORE INSERT OR UPDATE ON answerable.payload EXECUTE FUNCTION answerable.moved();
CREATE OR REPLACE TRIGGER moved BEFORE INSERT ON answerable.worker EXECUTE FUNCTION answerable.moved();
"""
"""Whoever wants to append, erase or work must hear that the journal is elsewhere, whatever version it runs."""


class _Rows:
    """Rows of a PostgreSQL journal, read by one connection in one transaction."""

    def __init__(self, url: str) -> None:
        self.custody = custody_of(url)
        self.name = self.custody.name
        self._url = url
        self._cursors = count(1)
        with self._translated():
            self._db: psycopg.Connection[Any] = psycopg.connect(conninfo(url, "copy"), autocommit=True)
            for name, value in _SETTINGS.items():
                self._db.execute("SELECT set_config(%s, %s, false)", (name, value))

    @contextmanager
    def _translated(self) -> Generator[None]:
        try:
            yield
        except psycopg.Error as error:
            raise translate(error, self.name) from error

    def truth(self, table: str) -> Iterator[Row]:
        """See `Rows.truth`."""
        if table == "payload":
            for *row, body, erased, length in self._stream(_PAYLOADS, _LARGE_BATCH):
                yield (*row, self._large(row[0]) if body is None and length is not None else body, erased)
            return
        columns = ", ".join(TRUTH[table])
        yield from self._stream(f"SELECT {columns} FROM answerable.{table} ORDER BY {ORDER[table]}")

    def _large(self, ref: str) -> bytes:
        return self._one("SELECT body FROM answerable.payload WHERE ref = %s", ref)[0]

    def _stream(self, query: str, batch: int = BATCH) -> Iterator[Row]:
        with self._translated(), self._db.cursor(f"copy_{next(self._cursors)}") as cursor:
            cursor.itersize = batch
            cursor.execute(query.encode(), binary=True)
            yield from cursor

    def _one(self, query: str, *values: object) -> Any:
        with self._translated():
            return self._db.execute(query.encode(), values, binary=True).fetchone()

    def first(self, stream: str) -> Iterator[Row]:
        """See `Rows.first`."""
        columns = ", ".join(TRUTH["entry"])
        row = self._one(f"SELECT {columns} FROM answerable.entry WHERE stream = %s AND seq = 1", stream)
        return iter(() if row is None else (row,))

    def setting(self, name: str) -> str | None:
        """See `Rows.setting`."""
        row = self._one("SELECT value FROM answerable.setting WHERE name = %s", name)
        return row[0] if row else None

    def entry_hash(self, stream: str, seq: int) -> str | None:
        """See `Rows.entry_hash`."""
        row = self._one("SELECT hash FROM answerable.entry WHERE stream = %s AND seq = %s", stream, seq)
        return row[0] if row else None

    def is_begun(self) -> bool:
        """Whether there is a journal that has begun."""
        with self._translated():
            if schema.applied(self._db, self.name) is None:
                return False
        return next(self.first("tenant/default"), None) is not None

    def close(self) -> None:
        """See `Rows.close`."""
        self._db.close()


class PostgresSource(_Rows):
    """A journal in a database. Raises `ConfigError` where there is none, `JournalUnreadable` where it is not ours."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        try:
            with self._translated():
                found = schema.applied(self._db, self.name)
            if found is None or not self._one("SELECT EXISTS (SELECT FROM answerable.entry)")[0]:
                raise ConfigError(f"there is no journal in `{self.name}`", hint="name the right database")
            schema.check(found, self.name)
        except BaseException:
            self._db.close()
            raise

    def begin(self, *, alone: bool) -> None:
        """See `Source.begin`. Whoever writes to it meanwhile waits, and is told after ten seconds."""
        with self._translated():
            if alone:
                self._db.execute("BEGIN ISOLATION LEVEL REPEATABLE READ")
                for table in ("entry", "payload"):
                    self._db.execute(f"LOCK TABLE answerable.{table} IN SHARE ROW EXCLUSIVE MODE".encode())
            else:
                self._db.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
        self._one("SELECT count(*) FROM answerable.setting")

    def size(self) -> Size:
        """See `Source.size`."""
        (entries,) = self._one("SELECT count(*) FROM answerable.entry")
        row = self._one("SELECT count(*), coalesce(max(octet_length(body)), 0) FROM answerable.payload")
        return Size(entries, row[0], row[1])

    def living(self) -> list[str]:
        """See `Source.living`: whoever gave a sign of life within its lease."""
        with self._translated():
            query = f"SELECT owner, host, pid FROM answerable.worker WHERE {ALIVE} ORDER BY owner"
            rows = self._db.execute(query.encode()).fetchall()
        return [f"{owner} (process {pid} on {host})" for owner, host, pid in rows]

    def end_for_writing(self, value: str) -> None:
        """See `Source.end_for_writing`."""
        with self._translated():
            self._db.execute(
                "INSERT INTO answerable.setting VALUES (%s, %s) ON CONFLICT (name) DO UPDATE SET value = excluded.value",
                (MOVED_TO, value),
            )
            self._db.execute(_MOVED)
            self._db.execute("COMMIT")

    def take_back(self) -> None:
        """See `Source.take_back`."""
        with self._translated():
            for table in ("entry", "payload", "worker"):
                self._db.execute(f"DROP TRIGGER IF EXISTS moved ON answerable.{table}".encode())
            self._db.execute("DROP FUNCTION IF EXISTS answerable.moved()")
            self._db.execute("DELETE FROM answerable.setting WHERE name = %s", (MOVED_TO,))
            self._db.execute("COMMIT")


class PostgresTarget(_Rows):
    """A database without a journal. Everything is written in one transaction, the schema included."""

    payload_max: int | None = PAYLOAD_BYTES_MAX

    def begin(self) -> None:
        """See `Target.begin`. Who wants to open a journal there meanwhile waits, and is told after some seconds."""
        with self._translated():
            self._db.execute("BEGIN")
            if schema.make(self._db, self.name):
                return
            self._db.execute("LOCK TABLE answerable.entry IN ACCESS EXCLUSIVE MODE")
        for table in (*TRUTH, "head"):
            if self._one(f"SELECT EXISTS (SELECT FROM answerable.{table})")[0]:
                raise ConfigError(
                    f"`{self.name}` holds a journal already",
                    hint="name another database: nothing is overwritten",
                )

    def write(self, table: str, rows: Iterable[Row]) -> None:
        """See `Target.write`."""
        columns = TRUTH.get(table) or DERIVED[table]
        if table == "budget":
            columns = _BUDGET
            rows = ((id_, PARENT, unit, 0, kept, spent, NO_CAP) for id_, unit, kept, spent in rows)
        flags = [index for index, name in enumerate(columns) if name in _BOOLEANS]
        into = f"COPY answerable.{table} ({', '.join(columns)}) FROM STDIN (FORMAT BINARY)"
        with self._translated():
            with self._db.cursor() as cursor, cursor.copy(into.encode()) as copy:
                copy.set_types([_type_of(table, name) for name in columns])
                for row in rows:
                    copy.write_row(_with_flags(row, flags) if flags else row)
            if table == "notice":
                self._db.execute(
                    "SELECT setval(pg_get_serial_sequence('answerable.notice', 'id'), max(id)) FROM answerable.notice"
                    " HAVING max(id) IS NOT NULL"
                )

    def seen(self, table: str) -> Iterator[Row]:
        """See `Target.seen`."""
        if table == "budget":
            return self._stream(_SUMMED)
        return self._stream(f"SELECT {', '.join(SEEN[table])} FROM answerable.{table} ORDER BY 1")

    def commit(self) -> None:
        """See `Target.commit`."""
        with self._translated():
            self._db.execute("COMMIT")
            for table in (*TRUTH, *DERIVED):
                self._db.execute(f"ANALYZE answerable.{table}".encode())

    def holds(self, journal: str) -> bool:
        """See `Target.holds`. Asked on a new connection: the reply to the commit may have been lost with ours."""
        with psycopg.connect(conninfo(self._url, "copy"), autocommit=True) as db:
            if schema.applied(db, self.name) is None:
                return False
            query = "SELECT body FROM answerable.entry WHERE stream = 'tenant/default' AND seq = 1"
            row = db.execute(query).fetchone()
        return row is not None and journal in row[0]


def _type_of(table: str, column: str) -> str:
    if (table, column) in _BYTES:
        return "bytea"
    if column in _BOOLEANS:
        return "bool"
    return "int8" if column in _NUMBERS and (table, column) != ("budget", "id") else "text"


def _with_flags(row: Row, flags: list[int]) -> Row:
    changed = list(row)
    for index in flags:
        changed[index] = bool(changed[index])
    return tuple(changed)


def is_there(url: str) -> bool:
    """Whether there is a journal in the database."""
    with closing(_Rows(url)) as rows:
        return rows.is_begun()


async def journal_exists(url: str) -> bool:
    """Whether there is a journal in the database; a schema that is still blank holds none."""
    return await asyncio.to_thread(is_there, url)
