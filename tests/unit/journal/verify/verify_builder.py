"""A tiny journal builder, written from the specification: it shares nothing with writer or reader."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import sqlite3
from contextlib import closing
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

Json = dict[str, Any]

DDL = """
CREATE TABLE entry(stream TEXT NOT NULL, seq INTEGER NOT NULL, time INTEGER NOT NULL, prev TEXT NOT NULL,
    hash TEXT NOT NULL, body TEXT NOT NULL, PRIMARY KEY(stream, seq)) WITHOUT ROWID;
CREATE TABLE head(stream TEXT PRIMARY KEY, seq INTEGER, hash TEXT, epoch INTEGER, time INTEGER) WITHOUT ROWID;
CREATE TABLE payload(ref TEXT PRIMARY KEY, subject TEXT, retention TEXT, created INTEGER, size INTEGER,
    body BLOB, erased INTEGER) WITHOUT ROWID;
CREATE TABLE subject(ref TEXT PRIMARY KEY, key BLOB, label TEXT) WITHOUT ROWID;
PRAGMA application_id = 0x414e5357;
PRAGMA user_version = 1;
"""

START = 1_767_225_600_000_000
SECOND = 1_000_000
ZEROS = "0" * 64


def encoded(value: object) -> bytes:
    """The canonical bytes, by the standard library: another hand than the reader's own."""
    return json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(",", ":")).encode()


def sha(raw: bytes) -> str:
    """SHA-256 in hexadecimal."""
    return hashlib.sha256(raw).hexdigest()


def word(name: str) -> str:
    """26 characters of base32 that follow from a name."""
    return base64.b32encode(hashlib.sha256(name.encode()).digest()[:16]).decode().lower().rstrip("=")


def digest(name: str) -> str:
    """64 hexadecimal digits that follow from a name."""
    return sha(name.encode())


def edited(edit: Callable[[Json], None]) -> Callable[[bytes], bytes]:
    """A change to the value of a body, which is encoded properly again."""

    def change(raw: bytes) -> bytes:
        body = json.loads(raw)
        edit(body)
        return encoded(body)

    return change


@dataclass
class Journal:
    """Rows of all tables. `changes` apply to a body before it is hashed: a rewriter who does it well."""

    changes: dict[tuple[str, int], Callable[[bytes], bytes]] = field(default_factory=dict[Any, Any])
    journal: str = "jnl_" + word("journal")
    secret: bytes = hashlib.sha256(b"the head key of the vectors").digest()
    rows: list[Json] = field(default_factory=list[Json])
    subjects: list[Json] = field(default_factory=list[Json])
    payloads: list[Json] = field(default_factory=list[Json])
    heads: list[Json] | None = None
    """Rows of the derived table; None: as they follow from the entries."""
    time: int = START

    def __post_init__(self) -> None:
        """Begin with the journal's birth."""
        birth = {"type": "JournalCreated", "journal": self.journal, "key": self.public_key, "format": 1}
        self.append("tenant/default", birth)

    @property
    def _private(self) -> Ed25519PrivateKey:
        return Ed25519PrivateKey.from_private_bytes(self.secret)

    @property
    def public_bytes(self) -> bytes:
        """The public key of the heads."""
        return self._private.public_key().public_bytes_raw()

    @property
    def public_key(self) -> str:
        """The public key of the heads, as text."""
        return base64.b64encode(self.public_bytes).decode()

    def last(self, stream: str) -> Json | None:
        """The last row of a stream."""
        return next((row for row in reversed(self.rows) if row["stream"] == stream), None)

    def row(self, stream: str, seq: int) -> Json:
        """One row, to be tampered with."""
        return next(row for row in self.rows if (row["stream"], row["seq"]) == (stream, seq))

    def append(self, stream: str, *events: Json, epoch: int | None = None) -> Json:
        """Append one entry; in a run stream the epoch goes on as it was."""
        last = self.last(stream)
        if epoch is None:
            epoch = (last["epoch"] if last else 1) if stream.startswith("run/") else 0
        self.time += SECOND
        seq = last["seq"] + 1 if last else 1
        prev = last["hash"] if last else ZEROS
        body = {"v": 1, "stream": stream, "seq": seq, "time": self.time, "prev": prev, "epoch": epoch}
        raw = encoded({**body, "events": list(events)})
        raw = self.changes.get((stream, seq), lambda same: same)(raw)
        row = {"stream": stream, "seq": seq, "time": self.time, "prev": prev, "hash": sha(raw), "body": raw}
        self.rows.append(row | {"epoch": epoch})
        return self.rows[-1]

    def subject(self, name: str) -> str:
        """A subject, with a key that follows from the name."""
        ref = f"sub_{word(name)}"
        if all(row["ref"] != ref for row in self.subjects):
            key = hashlib.sha256(f"key of {name}".encode()).digest()
            self.subjects.append({"ref": ref, "key": key, "label": None})
        return ref

    def payload(self, subject: str, content: object) -> str:
        """Store a payload and return its ref."""
        body = encoded(content)
        key = next(row["key"] for row in self.subjects if row["ref"] == subject)
        ref = hmac.new(key, b"answerable/payload/v1\n" + body, "sha256").hexdigest()
        if all(row["ref"] != ref for row in self.payloads):
            row = {"ref": ref, "subject": subject, "retention": "standard", "created": self.time}
            self.payloads.append({**row, "size": len(body), "body": body, "erased": None})
        return ref

    def head_rows(self) -> list[Json]:
        """The derived table, as it follows from the entries or as it was set."""
        if self.heads is not None:
            return self.heads
        last = {row["stream"]: row for row in self.rows}
        return [
            {name: row[name] for name in ("stream", "seq", "hash", "epoch", "time")} for row in last.values()
        ]

    def repair_heads(self) -> None:
        """Derive the head rows anew, as somebody does who covers a cut tail up."""
        self.heads = None

    def head(self, secret: bytes | None = None, **overrides: object) -> Json:
        """A signed head of the journal as it stands."""
        private = Ed25519PrivateKey.from_private_bytes(secret or self.secret)
        key = base64.b64encode(private.public_key().public_bytes_raw()).decode()
        streams = sorted([row["stream"], row["seq"], row["hash"]] for row in self.head_rows())
        unsigned = {"type": "answerable/head", "v": 1, "journal": self.journal, "key": key, "time": self.time}
        unsigned = {**unsigned, "streams": streams, **overrides}
        signature = private.sign(b"answerable/head/v1\n" + encoded(unsigned))
        return {**unsigned, "signature": base64.b64encode(signature).decode()}

    def write(self, path: Path) -> Path:
        """Write a database in the form of section 7."""
        write_database(path, self.rows, self.head_rows(), self.payloads, self.subjects)
        return path


def as_text(value: object) -> object:
    """Bodies are kept as bytes and stored as TEXT."""
    return value.decode() if isinstance(value, bytes) else value


def write_database(
    path: Path, rows: list[Json], heads: list[Json], payloads: list[Json], subjects: list[Json]
) -> None:
    """Write rows as they are into a new database. Bytes that are no UTF-8 still become TEXT."""
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(f"PRAGMA journal_mode = WAL;{DDL}")
        body = "CAST(? AS TEXT)"
        for row in rows:
            is_blob = isinstance(row["body"], memoryview)
            values = [row[name] for name in ("stream", "seq", "time", "prev", "hash", "body")]
            connection.execute(f"INSERT INTO entry VALUES(?, ?, ?, ?, ?, {'?' if is_blob else body})", values)
        _insert(connection, "head", ("stream", "seq", "hash", "epoch", "time"), heads)
        columns = ("ref", "subject", "retention", "created", "size", "body", "erased")
        _insert(connection, "payload", columns, payloads)
        _insert(connection, "subject", ("ref", "key", "label"), subjects)
        connection.commit()


def _insert(connection: sqlite3.Connection, table: str, columns: tuple[str, ...], rows: list[Json]) -> None:
    marks = ", ".join("?" for _ in columns)
    connection.executemany(
        f"INSERT INTO {table} VALUES({marks})", [[row[name] for name in columns] for row in rows]
    )
