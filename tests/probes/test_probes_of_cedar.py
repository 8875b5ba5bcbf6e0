"""The traps of Cedar itself, each shown twice: as it is without our gate, where the answer is allow, and shut by it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import cedarpy
import pytest
from tests.probes.probe_till import (
    OPEN,
    change_plan,
    forbid,
    pay_cents,
    query,
    refund,
    refused_when_read,
    slipped,
    through,
)

if TYPE_CHECKING:
    from pathlib import Path

PLAIN_SCHEMA = """
entity Agent { suspended?: Bool };
entity Tool;
action refund appliesTo { principal: Agent, resource: Tool, context: { amount?: decimal } };
"""
GUARDED = """
@id("all") permit (principal, action, resource);
@id("cap") forbid (principal, action, resource)
when { context has amount && context.amount.greaterThan(decimal("500.00")) };
@id("careless") forbid (principal, action, resource) when { context.amount.greaterThan(decimal("500.00")) };
@id("suspended") forbid (principal, action, resource) when { principal has suspended && principal.suspended };
"""


def bare_cedar(
    context: dict[str, Any],
    attributes: dict[str, Any] | None = None,
    *,
    only: str,
    schema: cedarpy.Schema | None = None,
    entities_schema: cedarpy.Schema | None = None,
) -> tuple[str, int]:
    """What Cedar says without our gate, with how many diagnostics; `only` this forbid stands beside the permit."""
    rules = [f"{rule};" for rule in GUARDED.split(";\n") if '"all"' in rule or f'"{only}"' in rule]
    agent = {"type": "Agent", "id": "clerk"}
    entities = json.dumps([{"uid": agent, "attrs": attributes or {}, "parents": []}])
    request = {
        "principal": agent,
        "action": {"type": "Action", "id": "refund"},
        "resource": {"type": "Tool", "id": "refund"},
        "context": json.dumps(context),
    }
    policies = cedarpy.PolicySet.from_str("\n".join(rules))
    result: Any = cedarpy.is_authorized(
        request, policies, cedarpy.Entities.from_json_str(entities, entities_schema), schema
    )
    return result.decision.value, len(result.diagnostics.errors)


async def test_p14_trap_one_a_missing_attribute_makes_a_forbid_err_and_the_answer_is_allow(
    tmp_path: Path,
) -> None:
    """Bare Cedar: the forbid errs, is skipped, and the call is allowed. Here: such a rule, and such a call, is refused."""
    assert bare_cedar({}, only="careless") == ("Allow", 1)
    assert bare_cedar({"amount": "9999.00"}, only="careless") == ("Allow", 1)
    assert bare_cedar({"amount": 9999}, only="careless") == ("Allow", 1)

    # The rule: what may be absent has to be asked for first.
    assert "ask first" in refused_when_read(
        OPEN + forbid("careless", "change_plan", 'when { context.args.note like "*x*" }')
    )
    # The call: what is required and missing, or of another type, is refused before any rule is asked.
    came = await through(
        tmp_path,
        "model",
        {
            "missing": (refund, '{"order_id": "o"}'),
            "null": (refund, '{"order_id": "o", "amount": null}'),
            "text": (refund, '{"order_id": "o", "amount": "9,999.00"}'),
            "the right type": (refund, '{"order_id": "o", "amount": "9999.00"}'),
        },
    )
    assert slipped(came) == {}
    assert came["the right type"].rules == ("cap",)


async def test_p14_an_overflow_in_a_rule_is_a_denial(tmp_path: Path) -> None:
    """Bare Cedar skips a forbid whose arithmetic overflows. Here an error of any rule denies, with its name."""
    rules = OPEN + forbid("fee", "pay_cents", "when { context.args.cents * 1000 > 50000000 }")
    came = await through(
        tmp_path,
        "model",
        {
            "overflows": (pay_cents, '{"order_id": "o", "cents": 9223372036854775807}'),
            "too much": (pay_cents, '{"order_id": "o", "cents": 50001}'),
            "fits": (pay_cents, '{"order_id": "o", "cents": 5}'),
        },
        policy=rules,
    )

    assert len(came.pop("fits").sent) == 1
    assert slipped(came) == {}
    assert "could not be evaluated" in came["overflows"].reason
    assert "`fee`" in came["overflows"].reason


async def test_p14_trap_two_a_misspelt_optional_attribute_allows_without_a_word(tmp_path: Path) -> None:
    """Bare Cedar: `amonut` in the context satisfies no `has amount`, and says nothing. Here neither side can be misspelt."""
    large = {"__extn": {"fn": "decimal", "arg": "9999.00"}}
    assert bare_cedar({"amonut": large}, only="cap") == ("Allow", 0)
    assert bare_cedar({"Amount": large}, only="cap") == ("Allow", 0)
    assert bare_cedar({"amount": large}, only="cap") == ("Deny", 0)

    # On the side of the rule it does not load; Cedar's own strict validator would let `has` ask for anything.
    assert "did you mean `note`?" in refused_when_read(
        OPEN + forbid("cap", "change_plan", 'when { context.args has noet && context.args.noet == "x" }')
    )
    assert "does not exist" in refused_when_read(
        OPEN + forbid("cap", "change_plan", "unless { context.args has nte }")
    )
    # On the side of the call it is refused by name.
    noted = OPEN + forbid("noted", "change_plan", "when { context.args has note }")
    came = await through(
        tmp_path,
        "model",
        {
            "misspelt": (change_plan, '{"plan": "paid", "noet": "x"}'),
            "another case": (change_plan, '{"plan": "paid", "Note": "x"}'),
            "given": (change_plan, '{"plan": "paid", "note": "x"}'),
            "left out": (change_plan, '{"plan": "paid"}'),
        },
        policy=noted,
    )
    assert len(came.pop("left out").sent) == 1
    assert slipped(came) == {}
    assert came["given"].rules == ("noted",)


def test_p14_trap_three_entities_read_without_the_schema_allow_without_a_word() -> None:
    """Bare Cedar: an agent marked `suspendde` is not suspended, even where the request is checked against the schema."""
    schema = cedarpy.Schema.from_str(PLAIN_SCHEMA)
    assert bare_cedar({}, {"suspendde": True}, only="suspended") == ("Allow", 0)
    assert bare_cedar({}, {"suspendde": True}, only="suspended", schema=schema) == ("Allow", 0)
    assert bare_cedar({}, {"suspended": "yes"}, only="suspended", schema=schema) == ("Allow", 1)
    assert bare_cedar({}, {"suspended": True}, only="suspended", schema=schema) == ("Deny", 0)
    with pytest.raises(ValueError, match="entity"):
        bare_cedar({}, {"suspendde": True}, only="suspended", entities_schema=schema)

    # Here nobody writes entities: they are made from the agent and the tool, under the schema, and rules can ask only
    # for what these have.
    assert "`principal.suspended` does not exist" in refused_when_read(
        OPEN + forbid("suspended", "refund", "when { principal has suspended && principal.suspended }")
    )
    assert "`resource.effectclass` does not exist" in refused_when_read(
        OPEN
        + forbid("writes", "refund", 'when { resource has effectclass && resource.effectclass == "write" }')
    )


async def test_p14_a_rule_on_the_tool_holds_through_the_gate(tmp_path: Path) -> None:
    """The attributes that rules do have are there: a forbid on them fires."""
    rules = OPEN + (
        '@id("no-irreversible") @text("N.")\nforbid (principal, action, resource)'
        ' when { resource.effect_class == "irreversible" };\n'
    )
    came = await through(
        tmp_path,
        "model",
        {
            "a write": (query, '{"action": "read", "table": "x"}'),
            "a letter": ("send_mail", '{"to": ["ana@corp.example"], "body": "x"}'),
        },
        policy=rules,
    )

    assert len(came["a write"].sent) == 1
    assert (came["a letter"].is_refused, came["a letter"].rules) == (True, ("no-irreversible",))
