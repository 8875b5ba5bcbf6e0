"""A blast radius in words: figures as they are read, and a witness in one line."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable
    from decimal import Decimal

    from answerable.prove.blast_figures import Call, Figure, Limit, Measure, Witness

ZERO = "—"
UNBOUNDED = "unbounded"
UNCONFIRMED = "unconfirmed"
_CAN: dict[Measure, str] = {
    "money": "move money",
    "records": "change records",
    "deletes": "delete records",
    "recipients": "tell people outside",
    "classes": "let data leave",
    "spend": "spend on models and tools",
}
_PARTS_MAX = 3
_TIMES = "\u00d7"


def what(figure: Figure) -> str:
    """What the figure is about: `move money, USD`."""
    return f"{_CAN[figure.measure]}{f', {figure.unit}' if figure.unit else ''}"


def quantity(figure: Figure, value: Decimal) -> str:
    """A number as the figure counts it: money with two places at least."""
    if figure.measure not in ("money", "spend"):
        return f"{value:,f}"
    exponent = value.as_tuple().exponent
    places = max(2, -exponent if isinstance(exponent, int) else 2)
    return f"{value:,.{places}f}"


def standing(figure: Figure) -> str:
    """The figure in one cell: nothing, no end, or how much, and whether it was shown."""
    if figure.bound is None:
        return UNBOUNDED
    if not figure.bound:
        return ZERO
    said = ", ".join(figure.classes) if figure.measure == "classes" else quantity(figure, figure.bound)
    return f"{said} ({UNCONFIRMED})" if figure.is_confirmed is False else said


def reasons(figure: Figure) -> list[str]:
    """Why it is so, and what would bind it otherwise; nothing where there is nothing to say."""
    if figure.bound is None:
        return [f"to bound it: {text}" for text in figure.missing]
    said = list(dict.fromkeys(limit.why for limit in figure.binding)) if figure.bound else []
    if figure.next:
        then = "; then nothing" if figure.is_open_then else ""
        said.append(f"if that went: {_limits(figure, figure.next)}{then}")
    elif figure.is_open_then:
        said.append("if that went: nothing would bind it")
    return said


def shown(figure: Figure) -> str:
    """What the real gates were seen to let through; empty where there is nothing to show."""
    witness = figure.witness
    if witness is None or not witness.calls:
        return (
            f"{UNCONFIRMED}: no call was found that the gates let through"
            if figure.is_confirmed is False
            else ""
        )
    said = f"{_calls(figure, witness)}{_runs(witness)}{_days(witness)}"
    if figure.measure == "classes":
        said = f"{', '.join(witness.classes)}: {said}"
    if figure.is_confirmed is False:
        return f"{UNCONFIRMED}, {_reached(figure, witness)} shown: {said}"
    return f"shown: {said}{', and so on' if figure.bound is None else ''}"


def _reached(figure: Figure, witness: Witness) -> str:
    return ", ".join(witness.classes) if figure.measure == "classes" else quantity(figure, witness.amount)


def _limits(figure: Figure, limits: Iterable[Limit]) -> str:
    return ", then ".join(f"{quantity(figure, limit.amount)} by {limit.name}" for limit in limits)


def _calls(figure: Figure, witness: Witness) -> str:
    """How many calls of what, the most frequent first; what only prepares comes last."""
    counted = Counter((call.tool, call.amount) for call in witness.calls)
    adding = [(tool, amount, count) for (tool, amount), count in counted.most_common() if amount]
    preparing = dict.fromkeys(f"`{call.tool}`" for call in witness.calls if not call.amount)
    is_plain = figure.measure != "money"
    parts = [
        f"{count:,} {_TIMES} `{tool}`{'' if is_plain and amount == 1 else f' of {quantity(figure, amount)}'}"
        for tool, amount, count in adding[:_PARTS_MAX]
    ]
    if len(adding) > _PARTS_MAX:
        parts.append(f"{sum(count for _, _, count in adding[_PARTS_MAX:]):,} more")
    said = " and ".join(parts)
    return f"{said}, after {' and '.join(preparing)}" if preparing else said


def _runs(witness: Witness) -> str:
    return f", in {witness.runs:,} runs" if witness.runs > 1 else ""


def _days(witness: Witness) -> str:
    """On which side of midnight the calls were, where that matters."""
    days = Counter(_day(call) for call in witness.calls if call.amount)
    if witness.runs != 1 or len(days) < 2:  # noqa: PLR2004 - one midnight lies between two days
        return ""
    counts = [days[day] for day in sorted(days)]
    if len(counts) > 2:  # noqa: PLR2004
        return f", on {len(counts)} UTC days"
    words = ["one" if count == 1 else f"{count:,}" for count in counts]
    return f", {words[0]} before and {words[1]} after midnight UTC"


def _day(call: Call) -> str:
    return call.at[:10]
