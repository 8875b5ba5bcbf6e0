"""A request that shows something: as small and plain as is cheap, confirmed by the real gates, and put in plain JSON."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from time import monotonic
from typing import TYPE_CHECKING, Any, cast

from answerable.gates.policy.context import build_context
from answerable.gates.policy.shape import Record, Scalar, SetOf
from answerable.gates.policy.tree import chain, context_reads, prune_shape, prune_value, walk
from answerable.kernel.decision import Verdict
from answerable.prove.literals import DAY_MS, DECIMAL_SCALE, decimal_of, decimal_units
from answerable.prove.logic import equal, negate, value_of
from answerable.prove.place import TENANT
from answerable.prove.solving import Found
from answerable.prove.symbols import leaves
from answerable.prove.values import Many, Number, Truth, Words

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from answerable.gates.policy import Rule
    from answerable.gates.policy.shape import Shape
    from answerable.gates.policy.tree import Reads
    from answerable.kernel.decision import Decision
    from answerable.prove.confirm import Confirmed
    from answerable.prove.logic import Bool, Model
    from answerable.prove.place import Place
    from answerable.prove.solving import Solving
    from answerable.prove.symbolic import Symbolic
    from answerable.prove.symbols import Path

SMALLER_S = 3.0
"""Spent at most on making one request plainer."""
_NOON_MS = 1_780_315_200_000
_USUAL = {
    "Long": (0, 1, 2),
    "decimal": (0, DECIMAL_SCALE, 10 * DECIMAL_SCALE),
    "datetime": (_NOON_MS,),
    "duration": (0,),
}
_STEPS = {
    "Long": (0, 1, -1),
    "decimal": (0, 100, -100, 1, -1, DECIMAL_SCALE),
    "datetime": (0, 1, -1, DAY_MS, -DAY_MS),
    "duration": (0,),
}
_AUTONOMY = ("run", "autonomy")
_LEVELS = ("capped", "full")


@dataclass(frozen=True, slots=True, kw_only=True)
class Witness:
    """A request, what the rules asked of it and what the gates answered."""

    tool: str
    agent: str
    tenant: str | None
    """Only where a rule looks at it."""
    context: dict[str, Any]
    """The parts that a rule looks at, as plain JSON."""
    confirmed: Confirmed

    def described(self) -> dict[str, Any]:
        """As JSON."""
        found: dict[str, Any] = {"tool": self.tool, "agent": self.agent}
        if self.tenant is not None:
            found["tenant"] = self.tenant
        return {**found, "context": self.context, "answer": answered(self.confirmed)}


def answered(confirmed: Confirmed) -> dict[str, Any]:
    """What the gates answered, as JSON."""
    decision = confirmed.decision
    return {
        "verdict": str(decision.verdict),
        "rules": list(decision.rules),
        "reason": decision.reason,
        "needs": described_needs(decision),
        "is_sent_with_nobody_asked": confirmed.is_performed,
    }


def described_needs(decision: Decision) -> list[dict[str, Any]]:
    """Who is asked, as JSON."""
    return [
        {"rule": need.rule, "approvers": list(need.roles), "count": need.count} for need in decision.needs
    ]


def _looked_at(rules: Iterable[Rule]) -> Reads:
    """All that these rules look at in the context, and what the autonomy gate does."""
    reads = context_reads(rule.body.clauses for rule in rules)
    reads.mark(_AUTONOMY, is_whole=True)
    return reads


def make_witness(place: Place, confirmed: Confirmed, rules: Sequence[Rule]) -> Witness:
    """A confirmed request with the parts of it that these rules look at."""
    request = confirmed.request
    shape = prune_shape(place.tool.context, _looked_at(rules))
    pruned = prune_value(build_context(request, place.tool), cast("Record", shape))
    return Witness(
        tool=place.name,
        agent=place.agent,
        tenant=request.tenant if reads_tenant(rules) else None,
        context=cast("dict[str, Any]", _shown(pruned, shape)),
        confirmed=confirmed,
    )


def reads_tenant(rules: Iterable[Rule]) -> bool:
    """Whether any of them looks at the agent's tenant."""
    nodes = (node for rule in rules for node in walk(rule.body.clauses))
    return any(chain(node) == ("principal", (TENANT,)) for node in nodes)


def _shown(value: object, shape: Shape) -> object:
    """A context value with its decimals as people write them."""
    if isinstance(shape, Record):
        inside = cast("dict[str, object]", value)
        shapes = {each.name: each.shape for each in shape.attributes}
        return {name: _shown(inner, shapes[name]) for name, inner in inside.items()}
    if isinstance(shape, SetOf):
        return [_shown(inner, shape.item) for inner in cast("list[object]", value)]
    return f"{decimal_of(decimal_units(Decimal(str(value))))}" if shape.kind == "decimal" else value


def plainest(
    solving: Solving, symbolic: Symbolic, wanted: Sequence[Bool], model: Model, rules: Sequence[Rule]
) -> Model:
    """A model of the same that is plainer: parts absent, sets empty, numbers and texts that are easy to read.

    One part after the other is tried with its plainest values, and what works is kept; after `SMALLER_S` the rest
    stays as it is.
    """
    until = monotonic() + SMALLER_S
    held = list(wanted)
    for choices in _choices(symbolic, model, rules):
        for choice in choices:
            if monotonic() > until:
                return model
            if choice is True or value_of(model, choice):
                held.append(choice)
                break
            answer = solving.find(*held, choice)
            if isinstance(answer, Found):
                held.append(choice)
                model = answer.model
                break
    return model


def _choices(symbolic: Symbolic, model: Model, rules: Sequence[Rule]) -> Iterator[list[Bool]]:
    """For each part that a rule looks at, what to prefer, the plainest first."""
    shape = prune_shape(symbolic.place.tool.context, _looked_at(rules))
    read = [each for each in leaves(symbolic.context) if _is_read(each[0], shape)]
    for path, present, _ in read:
        if not isinstance(present, bool) and path:
            yield [negate(present)]
    for _, _, value in read:
        if isinstance(value, Many):
            yield from ([negate(item.guard)] for item in value.items)
        elif isinstance(value, Truth):
            yield [negate(value.term)]
    for before in symbolic.earlier.values():
        yield [equal(before, 0)]
    texts = symbolic.vocabulary.texts
    yield [texts.same(symbolic.tenant, "tenant-1")]
    for path, _, value in read:
        if isinstance(value, Words):
            usual = _LEVELS if path == _AUTONOMY else _texts(path, shape)
            yield [texts.same(value.term, each) for each in usual]
    numbers = [value for _, _, value in read if isinstance(value, Number)]
    for value in numbers:
        others = [value_of(model, each.term) for each in numbers if each.kind == value.kind]
        tried = _numbers(value, symbolic.vocabulary.numbers.get(value.kind, ()), others)
        yield [equal(value.term, each) for each in tried]


def _numbers(value: Number, literals: Sequence[int], others: Sequence[int]) -> list[int]:
    near = (each + step for each in sorted((*literals, *others), key=abs) for step in _STEPS[value.kind])
    return list(dict.fromkeys((*_USUAL[value.kind], *near)))


def _texts(path: Path, shape: Shape) -> tuple[str, ...]:
    found = _shape_at(path, shape)
    if isinstance(found, Scalar) and found.values:
        return found.values
    return (f"{path[-1]}-1",)


def _shape_at(path: Path, shape: Shape) -> Shape | None:
    here: Shape | None = shape
    for name in path:
        attribute = here.get(name) if isinstance(here, Record) else None
        here = attribute.shape if attribute is not None else None
    return here


def _is_read(path: Path, shape: Shape) -> bool:
    return _shape_at(path, shape) is not None


def parts_in_words(witness: Witness) -> list[str]:
    """Every part of the request that a rule looks at, as `path = value`."""
    parts = [f"{path} = {value}" for path, value in _flat(witness.context, ())]
    return parts + ([f"tenant = {_quoted(witness.tenant)}"] if witness.tenant is not None else [])


def answer_in_words(confirmed: Confirmed) -> str:
    """What the gates answer, in plain words."""
    decision = confirmed.decision
    if decision.verdict is Verdict.DENY:
        return f"denied ({decision.reason})"
    if decision.verdict is Verdict.REQUIRE_APPROVAL:
        asked = dict.fromkeys(_people(need.roles, need.count) for need in decision.needs)
        return f"sent once {' and '.join(asked)} said yes"
    return "sent with nobody asked" if confirmed.is_performed else "performed by nobody (shadow)"


def _people(roles: Sequence[str], count: int) -> str:
    who = " or ".join(roles)
    return who if count == 1 else f"{count} people of {who}"


def _flat(value: object, path: Path) -> Iterator[tuple[str, str]]:
    if isinstance(value, dict):
        inside = cast("dict[str, object]", value)
        if not inside and path:
            yield ".".join(path), "{}"
        for name, inner in inside.items():
            yield from _flat(inner, (*path, name))
    elif isinstance(value, list):
        yield ".".join(path), f"[{', '.join(_quoted(each) for each in cast('list[object]', value))}]"
    else:
        yield ".".join(path), _quoted(value)


def _quoted(value: object) -> str:
    match value:
        case bool():
            return "true" if value else "false"
        case str():
            return f'"{value}"'
        case datetime():
            return value.isoformat()
        case _:
            return str(value)
