"""From raw rounds to figures that can be published: medians with their spread, ratios by pairs."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median


@dataclass(frozen=True, slots=True)
class Spread:
    """A median and how far the rounds lay apart; never one without the other."""

    median: float
    low: float
    high: float


def spread(values: Sequence[float]) -> Spread:
    """Return the median of one figure over all rounds, and its least and greatest value."""
    return Spread(median(values), min(values), max(values))


def ratio(values: Sequence[float], base: Sequence[float]) -> Spread:
    """Divide round by round and only then take the median.

    Dividing two medians would compare a subject's quiet round with its rival's noisy one.
    """
    return spread([value / against for value, against in zip(values, base, strict=True)])
