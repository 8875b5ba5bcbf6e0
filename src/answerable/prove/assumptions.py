"""What is true of every request that reaches the rules, beyond its types, and who sees to it.

Each is printed with every proof. What nobody sees to is not assumed: a text that an argument's pattern would refuse
may stand in a counterexample, and a proof covers it too.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations
from math import ceil, floor
from typing import TYPE_CHECKING, Any

from answerable.prove.bounds import Bounds, bounds_of
from answerable.prove.literals import DECIMAL_SCALE
from answerable.prove.logic import (
    alike,
    at_most,
    both,
    either,
    equal,
    implies,
    less,
    modulo,
    negate,
    number,
    plus,
    times,
)
from answerable.prove.values import Many, Number, Parts, Truth, Value, Words

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from answerable.kernel.tool import Total
    from answerable.prove.logic import Bool, Num
    from answerable.prove.place import Place
    from answerable.prove.symbols import Path, Symbols
    from answerable.prove.texts import Texts

_SCHEMA = "the schema gate sees to it"
_COUNTED = "counts, tallies, amounts counted before and what is left of budgets are never negative (the engine counts)"
_ORDERED = "of two tools that were done in a run, one was done last; one that was never done has no last (the journal)"
_TRUSTED = (
    "an argument is trusted exactly where its origin is not `none`; one with an unknown address in it is not; and only "
    "one that is not there, or has nothing in it, is `absent` (the labels)"
)


@dataclass(frozen=True, slots=True, eq=False)
class Assumption:
    """A sentence for people, and the same as a term."""

    text: str
    term: Bool


@dataclass(frozen=True, slots=True)
class Assumed:
    """All that is assumed in one place. `earlier` is, by total, what was counted before the call."""

    assumptions: tuple[Assumption, ...]
    earlier: Mapping[str, Num]


def assumed(place: Place, context: Parts, symbols: Symbols) -> Assumed:
    """Everything that is known of the symbols of a context."""
    earlier: dict[str, Num] = {}
    found = [
        *_bounded(place, context),
        *_totals(place, context, symbols, earlier),
        *(Assumption(_COUNTED, term) for term in _counted(context)),
        *(Assumption(_ORDERED, term) for term in _ordered(context, symbols)),
        *(Assumption(_TRUSTED, term) for term in _trusted(context, symbols.vocabulary.texts)),
    ]
    return Assumed(tuple(each for each in found if each.term is not True), earlier)


def at(parts: Parts, path: Path) -> Value | None:
    """The value at a path; None where there is none."""
    value: Value = parts
    for name in path:
        if not isinstance(value, Parts) or name not in value.fields:
            return None
        value = value.fields[name].value
    return value


def present(parts: Parts, path: Path) -> Bool:
    """Whether all of a path is there."""
    value: Value = parts
    there: Bool = True
    for name in path:
        if not isinstance(value, Parts) or name not in value.fields:
            return False
        there = both(there, value.fields[name].present)
        value = value.fields[name].value
    return there


def _bounded(place: Place, context: Parts) -> Iterator[Assumption]:
    """The limits on numbers, of the arguments and of what facts answer."""
    schemas: dict[Path, Any] = {("args",): place.tool.spec.arguments.__pydantic_core_schema__}
    for fact in place.tool.spec.facts:
        tool = place.tool_of(fact.tool)
        if tool is not None:
            schemas["facts", fact.name] = tool.result.core_schema
    for root, schema in schemas.items():
        for path, bounds in bounds_of(schema).items():
            value = at(context, (*root, *path))
            if isinstance(value, Number) and value.kind in ("Long", "decimal"):
                where = ".".join((*root, *path))
                text = f"`{place.name}`: `{where}` is {bounds} ({_SCHEMA})"
                yield Assumption(text, _within(value, bounds))


def _within(value: Number, bounds: Bounds) -> Bool:
    scale = DECIMAL_SCALE if value.kind == "decimal" else 1
    terms: list[Bool] = []
    if bounds.ge is not None:
        terms.append(at_most(ceil(bounds.ge * scale), value.term))
    if bounds.gt is not None:
        terms.append(less(floor(bounds.gt * scale), value.term))
    if bounds.le is not None:
        terms.append(at_most(value.term, floor(bounds.le * scale)))
    if bounds.lt is not None:
        terms.append(less(value.term, ceil(bounds.lt * scale)))
    if bounds.step is not None and (step := bounds.step * scale).denominator == 1 and step > 1:
        terms.append(equal(modulo(value.term, int(step)), 0))
    return both(*terms)


def _totals(place: Place, context: Parts, symbols: Symbols, earlier: dict[str, Num]) -> Iterator[Assumption]:
    """A total is what was counted before and what this call adds. Amounts below zero would make it fall.

    The journal adds and takes back amount and count together, so a count of 0 leaves no amount.
    """
    never_negative = {
        path[0]
        for path, bounds in bounds_of(place.tool.spec.arguments.__pydantic_core_schema__).items()
        if len(path) == 1 and bounds.is_never_negative
    }
    for total in place.tool.spec.totals:
        amount, added = at(context, ("totals", total.name, "amount")), _added(context, total)
        if not isinstance(amount, Number) or added is None:
            continue
        before = earlier[total.name] = number(f"context.{symbols.name(('totals', total.name, 'earlier'))}")
        is_falling = total.of not in never_negative
        terms = [present(context, ("args", total.of)), equal(amount.term, plus(before, added))]
        if not is_falling:
            terms.append(at_most(0, before))
        count = at(context, ("totals", total.name, "count"))
        if isinstance(count, Number):
            terms.append(implies(equal(count.term, 0), equal(before, 0)))
        said = "what was counted before" + ("" if is_falling else ", at least 0,")
        yield Assumption(
            f"`{place.name}`: `totals.{total.name}.amount` is {said} and `args.{total.of}`, which is there; where the count "
            "is 0, nothing was counted before (the journal)",
            both(*terms),
        )


def _added(context: Parts, total: Total) -> Num | None:
    match at(context, ("args", total.of)):
        case Number(term, "decimal"):
            return term
        case Number(term, "Long"):
            return times(term, DECIMAL_SCALE)
        case _:
            return None


def _counted(context: Parts) -> Iterator[Bool]:
    """Everything that is counted is at least 0."""
    counted = [at(context, ("run", "calls_before"))]
    counted.extend(at(context, ("totals", name, "count")) for name in _names(context, ("totals",)))
    for name in _names(context, ("history",)):
        counted.extend(at(context, ("history", name, part)) for part in ("decided", "done", "last"))
    counted.extend(at(context, ("budget", unit)) for unit in _names(context, ("budget",)))
    for value in counted:
        if isinstance(value, Number):
            yield at_most(0, value.term)


def _ordered(context: Parts, symbols: Symbols) -> Iterator[Bool]:
    """The last done calls of two tools are two calls. Only for tools that a rule asks about."""
    reads = symbols.vocabulary.reads
    asked = reads if reads.is_whole else reads.inside.get("history")
    last: list[Num] = []
    for name in _names(context, ("history",)):
        if asked is None or not (asked.is_whole or name in asked.inside):
            continue
        done, its_last = (at(context, ("history", name, part)) for part in ("done", "last"))
        if isinstance(done, Number) and isinstance(its_last, Number):
            yield alike(equal(done.term, 0), equal(its_last.term, 0))
            yield at_most(done.term, its_last.term)
            last.append(its_last.term)
    for one, other in combinations(last, 2):
        yield either(negate(equal(one, other)), equal(one, 0))


def _trusted(context: Parts, texts: Texts) -> Iterator[Bool]:
    """What a label says of itself, and of its argument. A list or record without a value in it is `absent` too."""
    for name in _names(context, ("labels",)):
        trusted, origin = (at(context, ("labels", name, part)) for part in ("trusted", "origin"))
        if not isinstance(trusted, Truth) or not isinstance(origin, Words):
            continue
        yield alike(trusted.term, negate(texts.same(origin.term, "none")))
        unknown = at(context, ("labels", name, "unknown_address"))
        if isinstance(unknown, Truth):
            yield implies(unknown.term, negate(trusted.term))
        argument = at(context, ("args", name))
        if argument is not None and not isinstance(argument, (Parts, Many)):
            is_absent = texts.same(origin.term, "absent")
            yield implies(is_absent, negate(present(context, ("args", name))))


def _names(context: Parts, path: Path) -> tuple[str, ...]:
    value = at(context, path)
    return tuple(value.fields) if isinstance(value, Parts) else ()
