"""Money as whole micro-units, so that sums are exact in every store."""

from __future__ import annotations

from decimal import ROUND_CEILING, Context, Decimal, InvalidOperation

MICROS = 1_000_000
MONEY_MAX = Decimal(9_000_000_000)
"""More than this is refused: it would not fit an exact integer in every reader."""
_EXACT = Context(prec=64, rounding=ROUND_CEILING, traps=[InvalidOperation])
"""Its own context: a caller who lowers the precision of the process cannot change an amount."""


def to_micros(amount: Decimal) -> int:
    """`amount` in micro-units, rounded up, so that a limit is never exceeded by rounding.

    Raises `ValueError` for what is not finite or beyond nine billion.
    """
    if not amount.is_finite() or amount.copy_abs() > MONEY_MAX:
        message = f"{amount} is not an amount of money that can be counted"
        raise ValueError(message)
    return int(_EXACT.multiply(amount, Decimal(MICROS)).to_integral_value(rounding=ROUND_CEILING))


def from_micros(micros: int) -> Decimal:
    """The exact amount behind `micros`."""
    return _EXACT.divide(Decimal(micros), Decimal(MICROS))


def plain(amount: Decimal) -> str:
    """`amount` without exponent or needless zeros: what entries and outputs show."""
    text = f"{amount:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text
