"""Payloads: recomputed under their subject's key, and looked for where an entry names them (section 2)."""

from __future__ import annotations

import hmac
import os
import stat
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from answerable.journal.verify.canonical import MalformedError
from answerable.journal.verify.database import RawText
from answerable.journal.verify.fields import is_digest, is_subject_row
from answerable.journal.verify.report import shown

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterator

    from answerable.journal.verify.report import Findings

_CONTEXT: Final = b"answerable/payload/v1\n"
_KEY_BYTES: Final = 32
_INLINE_BYTES_MAX: Final = 1024 * 1024
_CHUNK_BYTES: Final = 1024 * 1024
_KEYS_KEPT_MAX: Final = 4096


class PayloadReader:
    """Checks payload rows one by one, and references to them; keeps a bounded number of keys in memory."""

    def __init__(self, connection: sqlite3.Connection, path: Path, findings: Findings) -> None:
        self.checked = 0
        self.erased = 0
        self.key_missing = 0
        self._connection = connection
        self._blobs = Path(f"{path}.blobs")
        self._findings = findings
        self._keys: dict[str, bytes | str] = {}

    def check_reference(self, stream: str, seq: int, field: str, ref: str) -> None:
        """Say so where an entry refers to a payload that has no row: an erased one keeps its row."""
        if self._connection.execute("SELECT 1 FROM payload WHERE ref = ?", (ref,)).fetchone() is None:
            self._findings.add(
                "payload_missing", stream, seq, f"`{field}` refers to payload {ref}, which has no row"
            )

    def check_subject(self, stream: str, seq: int, subject: str) -> None:
        """Say so where a run names a subject that has no row: a destroyed key keeps its row."""
        if self._key_of(subject) == "absent":
            self._findings.add("subject", stream, seq, f"subject {subject} has no row")

    def check_rows(self) -> None:
        """Check every row of the table."""
        query = "SELECT ref, subject, retention, created, size, body, erased FROM payload"
        for row in self._connection.execute(query):
            try:
                self._check_row(row)
            except MalformedError as error:
                self._findings.add(error.kind, None, None, f"payload {shown(row[0])}: {error.message}")

    def _check_row(self, row: tuple[Any, ...]) -> None:
        raw_ref, raw_subject, retention, created, size, body, erased = row
        ref, subject = _text(raw_ref), _text(raw_subject)
        if not is_digest(ref):
            raise MalformedError("payload_form", "`ref` is not 64 hexadecimal digits")
        if not is_subject_row(subject):
            raise MalformedError("payload_form", "`subject` names no subject")
        if _text(retention) is None or type(created) is not int or type(size) is not int or size < 0:
            raise MalformedError("payload_form", "`retention`, `created` or `size` is not of its type")
        if not (body is None or type(body) is bytes) or not (erased is None or type(erased) is int):
            raise MalformedError("payload_form", "`body` or `erased` is not of its type")
        if erased is None:
            self._check_content(ref, subject, size, body)
        elif body is not None or (self._blobs / ref).exists():
            raise MalformedError("payload_form", "is marked as erased, but its content is still there")
        else:
            self.erased += 1

    def _check_content(self, ref: str, subject: str, size: int, body: bytes | None) -> None:
        key = self._key_of(subject)
        if key == "destroyed":
            self.key_missing += 1
            return
        if not isinstance(key, bytes):
            raise MalformedError("subject", f"the row of its subject {subject} is {key}")
        length, computed = _commit(key, self._chunks(ref, body))
        self.checked += 1
        if computed != ref:
            raise MalformedError("payload_altered", "the content is not what the ref commits to")
        if length != size:
            raise MalformedError("payload_form", f"`size` is {size}, and the content has {length} bytes")
        if body is not None and length > _INLINE_BYTES_MAX:
            raise MalformedError("payload_form", "content of more than 1 MiB is in the table, not in a file")

    def _chunks(self, ref: str, body: bytes | None) -> Iterator[bytes]:
        return iter((body,)) if body is not None else _file_chunks(self._blobs / ref)

    def _key_of(self, subject: str) -> bytes | str:
        """The subject's key, or why there is none: `destroyed`, `absent` or `malformed`."""
        found = self._keys.get(subject)
        if found is None:
            row = self._connection.execute("SELECT key FROM subject WHERE ref = ?", (subject,)).fetchone()
            found = "absent" if row is None else _key(row[0])
            if len(self._keys) >= _KEYS_KEPT_MAX:
                self._keys.clear()
            self._keys[subject] = found
        return found


def _key(value: object) -> bytes | str:
    if value is None:
        return "destroyed"
    return value if type(value) is bytes and len(value) == _KEY_BYTES else "malformed"


def _commit(key: bytes, chunks: Iterator[bytes]) -> tuple[int, str]:
    """The length and the ref of content under a key."""
    mac = hmac.new(key, _CONTEXT, "sha256")
    length = 0
    for chunk in chunks:
        mac.update(chunk)
        length += len(chunk)
    return length, mac.hexdigest()


def _file_chunks(path: Path) -> Iterator[bytes]:
    """The content of a blob file; only of a plain file, since a hostile one might be a pipe or a link."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
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


def _text(value: object) -> str | None:
    if not isinstance(value, RawText):
        return None
    try:
        return value.decode()
    except UnicodeDecodeError:
        return None
