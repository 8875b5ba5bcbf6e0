"""The PostgreSQL database: one read-only transaction that sees one moment, read row by row (section 8).

Nothing of it is taken on trust that can be asked for: what a table is, and that no view, rule or row policy stands
between us and its rows. That the server answers with what it stores is taken on trust; a backup need not be.
"""

from __future__ import annotations

from contextlib import contextmanager
from itertools import count
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

from answerable.journal.verify.canonical import MalformedError
from answerable.journal.verify.reader import CannotReadError, RawText

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator, Sequence

    from answerable.journal.verify.reader import Row
    from answerable.journal.verify.report import Findings

_TYPES: Final = {
    "entry": {
        "stream": "text",
        "seq": "bigint",
        "time": "bigint",
        "prev": "text",
        "hash": "text",
        "body": "text",
    },
    "head": {"stream": "text", "seq": "bigint", "hash": "text", "epoch": "bigint", "time": "bigint"},
    "payload": {
        "ref": "text",
        "subject": "text",
        "retention": "text",
        "created": "bigint",
        "size": "bigint",
        "body": "bytea",
        "erased": "bigint",
    },
    "subject": {"ref": "text", "key": "bytea"},
}
_KEYS: Final = {"entry": ["stream", "seq"], "head": ["stream"], "payload": ["ref"], "subject": ["ref"]}
_SETTINGS: Final = (
    "SET search_path = pg_catalog",
    "SET client_encoding = 'UTF8'",
    "SET statement_timeout = 0",
    "SET idle_in_transaction_session_timeout = 0",
    "SET row_security = off",
    "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY",
)
_TABLE: Final = """
SELECT c.oid, c.relkind::text, EXISTS (SELECT FROM pg_rewrite WHERE ev_class = c.oid),
       EXISTS (SELECT FROM pg_inherits WHERE inhparent = c.oid OR inhrelid = c.oid), c.relrowsecurity
FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
WHERE n.nspname = 'answerable' AND c.relname = %s
"""
_TABLE_COLUMNS: Final = """
SELECT attname::text, format_type(atttypid, atttypmod), attgenerated::text FROM pg_attribute
WHERE attrelid = %s AND attnum > 0 AND NOT attisdropped
"""
_TABLE_KEY: Final = """
SELECT a.attname::text FROM pg_index AS i, unnest(i.indkey) WITH ORDINALITY AS k (number, place)
JOIN pg_attribute AS a ON a.attrelid = %s AND a.attnum = k.number
WHERE i.indrelid = %s AND i.indisprimary AND i.indisvalid ORDER BY k.place
"""
_ENTRY: Final = "SELECT stream, seq, time, prev, hash, body FROM ONLY answerable.entry"
_LARGE: Final = 1024 * 1024
_ROWS_AT_ONCE: Final = 2000
_PAYLOADS_AT_ONCE: Final = 50
_HEADS_AT_ONCE: Final = 1000


class PostgresReader:
    """One PostgreSQL journal, in one read-only transaction. See `Reader`."""

    inline_max: int | None = None
    references_at_once: int = 1000
    payloads_at_once: int = _PAYLOADS_AT_ONCE

    def __init__(self, connection: Any) -> None:
        self._connection = connection
        self._cursors = count(1)
        self._heads: dict[bytes, Row] = {}
        self._heads_up_to: bytes | None = b""
        """Up to which stream the heads in memory are all that there are; None: to the end."""

    def check_shape(self, findings: Findings) -> bool:
        """See `Reader.check_shape`."""
        usable = [self._check_table(table, findings) for table in _TYPES]
        return all(usable)

    def _check_table(self, table: str, findings: Findings) -> bool:
        found = self._one(_TABLE, table)
        if found is None or bytes(found[1]) != b"r":
            findings.add("schema", None, None, f"there is no table `{table}` in the schema `answerable`")
            return False
        oid, _, has_rules, has_relatives, has_policies = found
        if has_rules or has_relatives or has_policies:
            words = f"rules, inheritance or row policies stand between a reader and table `{table}`"
            findings.add("schema", None, None, words)
        columns = {
            bytes(name).decode(): (bytes(type_).decode(), bytes(generated).decode())
            for name, type_, generated in self._all(_TABLE_COLUMNS, oid)
        }
        if any(columns.get(name) != (type_, "") for name, type_ in _TYPES[table].items()):
            findings.add("schema", None, None, f"table `{table}` lacks a column, or has it as another type")
            return False
        if [bytes(name).decode() for (name,) in self._all(_TABLE_KEY, oid, oid)] != _KEYS[table]:
            findings.add("schema", None, None, f"the primary key of `{table}` is another")
        if table == "entry" and columns.keys() != _TYPES[table].keys():
            words = "table `entry` has columns that the specification does not have"
            findings.add("schema", None, None, words)
        return True

    def count(self) -> int:
        """See `Reader.count`: the table itself is read, and no index."""
        for kind in ("indexscan", "indexonlyscan", "bitmapscan"):
            self._connection.execute(f"SET LOCAL enable_{kind} = off")
        (found,) = self._one("SELECT count(*) FROM ONLY answerable.entry")
        for kind in ("indexscan", "indexonlyscan", "bitmapscan"):
            self._connection.execute(f"SET LOCAL enable_{kind} = on")
        return found

    def entries(self) -> Iterator[Row]:
        """See `Reader.entries`."""
        return self._stream(f'{_ENTRY} ORDER BY stream COLLATE "C", seq', _ROWS_AT_ONCE)

    def entry(self, stream: str, seq: int) -> Row | None:
        """See `Reader.entry`."""
        return self._one(f"{_ENTRY} WHERE stream = %s AND seq = %s", stream, seq)

    def head_row(self, stream: str) -> Row | None:
        """See `Reader.head_row`. Heads are fetched ahead: they are asked for in this order."""
        name = stream.encode()
        if self._heads_up_to is not None and name > self._heads_up_to:
            query = (
                "SELECT stream, seq, hash, epoch, time FROM ONLY answerable.head"
                f' WHERE stream COLLATE "C" >= %s ORDER BY stream COLLATE "C" LIMIT {_HEADS_AT_ONCE}'
            )
            rows = self._all(query, stream)
            self._heads = {bytes(row[0]): row[1:] for row in rows}
            self._heads_up_to = bytes(rows[-1][0]) if len(rows) == _HEADS_AT_ONCE else None
        return self._heads.get(name)

    def heads_without_entries(self) -> Iterator[Row]:
        """See `Reader.heads_without_entries`."""
        query = (
            "SELECT stream, seq FROM ONLY answerable.head WHERE NOT EXISTS"
            " (SELECT FROM ONLY answerable.entry WHERE entry.stream = head.stream)"
        )
        return self._stream(query, _ROWS_AT_ONCE)

    def payload_rows(self) -> Iterator[Row]:
        """See `Reader.payload_rows`. Large content is fetched by itself."""
        query = (
            "SELECT ref, subject, retention, created, size,"
            f" CASE WHEN octet_length(body) > {_LARGE} THEN NULL ELSE body END, erased, octet_length(body)"
            " FROM ONLY answerable.payload"
        )
        for *row, body, erased, length in self._stream(query, _PAYLOADS_AT_ONCE):
            if length is not None and body is None:
                (body,) = self._one(
                    "SELECT body FROM ONLY answerable.payload WHERE ref = %s", row[0].decode()
                )
            yield (*row, body, erased)

    def known_payloads(self, refs: Sequence[str]) -> set[str]:
        """See `Reader.known_payloads`."""
        rows = self._all("SELECT ref FROM ONLY answerable.payload WHERE ref = ANY(%s)", list(refs))
        return {bytes(ref).decode() for (ref,) in rows}

    def subject_keys(self, subjects: Sequence[str]) -> dict[str, Any]:
        """See `Reader.subject_keys`."""
        query = "SELECT ref, key FROM ONLY answerable.subject WHERE ref = ANY(%s)"
        return {bytes(ref).decode(): key for ref, key in self._all(query, list(subjects))}

    def has_file(self, ref: str) -> bool:
        """See `Reader.has_file`: there are no files."""
        del ref
        return False

    def file_chunks(self, ref: str) -> Iterator[bytes]:
        """See `Reader.file_chunks`: there are no files."""
        del ref
        raise MalformedError("payload_missing", "was not erased, but its content is gone")

    def _stream(self, query: str, at_once: int) -> Iterator[Row]:
        with self._connection.cursor(f"verify_{next(self._cursors)}") as cursor:
            cursor.itersize = at_once
            cursor.execute(query, binary=True)
            yield from cursor

    def _all(self, query: str, *values: object) -> list[Row]:
        return self._connection.execute(query, values, binary=True).fetchall()

    def _one(self, query: str, *values: object) -> Any:
        return self._connection.execute(query, values, binary=True).fetchone()


@contextmanager
def opened(url: str) -> Generator[PostgresReader]:
    """The database in one read-only transaction: all of it sees one moment, also while others write."""
    try:
        import psycopg
    except ImportError:
        raise CannotReadError("psycopg is not installed, which reads PostgreSQL") from None
    try:
        connection = psycopg.connect(url, autocommit=True, application_name="answerable verify")
    except psycopg.ProgrammingError:  # its message repeats the address, password included
        raise CannotReadError("the address is not one of a PostgreSQL database") from None
    except psycopg.Error as error:
        raise CannotReadError(str(error).strip().splitlines()[0]) from None
    try:
        _read_text_raw(connection)
        for setting in _SETTINGS:
            connection.execute(setting)
        yield PostgresReader(connection)
    finally:
        connection.close()


def _read_text_raw(connection: Any) -> None:
    """Let text come as its bytes: whether it is UTF-8, and what it says, is for the verifier to find."""
    from psycopg.adapt import Loader
    from psycopg.pq import Format

    class RawLoader(Loader):
        format = Format.BINARY

        def load(self, data: Any) -> RawText:
            return RawText(data)

    connection.adapters.register_loader("text", RawLoader)


def name_of(url: str) -> str:
    """What the report calls the journal: the address without user and password."""
    try:
        from psycopg.conninfo import conninfo_to_dict

        said = conninfo_to_dict(url)
    except Exception:  # noqa: BLE001 - whatever it is, `opened` says so in the report
        return "postgresql://..."
    host = str(said.get("host") or said.get("hostaddr") or "localhost")
    port = f":{said['port']}" if said.get("port") else ""
    database = quote(str(said.get("dbname") or ""))
    return (
        f"postgresql:///{database}?host={host}"
        if host.startswith("/")
        else f"postgresql://{host}{port}/{database}"
    )
