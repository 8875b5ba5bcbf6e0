# pyright: reportAttributeAccessIssue=false, reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false
"""Texts that are valid where they stand, as many different ones as are needed: the names of a made-up world.

The n-th text of a pattern is read off its own parse tree. What was made is always tried against the pattern afterwards,
so that a pattern which is not understood gives no text rather than a wrong one.
"""

from __future__ import annotations

import re
from contextlib import suppress
from functools import lru_cache
from re import _parser  # type: ignore[attr-defined]  # the parse tree has no public name
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

REPEATS = 3
"""What may be repeated freely is repeated so often."""
_CLASSES: dict[str, str] = {
    "CATEGORY_DIGIT": "0123456789",
    "CATEGORY_WORD": "abcdefghijklmnopqrstuvwxyz0123456789_",
    "CATEGORY_SPACE": " ",
}
_ANYTHING = "abcdefghijklmnopqrstuvwxyz"
_DIGITS = "0123456789"


def texts(schema: dict[str, Any], name: str) -> Callable[[int], Iterator[str]]:
    """For a text of this JSON schema: from a number, the texts to try, the best first. `name` is where it stands."""
    pattern = schema.get("pattern")

    def tries(n: int) -> Iterator[str]:
        for text in _tries(schema, pattern, name, n):
            if is_fit(schema, text):
                yield text

    return tries


def is_fit(schema: dict[str, Any], text: str) -> bool:
    """Whether a text is within what the schema says of length, pattern and closed lists."""
    if "const" in schema:
        return text == schema["const"]
    if "enum" in schema:
        return text in schema["enum"]
    if not schema.get("minLength", 0) <= len(text) <= schema.get("maxLength", 1 << 20):
        return False
    pattern = schema.get("pattern")
    if pattern is None:
        return True
    try:
        return re.search(pattern, text) is not None
    except re.error:
        return False


def _tries(schema: dict[str, Any], pattern: str | None, name: str, n: int) -> Iterator[str]:
    if pattern is not None:
        with suppress(re.error, OverflowError, ValueError):  # a pattern in the words of another language
            yield from _of_pattern(pattern, n)
    match schema.get("format"):
        case "uuid":
            yield f"00000000-0000-4000-8000-{n:012x}"
        case "date-time":
            yield "2030-01-01T00:00:00Z"
        case "date":
            yield "2030-01-01"
        case "time":
            yield "12:00:00"
        case _:
            pass
    plain = f"{name or 'text'}-{n}"
    least = schema.get("minLength", 0)
    yield plain.ljust(least, "x")
    most = schema.get("maxLength", len(plain))
    yield f"{n}".rjust(min(least, most), "0")
    yield f"{name}{n}@example.com".lower().replace("_", "")
    yield f"https://example.com/{n}"


def _of_pattern(pattern: str, n: int) -> Iterator[str]:
    """The n-th text of a pattern, with free repeats as in `REPEATS`, and with the fewest."""
    tree = _parsed(pattern)
    for repeats in (REPEATS, 0, 8):
        choices = _Choices(n)
        yield choices.write(tree, repeats)


@lru_cache(maxsize=512)
def _parsed(pattern: str) -> Any:
    return _parser.parse(pattern)


class _Choices:
    """Spends a number on the choices of a pattern: each set of characters takes a digit of it, the last ones first."""

    def __init__(self, n: int) -> None:
        self._left = n

    def write(self, tree: Any, repeats: int) -> str:
        parts = [self._part(op, value, repeats) for op, value in reversed(list(tree))]
        return "".join(reversed(parts))

    def _part(self, op: Any, value: Any, repeats: int) -> str:
        match str(op):
            case "LITERAL":
                return chr(value)
            case "ANY":
                return self._pick(_ANYTHING)
            case "NOT_LITERAL":
                return self._pick(_ANYTHING.replace(chr(value), ""))
            case "IN":
                return self._pick(_options(tuple(value)))
            case "MAX_REPEAT" | "MIN_REPEAT" | "POSSESSIVE_REPEAT":
                least, most, inner = value
                return "".join(
                    reversed([self.write(inner, repeats) for _ in range(min(most, max(least, repeats)))])
                )
            case "SUBPATTERN":
                return self.write(value[-1], 0)
            case "ATOMIC_GROUP":
                return self.write(value, repeats)
            case "BRANCH":
                branches = value[1]
                self._left, which = divmod(self._left, len(branches))
                return self.write(branches[which], repeats)
            case "AT":
                return ""
            case other:
                message = f"`{other}` in a pattern"
                raise ValueError(message)

    def _pick(self, options: str) -> str:
        self._left, which = divmod(self._left, len(options))
        return options[which]


@lru_cache(maxsize=512)
def _options(parts: Any) -> str:
    """The characters of a set, those that read well first."""
    found: dict[str, None] = {}
    is_negated = False
    for op, value in parts:
        match str(op):
            case "LITERAL":
                found.setdefault(chr(value))
            case "RANGE":
                low, high = value
                for code in range(low, min(high, low + 128) + 1):
                    found.setdefault(chr(code))
            case "CATEGORY":
                for each in _CLASSES[str(value)]:
                    found.setdefault(each)
            case "NEGATE":
                is_negated = True
            case other:
                message = f"`{other}` in a set of characters"
                raise ValueError(message)
    if is_negated:
        return "".join(each for each in _ANYTHING + _DIGITS if each not in found)
    readable = [each for each in found if each.isascii() and each.isalnum()]
    readable.sort(key=lambda each: (not each.islower(), not each.isdigit(), each))
    return "".join(readable or found)
