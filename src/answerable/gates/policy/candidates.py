"""Values worth trying on a rule: on, just under and just over every literal that it mentions."""

from __future__ import annotations

import re
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import permutations
from typing import TYPE_CHECKING

from cedarpy import pst

from answerable.gates.policy.context import DECIMAL_STEP, NotExpressible, datetime_text, decimal_text
from answerable.gates.policy.shape import Record, Scalar, SetOf
from answerable.gates.policy.tree import walk
from answerable.gates.policy.validator import LONG_MAX, LONG_MIN

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from answerable.gates.policy.shape import Shape
    from answerable.gates.policy.tree import Reads

Path = tuple[str, ...]
PRESENT = "?"
"""The last part of a path that stands for "is there at all"."""

_BASE = datetime(2026, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)
_DURATION = re.compile(r"(\d+)(ms|d|h|m|s)")
_UNITS = {
    "d": timedelta(days=1),
    "h": timedelta(hours=1),
    "m": timedelta(minutes=1),
    "s": timedelta(seconds=1),
    "ms": _MILLISECOND,
}
_UNIT_OPS = {
    "to_days": _UNITS["d"],
    "to_hours": _UNITS["h"],
    "to_minutes": _UNITS["m"],
    "to_seconds": _UNITS["s"],
    "to_milliseconds": _UNITS["ms"],
}
_LONGS = (0, 1, -1, 2, 1_000_000, -1_000_000)
_DECIMALS = (Decimal(0), Decimal(1), Decimal(-1), Decimal(1_000_000), Decimal(-1_000_000))


@dataclass(frozen=True, slots=True)
class Literals:
    """Everything that a rule compares with, by kind."""

    strings: tuple[str, ...]
    longs: tuple[int, ...]
    decimals: tuple[Decimal, ...]
    datetimes: tuple[datetime, ...]
    offsets: tuple[timedelta, ...]


def literals_of(body: pst.Template) -> Literals:
    """The literals of a rule. Patterns count as the texts that they match."""
    nodes = list(walk(body.clauses))
    made = [
        (node.op, node.arg.value)
        for node in nodes
        if isinstance(node, pst.UnaryOp) and isinstance(node.arg, pst.StringLit)
    ]
    written = Counter(node.value for node in nodes if isinstance(node, pst.StringLit))
    written.subtract(Counter(text for _, text in made))
    likes = [node.pattern for node in nodes if isinstance(node, pst.Like)]
    patterns = [_instance(pattern, fill) for pattern in likes for fill in ("", "x")]
    # Two patterns on one text (how it starts, how it ends) are met by one after the other.
    pairs = [first + second for first, second in permutations(likes, 2)]
    patterns.extend(_instance(pair, fill) for pair in pairs for fill in ("", "x"))
    longs = sorted({node.value for node in nodes if isinstance(node, pst.LongLit)})
    units = [_UNIT_OPS[node.op] for node in nodes if isinstance(node, pst.UnaryOp) and node.op in _UNIT_OPS]
    offsets = [_duration(text) for op, text in made if op == "duration"]
    offsets.extend(each for unit in units for n in longs for each in _multiples(unit, n))
    return Literals(
        strings=tuple(dict.fromkeys([*(text for text, n in sorted(written.items()) if n > 0), *patterns])),
        longs=tuple(longs),
        decimals=tuple(Decimal(text) for op, text in made if op == "decimal"),
        datetimes=tuple(_datetime(text) for op, text in made if op == "datetime"),
        offsets=tuple(offsets),
    )


def candidates(shape: Shape, literals: Literals) -> list[object]:
    """Context values of this shape that are worth trying, each once."""
    if isinstance(shape, Record):
        return [assemble(shape, {})]
    if isinstance(shape, SetOf):
        items = candidates(shape.item, literals)
        all_but_one = ([*items[:n], *items[n + 1 :]] for n in range(len(items)))
        return [[], *([item] for item in items), items, *all_but_one]
    found = shape.values or tuple(_SCALARS[shape.kind](literals))
    return list(dict.fromkeys(found))


def variables(record: Record, reads: Reads, path: Path = ()) -> Iterator[tuple[Path, Shape | None]]:
    """What can vary in what is read: each leaf with its shape, each optional part with None."""
    for each in record.attributes:
        inner = reads.inside.get(each.name)
        if inner is None and not reads.is_whole:
            continue
        here = (*path, each.name)
        if each.is_optional:
            yield (*here, PRESENT), None
        below = reads if inner is None or reads.is_whole else inner
        if isinstance(each.shape, Record):
            yield from variables(each.shape, below, here)
        elif below.is_whole:
            yield here, each.shape


def assemble(record: Record, chosen: Mapping[Path, object], path: Path = ()) -> dict[str, object]:
    """A context value of this shape: as chosen, else the plainest; optional parts only where chosen."""
    value: dict[str, object] = {}
    for each in record.attributes:
        here = (*path, each.name)
        if each.is_optional and not chosen.get((*here, PRESENT), False):
            continue
        if isinstance(each.shape, Record):
            value[each.name] = assemble(each.shape, chosen, here)
        else:
            value[each.name] = chosen.get(here, _plainest(each.shape))
    return value


def _plainest(shape: Shape) -> object:
    if isinstance(shape, Scalar):
        return shape.values[0] if shape.values else _PLAINEST[shape.kind]
    return []


_PLAINEST: dict[str, object] = {
    "String": "",
    "Long": 0,
    "Bool": False,
    "decimal": "0.0",
    "datetime": datetime_text(_BASE),
}


def _strings(literals: Literals) -> Iterable[object]:
    return (*literals.strings, "", "x")


def _longs(literals: Literals) -> Iterable[object]:
    near = (each + step for each in literals.longs for step in (0, 1, -1))
    return (each for each in (*near, *_LONGS) if LONG_MIN <= each <= LONG_MAX)


def _bools(_literals: Literals) -> Iterable[object]:
    return (True, False)


def _decimals(literals: Literals) -> Iterator[object]:
    near = (each + step for each in literals.decimals for step in (Decimal(0), DECIMAL_STEP, -DECIMAL_STEP))
    for each in (*near, *_DECIMALS):
        with suppress(NotExpressible):
            yield decimal_text(each)


def _datetimes(literals: Literals) -> Iterator[object]:
    steps = [timedelta(0), *literals.offsets, *(-each for each in literals.offsets)]
    for anchor in (*literals.datetimes, _BASE):
        for step in steps:
            for edge in (timedelta(0), _MILLISECOND, -_MILLISECOND):
                with suppress(OverflowError):
                    yield datetime_text(anchor + step + edge)


_SCALARS = {"String": _strings, "Long": _longs, "Bool": _bools, "decimal": _decimals, "datetime": _datetimes}


def _instance(pattern: tuple[pst.PatternElem, ...], fill: str) -> str:
    return "".join(each.value if isinstance(each, pst.Char) else fill for each in pattern)


def _duration(text: str) -> timedelta:
    total = timedelta(0)
    with suppress(OverflowError):
        for amount, unit in _DURATION.findall(text):
            total += int(amount) * _UNITS[unit]
    return -total if text.startswith("-") else total


def _multiples(unit: timedelta, n: int) -> Iterator[timedelta]:
    with suppress(OverflowError):
        yield n * unit
        yield (n + 1) * unit


def _datetime(text: str) -> datetime:
    found = datetime.fromisoformat(text)
    return found if found.tzinfo else found.replace(tzinfo=UTC)
