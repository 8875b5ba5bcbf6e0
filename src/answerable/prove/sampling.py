# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# pyright: reportAttributeAccessIssue=false
"""Random requests on which the formulas are compared with the real gates, every time that something is proven.

They are made from the literals of the rules: on, just under and just over each. This is what an encoding that is wrong
would have to get past, besides the tests of the package.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from answerable.gates.policy.shape import Record, Scalar, SetOf
from answerable.gates.policy.validator import LONG_MAX, LONG_MIN
from answerable.prove.confirm import ask, check
from answerable.prove.literals import DAY_MS, decimal_of, decimal_units, instant, milliseconds
from answerable.prove.logic import engine
from answerable.prove.requests import EncodingWrong, check_same, request_from
from answerable.prove.symbols import INSTANT_MAX, INSTANT_MIN
from answerable.prove.values import Many, Number, Parts, Truth, Value, Words

if TYPE_CHECKING:
    from datetime import datetime
    from decimal import Decimal
    from random import Random

    from answerable.gates.policy.shape import Shape
    from answerable.gates.policy.tree import Reads
    from answerable.prove.logic import Model, Term
    from answerable.prove.symbolic import Symbolic
    from answerable.prove.vocabulary import Vocabulary

_NOON_MS = 1_780_315_200_000
"""2026-06-01T12:00:00Z"""
_NEAR = (0, 1, -1)


def check_samples(symbolic: Symbolic, random: Random, count: int) -> None:
    """Compare formulas and gates on random requests. Raises `EncodingWrong` at the first difference."""
    for _ in range(count):
        tenant, context = sample(symbolic, random)
        compare(symbolic, tenant, context)


def compare(symbolic: Symbolic, tenant: str, context: dict[str, Any]) -> None:
    """Compare formulas and gates on one request. Raises `EncodingWrong` where they differ."""
    request = request_from(symbolic.place, tenant, context)
    check_same(symbolic.place, request, context)
    model = assigned(symbolic, tenant, context)
    check(symbolic, model, ask(symbolic.place, request))


def sample(symbolic: Symbolic, random: Random) -> tuple[str, dict[str, Any]]:
    """A tenant and a context, in plain Python values."""
    vocabulary, shape = symbolic.vocabulary, symbolic.place.tool.context
    context = cast("dict[str, Any]", _value(shape, vocabulary, random))
    for label in context["labels"].values():
        label["trusted"] = label["origin"] != "none"
    for unit, left in context["budget"].items():
        context["budget"][unit] = abs(left) % 1_000_000  # money that a journal can hold
    return _text(vocabulary, random), context


def assigned(symbolic: Symbolic, tenant: str, context: dict[str, Any]) -> Model:
    """A model in which every symbol that a rule or the autonomy gate looks at is what the request says."""
    z3 = engine()
    model = z3.Model()
    reads = symbolic.vocabulary.reads
    _assign_parts(model, symbolic.context, context, symbolic, reads)
    _assign(model, symbolic.at("run", "autonomy"), context["run"]["autonomy"], symbolic)
    if not isinstance(symbolic.tenant, str):
        model.update_value(symbolic.tenant, symbolic.vocabulary.texts.term(tenant))
    return model


def _assign(model: Any, value: Value, given: object, symbolic: Symbolic) -> None:
    z3 = engine()
    match value:
        case Truth(term):
            model.update_value(term, z3.BoolVal(given))
        case Number(term):
            model.update_value(term, z3.IntVal(_units(given)))
        case Words(term):
            model.update_value(term, symbolic.vocabulary.texts.term(str(given)))
        case Many():
            _assign_many(model, value, list(cast("list[object]", given)), symbolic)
        case _:
            raise EncodingWrong("a context holds an entity")


def _assign_parts(
    model: Any, value: Parts, given: dict[str, Any], symbolic: Symbolic, reads: Reads | None
) -> None:
    """The parts of a record that are looked at: all of them where `reads` is None."""
    z3 = engine()
    for name, part in value.fields.items():
        if reads is not None and not reads.is_whole and name not in reads.inside:
            continue
        if not isinstance(part.present, bool):
            model.update_value(part.present, z3.BoolVal(name in given))
        if name not in given:
            continue
        if isinstance(part.value, Parts):
            inner = None if reads is None or reads.is_whole else reads.inside[name]
            _assign_parts(model, part.value, given[name], symbolic, inner)
        else:
            _assign(model, part.value, given[name], symbolic)


def _assign_many(model: Any, value: Many, given: list[object], symbolic: Symbolic) -> None:
    """Named elements by their guards; the others take the places without a name."""
    z3 = engine()
    if not value.items:  # no rule looks at it
        return
    if value.is_opaque:
        model.update_value(value.items[0].guard, z3.BoolVal(bool(given)))
        return
    left = [_units(each) if not isinstance(each, (str, bool)) else each for each in given]
    unnamed: list[tuple[Term, Value]] = []
    for item in value.items:
        term = item.value.term if isinstance(item.value, (Truth, Number, Words)) else None
        assert not isinstance(item.guard, bool)
        if isinstance(term, (str, int)):
            model.update_value(item.guard, z3.BoolVal(term in left))
            left = [each for each in left if each != term]
        else:
            unnamed.append((item.guard, item.value))
    for guard, place in unnamed:
        model.update_value(guard, z3.BoolVal(bool(left)))
        if left:
            _assign(model, place, left.pop(), symbolic)
    if left:
        raise EncodingWrong("a set has more elements than its symbol has room for")


def _units(given: object) -> int:
    """A plain number or time as its symbol counts it."""
    if isinstance(given, int):
        return given
    if hasattr(given, "tzinfo"):
        return milliseconds(cast("datetime", given))
    return decimal_units(cast("Decimal", given))


def _value(shape: Shape, vocabulary: Vocabulary, random: Random) -> object:
    if isinstance(shape, Record):
        return {
            each.name: _value(each.shape, vocabulary, random)
            for each in shape.attributes
            if not each.is_optional or random.random() < 0.6  # noqa: PLR2004
        }
    if isinstance(shape, SetOf):
        return _many(shape, vocabulary, random)
    return _scalar(shape, vocabulary, random)


def _many(shape: SetOf, vocabulary: Vocabulary, random: Random) -> list[object]:
    """Elements that rules name, and no more others than a symbol has room for."""
    if not isinstance(shape.item, Scalar):
        return [_value(shape.item, vocabulary, random)] if random.random() < 0.5 else []  # noqa: PLR2004
    if shape.item.values:
        return [each for each in shape.item.values if random.random() < 0.4]  # noqa: PLR2004
    found: list[object] = []
    if shape.item.kind == "String":
        found += [each for each in vocabulary.texts.known if random.random() < 0.4]  # noqa: PLR2004
    for _ in range(random.randrange(vocabulary.room + 1)):
        each = _scalar(shape.item, vocabulary, random)
        found += [] if each in found else [each]
    return found


def _scalar(shape: Scalar, vocabulary: Vocabulary, random: Random) -> object:
    if shape.values:
        return random.choice(shape.values)
    match shape.kind:
        case "Bool":
            return random.random() < 0.5  # noqa: PLR2004
        case "String":
            return _text(vocabulary, random)
        case "Long":
            return _number(vocabulary.numbers.get("Long", ()), (0, 1, 2, 7, LONG_MAX, LONG_MIN), random)
        case "decimal":
            usual = (0, 1, 100, 10_000, 5_000_000, LONG_MAX, LONG_MIN)
            return decimal_of(_number(vocabulary.numbers.get("decimal", ()), usual, random))
        case "datetime":
            return instant(_instant(vocabulary, random))


def _text(vocabulary: Vocabulary, random: Random) -> str:
    return random.choice((*vocabulary.strings, *vocabulary.strings, "", "x", "y"))


def _number(literals: tuple[int, ...], usual: tuple[int, ...], random: Random) -> int:
    near = random.choice((*literals, *literals, *usual)) + random.choice(_NEAR)
    return min(max(near, LONG_MIN), LONG_MAX)


def _instant(vocabulary: Vocabulary, random: Random) -> int:
    anchor = random.choice((*vocabulary.numbers.get("datetime", ()), _NOON_MS, 0, INSTANT_MIN, INSTANT_MAX))
    lengths = (*vocabulary.numbers.get("duration", ()), DAY_MS, 3_600_000, 0)
    found = anchor + random.choice((1, -1)) * random.choice(lengths) + random.choice(_NEAR)
    return min(max(found, INSTANT_MIN), INSTANT_MAX)
