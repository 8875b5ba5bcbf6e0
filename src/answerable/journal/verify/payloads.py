"""Payloads: recomputed under their subject's key, and looked for where an entry names them (section 2)."""

from __future__ import annotations

import hmac
from itertools import islice
from typing import TYPE_CHECKING, Final

from answerable.journal.verify.canonical import MalformedError
from answerable.journal.verify.fields import is_digest, is_subject_row
from answerable.journal.verify.reader import RawText
from answerable.journal.verify.report import shown

if TYPE_CHECKING:
    from collections.abc import Iterator

    from answerable.journal.verify.reader import Reader, Row
    from answerable.journal.verify.report import Findings

_CONTEXT: Final = b"answerable/payload/v1\n"
_KEY_BYTES: Final = 32
_KEYS_KEPT_MAX: Final = 4096


class PayloadReader:
    """Checks payload rows one by one, and references to them; keeps a bounded number of keys in memory."""

    def __init__(self, store: Reader, findings: Findings) -> None:
        self.checked = 0
        self.erased = 0
        self.key_missing = 0
        self._store = store
        self._findings = findings
        self._keys: dict[str, bytes | str] = {}
        self._references: list[tuple[str, int, str, str]] = []
        self._subjects: list[tuple[str, int, str]] = []

    def check_reference(self, stream: str, seq: int, field: str, ref: str) -> None:
        """Look whether a payload that an entry refers to has a row; at the latest in `check_references`."""
        self._references.append((stream, seq, field, ref))
        if len(self._references) >= self._store.references_at_once:
            self.check_references()

    def check_references(self) -> None:
        """Say so where an entry refers to a payload or a subject that has no row.

        An erased payload keeps its row, and so does a subject whose key was destroyed.
        """
        self._learn([subject for _, _, subject in self._subjects])
        for stream, seq, subject in self._subjects:
            if self._key_of(subject) == "absent":
                self._findings.add("subject", stream, seq, f"subject {subject} has no row")
        self._subjects.clear()
        known = self._store.known_payloads([ref for _, _, _, ref in self._references])
        for stream, seq, field, ref in self._references:
            if ref not in known:
                self._findings.add(
                    "payload_missing", stream, seq, f"`{field}` refers to payload {ref}, which has no row"
                )
        self._references.clear()

    def check_subject(self, stream: str, seq: int, subject: str) -> None:
        """Look whether a subject that a run names has a row; at the latest in `check_references`."""
        self._subjects.append((stream, seq, subject))
        if len(self._subjects) >= self._store.references_at_once:
            self.check_references()

    def check_rows(self) -> None:
        """Check every row of the table."""
        rows = self._store.payload_rows()
        while batch := list(islice(rows, self._store.payloads_at_once)):
            self._learn([subject for row in batch if (subject := _text(row[1])) is not None])
            for row in batch:
                try:
                    self._check_row(row)
                except MalformedError as error:
                    self._findings.add(error.kind, None, None, f"payload {shown(row[0])}: {error.message}")

    def _check_row(self, row: Row) -> None:
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
        elif body is not None or self._store.has_file(ref):
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
        inline_max = self._store.inline_max
        if body is not None and inline_max is not None and length > inline_max:
            raise MalformedError("payload_form", "content of more than 1 MiB is in the table, not in a file")

    def _chunks(self, ref: str, body: bytes | None) -> Iterator[bytes]:
        return iter((body,)) if body is not None else self._store.file_chunks(ref)

    def _key_of(self, subject: str) -> bytes | str:
        """The subject's key, or why there is none: `destroyed`, `absent` or `malformed`."""
        if subject not in self._keys:
            self._learn([subject])
        return self._keys[subject]

    def _learn(self, subjects: list[str]) -> None:
        """Have the keys of these subjects in memory, or why there are none."""
        unknown = [subject for subject in dict.fromkeys(subjects) if subject not in self._keys]
        if not unknown:
            return
        found = self._store.subject_keys(unknown)
        if len(self._keys) >= _KEYS_KEPT_MAX:
            self._keys = {subject: self._keys[subject] for subject in subjects if subject in self._keys}
        for subject in unknown:
            self._keys[subject] = _key(found[subject]) if subject in found else "absent"


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


def _text(value: object) -> str | None:
    if not isinstance(value, RawText):
        return None
    try:
        return value.decode()
    except UnicodeDecodeError:
        return None
