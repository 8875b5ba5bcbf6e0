"""From the caps of single tools to the bounds of an agent: calls are shared, and the worst mix of tools is taken."""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import ROUND_FLOOR, Decimal
from typing import TYPE_CHECKING

from answerable.prove.blast_figures import Figure, Limit
from answerable.prove.blast_limits import Cap
from answerable.prove.blast_peaks import NO_RULES

if TYPE_CHECKING:
    from collections.abc import Sequence

    from answerable.prove.blast_figures import Measure, Period
    from answerable.prove.blast_limits import Bounded
    from answerable.prove.blast_subject import Subject

NEXT_MAX = 3
"""So many limits are named that would bind if those before them went."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Gone:
    """What is taken to be gone, to see what binds then."""

    rules: frozenset[str] = NO_RULES
    caps: frozenset[str] = frozenset()
    """Other caps, by name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bound:
    """How far a measure can go. `amount` is None where nothing bounds it."""

    amount: Decimal | None
    caps: tuple[Cap, ...] = ()
    missing: tuple[str, ...] = ()
    assumed: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Share:
    """What one tool can contribute: by each call, and in all."""

    tool: Bounded
    each: Cap
    caps: tuple[Cap, ...]
    """Caps on the sum, smallest first."""

    @property
    def most(self) -> Decimal | None:
        """The smallest cap on the sum."""
        return self.caps[0].amount if self.caps else None


@dataclass(slots=True, eq=False)
class Bounds:
    """The bounds of one agent."""

    subject: Subject
    tools: Sequence[Bounded]
    assumed: dict[str, None] = field(default_factory=dict[str, None])
    """What the bounds that are given out rest on, beside what is always assumed."""

    def figure(self, measure: Measure, period: Period, unit: str = "") -> Figure:
        """A figure without a witness."""
        bound = self.bound(measure, period, unit, Gone())
        self.assumed.update(dict.fromkeys(bound.assumed))
        following, is_open_then = self._next(measure, period, unit, bound)
        return Figure(
            measure=measure,
            period=period,
            unit=unit,
            bound=bound.amount,
            binding=tuple(map(_limit, bound.caps)),
            next=following,
            is_open_then=is_open_then,
            missing=bound.missing,
        )

    def _next(
        self, measure: Measure, period: Period, unit: str, bound: Bound
    ) -> tuple[tuple[Limit, ...], bool]:
        """What would bind if that which binds were gone, one after the other."""
        found: list[Limit] = []
        gone = Gone()
        while bound.amount and len(found) < NEXT_MAX:
            gone = _without(gone, bound.caps)
            bound = self.bound(measure, period, unit, gone)
            found.extend(map(_limit, bound.caps))
        return tuple(found[:NEXT_MAX]), bound.amount is None and bool(found or gone != Gone())

    def bound(self, measure: Measure, period: Period, unit: str, gone: Gone) -> Bound:
        """The bound of a measure, were all this gone."""
        shares = [
            share
            for tool in self.tools
            if tool.is_sent(gone.rules)
            and (share := self._share(tool, measure, period, unit, gone)).each.amount != 0
            and share.most != 0
        ]
        if not shares:
            return Bound(amount=Decimal(0))
        calls = self._calls(period, gone)
        if period == "run":
            calls = _nearest(shares, calls, gone)
        if calls.amount is None:
            return _together(shares, calls)
        amount = _worst_mix(shares, calls.amount)
        apart = _together(shares, calls)
        if amount is None:
            return apart
        if apart.amount is not None and apart.amount <= amount:
            return apart
        return Bound(amount=amount, caps=(_shared(shares, calls, amount),))

    def _calls(self, period: Period, gone: Gone) -> Cap:
        """The budget that all tools share."""
        unit = "tool_calls" if period == "run" else "tool_calls_per_day"
        limits = self.subject.limits if period == "run" else self.subject.limits_per_day
        name = f"budget `{unit}`"
        limit = None if name in gone.caps else limits.get("tool_calls")
        return Cap(
            amount=None if limit is None else Decimal(limit),
            name=name,
            why=f"{limit} tool calls in a {period}",
            missing="limit the agent's calls in a day: `budget_per_day=Budget(tool_calls=...)`"
            if period == "day"
            else "limit the calls of a run: `budget=Budget(tool_calls=...)`",
        )

    def _share(self, tool: Bounded, measure: Measure, period: Period, unit: str, gone: Gone) -> _Share:
        each = tool.per_call(measure, gone.rules)
        impact = tool.spec.impact
        if measure == "money" and impact is not None and (impact.money is None or impact.currency != unit):
            each = Cap(amount=Decimal(0), name="", why="")
        days = self.subject.days
        caps = [*tool.sums(period, days, gone.rules)] if measure == "money" and each.amount != 0 else []
        caps += [_times(cap, each) for cap in tool.calls(period, days, gone.rules)]
        held = [cap for cap in caps if cap.amount is not None and cap.name not in gone.caps]
        return _Share(tool=tool, each=each, caps=tuple(sorted(held, key=lambda cap: (cap.amount, cap.name))))


def _nearest(shares: Sequence[_Share], calls: Cap, gone: Gone) -> Cap:
    """The budget, or the call after which rules let none of these tools through, whichever comes first."""
    reaches = [share.tool.reach(gone.rules) for share in shares]
    known = [each for each in reaches if each is not None and each.amount is not None]
    if len(known) < len(shares):
        return calls
    last = max(known, key=lambda each: each.amount or 0)
    if last.amount is None or (calls.amount is not None and calls.amount <= last.amount):
        return calls
    return last


def _without(gone: Gone, caps: Sequence[Cap]) -> Gone:
    """Take what binds away: a rule where it is one, else the cap by its name."""
    rules = {rule for cap in caps for rule in cap.rules}
    return Gone(rules=gone.rules | rules, caps=gone.caps | {cap.name for cap in caps if not cap.rules})


def _times(cap: Cap, each: Cap) -> Cap:
    """So many calls, each of which does so much."""
    amount = None if cap.amount is None or each.amount is None else cap.amount * each.amount
    return Cap(
        amount=amount,
        name=cap.name,
        why=cap.why if each.amount == 1 else f"{cap.why}; {each.why}",
        rules=cap.rules,
        assumed=cap.assumed,
    )


def _together(shares: Sequence[_Share], calls: Cap) -> Bound:
    """Each tool as far as it can go by itself."""
    open_shares = [share for share in shares if share.most is None]
    if open_shares:
        loose = [share for share in open_shares if share.each.amount is None] or open_shares
        missing = dict.fromkeys(share.each.missing or calls.missing for share in loose)
        return Bound(amount=None, missing=tuple(missing))
    caps = tuple(share.caps[0] for share in shares)
    return Bound(
        amount=sum((share.most for share in shares if share.most is not None), Decimal(0)),
        caps=caps,
        assumed=tuple(dict.fromkeys(text for cap in caps for text in cap.assumed)),
    )


def _worst_mix(shares: Sequence[_Share], calls: Decimal) -> Decimal | None:
    """At most so many calls, given to the tools that do most by each: an upper bound of every mix.

    A tool takes part of a call where its own cap is not a whole number of calls; that is generous, and safe. None where a
    tool has neither a cap on its calls nor on their sum.
    """
    total, left = Decimal(0), calls
    for share in sorted(shares, key=lambda each: -(each.each.amount or 0)):
        most, each = share.most, share.each.amount
        if each is None:
            if most is None:
                return None
            total += most
            continue
        took = left * each if most is None else min(most, left * each)
        total += took
        left -= took / each
    return total.quantize(Decimal("0.0001"), rounding=ROUND_FLOOR).normalize() + 0


def _shared(shares: Sequence[_Share], calls: Cap, amount: Decimal) -> Cap:
    """The budget as the limit that binds."""
    each = max((share.each for share in shares), key=lambda cap: cap.amount or 0)
    return Cap(amount=amount, name=calls.name, why=f"{calls.why}; {each.why}", rules=calls.rules)


def _limit(cap: Cap) -> Limit:
    assert cap.amount is not None
    return Limit(name=cap.name, amount=cap.amount, why=cap.why)
