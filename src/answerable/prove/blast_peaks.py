"""One tool of an agent as a question: what can be sent with nobody asked, how high a number can get, and which rules say so.

What is fixed for the agent is held: its tenant, its autonomy, for whom it can act, and its budgets. Everything else is free.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

from answerable.gates import autonomy
from answerable.kernel.decision import Verdict
from answerable.kernel.tool import UpTo
from answerable.prove.bounds import bounds_of
from answerable.prove.literals import DECIMAL_SCALE
from answerable.prove.logic import at_most, both, either, equal, less, negate, value_of
from answerable.prove.solving import Found, Nothing, Solving
from answerable.prove.values import Number, Parts, Words

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from answerable.prove.blast_subject import Subject
    from answerable.prove.logic import Bool, Num
    from answerable.prove.solving import Answer
    from answerable.prove.symbolic import Symbolic

TIMEOUT_S = 5.0
MONEY_MAX = 9_000_000_000 * DECIMAL_SCALE
"""The journal counts no larger amount: whatever may reach it has no bound worth the name."""
COUNT_MAX = 1_000_000_000
MICROS_PER_UNIT = 100
"""Of money in a journal, in the ten-thousandths that rules compare."""
_MONEY = frozenset({"money", "money_per_day"})
NO_RULES: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class Peak:
    """The highest that a number can get. `value` is None where it has no bound worth the name."""

    value: int | None
    rules: tuple[str, ...] = ()
    """The rules without which it would be higher; none where it is a schema, or what is counted, that binds."""
    is_exact: bool = True
    """Whether it is reached. Where z3 gave up it is only known that nothing is above it."""


class Question:
    """See the module."""

    def __init__(self, subject: Subject, symbolic: Symbolic) -> None:
        self.subject = subject
        self.symbolic = symbolic
        self.spec = symbolic.place.tool.spec
        self.held = both(*held(subject, symbolic))
        self._solving = Solving([symbolic], TIMEOUT_S)
        self._solving.add(self.held)
        self._literals = _literals(symbolic)

    @property
    def level(self) -> str:
        """How far the agent may go with this tool."""
        return self.subject.level(self.spec.name)

    @property
    def is_let(self) -> bool:
        """Whether autonomy lets it be sent without asking."""
        if self.level == "shadow" and self.spec.is_write:
            return False
        answer = autonomy.check(self.spec, self.subject.level(self.spec.name), discharged=frozenset())
        return answer.verdict is Verdict.ALLOW

    def sent(self, without: frozenset[str] = NO_RULES) -> Bool:
        """Sent with nobody asked, were these `forbid` rules not there."""
        return both(self.permitted(), self.free(without)) if self.is_let else False

    def permitted(self) -> Bool:
        """Some rule permits it."""
        return either(*(each.fires for each in self.symbolic.rules if each.rule.effect == "permit"))

    def free(self, without: frozenset[str] = NO_RULES) -> Bool:
        """No `forbid` is against it, and no rule fails."""
        return both(
            *(
                both(negate(each.error), negate(each.fires) if each.rule.effect == "forbid" else True)
                for each in self.symbolic.rules
                if each.rule.id not in without
            )
        )

    def find(self, *wanted: Bool) -> Answer:
        """A request, besides what is held."""
        return self._solving.find(*wanted)

    def is_possible(self, *wanted: Bool) -> bool:
        """Whether there may be such a request: what z3 does not know may be."""
        return not isinstance(self.find(*wanted), Nothing)

    def peak(self, number: Number, sent: Bool, without: frozenset[str] = NO_RULES) -> Peak | None:
        """The highest that a number gets in calls that are sent; None where no call is."""
        term = number.term
        ceiling = MONEY_MAX if number.kind == "decimal" else COUNT_MAX
        first = self.find(sent)
        if isinstance(first, Nothing):
            return None
        if isinstance(term, int):
            return Peak(value=term)
        if self.is_possible(sent, at_most(ceiling, term)):
            return Peak(value=None)
        low = value_of(first.model, term) if isinstance(first, Found) else -ceiling
        low, high = highest(
            lambda *wanted: self.find(sent, *wanted), term, self.marks(number.kind), low, ceiling
        )
        return Peak(value=high, rules=self.binding(less(high, term), without), is_exact=low == high)

    def marks(self, kind: str) -> set[int]:
        """Numbers that a highest value of this kind is likely to be."""
        return set(self._literals.get(kind, ()))

    def binding(self, beyond: Bool, without: frozenset[str] = NO_RULES) -> tuple[str, ...]:
        """A smallest set of `forbid` rules that keep `beyond` from being sent; the permits where those do."""
        forbids = [each.rule.id for each in self.symbolic.rules if each.rule.effect == "forbid"]
        gone = set(without)
        for name in forbids:
            if name not in gone and not self.is_possible(
                self.permitted(), self.free(frozenset({*gone, name})), beyond
            ):
                gone.add(name)
        left = tuple(name for name in forbids if name not in gone)
        if left or not self.is_possible(beyond):
            return left
        return tuple(each.rule.id for each in self.symbolic.rules if each.rule.effect == "permit")


def highest(
    find: Callable[..., Answer], term: Num, marks: Iterable[int], low: int, high: int
) -> tuple[int, int]:
    """The highest value that was seen, and the lowest above which there is none: the same, if z3 knows.

    It is between `low`, which was seen, and `high`. The marks are tried first: it is nearly always one of them.
    """
    open_marks = sorted({each for each in marks if low <= each < high})
    while open_marks:
        middle = len(open_marks) // 2
        mark = open_marks[middle]
        answer = find(less(mark, term))
        if isinstance(answer, Nothing):
            high, open_marks = mark, open_marks[:middle]
        else:
            seen = value_of(answer.model, term) if isinstance(answer, Found) else mark
            low, open_marks = max(low, seen), [each for each in open_marks[middle + 1 :] if each > seen]
    if low < high and isinstance(find(equal(term, high)), Found):
        return high, high
    while low < high:
        middle = (low + high) // 2
        answer = find(less(middle, term))
        if isinstance(answer, Nothing):
            high = middle
        elif isinstance(answer, Found):
            low = value_of(answer.model, term)
        else:
            break
    return low, high


def held(subject: Subject, symbolic: Symbolic) -> Iterator[Bool]:
    """What is fixed for this agent in every request, and what the journal sees to besides."""
    texts = symbolic.vocabulary.texts
    spec = symbolic.place.tool.spec
    yield texts.same(symbolic.tenant, subject.tenant)
    yield texts.same(words(symbolic, "run", "autonomy").term, subject.level(spec.name))
    if not subject.on_behalf_of:
        yield texts.same(words(symbolic, "run", "on_behalf_of").term, "")
    yield from _budgets(subject, symbolic)
    counted = [total.of for total in spec.totals]
    if isinstance(spec.cardinality, UpTo) and spec.business_key:
        counted += [spec.cardinality.amount, spec.cardinality.total]
        amount, cap = (
            amount_at(symbolic, path) for path in (spec.cardinality.amount, spec.cardinality.total)
        )
        if amount is not None and cap is not None:
            yield at_most(amount, cap)
    for name in counted:
        if (amount := amount_at(symbolic, name)) is not None:
            yield at_most(amount, MONEY_MAX)


def _budgets(subject: Subject, symbolic: Symbolic) -> Iterator[Bool]:
    limits = {**subject.limits, **{f"{unit}_per_day": each for unit, each in subject.limits_per_day.items()}}
    budget = symbolic.at("budget")
    assert isinstance(budget, Parts)
    for unit, part in budget.fields.items():
        if unit not in limits:
            yield negate(part.present)
            continue
        yield part.present
        assert isinstance(part.value, Number)
        limit = limits[unit] // MICROS_PER_UNIT if unit in _MONEY else limits[unit]
        yield at_most(part.value.term, limit)
        if unit.startswith("tool_calls"):
            yield at_most(1, part.value.term)
    calls = symbolic.at("run", "calls_before")
    left = symbolic.at("budget", "tool_calls")
    assert isinstance(calls, Number)
    assert isinstance(left, Number)
    yield equal(cast("Num", calls.term + left.term), subject.limits["tool_calls"])


def words(symbolic: Symbolic, *path: str) -> Words:
    """The text at a path that always has one."""
    found = symbolic.at(*path)
    assert isinstance(found, Words)
    return found


def place_of(symbolic: Symbolic, name: str) -> tuple[str, ...]:
    """Where a dotted name of a template stands in the context: among the facts, or the arguments."""
    path = tuple(name.split("."))
    is_fact = any(each.name == path[0] for each in symbolic.place.tool.spec.facts)
    return ("facts" if is_fact else "args", *path)


def amount_at(symbolic: Symbolic, name: str) -> Num | None:
    """An amount that a declaration names, in ten-thousandths; None where no rule can read it."""
    try:
        found = symbolic.at(*place_of(symbolic, name))
    except KeyError:
        return None
    if not isinstance(found, Number):
        return None
    return found.term if found.kind == "decimal" else cast("Num", found.term * DECIMAL_SCALE)


def money_of(symbolic: Symbolic, argument: str) -> Number | None:
    """The money argument, in ten-thousandths; what is not there is none."""
    term = amount_at(symbolic, argument)
    return None if term is None else Number(term, "decimal")


def is_there(symbolic: Symbolic, argument: str) -> Bool:
    """Whether an argument is given."""
    return symbolic.present("args", argument)


def _literals(symbolic: Symbolic) -> dict[str, set[int]]:
    """Numbers that a highest value is likely to be: those in rules and schemas, by kind."""
    found: dict[str, set[int]] = {"Long": {0, 1}, "decimal": {0}}
    for kind, terms in symbolic.vocabulary.numbers.items():
        found.setdefault(kind, set()).update(terms)
    for bounds in bounds_of(symbolic.place.tool.spec.arguments.__pydantic_core_schema__).values():
        for high in (bounds.le, bounds.lt):
            if high is not None:
                found["decimal"].add(int(high * DECIMAL_SCALE))
                found["Long"].add(int(high))
    found["decimal"] |= {each * DECIMAL_SCALE for each in found["Long"]}
    for kind, terms in found.items():
        found[kind] = {each + step for each in terms for step in (-1, 0)}
    return found
