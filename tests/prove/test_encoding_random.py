"""The encoding against Cedar itself: random rules, random requests, the same answer.

Three ways to come to it: the real bundle, the formulas in a model, and the encoder over plain values.
"""

from __future__ import annotations

from decimal import Decimal
from random import Random
from typing import TYPE_CHECKING, Any, cast

from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from prove_world import OPEN, Rules, bundle_of_texts, place_of

from answerable.errors import PolicyError
from answerable.gates.policy.shape import Record, Scalar, SetOf, Shape
from answerable.kernel.decision import Verdict
from answerable.prove.confirm import confirm
from answerable.prove.encode import Encoder
from answerable.prove.literals import decimal_units, instant, milliseconds
from answerable.prove.requests import request_from
from answerable.prove.sampling import compare, sample
from answerable.prove.solving import Found, Nothing, Solving
from answerable.prove.symbolic import Symbolic, symbolize
from answerable.prove.values import Item, Many, Number, Part, Parts, Truth, Value, Words
from answerable.prove.vocabulary import vocabulary_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from answerable.gates.policy import Bundle

QUIET = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much]
seeds = st.integers(0, 2**32)


def encoded(texts: Sequence[str]) -> tuple[Bundle, Symbolic]:
    """A bundle of these rules and its formulas; rules that are refused are another test's."""
    bundle = bundle_of_texts(texts)
    place = place_of(bundle)
    try:
        return bundle, symbolize(place, vocabulary_of(bundle.rules, [place]))
    except PolicyError:
        assume(condition=False)
        raise


def plain(value: Any, shape: Shape) -> Value:
    """A context value with no symbol in it. What is absent has any value of its type."""
    match shape:
        case Record(attributes):
            return Parts({each.name: part(value, each.name, each.shape) for each in attributes})
        case SetOf(item):
            is_opaque = not isinstance(item, Scalar)
            items = [Item(True, Truth(True) if is_opaque else plain(each, item)) for each in value]
            return Many(tuple(items), is_opaque)
        case Scalar("decimal"):
            return Number(decimal_units(value), "decimal")
        case Scalar("datetime"):
            return Number(milliseconds(value), "datetime")
        case Scalar("Long"):
            return Number(value, "Long")
        case Scalar("Bool"):
            return Truth(value)
        case _:
            return Words(value)


def part(value: dict[str, Any], name: str, shape: Shape) -> Part:
    """An attribute that may be absent."""
    return Part(name in value, plain(value[name] if name in value else anything(shape), shape))


def anything(shape: Shape) -> Any:
    """Some value of a shape."""
    if isinstance(shape, Record):
        return {}
    if isinstance(shape, SetOf):
        return []
    return {"Bool": False, "Long": 0, "decimal": Decimal(0), "datetime": instant(0)}.get(shape.kind, "")


@settings(max_examples=100, deadline=None, suppress_health_check=QUIET)
@given(seed=seeds, with_like=st.booleans(), is_open=st.booleans())
def test_formulas_answer_as_cedar_does(*, seed: int, with_like: bool, is_open: bool) -> None:
    """Some 3,000 requests a run: verdict, fired rules, people and autonomy."""
    random = Random(seed)
    made = Rules(random, with_like=with_like)
    texts = [made.rule(n) for n in range(random.randrange(1, 4))]
    bundle, symbolic = encoded([*texts, OPEN] if is_open else texts)
    for _ in range(30):
        tenant, context = sample(symbolic, random)
        compare(symbolic, tenant, context)
        check_plain(bundle, symbolic, tenant, context)


def check_plain(bundle: Bundle, symbolic: Symbolic, tenant: str, context: dict[str, Any]) -> None:
    """The encoder over plain values comes to plain answers, and to the same."""
    place = symbolic.place
    encoder = Encoder(
        place, symbolic.vocabulary.texts, cast("Parts", plain(context, place.tool.context)), tenant
    )
    found = {each.id: encoder.condition(each) for each in place.rules}
    answer = bundle.decide(request_from(place, tenant, context))
    assert all(isinstance(term, bool) for terms in found.values() for term in terms)
    fired = {each for each in place.rules if found[each.id][0]}
    if (
        any(error for _, error in found.values())
        or not any(each.effect == "permit" for each in fired)
        or any(each.decision == "deny" for each in fired)
    ):
        assert answer.verdict is Verdict.DENY
    elif any(each.decision == "require_approval" for each in fired):
        assert answer.verdict is Verdict.REQUIRE_APPROVAL
    else:
        assert answer.verdict is Verdict.ALLOW


@settings(max_examples=60, deadline=None, suppress_health_check=QUIET)
@given(seed=seeds, with_like=st.booleans())
def test_what_is_proven_to_be_impossible_never_happens(*, seed: int, with_like: bool) -> None:
    """No valid request, however large its sets, gets a verdict that z3 says there is none for."""
    random = Random(seed)
    made = Rules(random, with_like=with_like)
    bundle, symbolic = encoded([*(made.rule(n) for n in range(2)), OPEN])
    solving = Solving([symbolic], 1.0)
    terms = {
        Verdict.ALLOW: symbolic.allow,
        Verdict.REQUIRE_APPROVAL: symbolic.asks,
        Verdict.DENY: symbolic.deny,
    }
    answers = {verdict: solving.find(term) for verdict, term in terms.items()}
    for answer in answers.values():
        if isinstance(answer, Found):
            confirm(symbolic, answer.model)
    for _ in range(40):
        tenant, context = valid_sample(symbolic, random)
        said = bundle.decide(request_from(symbolic.place, tenant, context)).verdict
        assert not isinstance(answers[said], Nothing)


def valid_sample(symbolic: Symbolic, random: Random) -> tuple[str, dict[str, Any]]:
    """A request that the engine could have made, with more elements in its sets than a symbol has room for."""
    tenant, context = sample(symbolic, random)
    arguments, facts, paid = context["args"], context["facts"], context["totals"]["paid"]
    arguments["amount"] = Decimal(random.choice(("0.01", "1.00", "1.50", "500.00", "500.01", "20000.00")))
    paid["amount"] = arguments["amount"] + abs(paid["amount"]) % 1000
    paid["count"] = 1 + abs(paid["count"]) % 50
    facts["order"]["total"] = abs(facts["order"]["total"]) % 100_000
    if "m" in arguments:
        arguments["m"] = 1 + abs(arguments["m"]) % 100
    context["run"]["calls_before"] = abs(context["run"]["calls_before"]) % 50
    for count, tally in enumerate(context["history"].values()):
        tally["decided"] = abs(tally["decided"]) % 9
        tally["done"] = abs(tally["done"]) % 3
        tally["last"] = 10 * count + 5 if tally["done"] else 0
    for name, label in context["labels"].items():
        if label["origin"] == "absent" and name in arguments:
            label.update(origin="none", trusted=False)
    for extra in range(random.randrange(6)):
        arguments["tags"].append(f"extra-{extra}")
        arguments["codes"].append(1_000 + extra)
        context["labels"]["order_id"]["sources"].append(f"extra-{random.randrange(9)}")
        context["run"]["classes_read"].append(f"extra-{random.randrange(9)}")
    return tenant, context
