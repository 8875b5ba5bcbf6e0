"""Invariants of the refund desk: each holds, and for each there is a change of the rules that breaks it."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING

import pytest
from prove_world import OPEN, ROLES, SESSIONS, SETS, TOOLS, bundle_of_texts, rule

from answerable.errors import PolicyError
from answerable.gates.policy import load_bundle
from answerable.kernel.decision import Verdict
from answerable.project import load_rules
from answerable.prove import claims, confirm
from answerable.prove.invariants import prove
from answerable.prove.load import read_invariants
from answerable.prove.requests import EncodingWrong
from answerable.prove.witness import answer_in_words, parts_in_words
from refund_desk.desk import make_desk

if TYPE_CHECKING:
    from answerable.gates.policy import Bundle
    from answerable.prove.invariants import Finding, Proof

DESK = make_desk()
assert isinstance(DESK.policy, Path)
RULES = {path.name: path.read_text("utf-8") for path in DESK.policy.glob("*.cedar")}
INVARIANTS = load_rules(DESK, read_invariants(DESK.policy))
FILE = "refund_desk.cedar"


@cache
def as_it_is() -> Proof:
    """The proof for the rules of the example."""
    return prove(load_rules(DESK, RULES), INVARIANTS)


def changed(old: str, new: str) -> Bundle:
    """The rules of the example with one change."""
    assert old in RULES[FILE]
    return load_rules(DESK, {FILE: RULES[FILE].replace(old, new)})


def load(rules: str, **more: object) -> Bundle:
    """A bundle over the tools of the tests."""
    given = {"roles": ROLES, "tool_sets": SETS, "sessions": SESSIONS} | more
    return load_bundle({"a.cedar": rules}, TOOLS, list(ROLES), **given)  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize("name", [each.id for each in INVARIANTS.rules])
def test_each_invariant_of_the_refund_desk_holds(name: str) -> None:
    """For every call that there can be."""
    finding = next(each for each in as_it_is().findings if each.invariant.id == name)

    assert finding.status == "holds"
    assert finding.places >= 1
    assert finding.counterexample is None


def without_rule(name: str) -> tuple[str, str]:
    """One rule cut out."""
    at = RULES[FILE].index(f'@id("{name}")')
    return RULES[FILE][at : RULES[FILE].index(";", at) + 1], ""


CHANGES = {
    "large-orders-need-a-lead": ('decimal("500.00")', 'decimal("600.00")'),
    "very-large-refunds-need-two-of-finance": ('@count("2")', '@count("1")'),
    "never-more-than-paid": without_rule("refund-within-order"),
    "never-unpaid": (
        "context.facts.order.is_paid &&",
        "(context.facts.order.is_paid || context.totals.order.count > 7) &&",
    ),
    "only-own-money": (
        "context.facts.order.customer_id == context.facts.customer.customer_id",
        'context.facts.order.customer_id != ""',
    ),
    "taking-back-needs-a-lead": without_rule("cancel-needs-a-person"),
    "nothing-sent-unread": without_rule("send-needs-a-person"),
    "strangers-need-privacy": ('@approvers("privacy")', '@approvers("privacy, support-lead")'),
    "own-record-only": without_rule("own-customer-only"),
}
"""By invariant: a change, most of them small, after which it does not hold."""


@pytest.mark.parametrize("name", sorted(CHANGES))
def test_a_change_that_breaks_an_invariant_is_shown_by_a_call(name: str) -> None:
    """What is shown was decided by the real gates, and is all that one needs to see it."""
    bundle = changed(*CHANGES[name])
    proof = prove(bundle, INVARIANTS)
    broken = {each.invariant.id: each for each in proof.findings if each.status == "refuted"}

    assert name in broken
    assert not proof.is_proven
    witness = broken[name].counterexample
    assert witness is not None
    invariant = broken[name].invariant
    said = bundle.decide(witness.confirmed.request)
    assert said.verdict is not Verdict.DENY
    assert said == witness.confirmed.policy
    if said.verdict is Verdict.REQUIRE_APPROVAL and invariant.approvers:
        assert not any(
            set(need.roles) <= set(invariant.approvers) and need.count >= invariant.count
            for need in said.needs
        )
    before = load_rules(DESK, RULES).decide(witness.confirmed.request)
    assert before.verdict is Verdict.DENY or before.needs != said.needs


def test_what_autonomy_keeps_is_proven_with_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """No rule of the desk speaks of shadow or of proposing: the gate does, and the proof asks that very gate."""
    from answerable.gates import autonomy

    real = autonomy.check
    monkeypatch.setattr(
        autonomy,
        "check",
        lambda spec, level, *, discharged: real(
            spec, "full" if level == "propose" else level, discharged=discharged
        ),
    )
    proof = prove(load_rules(DESK, RULES), INVARIANTS)
    broken = [each.invariant.id for each in proof.findings if each.status == "refuted"]

    assert broken == ["proposals-need-the-operator"]


def test_a_counterexample_is_plain() -> None:
    """The smallest amount over the cap, nothing paid before, and no text but by its name."""
    proof = prove(changed(*CHANGES["large-orders-need-a-lead"]), INVARIANTS)
    witness = next(each.counterexample for each in proof.findings if each.counterexample)
    described = witness.described()

    assert described["context"]["args"] == {"customer_email": "customer_email-1", "amount_usd": "500.01"}
    assert described["context"]["totals"]["order"] == {"amount": "500.01", "count": 0}
    assert described["context"]["run"] == {"autonomy": "capped", "on_behalf_of": "customer_email-1"}
    assert "tenant" not in described
    assert 'args.amount_usd = "500.01"' in parts_in_words(witness)
    assert described["answer"]["verdict"] == str(witness.confirmed.decision.verdict)


def test_the_proof_says_what_it_rests_on() -> None:
    """Assumptions, trusted base, digests, times; and something that may be sent."""
    proof = as_it_is()
    described = proof.described()

    assert described["is_proven"] is True
    assert described["digest"] == load_rules(DESK, RULES).digest
    assert described["invariants_digest"] == INVARIANTS.digest
    said = " ".join(described["assumptions"])
    assert "`args.amount_usd` is > 0, ≤ 20,000, a multiple of 0.01" in said
    assert "`totals.order.amount` is what was counted before, at least 0, and `args.amount_usd`" in said
    assert any("z3 " in each for each in described["trusted"])
    assert any("400 random requests" in each for each in described["trusted"])
    assert described["sanity"]["answer"]["is_sent_with_nobody_asked"] is True
    assert described["duration_ms"] > 0


def test_nothing_that_can_be_sent_is_no_proof() -> None:
    """Where every claim would hold, none is made."""
    invariants = load(
        '@id("i") @text("i") forbid (principal, action, resource) when { context.run.autonomy == "full" };'
    )
    with pytest.raises(PolicyError, match="nothing can be shown to be sent"):
        prove(bundle_of_texts([rule(1, "when { false }", effect="permit")]), invariants)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("permit (principal, action, resource);", "an invariant is a `forbid`"),
        (
            'forbid (principal, action == Action::"pay", resource) when { context.args.amoun == "x" };',
            "does not exist",
        ),
        (
            'forbid (principal, action == Action::"pay", resource) when { context.args.currency == "GBP" };',
            "is never",
        ),
        (
            'forbid (principal, action == Action::"pay", resource) when { context.args.n > 5 && context.args.n < 3 };',
            "could not be shown to fire",
        ),
        (
            'forbid (principal, action == Action::"pay", resource) when { context.args.lines != context.facts.order.lines };',
            "cannot be proven",
        ),
    ],
)
def test_an_invariant_is_read_as_strictly_as_a_rule(text: str, said: str) -> None:
    """One that is misspelt, empty of meaning, or beyond the proof is refused, with its place."""
    with pytest.raises(PolicyError, match=said) as caught:
        prove(load(OPEN), load(f'@id("inv") @text("inv") {text}'))
    assert "a.cedar:1: rule `inv`" in str(caught.value)


def test_invariants_over_other_tools_are_refused() -> None:
    """They would speak of something else."""
    with pytest.raises(PolicyError, match="loaded over other tools"):
        prove(load(OPEN), INVARIANTS)


def test_an_invariant_of_a_group_without_a_tool_says_so() -> None:
    """It holds, and of nothing."""
    tools = [each for each in TOOLS if each.name in ("look", "pay")]
    given = {"roles": ROLES, "sessions": SESSIONS}
    sources = '@id("inv") @text("inv") forbid (principal, action in Action::"irreversible", resource);'
    bundle = load_bundle({"a": OPEN}, tools, list(ROLES), **given)  # pyright: ignore[reportArgumentType]
    invariants = load_bundle({"a": sources}, tools, list(ROLES), **given)  # pyright: ignore[reportArgumentType]
    (finding,) = prove(bundle, invariants).findings

    assert (finding.status, finding.places) == ("holds", 0)
    assert finding.why == "none of the tools is one it speaks of"


CUBES = " + ".join(
    f"{each} * {each} * {each}"
    for each in ("context.args.n", "context.run.calls_before", "context.totals.paid.count")
)


def hard() -> tuple[Bundle, Bundle]:
    """An invariant that would be broken only by a sum of three cubes."""
    # Put together without the canary, which would not find one either.
    bundle = bundle_of_texts(
        [OPEN, rule(1, f"when {{ {CUBES} == 114 }}", head='principal, action == Action::"pay", resource')]
    )
    invariants = load(
        '@id("i") @text("i") forbid (principal, action == Action::"pay", resource) when { context.args.urgent };'
    )
    invariants.rules = tuple(
        each
        for each in bundle_of_texts(
            [rule(2, f"when {{ {CUBES} == 42 }}", head='principal, action == Action::"pay", resource')]
        ).rules
    )
    return bundle, invariants


def test_what_z3_does_not_settle_is_not_proven() -> None:
    """Open is not kept."""
    proof = prove(*hard(), timeout_s=0.05)
    (finding,) = proof.findings

    assert finding.status == "not proven"
    assert "z3 gave up" in finding.why
    assert not proof.is_proven


def test_a_counterexample_that_the_gates_do_not_confirm_stops_everything(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Whether they answer otherwise, or find that the invariant is not met."""
    bundle = changed(*CHANGES["own-record-only"])
    with monkeypatch.context() as patch:
        patch.setattr(claims, "is_breach", lambda *_: False)
        with pytest.raises(EncodingWrong, match="the real gates keep `own-record-only`"):
            prove(bundle, INVARIANTS)
    monkeypatch.setattr(confirm, "value_of", lambda *_: False)
    with pytest.raises(EncodingWrong):
        prove(bundle, INVARIANTS)


def test_fifty_rules_are_proven_in_seconds() -> None:
    """On every place of three agents and four tools; measured, and printed."""
    kinds = (
        'context.args.amount.greaterThan(decimal("{n}.00")) && context.args.order_id == "order-{n}"',
        'context.args.tags.contains("tag-{n}") && !context.labels.order_id.trusted',
        'context.args has note && context.args.note == "note-{n}"',
        'context.facts.order.status == "open" && context.args.n + {n} > 700',
        'context.run.classes_read.containsAny(["c{n}", "personal"]) && context.args.currency == "EUR"',
        'context.totals.paid.amount.greaterThan(decimal("2{n:03}.00"))',
        'context.now.toTime() < duration("{n}m") && context.args.urgent',
        'context.args.to.city like "*{n}.example" && !(context.args.order_id like "vip-*")',
    )
    texts = [
        rule(
            n,
            f"when {{ {kinds[n % 8].format(n=n)} }}",
            notes='@decision("require_approval") @approvers("lead")' if n % 2 else "",
            head='principal, action == Action::"pay", resource',
        )
        for n in range(1, 50)
    ]
    bundle = load("\n".join([OPEN, *texts]))
    invariants = load(
        '@id("total") @text("t") @decision("require_approval") @approvers("lead")'
        ' forbid (principal, action == Action::"pay", resource)'
        ' when { context.totals.paid.amount.greaterThan(decimal("2100.00")) };'
        '@id("shadow") @text("t") forbid (principal, action in Action::"write", resource)'
        ' when { context.run.autonomy == "shadow" };'
        '@id("urgent") @text("t") forbid (principal, action == Action::"pay", resource) when { context.args.urgent };'
    )
    began = perf_counter()
    proof = prove(bundle, invariants)
    took = perf_counter() - began
    print(
        f"\n50 rules, 12 places: {took:.1f} s; {[(each.invariant.id, each.status, round(each.duration_ms)) for each in proof.findings]}"
    )

    assert [each.status for each in proof.findings] == ["holds", "holds", "refuted"]
    assert took < 60


def test_words_for_every_answer() -> None:
    """Denied, asked, sent, and performed by nobody."""
    finding = _first(prove(changed(*CHANGES["strangers-need-privacy"]), INVARIANTS).findings)
    assert finding.counterexample is not None
    said = answer_in_words(finding.counterexample.confirmed)

    assert said == "sent once support-lead and privacy or support-lead said yes"


def _first(findings: tuple[Finding, ...]) -> Finding:
    return next(each for each in findings if each.status == "refuted")
