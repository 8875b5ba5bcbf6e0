"""Each way in which a change of rules can change an answer: a call that shows it, or a proof that there is none."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from random import Random
from typing import TYPE_CHECKING, Annotated, Any

import pytest
from prove_world import (
    ASKING,
    OPEN,
    PAY,
    ROLES,
    SESSIONS,
    TOOLS,
    Model,
    Rules,
    bundle_of_texts,
    make_tool,
    rule,
)
from pydantic import Field

from answerable.errors import PolicyError
from answerable.gates.policy import load_bundle
from answerable.kernel.decision import Verdict
from answerable.kernel.tool import EffectClass, Impact, Total
from answerable.prove import diff as diffing
from answerable.prove.diff import LOOSER, WORDS, compare
from answerable.prove.place import place_at
from answerable.prove.requests import EncodingWrong, request_from
from answerable.prove.sampling import sample
from answerable.prove.symbolic import symbolize
from answerable.prove.vocabulary import vocabulary_of

if TYPE_CHECKING:
    from answerable.gates.policy import Bundle
    from answerable.prove.diff import Comparison, Kind

ONLY_PAY = 'principal, action == Action::"pay", resource'
URGENT = "when { context.args.urgent }"
BIG = 'when {{ context.args.amount.greaterThan(decimal("{}")) }}'


def between(before: list[str], after: list[str], **more: Any) -> Comparison:
    """The comparison of two lists of rules."""
    return compare(bundle_of_texts(before), bundle_of_texts(after), **more)


def kinds(found: Comparison) -> set[Kind]:
    """Which transitions there are, in any place."""
    return {each.kind for each in found.transitions}


@pytest.mark.parametrize(
    ("kind", "before", "after"),
    [
        ("allow_to_ask", [OPEN], [OPEN, rule(1, URGENT, notes=ASKING.format("a"), head=ONLY_PAY)]),
        ("allow_to_deny", [OPEN], [OPEN, rule(1, URGENT, head=ONLY_PAY)]),
        ("ask_to_allow", [OPEN, rule(1, URGENT, notes=ASKING.format("a"), head=ONLY_PAY)], [OPEN]),
        (
            "ask_to_deny",
            [OPEN, rule(1, URGENT, notes=ASKING.format("a"), head=ONLY_PAY)],
            [OPEN, rule(1, URGENT, head=ONLY_PAY)],
        ),
        ("deny_to_allow", [OPEN, rule(1, URGENT, head=ONLY_PAY)], [OPEN]),
        (
            "deny_to_ask",
            [OPEN, rule(1, URGENT, head=ONLY_PAY)],
            [OPEN, rule(1, URGENT, notes=ASKING.format("a"), head=ONLY_PAY)],
        ),
        (
            "asks_less",
            [OPEN, rule(1, URGENT, notes=ASKING.format("a") + '@count("2")', head=ONLY_PAY)],
            [OPEN, rule(1, URGENT, notes=ASKING.format("a"), head=ONLY_PAY)],
        ),
        (
            "asks_less",
            [OPEN, rule(1, URGENT, notes=ASKING.format("a"), head=ONLY_PAY)],
            [OPEN, rule(1, URGENT, notes=ASKING.format("a, b"), head=ONLY_PAY)],
        ),
        (
            "asks_others",
            [OPEN, rule(1, URGENT, notes=ASKING.format("a, b"), head=ONLY_PAY)],
            [OPEN, rule(1, URGENT, notes=ASKING.format("a"), head=ONLY_PAY)],
        ),
        (
            "asks_others",
            [OPEN, rule(1, URGENT, notes=ASKING.format("a"), head=ONLY_PAY)],
            [
                OPEN,
                rule(1, URGENT, notes=ASKING.format("a"), head=ONLY_PAY),
                rule(2, URGENT, notes=ASKING.format("b"), head=ONLY_PAY),
            ],
        ),
    ],
)
def test_each_transition_has_a_call_that_the_real_bundles_answer_so(
    kind: Kind, before: list[str], after: list[str]
) -> None:
    """One transition, at `pay` for every agent, and nothing else anywhere."""
    found = between(before, after)

    assert kinds(found) == {kind}
    assert {each.tool for each in found.transitions} == {"pay"}
    assert {each.agent for each in found.transitions} == set(ROLES)
    assert found.is_looser == (kind in LOOSER)
    assert found.is_proven
    for each in found.transitions:
        assert each.witness is not None
        assert each.before is not None
        request = each.witness.confirmed.request
        sides = [bundle_of_texts(texts).decide(request) for texts in (before, after)]
        assert [each.before.policy.verdict, each.witness.confirmed.policy.verdict] == [
            side.verdict for side in sides
        ]
        assert (sides[0].verdict, sides[0].needs) != (sides[1].verdict, sides[1].needs)
        assert each.witness.context["args"] == {"urgent": True}
        assert each.described()["status"] == "found"
        assert WORDS[each.kind]


def test_equal_rules_differ_in_nothing() -> None:
    """Whatever their order and files; proven without a search."""
    texts = [OPEN, rule(1, URGENT, notes=ASKING.format("a")), rule(2, BIG.format("5.0"), head=ONLY_PAY)]
    found = between(
        texts,
        [texts[2], texts[0], texts[1].replace("{ context.args.urgent }", "{\n  context.args.urgent\n}")],
    )

    assert not found.rules
    assert not found.transitions
    assert found.is_proven
    assert not found.is_looser
    assert found.places == 12


def test_rules_that_say_the_same_in_other_words_differ_in_no_answer() -> None:
    """The rule is listed as changed; every call is proven to be answered as before."""
    before = [OPEN, rule(1, 'when { context.args.amount.greaterThan(decimal("500.00")) }', head=ONLY_PAY)]
    after = [OPEN, rule(1, 'unless { context.args.amount.lessThan(decimal("500.01")) }', head=ONLY_PAY)]
    found = between(before, after)

    assert [(each.id, each.kind, each.parts) for each in found.rules] == [("r1", "changed", ("conditions",))]
    assert not found.transitions
    assert found.is_proven


def test_a_cap_that_is_raised_lets_through_what_lies_between() -> None:
    """The witness is on the edge: a readable amount, sent by an agent that may send by itself."""
    before = [OPEN, rule(1, BIG.format("500.00"), notes=ASKING.format("lead"), head=ONLY_PAY)]
    after = [OPEN, rule(1, BIG.format("700.00"), notes=ASKING.format("lead"), head=ONLY_PAY)]
    found = between(before, after)
    shown = found.transitions[0].described()

    assert kinds(found) == {"ask_to_allow"}
    assert shown["witness"]["context"] == {"args": {"amount": "500.01"}, "run": {"autonomy": "capped"}}
    assert shown["before"]["needs"] == [{"rule": "r1", "approvers": ["lead"], "count": 1}]
    assert shown["after"]["is_sent_with_nobody_asked"] is True


def test_what_only_the_error_of_a_rule_changes_is_found() -> None:
    """A rule that may overflow denies, whatever it would have said."""
    before = [OPEN, rule(1, "when { context.args.n > 5 && false }", head=ONLY_PAY)]
    after = [OPEN, rule(1, "when { context.args.n + 1 > 5 && false }", head=ONLY_PAY)]
    found = between(before, after)

    assert kinds(found) == {"allow_to_deny"}
    assert found.transitions[0].witness is not None
    assert found.transitions[0].witness.context["args"] == {"n": 2**63 - 1}


def test_every_part_of_a_changed_rule_is_named() -> None:
    """Also those that change no answer: its text and its owner."""
    before = [
        OPEN,
        rule(1, URGENT, notes='@owner("x")' + ASKING.format("a"), head=ONLY_PAY),
        rule(2, URGENT, head=ONLY_PAY),
    ]
    after = [
        OPEN,
        rule(1, "when { true }", notes='@owner("y")' + ASKING.format("b") + '@count("2")').replace(
            "rule 1", "other words"
        ),
        rule(3, URGENT, head=ONLY_PAY),
    ]
    found = between(before, after)

    assert {each.id: (each.kind, each.parts) for each in found.rules} == {
        "r1": ("changed", ("approvers", "conditions", "count", "owner", "scope", "text")),
        "r2": ("removed", ()),
        "r3": ("added", ()),
    }
    described = {each["id"]: each for each in found.described()["rules"]}
    assert described["r2"]["after"] is None
    assert described["r1"]["before"]["approvers"] == ["a"]


def test_a_text_alone_changes_no_answer() -> None:
    """What people read is listed; nothing is searched."""
    found = between([OPEN, rule(1, URGENT)], [OPEN, rule(1, URGENT).replace("rule 1", "one rule")])

    assert [each.parts for each in found.rules] == [("text",)]
    assert not found.transitions
    assert not found.trusted


class _Other(Model):
    amount: Annotated[Decimal, Field(gt=0)]


def loaded(rules: list[str], tools: tuple[Any, ...]) -> Bundle:
    """A bundle over these tools."""
    return load_bundle({"a": "\n".join(rules)}, tools, list(ROLES), roles=ROLES, sessions=SESSIONS)


def test_tools_on_one_side_and_tools_of_another_form_are_listed() -> None:
    """Nothing is said of their calls; and that is never taken for safe."""
    other = make_tool(
        "pay",
        _Other,
        EffectClass.WRITE,
        totals=(Total(name="paid", of="amount"),),
        impact=Impact(money="amount"),
    )
    look = TOOLS[0]
    found = compare(loaded([OPEN], (look, PAY)), loaded([OPEN], (look, other, TOOLS[2])))

    assert found.tools_after_only == ("send",)
    assert found.tools_changed == ("pay",)
    assert found.places == len(ROLES)
    assert found.is_looser
    assert not found.is_proven
    back = compare(loaded([OPEN], (look, other, TOOLS[2])), loaded([OPEN], (look, PAY)))
    assert back.tools_before_only == ("send",)


def test_a_tool_that_becomes_another_kind_of_effect_is_compared() -> None:
    """Its rules are the same, its group is not."""
    free = 'principal, action in Action::"read", resource'
    write = replace(TOOLS[0], effect_class=EffectClass.WRITE, mode=None)
    rules = [
        rule(1, "", effect="permit", head=free),
        rule(2, "", effect="permit", head='principal, action == Action::"pay", resource'),
    ]
    found = compare(
        loaded(rules, (TOOLS[0], PAY, TOOLS[2])),
        loaded(
            [
                *rules[1:],
                rule(1, "", effect="permit", head='principal, action in Action::"outward", resource'),
            ],
            (write, PAY, TOOLS[2]),
        ),
    )

    assert {(each.tool, each.kind) for each in found.transitions} == {
        ("look", "allow_to_deny"),
        ("send", "deny_to_allow"),
    }


def test_what_z3_does_not_settle_is_open_and_counts_as_looser() -> None:
    """A change behind a sum of three cubes."""
    cubes = " + ".join(
        f"{each} * {each} * {each}"
        for each in ("context.args.n", "context.run.calls_before", "context.totals.paid.count")
    )
    found = between([OPEN, rule(1, f"when {{ {cubes} == 114 }}", head=ONLY_PAY)], [OPEN], timeout_s=0.02)

    assert any(each.why for each in found.transitions)
    assert not found.is_proven
    assert found.is_looser
    assert {each.described()["status"] for each in found.transitions} == {"not proven"}


def test_a_rule_without_an_exact_form_is_refused_on_either_side() -> None:
    """With its place."""
    odd = rule(1, "when { context.args.lines == context.facts.order.lines }", head=ONLY_PAY)
    for sides in (([OPEN], [OPEN, odd]), ([OPEN, odd], [OPEN])):
        with pytest.raises(PolicyError, match="cannot be proven anything about"):
            between(*sides)


def test_a_difference_that_the_real_bundles_do_not_show_stops_everything(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The witness is asked of both."""
    monkeypatch.setattr(diffing, "_is_real", lambda *_: False)
    with pytest.raises(EncodingWrong, match="do not differ where the formulas do"):
        between([OPEN], [OPEN, rule(1, URGENT, head=ONLY_PAY)])


@pytest.mark.parametrize("seed", range(12))
def test_random_changes_are_found_or_never_happen(seed: int) -> None:
    """Where a transition is proven not to exist, no random request shows it."""
    random = Random(seed)
    made = Rules(random, with_like=seed % 3 == 0)
    rules = [made.rule(n, ONLY_PAY) for n in range(3)]
    before, after = (
        bundle_of_texts([OPEN, *rules]),
        bundle_of_texts([OPEN, *rules[1:], made.rule(3, ONLY_PAY)]),
    )
    found = compare(before, after, timeout_s=1.0, samples=10)
    listed = {each.kind for each in found.transitions if (each.tool, each.agent) == ("pay", "desk")}
    place = place_at(before, "pay", "desk")
    symbolic = symbolize(place, vocabulary_of((*before.rules, *after.rules), [place]))
    for _ in range(150):
        tenant, context = sample(symbolic, random)
        context["args"]["amount"] = Decimal("1.50")
        context["totals"]["paid"] = {"amount": Decimal("3.00"), "count": 1}
        context["args"].pop("m", None)
        context["facts"]["order"]["total"] = abs(context["facts"]["order"]["total"])
        request = request_from(place, tenant, context)
        if not _is_plausible(context):
            continue
        one, other = before.decide(request).verdict, after.decide(request).verdict
        if one is not other:
            assert f"{_NAMES[one]}_to_{_NAMES[other]}" in listed


_NAMES = {Verdict.ALLOW: "allow", Verdict.REQUIRE_APPROVAL: "ask", Verdict.DENY: "deny"}


def _is_plausible(context: dict[str, Any]) -> bool:
    """What the engine could have counted and labelled."""
    tallies = list(context["history"].values())
    counted = [number for tally in tallies for number in tally.values()]
    last = [tally["last"] for tally in tallies if tally["last"]]
    labels = {name: label["origin"] for name, label in context["labels"].items()}
    return (
        min(counted) >= 0
        and all(
            (tally["done"] == 0) == (tally["last"] == 0) and tally["done"] <= tally["last"]
            for tally in tallies
        )
        and len(set(last)) == len(last)
        and context["run"]["calls_before"] >= 0
        and not any(origin == "absent" and name in context["args"] for name, origin in labels.items())
        and not any(label["unknown_address"] and label["trusted"] for label in context["labels"].values())
    )


def test_a_rule_on_the_history_of_a_new_tool_is_compared() -> None:
    """What the rules of one side cannot ask is free on the other."""
    guard = rule(1, "when { context.history.send.done > 0 }", head=ONLY_PAY)
    found = compare(loaded([OPEN], (TOOLS[0], PAY)), loaded([OPEN, guard], (TOOLS[0], PAY, TOOLS[2])))

    assert {(each.tool, each.kind) for each in found.transitions} == {("pay", "allow_to_deny")}
    assert found.tools_changed == ()
    witness = found.transitions[0].witness
    assert witness is not None
    assert witness.context["history"] == {"send": {"done": 1}}
