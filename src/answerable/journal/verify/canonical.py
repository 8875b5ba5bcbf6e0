"""The one JSON form a journal knows (spec/journal.md, section 1), read and written by this reader alone."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Final, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Callable

JsonValue: TypeAlias = "dict[str, JsonValue] | list[JsonValue] | str | int | bool | None"

INTEGER_MAX: Final = 2**53 - 1
BODY_BYTES_MAX: Final = 8192
_DIGITS_MAX: Final = 17
"""One sign and the sixteen digits of the largest integer: longer ones are refused before they are read."""

_TO_ESCAPE: Final = re.compile(r'["\\\x00-\x1f]')
_TWO_CHARACTERS: Final = {
    '"': '\\"',
    "\\": "\\\\",
    "\b": "\\b",
    "\f": "\\f",
    "\n": "\\n",
    "\r": "\\r",
    "\t": "\\t",
}


class MalformedError(Exception):
    """The bytes are not what the specification allows. Never leaves this package; it becomes a finding."""

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind
        self.message = message


def encode(value: JsonValue) -> bytes:
    """The canonical bytes of a value: sorted members, no white space, the fewest escapes.

    Raises `UnicodeEncodeError` for a lone surrogate and `RecursionError` for absurd nesting.
    """
    parts: list[str] = []
    _write(value, parts.append)
    return "".join(parts).encode()


def decode(raw: bytes) -> JsonValue:
    """The value behind `raw`, or `MalformedError` where a reader must refuse it, whatever the layout."""
    try:
        return _DECODER.decode(raw.decode("utf-8"))
    except UnicodeDecodeError as error:
        raise MalformedError("utf8", f"is not UTF-8 at byte {error.start}") from None
    except RecursionError:
        raise MalformedError("json", "is nested too deeply to be read") from None
    except ValueError as error:
        raise MalformedError("json", f"is not JSON: {error}") from None


def decode_canonical(raw: bytes) -> JsonValue:
    """The value behind `raw`, or `MalformedError` unless `raw` is byte for byte that value's encoding."""
    value = decode(raw)
    try:
        again = encode(value)
    except UnicodeEncodeError:
        raise MalformedError("surrogate", "holds a lone surrogate") from None
    except RecursionError:
        raise MalformedError("json", "is nested too deeply to be read") from None
    if again != raw:
        where = next((n for n, (a, b) in enumerate(zip(raw, again, strict=False)) if a != b), None)
        at = min(len(raw), len(again)) if where is None else where
        raise MalformedError("not_canonical", f"is not the encoding of its own value, from byte {at} on")
    return value


def _write(value: JsonValue, put: Callable[[str], None]) -> None:
    if isinstance(value, str):
        put(_quoted(value))
    elif value is None:
        put("null")
    elif value is True:
        put("true")
    elif value is False:
        put("false")
    elif isinstance(value, int):
        put(str(value))
    elif isinstance(value, list):
        _write_list(value, put)
    else:
        _write_object(value, put)


def _write_list(items: list[JsonValue], put: Callable[[str], None]) -> None:
    separator = "["
    for item in items:
        put(separator)
        _write(item, put)
        separator = ","
    put("]" if items else "[]")


def _write_object(members: dict[str, JsonValue], put: Callable[[str], None]) -> None:
    separator = "{"
    for key in sorted(members):
        put(separator)
        put(_quoted(key))
        put(":")
        _write(members[key], put)
        separator = ","
    put("}" if members else "{}")


def _quoted(text: str) -> str:
    return f'"{_TO_ESCAPE.sub(_escape, text)}"'


def _escape(match: re.Match[str]) -> str:
    character = match.group()
    return _TWO_CHARACTERS.get(character) or f"\\u{ord(character):04x}"


def _members(pairs: list[tuple[str, JsonValue]]) -> dict[str, JsonValue]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise MalformedError("duplicate_member", "holds a member twice")
    for key in members:
        if not key.isascii():
            raise MalformedError("key_not_ascii", "holds a key that is not ASCII")
    return members


def _integer(text: str) -> int:
    number = int(text) if len(text) <= _DIGITS_MAX else INTEGER_MAX + 1
    if abs(number) > INTEGER_MAX:
        raise MalformedError("number", "holds an integer beyond 2^53 - 1")
    return number


def _no_float(text: str) -> int:
    raise MalformedError("number", f"holds a number that is not an integer: {text[:40]}")


_DECODER: Final = json.JSONDecoder(
    object_pairs_hook=_members, parse_int=_integer, parse_float=_no_float, parse_constant=_no_float
)
