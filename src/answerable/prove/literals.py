"""Values that stand in a rule as they are: numbers, texts, decimals, times and durations."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from decimal import Decimal

from cedarpy import pst

from answerable.prove.values import NoForm, Number, Truth, Value, Words

DECIMAL_SCALE = 10_000
DAY_MS = 86_400_000
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)
_DURATION = re.compile(r"(-?)(?:(\d+)d)?(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s)?(?:(\d+)ms)?")
_UNITS_MS = (DAY_MS, 3_600_000, 60_000, 1_000, 1)
_UNREADABLE = "write it in the form that the Cedar documentation shows first"


def plain(expr: pst.Expr) -> Value | None:
    """The value of a literal, also of one inside `decimal(…)`, `datetime(…)` or `duration(…)`; else None."""
    match expr:
        case pst.BoolLit(value):
            return Truth(value)
        case pst.LongLit(value):
            return Number(value, "Long")
        case pst.StringLit(value):
            return Words(value)
        case pst.UnaryOp("decimal", pst.StringLit(text)):
            return Number(decimal_units(Decimal(text)), "decimal")
        case pst.UnaryOp("datetime", pst.StringLit(text)):
            return Number(_datetime(text), "datetime")
        case pst.UnaryOp("duration", pst.StringLit(text)):
            return Number(_duration(text), "duration")
        case _:
            return None


def decimal_units(value: Decimal) -> int:
    """A decimal in ten-thousandths."""
    return int(value.scaleb(4).to_integral_exact())


def decimal_of(units: int) -> Decimal:
    """The decimal behind ten-thousandths, with at least two places."""
    whole, rest = divmod(abs(units), DECIMAL_SCALE)
    places = f"{rest:04}".rstrip("0").ljust(2, "0")
    return Decimal(f"{'-' if units < 0 else ''}{whole}.{places}")


def milliseconds(value: datetime) -> int:
    """An instant in milliseconds since 1970."""
    return (value - _EPOCH) // _MILLISECOND


def instant(ms: int) -> datetime:
    """The instant behind milliseconds since 1970."""
    return _EPOCH + ms * _MILLISECOND


def confirming(expr: pst.Expr, value: Value) -> pst.Expr:
    """An expression that is true where Cedar reads the literal as we do."""
    assert isinstance(value, Number)
    match value.kind:
        case "decimal":
            text = f"{decimal_of(value.term)}"  # pyright: ignore[reportArgumentType]
            return pst.BinaryOp("eq", expr, pst.UnaryOp("decimal", pst.StringLit(text)))
        case "datetime":
            start = pst.UnaryOp("datetime", pst.StringLit("1970-01-01"))
            since = pst.BinaryOp("duration_since", expr, start)
            return pst.BinaryOp("eq", pst.UnaryOp("to_milliseconds", since), pst.LongLit(int(value.term)))  # pyright: ignore[reportArgumentType]
        case _:
            return pst.BinaryOp("eq", pst.UnaryOp("to_milliseconds", expr), pst.LongLit(int(value.term)))  # pyright: ignore[reportArgumentType]


def _datetime(text: str) -> int:
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        raise NoForm(f'`datetime("{text}")` is not understood', _UNREADABLE) from None
    return milliseconds(found if found.tzinfo else found.replace(tzinfo=UTC))


def _duration(text: str) -> int:
    found = _DURATION.fullmatch(text)
    if found is None:
        raise NoForm(f'`duration("{text}")` is not understood', _UNREADABLE)
    sign, *amounts = found.groups()
    total = sum(int(amount or 0) * unit for amount, unit in zip(amounts, _UNITS_MS, strict=True))
    return -total if sign else total
