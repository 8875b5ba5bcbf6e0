"""Bytes that are always the same for the same value, and digests of them.

Two encodings exist on purpose (`spec/journal.md`, "Encoding"). An *entry* is strict: no floats, ASCII
keys, integers below 2^53, at most 8 KiB; so it equals RFC 8785 and any JSON library can verify it. A
*payload* is content: the same sorted form, but floats are let through, since vendors send them.
"""

# What is encoded may be of any type, and is looked at by hand.
# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false, reportUnknownMemberType=false

from __future__ import annotations

import hashlib
import hmac
from typing import TYPE_CHECKING, Any

import orjson

if TYPE_CHECKING:
    from collections.abc import Mapping

ENTRY_BYTES_MAX = 8 * 1024
INTEGER_MAX = 2**53 - 1
ZERO_HASH = "0" * 64


class NotEncodable(ValueError):
    """A value that has no canonical form. The message names the place."""


def scrub(text: str) -> str:
    """`text` with each lone surrogate replaced by U+FFFD, so that it has a UTF-8 form."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def encode_entry(body: Mapping[str, object]) -> bytes:
    """The canonical bytes of a journal entry.

    Raises `NotEncodable` for a float, a non-ASCII key, an integer beyond 2^53 - 1, a lone surrogate, any
    other type, or more than 8 KiB.
    """
    try:
        if type(body) is not dict or not _is_plain(body):
            _check(body, "$")
        encoded = orjson.dumps(body, option=orjson.OPT_SORT_KEYS)
    except (RecursionError, TypeError):
        message = "an entry that is nested too deeply"
        raise NotEncodable(message) from None
    if len(encoded) > ENTRY_BYTES_MAX:
        message = f"an entry of {len(encoded)} bytes is over {ENTRY_BYTES_MAX}"
        raise NotEncodable(message)
    return encoded


def encode_payload(content: object) -> bytes:
    """The bytes under which content is stored and digested: sorted keys, no spaces, UTF-8."""
    try:
        return orjson.dumps(content, option=orjson.OPT_SORT_KEYS)
    except (TypeError, ValueError) as error:
        raise NotEncodable(str(error)) from error


def decode(encoded: bytes | str) -> object:
    """The value behind canonical bytes."""
    return orjson.loads(encoded)


def sha256_hex(data: bytes) -> str:
    """SHA-256 as 64 lowercase hex digits."""
    return hashlib.sha256(data).hexdigest()


def keyed_digest(key: bytes, domain: str, data: bytes) -> str:
    """HMAC-SHA-256 of `domain`, a newline and `data`, as 64 lowercase hex digits.

    Content is only ever named by such a digest: without the key it cannot be guessed, so destroying the
    key is an erasure even where the digest stays.
    """
    return hmac.digest(key, domain.encode() + b"\n" + data, "sha256").hex()


def _is_plain(body: object) -> bool:
    """Whether `_check` would certainly pass. It names the place, which takes longer than the entry's encoding."""
    waiting: list[Any] = [body]
    while waiting:
        value = waiting.pop()
        if type(value) is dict:
            for key in value:
                if type(key) is not str or not key.isascii():
                    return False
            value = value.values()
        for item in value:
            kind = type(item)
            if kind is str:
                if not item.isascii():
                    return False
            elif kind is int:
                if not -INTEGER_MAX <= item <= INTEGER_MAX:
                    return False
            elif kind is dict or kind is tuple or kind is list:
                waiting.append(item)
            elif item is not None and kind is not bool:
                return False
    return True


def _check(value: Any, place: str) -> None:
    kind = type(value)
    if kind is str:
        try:
            value.encode()
        except UnicodeEncodeError:
            message = f"a lone surrogate at {place}"
            raise NotEncodable(message) from None
    elif kind is int:
        if not -INTEGER_MAX <= value <= INTEGER_MAX:
            message = f"an integer beyond 2^53 - 1 at {place}"
            raise NotEncodable(message)
    elif kind is dict:
        for key, item in value.items():
            if type(key) is not str or not key.isascii():
                message = f"a key that is not ASCII text at {place}"
                raise NotEncodable(message)
            _check(item, f"{place}.{key}")
    elif kind is list or kind is tuple:
        for index, item in enumerate(value):
            _check(item, f"{place}[{index}]")
    elif value is not None and kind is not bool:
        message = f"a {kind.__name__} at {place}; entries hold text, integers, booleans and lists of them"
        raise NotEncodable(message)
