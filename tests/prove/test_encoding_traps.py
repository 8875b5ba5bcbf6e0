"""Traps, each written by hand: where Cedar does what one would not guess, and where a proof could go wrong quietly."""

from __future__ import annotations

from decimal import Decimal
from random import Random
from typing import TYPE_CHECKING, Annotated, Any

import pytest
from prove_world import ASKING, OPEN, Model, bundle_of_texts, place_of, rule, symbolic_of
from pydantic import AfterValidator, BeforeValidator, Field, TypeAdapter, model_validator

from answerable.errors import ConfigError, PolicyError
from answerable.gates.policy import load_bundle
from answerable.kernel.decision import Verdict
from answerable.kernel.tool import EffectClass, ToolSpec, Total
from answerable.prove import encode_numbers, values
from answerable.prove.bounds import bounds_of
from answerable.prove.confirm import confirm
from answerable.prove.logic import both, implies, less, negate
from answerable.prove.place import place_at
from answerable.prove.requests import EncodingWrong
from answerable.prove.sampling import check_samples
from answerable.prove.solving import Found, Nothing, Solving, Unknown
from answerable.prove.symbolic import symbolize
from answerable.prove.vocabulary import ROOM_MAX, vocabulary_of

if TYPE_CHECKING:
    from answerable.prove.confirm import Confirmed
    from answerable.prove.symbolic import Symbolic

PERMIT = "permit"


def permits(condition: str, **more: Any) -> Symbolic:
    """A place whose only rule permits what meets a condition."""
    return symbolic_of(rule(1, f"when {{ {condition} }}", effect=PERMIT), **more)


def found(symbolic: Symbolic, *wanted: Any) -> Confirmed | None:
    """A request in which all of these hold, as the real gates answer it; None where there is none."""
    answer = Solving([symbolic]).find(*wanted)
    assert not isinstance(answer, Unknown)
    return confirm(symbolic, answer.model) if isinstance(answer, Found) else None


@pytest.mark.parametrize(
    "condition",
    [
        'context.args.currency == "GBP"',
        'context.args.kinds.contains("k3")',
        'context.args.amount.lessThanOrEqual(decimal("0.0"))',
        'context.args.amount.greaterThan(decimal("20000.0"))',
        'context.args.amount.greaterThan(decimal("1.0")) && context.args.amount.lessThan(decimal("1.01"))',
        "context.args has m && context.args.m == 0",
        'context.facts.order.total.lessThan(decimal("0.0"))',
        "context.totals.paid.amount.lessThan(context.args.amount)",
        "context.totals.paid.count < 0",
        "context.totals.paid.count == 0 && context.totals.paid.amount != context.args.amount",
        "context.run.calls_before < 0",
        'context.budget has money && context.budget.money.lessThan(decimal("0.0"))',
        "context.history.pay.done == 0 && context.history.pay.last > 0",
        "context.history.pay.last == 3 && context.history.look.last == 3",
        'context.labels.n.trusted && context.labels.n.origin == "none"',
        'context.labels.note.origin == "absent" && context.args has note',
        'context.labels.n.origin == "absent"',
        "context.labels.n.unknown_address && context.labels.n.trusted",
        'context.session has customer && context.session.customer.by == "pay"',
        "context.args.n > 9223372036854775806 && context.args.n + 1 > 0",
        "-context.args.n == 9223372036854775807 + 1",
        'context.args.order_id like "a*" && !(context.args.order_id like "*")',
        'context.args.order_id like "a*" && context.args.order_id like "b*"',
        "context.args.tags.containsAll(context.args.more) && !context.args.more.isEmpty() && context.args.tags.isEmpty()",
        "context.args.flags.contains(true) && !context.args.flags.contains(false) && context.args.flags != [true]",
        'context.args.kinds.containsAll(["k1", "k2"]) && context.args.kinds != ["k1", "k2"]',
        'principal in Role::"nobody"',
        'action in Action::"read"',
        'resource.effect_class == "read"',
        'principal.tenant like "a*" && principal.tenant == "b"',
        'context.now < datetime("0001-01-01")',
        'context.now.toTime() >= duration("1d")',
        (
            'context.now.offset(duration("9223372036854775807ms")) > datetime("2100-01-01") && '
            'context.now > datetime("1970-01-01T00:00:00.001Z")'
        ),
        "if context.args.urgent then !context.args.urgent else context.args.urgent",
        "context.args.urgent == !context.args.urgent",
        "!(context.args.to == context.args.to)",
    ],
)
def test_what_cannot_be_is_proven_never_to_be_allowed(condition: str) -> None:
    """By types, closed lists, limits of the schema, what the engine counts, overflow, and plain logic."""
    symbolic = permits(condition)

    assert isinstance(Solving([symbolic]).find(symbolic.allow), Nothing)


@pytest.mark.parametrize(
    "condition",
    [
        'context.args.currency == "EUR"',
        'context.args.amount == decimal("0.01")',
        'context.args.amount == decimal("20000.0")',
        "context.args has m && context.args.m == 100",
        "context.totals.paid.amount == context.args.amount",
        "context.history.pay.last == 3 && context.history.look.last == 4 && context.history.pay.done == 2",
        "context.labels.n.unknown_address",
        'context.labels.tags.origin == "absent" && context.args.tags.isEmpty()',
        'context.labels.note.origin == "absent" && !(context.args has note)',
        "context.args.n * context.run.calls_before == 391",
        "context.args.n == -9223372036854775808",
        'context.args.order_id like "a*" && context.args.order_id like "*b" && context.args.order_id != "ab"',
        'context.args.order_id like "*\\**" && !(context.args.order_id like "\\**")',
        'context.args.order_id like "é*☂"',
        # One element that no literal names, in a set that is neither empty nor all there is:
        'context.args.tags != ["a"] && !context.args.tags.isEmpty() && !context.args.tags.contains("a")',
        (
            "context.args has more && !context.args.tags.containsAll(context.args.more) && "
            "!context.args.more.containsAll(context.args.tags) && context.args.more.containsAny(context.args.tags)"
        ),
        (
            "context.args.tags.contains(context.args.order_id) && !context.args.tags.contains(context.run.on_behalf_of)"
            " && !context.args.tags.contains(context.args.to.city) && context.args.to.city != context.run.on_behalf_of"
        ),
        "context.args.codes.contains(context.args.n + 1) && !context.args.codes.contains(7)",
        'context.args.prices.contains(context.args.amount) && context.args.prices != [decimal("1.0")]',
        "!context.args.lines.isEmpty() && context.facts.order.lines.isEmpty()",
        # Sets that are written inside a choice count like those that stand beside a set:
        'context.args.urgent && (if context.args.urgent then ["a", "b", "c", "d"] else ["x"]) == context.args.tags',
        (
            "(if context.args.urgent then [context.args.order_id, context.args.to.city, context.run.on_behalf_of]"
            ' else ["x"]) == context.args.tags && context.args.urgent && context.args.order_id != context.args.to.city'
            " && context.args.to.city != context.run.on_behalf_of && context.args.order_id != context.run.on_behalf_of"
        ),
        (
            '(if context.args.urgent then {trusted: true, origin: "text", sources: ["a", "b", "c", "d"], classes: [],'
            " unknown_address: false} else context.labels.m) == context.labels.n && context.args.urgent"
        ),
        'context.args.flags == [false] && context.args.kinds == ["k2"]',
        'context.session has customer && context.session.customer.value == "x"',
        'principal.tenant == "acme"',
        'principal in Role::"support" && principal is Agent && action in Action::"write"',
        'resource in ToolSet::"money" && resource.data_class == "internal"',
        '[Agent::"desk", Agent::"night"].contains(principal)',
        'context.labels.n == {trusted: true, origin: "text", sources: ["web"], classes: [], unknown_address: false}',
        'context.args has bill && context.args.bill == {city: "a", zip: "b"}',
        'context.now.toDate() == datetime("1969-12-31") && context.now.toTime() == duration("23h")',
        'context.now.durationSince(datetime("1970-01-01")).toSeconds() == 0 && context.now < datetime("1970-01-01")',
        'context.args.since.toDate() == datetime("0001-01-01")',
        "(if context.args has bill then context.args.bill else context.args.to) has zip",
        'context has session.customer.value && "x" == context.session.customer.value',
    ],
)
def test_what_can_be_is_found_and_the_real_gates_agree(condition: str) -> None:
    """Each of these is met by some request, which the bundle allows."""
    symbolic = permits(condition)
    confirmed = found(symbolic, symbolic.allow)

    assert confirmed is not None
    assert confirmed.policy.verdict is Verdict.ALLOW


@pytest.mark.parametrize(
    ("condition", "said"),
    [
        ("context.args.n + 1 > 0", "overflow"),
        ("context.args.n + 1 > 0 || true", "overflow"),
        ("[context.args.n + 1].contains(2) || true", "overflow"),
        ("{a: context.args.n * 3} has a", "overflow"),
        ('context.args.note == "x" || true', "note"),
        ("context.args.due > context.now || true", "due"),
        ('context.now.offset(duration("9223372036854775807ms")) == context.now || true', "overflow"),
    ],
)
def test_a_rule_that_errs_denies_whatever_else_permits(condition: str, said: str) -> None:
    """Also where the other side of `||` is true: Cedar looks at the left side first."""
    symbolic = symbolic_of(OPEN, rule(1, f"when {{ ({condition}) && false }}"))
    confirmed = found(symbolic, symbolic.deny)

    assert confirmed is not None
    assert said in confirmed.policy.reason
    assert found(symbolic, symbolic.allow) is not None


def test_what_is_not_evaluated_is_no_error() -> None:
    """The right side of a decided `&&`, `||`, the other branch of an `if`, and a clause after one that failed."""
    for condition in (
        'when { false && context.args.note == "x" }',
        'when { true || context.args.note == "x" } when { false }',
        'when { if true then false else context.args.note == "x" }',
        'when { context.args has note && context.args.note == "x" && false }',
        'when { false } when { context.args.note == "x" }',
        "unless { true } when { context.args.n + 1 > 0 }",
    ):
        symbolic = symbolic_of(OPEN, rule(1, condition))
        assert isinstance(Solving([symbolic]).find(symbolic.deny), Nothing), condition


def test_a_part_that_another_tool_has_is_no_obstacle() -> None:
    """A rule over several tools guards what only one has; for the others the guard is simply false."""
    guarded = rule(1, 'when { action == Action::"pay" && context.args.n > 5 }')
    asked = rule(2, "when { context.args has n && context.args.n > 7 }")
    symbolic = symbolic_of(OPEN, guarded, asked, tool="look")

    assert isinstance(Solving([symbolic]).find(symbolic.deny), Nothing)


@pytest.mark.parametrize(
    ("condition", "hint"),
    [
        ('context.args.lines.contains({sku: "x", price: decimal("1.0")})', "plain attribute"),
        ("context.args.lines == context.facts.order.lines", "plain attribute"),
        (
            (
                "(if context.args.urgent then principal else principal) == principal && "
                '(if context.args.urgent then Agent::"desk" else Agent::"night") == principal'
            ),
            "inside the branches",
        ),
        ('Agent::"night".tenant == principal.tenant', "`principal` and `resource`"),
        ('[["a"]].contains(["a"])', "plain values"),
        ('ip("10.0.0.1").isLoopback()', "literal"),
        ('decimal(context.args.order_id) == decimal("1.0")', "literal"),
        ('context.args.order_id like "\U00030000*"', "character"),
    ],
)
def test_what_has_no_exact_form_is_refused_with_its_place(condition: str, hint: str) -> None:
    """Never approximated: the error names file, line and rule, and says what to write instead."""
    with pytest.raises(PolicyError) as caught:
        permits(condition)

    assert str(caught.value).startswith("rules.cedar:1: rule `r1`: it cannot be proven anything about:")
    assert hint in caught.value.hint


def test_more_sets_than_can_be_told_apart_are_refused() -> None:
    """There is a limit, and it is said."""
    tags = [f"context.args.tags.contains(context.args.order_id) && context.args.n == {n}" for n in range(3)]
    sought = " && ".join(
        f"context.args.tags.contains(if context.args.n == {n} then context.args.order_id else context.args.to.city)"
        for n in range(ROOM_MAX + 1)
    )
    assert permits(" && ".join(tags)).vocabulary.room == 2
    with pytest.raises(PolicyError, match="too many sets"):
        permits(sought)


def test_a_rule_that_was_not_counted_is_no_quiet_mistake() -> None:
    """A pattern, encoded with a vocabulary that did not know of it."""
    bundle = bundle_of_texts([rule(1, 'when { context.args.order_id like "a*" }', effect=PERMIT)])
    with pytest.raises(ValueError, match="was not counted"):
        symbolize(place_of(bundle), vocabulary_of([], [place_of(bundle)]))


def test_autonomy_decides_with_the_rules() -> None:
    """Sent with nobody asked: allowed, and by a level that lets it; in shadow no write is performed by anybody."""
    for tool, levels in {"look": 4, "pay": 2, "send": 2, "move": 1}.items():
        symbolic = symbolic_of(OPEN, tool=tool)
        level = symbolic.at("run", "autonomy")
        assert isinstance(level, values.Words)
        sent = [
            name
            for name in ("shadow", "propose", "capped", "full")
            if found(symbolic, symbolic.sent, symbolic.vocabulary.texts.same(level.term, name))
        ]
        assert len(sent) == levels, (tool, sent)
        assert (found(symbolic, symbolic.withheld) is None) == (tool == "look")
    symbolic = symbolic_of(OPEN, tool="pay")
    assert isinstance(
        Solving([symbolic]).find(
            symbolic.performable, negate(symbolic.sent), negate(symbolic.need(["operator"]))
        ),
        Nothing,
    )


def test_who_is_asked() -> None:
    """A need is met by rules whose approvers are all among those named, and that ask for as many."""
    symbolic = symbolic_of(
        OPEN,
        rule(1, "when { context.args.urgent }", notes=ASKING.format("finance, lead")),
        rule(2, "when { context.args.n > 5 }", notes=ASKING.format("finance") + ' @count("2")'),
    )
    solving = Solving([symbolic])
    asks, urgent = symbolic.asks, symbolic.at("args", "urgent")
    assert isinstance(urgent, values.Truth)
    assert isinstance(
        solving.find(asks, negate(symbolic.need(["finance", "lead"])), symbolic.performable), Nothing
    )
    assert isinstance(solving.find(asks, negate(symbolic.need(["finance"])), symbolic.performable), Found)
    assert isinstance(solving.find(urgent.term, symbolic.need(["finance", "lead"], 2)), Found)
    assert isinstance(solving.find(symbolic.need(["lead"])), Nothing)


def test_two_copies_share_what_they_are_told_to() -> None:
    """The same place twice: one total, another amount each; and what is shared is one symbol."""
    bundle = bundle_of_texts([OPEN, rule(1, "when { context.args.n > 5 }")])
    place = place_of(bundle)
    vocabulary = vocabulary_of(bundle.rules, [place], copies=2)
    one = symbolize(place, vocabulary, prefix="one.", shared=("args.order_id", "run", "tenant"))
    two = symbolize(place, vocabulary, prefix="two.", shared=("args.order_id", "run", "tenant"))
    solving = Solving([one, two])
    first, second = (each.at("args", "order_id") for each in (one, two))
    assert isinstance(first, values.Words)
    assert isinstance(second, values.Words)
    assert isinstance(solving.find(negate(vocabulary.texts.same(first.term, second.term))), Nothing)
    numbers = [each.at("args", "n") for each in (one, two)]
    assert all(isinstance(each, values.Number) for each in numbers)
    answer = solving.find(one.allow, two.deny)
    assert isinstance(answer, Found)
    assert confirm(one, answer.model).policy.verdict is Verdict.ALLOW
    assert confirm(two, answer.model).policy.verdict is Verdict.DENY


def test_a_total_that_may_fall_is_not_taken_to_be_positive() -> None:
    """Where an amount may be negative, so may what was counted before."""

    class Given(Model):
        amount: Decimal
        count: Annotated[int, Field(ge=0)]

    spec = ToolSpec(
        name="adjust",
        description="adjust",
        effect_class=EffectClass.WRITE,
        arguments=Given,
        result=TypeAdapter[Any](str),
        result_annotation=str,
        totals=(Total(name="moved", of="amount"), Total(name="counted", of="count")),
    )
    symbolic = _place_with(spec, "context.totals.moved.amount.lessThan(context.args.amount)")
    assert found(symbolic, symbolic.allow) is not None
    symbolic = _place_with(
        spec, 'context.totals.counted.amount.lessThan(decimal("3.0")) && context.args.count == 3'
    )
    assert found(symbolic, symbolic.allow) is None


def _place_with(spec: ToolSpec, condition: str) -> Symbolic:
    sources = {"a": '@id("a") @text("a") permit (principal, action, resource);'}
    bundle = load_bundle(sources, [spec], ["desk"])
    text = rule(1, f"when {{ {condition} }}", effect=PERMIT)
    from answerable.gates.policy.places import Places
    from answerable.gates.policy.rules import read_rules

    rules = read_rules({"a": text})
    bundle.rules = rules
    bundle._places = Places(rules, bundle.tools, frozenset({"desk"}), {}, {})
    bundle._by_id = {each.id: each for each in rules}
    place = place_at(bundle, "adjust", "desk")
    return symbolize(place, vocabulary_of(rules, [place]))


class _Checked(Model):
    plain: Annotated[int, Field(gt=0)]
    before: Annotated[int, Field(ge=1), BeforeValidator(lambda each: each)]
    after: Annotated[int, Field(gt=0), AfterValidator(lambda each: -each)]
    maybe: Annotated[int, Field(le=9)] | None = None
    harmless: int = Field(default=3, gt=0)
    wrong: int = Field(default=-3, gt=0)
    made: int = Field(default_factory=lambda: -3, gt=0)
    places: Annotated[Decimal, Field(decimal_places=3, lt=Decimal("0.5"))]


class _Whole(Model):
    inner: _Checked
    items: list[Annotated[int, Field(gt=0)]]

    @model_validator(mode="after")
    def change(self) -> _Whole:
        return self


class _Outer(Model):
    whole: _Whole
    checked: _Checked


class _Late(Model):
    n: Annotated[int, Field(gt=0)]

    def model_post_init(self, context: object, /) -> None:
        """What could change everything."""


def test_only_limits_that_nothing_can_undo_are_believed() -> None:
    """Not behind a later validator, not of a default that is never validated, not in a list."""
    limits = {
        ".".join(path): str(bounds) for path, bounds in bounds_of(_Checked.__pydantic_core_schema__).items()
    }

    assert limits == {
        "plain": "> 0",
        "before": "≥ 1",
        "maybe": "≤ 9",
        "harmless": "> 0",
        "places": "< 0.5, a multiple of 0.001",
    }
    outer = {path[0] for path in bounds_of(_Outer.__pydantic_core_schema__)}
    assert outer == {"checked"}
    assert bounds_of(_Late.__pydantic_core_schema__) == {}


def test_what_z3_does_not_know_is_unknown() -> None:
    """A sum of three cubes takes longer than a hundredth of a second."""
    cubes = " + ".join(
        f"{each} * {each} * {each}"
        for each in ("context.args.n", "context.run.calls_before", "context.totals.paid.count")
    )
    symbolic = permits(f"{cubes} == 114")

    assert isinstance(Solving([symbolic], 0.01).find(symbolic.allow), Unknown)


def test_an_encoding_that_is_wrong_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """On random requests, and on the one that z3 found."""
    monkeypatch.setattr(encode_numbers, "between", lambda *_: True)
    wrong = symbolic_of(OPEN, rule(1, "when { context.args.n + 1 < 5 }"))
    n = wrong.at("args", "n")
    assert isinstance(n, values.Number)
    answer = Solving([wrong]).find(both(wrong.allow, less(2**63 - 2, n.term)))
    assert isinstance(answer, Found)
    with pytest.raises(EncodingWrong, match="the rules answer `deny`"):
        confirm(wrong, answer.model)
    with pytest.raises(EncodingWrong) as caught:
        check_samples(wrong, Random(1), 500)
    assert "nothing that was proven here can be relied on" in caught.value.hint


def test_valid_is_true_of_something_everywhere() -> None:
    """Assumptions that contradict each other would prove anything."""
    for tool in ("look", "pay", "send", "move"):
        symbolic = symbolic_of(OPEN, tool=tool)
        assert found(symbolic) is not None
        assert isinstance(Solving([symbolic]).find(negate(implies(symbolic.valid, symbolic.allow))), Nothing)


def test_without_z3_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    """The extra is named."""
    monkeypatch.setitem(__import__("sys").modules, "z3", None)
    with pytest.raises(ConfigError) as caught:
        symbolic_of(OPEN)
    assert "answerable[prove]" in caught.value.hint
