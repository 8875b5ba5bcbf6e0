"""Fail-open traps that were found in Cedar and in other products, each shut, each with its story.

The P numbers are those of a catalogue of probes that made other governance layers pay out.
"""

from __future__ import annotations

import json
from dataclasses import replace
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest
from pydantic import ValidationError

from answerable.errors import PolicyError
from answerable.gates.policy import cedar
from answerable.gates.policy.slices import Asked, entities_text
from answerable.gates.request import TotalValue
from answerable.kernel.decision import Verdict

if TYPE_CHECKING:
    from conftest import Desk

REFUND = 'principal, action == Action::"create_refund", resource'

PLAIN = """
entity Agent { suspended?: Bool };
action pay appliesTo { principal: Agent, resource: Agent, context: { amount?: decimal } };
"""
GUARDED = cedar.PolicySet.from_str(
    """
    @id("all") permit (principal, action, resource);
    @id("cap") forbid (principal, action, resource)
    when { context has amount && context.amount.greaterThan(decimal("500.00")) };
    @id("suspended") forbid (principal, action, resource) when { principal has suspended && principal.suspended };
    """
)


def ask_cedar(
    context: dict[str, Any], attributes: dict[str, Any], schema: cedar.Schema | None
) -> tuple[str, int]:
    """What bare Cedar says, and with how many errors: without a schema where none is given."""
    import cedarpy

    agent = {"type": "Agent", "id": "a"}
    entities = json.dumps([{"uid": agent, "attrs": attributes, "parents": []}])
    request = {
        "principal": agent,
        "action": {"type": "Action", "id": "pay"},
        "resource": agent,
        "context": json.dumps(context),
    }
    result: Any = cedarpy.is_authorized(
        request, GUARDED, cedarpy.Entities.from_json_str(entities, schema), schema
    )  # pyright: ignore[reportUnknownMemberType]
    return result.decision.value, len(result.diagnostics.errors)


def test_cedar_without_a_schema_allows_with_no_diagnostics() -> None:
    """The traps as they are: a misspelt optional attribute in context or entity is an allow without an error."""
    assert ask_cedar({"amonut": {"__extn": {"fn": "decimal", "arg": "750.00"}}}, {}, None) == ("Allow", 0)
    assert ask_cedar({}, {"suspendde": True}, None) == ("Allow", 0)


def test_cedar_skips_a_rule_that_errs() -> None:
    """The worst of them: a wrong type makes the forbid fail, the forbid is skipped, and the answer is allow."""
    assert ask_cedar({"amount": "750.00"}, {}, None) == ("Allow", 1)


def test_with_the_schema_cedar_comes_to_no_decision() -> None:
    """A misspelt or wrong attribute is then an error of the request; there is no exception, so we must look."""
    schema = cedar.Schema.from_str(PLAIN)

    assert ask_cedar({"amonut": "750.00"}, {}, schema) == ("NoDecision", 1)
    assert ask_cedar({"amount": 750}, {}, schema) == ("NoDecision", 1)
    assert ask_cedar({"amount": "750.00001"}, {}, schema) == ("NoDecision", 1)
    assert ask_cedar({"amount": "750.00"}, {}, schema) == ("Deny", 0)


def test_entities_are_always_read_under_the_schema(desk: Desk) -> None:
    """An attribute that the schema does not know, or of the wrong type, never becomes an entity of ours."""
    bundle = desk.load()
    bundle.decide(desk.refund())
    where = next(each for each in bundle._places.slices.values() if each.tool.spec is desk.create_refund)  # pyright: ignore[reportPrivateUsage]
    text = entities_text(where.tool, Asked("desk", "acme", ("support",), ()))
    cedar.read_entities(text, where.schema)

    for wrong in ('"tenant":5', '"tennant":"acme"', '"tenant":"acme","more":1'):
        with pytest.raises(ValueError, match="entit"):
            cedar.read_entities(text.replace('"tenant":"acme"', wrong), where.schema)


def test_a_tenant_that_cannot_be_written_is_denied(desk: Desk) -> None:
    """The entities cannot be built, so there is no one to decide about."""
    assert desk.load().decide(desk.refund(tenant="\ud800")).verdict is Verdict.DENY


@pytest.mark.parametrize(
    "amount", ["60000", "9,999", "1e9", "９９９９", " 9999", 9999.0, float("nan"), True, None]
)
def test_an_amount_of_the_wrong_type_never_passes(desk: Desk, amount: object) -> None:
    """P2, P3, P19: the schema gate refuses it; and if it ever got past, the policy gate does too."""
    with pytest.raises(ValidationError):
        type(desk.refund().arguments).model_validate({"order_id": "A-1", "amount_usd": amount, "reason": "x"})
    smuggled = desk.refund().arguments.model_copy(update={"amount_usd": amount})

    decision = desk.load().decide(replace(desk.refund(), arguments=smuggled))

    assert decision.verdict is Verdict.DENY
    assert decision.reason.startswith("the call cannot be shown to the rules: args.amount_usd")


@pytest.mark.parametrize(
    "condition",
    [
        'when { context.args.amount_usd.greaterThan(decimal("500.00")) }',
        'when { (context.args.amount_usd.greaterThan(decimal("500.00"))) }',
        'when { !context.args.amount_usd.lessThanOrEqual(decimal("500.00")) }',
        'unless { context.args.amount_usd.lessThanOrEqual(decimal("500.00")) }',
        'when { decimal("500.00").lessThan(context["args"]["amount_usd"]) }',
    ],
)
def test_brackets_and_negation_mean_what_they_say(desk: Desk, condition: str) -> None:
    """P6, P7: the same cap in five spellings."""
    bundle = desk.load(
        only=f'@id("all") @text("x") permit (principal, action, resource);\n'
        f'@id("cap") @text("x") forbid ({REFUND}) {condition};'
    )

    verdicts = [
        bundle.decide(desk.refund(amount)).verdict for amount in ("0.01", "500.00", "500.0001", "20000.00")
    ]

    assert verdicts == [Verdict.ALLOW, Verdict.ALLOW, Verdict.DENY, Verdict.DENY]


def test_a_negative_bound_is_a_bound(desk: Desk) -> None:
    """P8: a literal below zero, and a value below zero that got past the schema."""
    bundle = desk.load(
        only='@id("all") @text("x") permit (principal, action, resource);\n'
        f'@id("low") @text("x") forbid ({REFUND}) when {{ context.args.amount_usd.lessThan(decimal("-1.00")) }};'
    )
    arguments = desk.refund().arguments

    verdicts = [
        bundle.decide(
            replace(desk.refund(), arguments=arguments.model_copy(update={"amount_usd": Decimal(each)}))
        ).verdict
        for each in ("-1.00", "-1.0001", "-5")
    ]

    assert verdicts == [Verdict.ALLOW, Verdict.DENY, Verdict.DENY]


def test_the_style_of_another_product_is_refused(desk: Desk) -> None:
    """P11: a rule on `action.type`, as other products document it, does not load as a rule that never fires."""
    with pytest.raises(PolicyError, match=r"`action\.type` does not exist"):
        desk.load(f'@id("mine") @text("x") forbid ({REFUND}) when {{ action.type == "refund" }};')


def test_nothing_is_allowed_by_default(desk: Desk) -> None:
    """P12: an empty policy does not load, and one without a fitting permit denies."""
    with pytest.raises(PolicyError, match="the policy has no rules"):
        desk.load(only="  \n// all commented out\n")
    bundle = desk.load(
        only='@id("r") @text("x") permit (principal, action == Action::"get_order", resource);'
    )

    assert bundle.decide(desk.refund()).verdict is Verdict.DENY
    assert bundle.decide(desk.reply("a@b.example")).verdict is Verdict.DENY


def test_a_missing_fact_is_a_denial(desk: Desk) -> None:
    """P14: without the order a rule on its total would err, and an erring forbid forbids nothing."""
    assert desk.load().decide(desk.refund(facts={})).verdict is Verdict.DENY


def test_an_alias_is_not_the_fields_name(desk: Desk) -> None:
    """P15: rules use the names of the code; what came in under another name was validated into those."""
    with pytest.raises(PolicyError, match=r"`context\.args\.Amount` does not exist"):
        desk.load(f'@id("mine") @text("x") forbid ({REFUND}) when {{ context.args has Amount }};')


def test_text_is_compared_as_it_is(desk: Desk) -> None:
    """P10, P17: case, look-alikes and invisible characters make another text, so only an allow-list is safe."""
    bundle = desk.load(
        only='@id("known") @text("x") permit (principal, action == Action::"send_reply", resource)\n'
        'when { ["kunde@corp.example"].containsAll(context.args.to) };'
    )

    assert bundle.decide(desk.reply("kunde@corp.example")).verdict is Verdict.ALLOW
    for other in (
        "Kunde@corp.example",
        "kundе@corp.example",
        "kunde@corp.example\u200b",
        "kunde@cörp.example",
    ):
        assert bundle.decide(desk.reply(other)).verdict is Verdict.DENY


def test_one_bad_recipient_among_many_is_enough(desk: Desk) -> None:
    """P18: a list is a set to a rule, and every member counts."""
    bundle = desk.load(
        only='@id("all") @text("x") permit (principal, action == Action::"send_reply", resource);\n'
        '@id("out") @text("x") forbid (principal, action == Action::"send_reply", resource)\n'
        'unless { ["a@x.example", "b@x.example"].containsAll(context.args.to) };'
    )

    assert bundle.decide(desk.reply("a@x.example", "b@x.example")).verdict is Verdict.ALLOW
    assert bundle.decide(desk.reply("a@x.example", "evil@y.example", "b@x.example")).verdict is Verdict.DENY


@pytest.mark.parametrize("amount", ["19.99999", "1E+400", "-Infinity"])
def test_an_amount_that_rules_cannot_hold_is_denied(desk: Desk, amount: str) -> None:
    """P19: not rounded to one that would pass."""
    arguments = desk.refund().arguments.model_copy(update={"amount_usd": Decimal(amount)})

    assert desk.load().decide(replace(desk.refund(), arguments=arguments)).verdict is Verdict.DENY


def test_splitting_an_amount_gains_nothing(desk: Desk) -> None:
    """A rule on the running total sees this call added to those before."""
    bundle = desk.load(
        f'@id("day") @text("x") @decision("require_approval") @approvers("lead") forbid ({REFUND})'
        ' when { context.totals.refunded.amount.greaterThan(decimal("500.00")) };'
    )

    decision = bundle.decide(
        desk.refund("20.00", totals={"refunded": TotalValue(amount=Decimal("510.00"), count=2)})
    )

    assert decision.rules == ("day",)


def test_arguments_of_another_tool_are_denied(desk: Desk) -> None:
    """A request put together wrongly is a denial, not a rule that finds nothing to look at."""
    mixed = replace(desk.refund(), arguments=desk.read().arguments)

    assert desk.load().decide(mixed).verdict is Verdict.DENY
