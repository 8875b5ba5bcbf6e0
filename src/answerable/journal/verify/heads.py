"""Heads: a signed statement, kept elsewhere, of where every stream stood (section 4)."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from answerable.journal.verify.canonical import MalformedError, decode, encode
from answerable.journal.verify.fields import from_base64, is_count, is_digest, is_journal_id, is_stream

if TYPE_CHECKING:
    from pathlib import Path

    from answerable.journal.verify.canonical import JsonValue

_MEMBERS: Final = frozenset({"journal", "key", "signature", "streams", "time", "type", "v"})
_CONTEXT: Final = b"answerable/head/v1\n"
_KEY_BYTES: Final = 32
_SIGNATURE_BYTES: Final = 64
_FILE_BYTES_MAX: Final = 1024**3
_ROW_MEMBERS: Final = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Head:
    """A head whose signature holds under its own key. Whose key that is, is for the caller to ask."""

    journal: str
    key: bytes
    time: int
    streams: dict[str, tuple[int, str]]
    digest: str


def read_head(path: Path) -> Head:
    """The head in a file, or `MalformedError`: unreadable, or with a signature that does not hold."""
    try:
        if not path.is_file() or path.stat().st_size > _FILE_BYTES_MAX:
            raise MalformedError("head_unreadable", "there is no such head file")
        raw = path.read_bytes()
    except (OSError, ValueError) as error:
        raise MalformedError("head_unreadable", f"the head file cannot be read: {error}") from None
    return parse_head(raw)


def parse_head(raw: bytes) -> Head:
    """The head behind the bytes of its file, or `MalformedError`. Its layout is not looked at."""
    try:
        head = decode(raw)
    except MalformedError as error:
        raise MalformedError("head_unreadable", f"the head {error.message}") from None
    if not isinstance(head, dict) or head.keys() != _MEMBERS:
        raise MalformedError("head_unreadable", "the head lacks or adds members")
    if head["type"] != "answerable/head" or head["v"] is True or head["v"] != 1:
        raise MalformedError("head_unreadable", "the head is not of version 1")
    journal, time = head["journal"], head["time"]
    key, signature = from_base64(head["key"], _KEY_BYTES), from_base64(head["signature"], _SIGNATURE_BYTES)
    if not is_journal_id(journal) or not is_count(time) or key is None or signature is None:
        raise MalformedError("head_unreadable", "the head has a member that is not of its type")
    streams = _streams(head["streams"])
    digest = _check_signature(key, signature, head)
    return Head(journal=journal, key=key, time=time, streams=streams, digest=digest)


def _streams(rows: JsonValue) -> dict[str, tuple[int, str]]:
    streams: dict[str, tuple[int, str]] = {}
    last = ""
    for row in rows if isinstance(rows, list) else [None]:
        if not isinstance(row, list) or len(row) != _ROW_MEMBERS:
            raise MalformedError("head_unreadable", "a stream of the head is no [name, seq, hash]")
        name, seq, digest = row
        if not is_stream(name) or not is_count(seq) or seq < 1 or not is_digest(digest):
            raise MalformedError("head_unreadable", "a stream of the head is no [name, seq, hash]")
        if name <= last:
            raise MalformedError("head_unreadable", "the streams of the head are not sorted, or not distinct")
        streams[name] = (seq, digest)
        last = name
    return streams


def _check_signature(key: bytes, signature: bytes, head: dict[str, JsonValue]) -> str:
    """The digest of the signed bytes, or `MalformedError` where the signature is not over them."""
    unsigned = {name: value for name, value in head.items() if name != "signature"}
    try:
        signed = _CONTEXT + encode(unsigned)
        Ed25519PublicKey.from_public_bytes(key).verify(signature, signed)
    except (InvalidSignature, ValueError, RecursionError):
        raise MalformedError("head_signature", "the head's signature does not hold") from None
    return hashlib.sha256(signed).hexdigest()
