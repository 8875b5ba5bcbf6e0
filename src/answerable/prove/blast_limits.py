"""What bounds one tool: how much a call can do, how many calls there can be, and how far their sum can go.

Every cap holds whatever the model does. Where several hold, the smallest counts; the others are kept, because they are what
holds when somebody takes that one away.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from answerable.kernel.tool import UpTo, holes
from answerable.prove.blast_figures import Measure, Period
from answerable.prove.blast_outlook import is_read
from answerable.prove.blast_peaks import NO_RULES, Peak, Question, amount_at, is_there, money_of
from answerable.prove.blast_values import Form
from answerable.prove.literals import decimal_of
from answerable.prove.logic import both, negate
from answerable.prove.values import Number

if TYPE_CHECKING:
    from collections.abc import Iterator

    from answerable.kernel.tool import ToolSpec, Total
    from answerable.prove.blast_keys import Twice


@dataclass(frozen=True, slots=True, kw_only=True)
class Cap:
    """An upper bound of one tool: on the calls, or on what they come to. `amount` is None where there is none."""

    amount: Decimal | None
    name: str
    why: str
    rules: frozenset[str] = frozenset()
    """The rules that it rests on."""
    missing: str = ""
    """What would have to be declared or written for there to be one."""
    assumed: tuple[str, ...] = ()


@dataclass(slots=True, eq=False)
class Bounded:
    """One tool of an agent, asked for its caps. `without` is always a set of rules that are taken to be gone."""

    question: Question
    twice: Twice
    _known: dict[object, Any] = field(default_factory=dict[object, Any])

    @property
    def spec(self) -> ToolSpec:
        """The tool."""
        return self.question.spec

    def is_sent(self, without: frozenset[str] = NO_RULES) -> bool:
        """Whether any call of it is sent with nobody asked."""
        return self._once(("sent", without), lambda: self.question.is_possible(self.question.sent(without)))

    def per_call(self, measure: Measure, without: frozenset[str] = NO_RULES) -> Cap:
        """How much one call can do."""
        impact = self.spec.impact
        name = self.spec.name
        if self.spec.is_write and impact is None:
            return Cap(
                amount=None,
                name=f"`{name}`",
                why=f"`{name}` does not say what a call of it can do",
                missing=f"declare `impact=Impact(...)` on `{name}`: what a call of it can do at most",
            )
        if measure == "money":
            return self._money(without)
        if measure == "recipients":
            return self._recipients()
        amount = 0 if impact is None else impact.deletes if measure == "deletes" else impact.records
        return Cap(
            amount=Decimal(amount),
            name=f"impact of `{name}`",
            why=f"a call of `{name}` changes {amount} at most",
        )

    def calls(self, period: Period, days: int | None, without: frozenset[str] = NO_RULES) -> list[Cap]:
        """What limits how often it can be called in a run or a day, besides the budgets."""
        return self._once(("calls", period, days, without), lambda: [*self._calls(period, days, without)])

    def reach(self, without: frozenset[str] = NO_RULES) -> Cap | None:
        """After how many calls of a run, of whatever tool, it is over for this one; None where rules say nothing of it."""
        return self._once(("reach", without), lambda: next(self._reach(without), None))

    def _reach(self, without: frozenset[str]) -> Iterator[Cap]:
        for read in (("run", "calls_before"), ("budget", "tool_calls")):
            if self._is_read(read):
                yield from self._counted(("run", "calls_before"), "how many calls a run has made", without)

    def sums(self, period: Period, days: int | None, without: frozenset[str] = NO_RULES) -> list[Cap]:
        """What limits the money that its calls can move together in a run or a day."""
        return self._once(("sums", period, days, without), lambda: [*self._sums(period, days, without)])

    def _once(self, key: object, make: Any) -> Any:
        if key not in self._known:
            self._known[key] = make()
        return self._known[key]

    def _money(self, without: frozenset[str]) -> Cap:
        name, impact = self.spec.name, self.spec.impact
        if impact is None or impact.money is None:
            return Cap(amount=Decimal(0), name=f"impact of `{name}`", why=f"`{name}` moves no money")
        number = money_of(self.question.symbolic, impact.money)
        peak = Peak(value=None)
        if number is not None:
            sent = both(self.question.sent(without), is_there(self.question.symbolic, impact.money))
            peak = self._once(("money", without), lambda: self.question.peak(number, sent, without)) or Peak(
                value=0
            )
        if peak.value is None:
            return Cap(
                amount=None,
                name=f"`{name}`",
                why=f"nothing limits `{impact.money}` of `{name}`",
                missing=f"limit `{impact.money}` of `{name}`: `Field(le=...)`, or a rule on "
                f"`context.args.{impact.money}`, or a `Total` with a rule on it",
            )
        where = _rules(peak.rules) or f"the schema of `{name}`"
        amount = decimal_of(peak.value)
        why = f"one `{name}` moves {amount:,} at most ({where})"
        return Cap(amount=amount, name=where, why=why, rules=frozenset(peak.rules))

    def _recipients(self) -> Cap:
        """One for a plain parameter, and for an address that is followed; for a list as many as it can hold."""
        name, impact = self.spec.name, self.spec.impact
        parameter = impact.recipients if impact is not None else None
        if parameter is None:
            amount = int("url" in self.spec.takes.kinds())
            what = "follows one address" if amount else "tells nobody"
            return Cap(amount=Decimal(amount), name=f"impact of `{name}`", why=f"`{name}` {what}")
        form = Form.of(self.spec.arguments).at((parameter,))
        if form is None or form.schema.get("type") != "array":
            if form is not None and form.schema.get("type") in ("string", "integer"):
                return Cap(
                    amount=Decimal(1),
                    name=f"impact of `{name}`",
                    why=f"a call of `{name}` tells one `{parameter}`",
                )
        elif "maxItems" in form.schema:
            most = form.schema["maxItems"]
            return Cap(
                amount=Decimal(most),
                name=f"the schema of `{name}`",
                why=f"`{parameter}` of `{name}` holds {most} at most",
            )
        return Cap(
            amount=None,
            name=f"`{name}`",
            why=f"nothing limits how many `{parameter}` of `{name}` names",
            missing=f"make `{parameter}` of `{name}` one text, or a list with `Field(max_length=...)`",
        )

    def _calls(self, period: Period, days: int | None, without: frozenset[str]) -> Iterator[Cap]:
        name = self.spec.name
        for part in ("decided", "done") if period == "run" else ():
            if self._is_read(("history", name, part)):
                yield from self._counted(
                    ("history", name, part), f"how often `{name}` was {part} in a run", without
                )
        if period == "run" and (reach := self.reach(without)) is not None:
            yield reach
        for total in self.spec.totals:
            path = ("totals", total.name, "count")
            if self._is_read(path):
                what = f"how often `{total.name}` was counted for {_key(total)}"
                for cap in self._counted(path, what, without):
                    yield from self._spread(cap, (total.by, total.per), (period, days), without)
        key = self.spec.business_key
        if key is not None and not isinstance(self.spec.cardinality, UpTo):
            cap = Cap(amount=Decimal(1), name=f"business key `{key}`", why=f"one `{name}` for one `{key}`")
            yield from self._spread(cap, (key, "ever"), (period, days), without)

    def _counted(self, path: tuple[str, ...], what: str, without: frozenset[str]) -> Iterator[Cap]:
        """A rule that lets a call through only while something that each call raises by one is low enough."""
        number = self.question.symbolic.at(*path)
        assert isinstance(number, Number)
        peak = self.question.peak(number, self.question.sent(without), without)
        if peak is not None and peak.value is not None and peak.rules:
            yield Cap(
                amount=Decimal(peak.value + 1),
                name=_rules(peak.rules),
                why=f"{_rules(peak.rules)}: {what} is at most {peak.value} before a call",
                rules=frozenset(peak.rules),
            )

    def _sums(self, period: Period, days: int | None, without: frozenset[str]) -> Iterator[Cap]:
        impact = self.spec.impact
        if impact is None or impact.money is None:
            return
        for total in self.spec.totals:
            if total.of != impact.money:
                continue
            number = self.question.symbolic.at("totals", total.name, "amount")
            assert isinstance(number, Number)
            peak = self.question.peak(number, self.question.sent(without), without)
            if peak is None or peak.value is None:
                continue
            amount = decimal_of(peak.value)
            where = _rules(peak.rules) or f"the total `{total.name}`"
            cap = Cap(
                amount=amount,
                name=where,
                why=f"{where}: at most {amount:,} for {_key(total)}{' in a UTC day' if total.per == 'day' else ''}",
                rules=frozenset(peak.rules),
            )
            yield from self._spread(cap, (total.by, total.per), (period, days), without)
        yield from self._up_to(period, days, without)

    def _up_to(self, period: Period, days: int | None, without: frozenset[str]) -> Iterator[Cap]:
        """The amounts behind one business key never exceed what the fact says they add up to."""
        key, cardinality = self.spec.business_key, self.spec.cardinality
        impact = self.spec.impact
        assert impact is not None
        if key is None or not isinstance(cardinality, UpTo) or cardinality.amount != impact.money:
            return
        term = amount_at(self.question.symbolic, cardinality.total)
        if term is None:
            return
        peak = self.question.peak(Number(term, "decimal"), self.question.sent(without), without)
        if peak is not None and peak.value is not None:
            amount = decimal_of(peak.value)
            cap = Cap(
                amount=amount,
                name=f"business key `{key}`",
                why=f"business key `{key}`: `{cardinality.total}` is at most {amount:,}",
                rules=frozenset(peak.rules),
            )
            yield from self._spread(cap, (key, "ever"), (period, days), without)

    def _spread(
        self,
        cap: Cap,
        counted: tuple[str, str],
        span: tuple[Period, int | None],
        without: frozenset[str],
    ) -> Iterator[Cap]:
        """A cap for one key as a cap for a run or a day, where all of its calls have that key.

        `counted` is how it is counted: the template of the key, and `ever` or `day`. `span` is what it is wanted for.
        """
        (template, per), (period, days) = counted, span
        assert cap.amount is not None
        why, assumed = cap.why, cap.assumed
        if holes(template):
            if period == "day" or (shared := self.twice.shares(template, without)) is None:
                return
            why += f"; all calls of a run have the same `{template}`"
            assumed = (*assumed, *shared.assumed)
        amount = cap.amount
        if period == "run" and per == "day":
            if days is None:
                return
            seen = days if days > 2 or self.twice.crosses_midnight(without) else 1  # noqa: PLR2004 - one midnight
            amount *= seen
            why += f"; a run can see {seen} UTC day{'s' if seen > 1 else ''}"
        yield Cap(amount=amount, name=cap.name, why=why, rules=cap.rules, assumed=assumed)

    def _is_read(self, path: tuple[str, ...]) -> bool:
        """Whether a rule here looks at it: what none looks at limits nothing."""
        return is_read(self.question.symbolic.place.slice(self.question.subject.tenant)[0].reads, *path)

    def held_back(self) -> tuple[str, tuple[str, ...]]:
        """Why no call is sent with nobody asked, and by which rules."""
        question = self.question
        if question.level == "shadow" and self.spec.is_write:
            return "in shadow: decided, never performed", ()
        if not question.is_let:
            return (
                ("a person says yes to each: it may only be proposed", ())
                if question.level == "propose"
                else (
                    "it moves money and no total or business key caps it, so it is refused",
                    (),
                )
            )
        rules = question.symbolic.rules
        final = both(
            *(negate(each.error) for each in rules),
            *(
                negate(each.fires)
                for each in rules
                if each.rule.effect == "forbid" and each.rule.decision == "deny"
            ),
        )
        if not question.is_possible(question.permitted()):
            return "no rule permits it", ()
        binding = question.binding(True)
        return (
            "a person is asked first" if question.is_possible(question.permitted(), final) else "refused"
        ), binding


def _key(total: Total) -> str:
    return f"one `{total.by}`" if holes(total.by) else "the whole agent"


def _rules(names: tuple[str, ...]) -> str:
    return " and ".join(f"`{name}`" for name in names)
