"""Numbers, times and durations as terms: 64 bits, with an error wherever Cedar overflows."""

from __future__ import annotations

from typing import TYPE_CHECKING

from answerable.gates.policy.validator import LONG_MAX, LONG_MIN
from answerable.prove.literals import DAY_MS
from answerable.prove.logic import (
    at_most,
    between,
    choose,
    either,
    floor_divide,
    less,
    minus,
    modulo,
    negate,
    plus,
    times,
)
from answerable.prove.values import Coded, NoForm, Number, Truth

if TYPE_CHECKING:
    from answerable.prove.logic import Bool, Num
    from answerable.prove.values import NumberKind

_COMPARED = {
    "less": (less, False),
    "less_eq": (at_most, False),
    "greater": (less, True),
    "greater_eq": (at_most, True),
    "decimal_less_than": (less, False),
    "decimal_less_eq": (at_most, False),
    "decimal_greater": (less, True),
    "decimal_greater_eq": (at_most, True),
}
"""The comparison, and whether its sides are exchanged."""
_UNITS_MS = {
    "to_milliseconds": 1,
    "to_seconds": 1_000,
    "to_minutes": 60_000,
    "to_hours": 3_600_000,
    "to_days": DAY_MS,
}
_SUMS: dict[str, NumberKind] = {
    "add": "Long",
    "sub": "Long",
    "mul": "Long",
    "offset": "datetime",
    "duration_since": "duration",
}
"""What comes out; each of them may overflow."""
_TAKES: dict[str, tuple[NumberKind, NumberKind]] = {
    "add": ("Long", "Long"),
    "sub": ("Long", "Long"),
    "mul": ("Long", "Long"),
    "offset": ("datetime", "duration"),
    "duration_since": ("datetime", "datetime"),
}
NUMERIC = frozenset({*_COMPARED, *_UNITS_MS, *_SUMS, "neg", "to_date", "to_time"})


def numeric(op: str, *operands: Coded) -> Coded:
    """One operation on numbers. Raises `NoForm` where its operands are not of its kind."""
    numbers = [_number(op, each) for each in operands]
    error = either(*(each.error for each in operands))
    if op in _COMPARED:
        return Coded(Truth(_compare(op, *numbers)), error)
    if op in _SUMS:
        if tuple(each.kind for each in numbers) != _TAKES[op]:
            raise _wrong(op)
        return _in_range(_sum(op, *(each.term for each in numbers)), _SUMS[op], error)
    (value,) = numbers
    match op, value.kind:
        case "neg", "Long":
            return _in_range(minus(0, value.term), "Long", error)
        case "to_date", "datetime":
            return _in_range(minus(value.term, modulo(value.term, DAY_MS)), "datetime", error)
        case "to_time", "datetime":
            return Coded(Number(modulo(value.term, DAY_MS), "duration"), error)
        case _, "duration" if op in _UNITS_MS:
            return Coded(Number(_toward_zero(value.term, _UNITS_MS[op]), "Long"), error)
        case _:
            raise _wrong(op)


def _compare(op: str, left: Number, right: Number) -> Bool:
    compare, is_exchanged = _COMPARED[op]
    is_decimal = op.startswith("decimal")
    if left.kind != right.kind or is_decimal != (left.kind == "decimal"):
        raise _wrong(op)
    return compare(right.term, left.term) if is_exchanged else compare(left.term, right.term)


def _sum(op: str, left: Num, right: Num) -> Num:
    match op:
        case "mul":
            return times(left, right)
        case "sub" | "duration_since":
            return minus(left, right)
        case _:
            return plus(left, right)


def _in_range(term: Num, kind: NumberKind, error: Bool) -> Coded:
    return Coded(Number(term, kind), either(error, negate(between(LONG_MIN, term, LONG_MAX))))


def _toward_zero(term: Num, unit: int) -> Num:
    if unit == 1:
        return term
    return choose(less(term, 0), minus(0, floor_divide(minus(0, term), unit)), floor_divide(term, unit))


def _number(op: str, found: Coded) -> Number:
    if not isinstance(found.value, Number):
        raise _wrong(op)
    return found.value


def _wrong(op: str) -> NoForm:
    return NoForm(f"`{op}` stands beside something that it is not for", "compare values of one type")
