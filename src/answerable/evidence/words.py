"""Values in words: times, amounts and content, safe to show on a terminal and in a page.

Content comes from outside. Control and direction characters are shown, never sent: a ticket must not move the
cursor of whoever reads it, nor make an amount read backwards.
"""

from __future__ import annotations

import unicodedata
from datetime import UTC, datetime, timedelta
from typing import cast

import orjson

from answerable.journal.store import Erased
from answerable.kernel.money import from_micros, plain

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_KEPT = frozenset("\n")
_UNSAFE = frozenset({"Cc", "Cf", "Zl", "Zp", "Cs", "Co"})
ERASED = "[erased]"
TWO_MINUTES, TWO_HOURS = 120, 120
"""In seconds and in minutes: up to there the smaller unit reads better."""


def visible(text: str, *, keep: frozenset[str] = _KEPT) -> str:
    """`text` with every character that controls rather than shows written as its code."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(
        char if char in keep or unicodedata.category(char) not in _UNSAFE else f"<U+{ord(char):04X}>"
        for char in text
    )


def in_line(text: str, limit: int = 0) -> str:
    """`text` on one line, shortened to `limit` characters where that is set."""
    line = visible(" ".join(text.split()), keep=frozenset())
    return f"{line[: limit - 1]}…" if limit and len(line) > limit else line


def when(us: int) -> str:
    """A moment, in UTC to the second."""
    return f"{_EPOCH + timedelta(microseconds=us):%Y-%m-%d %H:%M:%S} UTC"


def lasting(us: int) -> str:
    """A duration, in the unit that fits."""
    seconds = us / 1_000_000
    if seconds < 1:
        return f"{us // 1000} ms"
    if seconds < TWO_MINUTES:
        return f"{seconds:.1f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < TWO_HOURS else f"{minutes // 60} h {minutes % 60} min"


def dollars(micros: int) -> str:
    """An amount: two digits after the point at least, all of them where there are more."""
    text = plain(from_micros(micros))
    whole, _, rest = text.partition(".")
    return f"${whole}.{rest.ljust(2, '0')}"


def counted(count: int, one: str, many: str = "") -> str:
    """`1 call`, `2 calls`."""
    return f"{count} {one if count == 1 else many or f'{one}s'}"


def listed(items: list[str], last: str = "and") -> str:
    """`a`, `a and b`, `a, b and c`."""
    return items[0] if len(items) == 1 else f"{', '.join(items[:-1])} {last} {items[-1]}" if items else ""


def sentence(text: str) -> str:
    """`text` on one line, begun and ended as a sentence."""
    line = in_line(text)
    line = f"{line[:1].upper()}{line[1:]}"
    return line if not line or line[-1] in ".!?…" else f"{line}."


def brief(value: object, limit: int = 120, *, part: int = 60) -> str:
    """Content in one line: `name value, name value` for an object, else its JSON.

    Each text in it has at most `part` characters, the whole at most `limit`; 0 is no limit.
    """
    if isinstance(value, Erased):
        return ERASED
    if isinstance(value, dict):
        members = cast("dict[str, object]", value)
        shown = {name: _scalar(item, part) for name, item in members.items() if item is not None}
        parts = [f"{in_line(name)} {item}" for name, item in shown.items()]
        return in_line(", ".join(parts), limit)
    return in_line(_scalar(value, part), limit)


def _scalar(value: object, limit: int) -> str:
    if isinstance(value, Erased):
        return ERASED
    if isinstance(value, str):
        line = in_line(value, limit)
        return f"“{line}”" if " " in value or not value else line
    return orjson.dumps(value, option=orjson.OPT_SORT_KEYS).decode()


WAITS_FOR = {"approval": "a person", "timer": "a timer", "release": "the release that it began with"}
"""What a parked run waits for, in words."""
