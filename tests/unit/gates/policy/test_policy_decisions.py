"""What a bundle answers: allow, ask a person, or deny; and deny whenever it cannot tell."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest

from answerable.gates.policy import cedar, slices
from answerable.gates.request import Label, TotalValue
from answerable.kernel.decision import ApproverNeed, ReasonCode, Verdict

if TYPE_CHECKING:
    from conftest import Desk

FINANCE = ApproverNeed(rule="refund-cap", roles=("finance", "lead"), count=2)
LEAD = ApproverNeed(rule="refund-day", roles=("lead",))
FOURTH = {"refunded": TotalValue(amount=Decimal("520.00"), count=3)}


def test_a_call_that_a_permit_covers_and_no_forbid_stops_is_allowed(desk: Desk) -> None:
    """The answer names the permit and the bundle it came from."""
    bundle = desk.load()

    decision = bundle.decide(desk.refund())

    assert (decision.verdict, decision.gate, decision.rules) == (Verdict.ALLOW, "policy", ("refunds",))
    assert decision.digest == bundle.digest


def test_a_call_that_no_permit_covers_is_denied(desk: Desk) -> None:
    """The intern holds no role: nothing says no, and nothing says yes."""
    decision = desk.load().decide(desk.refund(agent="intern"))

    assert decision.verdict is Verdict.DENY
    assert decision.code is ReasonCode.POLICY_DENIED
    assert decision.reason == "no rule permits `create_refund` here"
    assert decision.rules == ()


def test_an_approval_is_no_permit(desk: Desk) -> None:
    """A forbid that a person may lift lifts nothing where no permit stands behind it."""
    bundle = desk.load()

    assert bundle.decide(desk.refund("600.00", agent="intern")).verdict is Verdict.DENY
    assert (
        bundle.decide(desk.refund("600.00", agent="intern"), frozenset({"refund-cap"})).verdict
        is Verdict.DENY
    )


def test_a_forbid_that_asks_leads_to_its_approvers(desk: Desk) -> None:
    """The rule, its words and who has to say yes are all in the answer."""
    decision = desk.load().decide(desk.refund("600.00"))

    assert decision.verdict is Verdict.REQUIRE_APPROVAL
    assert decision.code is ReasonCode.APPROVAL_REQUIRED
    assert decision.rules == ("refund-cap",)
    assert decision.texts == {"refund-cap": "Refunds over 500 need a person"}
    assert decision.reason == "Refunds over 500 need a person"
    assert decision.needs == (FINANCE,)


def test_two_forbids_that_ask_need_both_answers(desk: Desk) -> None:
    """The needs are the union over the rules that fired."""
    decision = desk.load().decide(desk.refund("600.00", totals=FOURTH))

    assert decision.needs == (FINANCE, LEAD)


def test_a_forbid_that_denies_wins_over_one_that_asks(desk: Desk) -> None:
    """Nobody is asked for what is forbidden anyway; the answer names the rule that is final."""
    decision = desk.load().decide(desk.refund("1000.00"))

    assert decision.verdict is Verdict.DENY
    assert decision.rules == ("over-order",)
    assert decision.texts == {"over-order": "Never refund more than the order"}


def test_a_discharged_rule_no_longer_asks(desk: Desk) -> None:
    """After the approval the same call passes, on the permit alone."""
    decision = desk.load().decide(desk.refund("600.00"), frozenset({"refund-cap"}))

    assert (decision.verdict, decision.rules) == (Verdict.ALLOW, ("refunds",))


def test_a_rule_that_was_not_there_asks_anew(desk: Desk) -> None:
    """While the approval was awaited other refunds were made: only the named rule is discharged."""
    decision = desk.load().decide(desk.refund("600.00", totals=FOURTH), frozenset({"refund-cap"}))

    assert decision.needs == (LEAD,)


def test_a_rule_that_denies_cannot_be_discharged(desk: Desk) -> None:
    """A yes to one rule never covers another that says no."""
    decision = desk.load().decide(desk.refund("1000.00"), frozenset({"refund-cap", "over-order"}))

    assert (decision.verdict, decision.rules) == (Verdict.DENY, ("over-order",))


def test_a_discharge_that_is_not_needed_changes_nothing(desk: Desk) -> None:
    """Also where the decision would be remembered."""
    bundle = desk.load()

    assert bundle.decide(desk.read(), frozenset({"refund-cap"})) == bundle.decide(desk.read())


def test_an_argument_without_a_label_is_not_trusted(desk: Desk) -> None:
    """Forgetting to say where a value comes from must not make it trusted."""
    decision = desk.load().decide(desk.refund(labels={}))

    assert decision.rules == ("untrusted-order",)


def test_a_decision_that_rests_on_no_context_is_remembered(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Per agent and tenant: the second time Cedar is not asked."""
    bundle = desk.load()
    first = bundle.decide(desk.read())
    asked: list[object] = []
    really_ask = cedar.ask

    def ask(*question: Any) -> cedar.Answer:
        asked.append(question)
        return really_ask(*question)

    monkeypatch.setattr(cedar, "ask", ask)

    assert bundle.decide(desk.read()) is first
    assert asked == []
    assert bundle.decide(desk.read(tenant="other")) == first
    assert bundle.decide(desk.refund()).verdict is Verdict.ALLOW
    assert bundle.decide(desk.refund()).verdict is Verdict.ALLOW
    assert len(asked) == 3


def test_a_remembered_decision_is_kept_apart_by_tenant(desk: Desk) -> None:
    """A rule on the tenant reads no context; the memory must not hand one tenant's answer to another."""
    bundle = desk.load(
        '@id("not-there") @text("Not for this tenant") forbid (principal, action == Action::"get_order", resource)'
        ' when { principal.tenant == "closed" };'
    )

    verdicts = [
        bundle.decide(desk.read(tenant=tenant)).verdict for tenant in ("acme", "closed", "acme", "closed")
    ]

    assert verdicts == [Verdict.ALLOW, Verdict.DENY, Verdict.ALLOW, Verdict.DENY]


def test_caches_do_not_grow_without_end(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """Tenants come from outside; a full cache starts anew and answers the same."""
    monkeypatch.setattr(slices, "CACHED_MAX", 2)
    bundle = desk.load()

    verdicts = {bundle.decide(desk.read(tenant=f"tenant-{n}")).verdict for n in range(7)}

    assert verdicts == {Verdict.ALLOW}


def test_roles_sets_and_groups_decide_scopes(desk: Desk) -> None:
    """A rule may speak of a role, a tool set, or every change outside."""
    bundle = desk.load(
        only="""
        @id("any") @text("x") permit (principal, action, resource);
        @id("no-money") @text("x") forbid (principal == Agent::"intern", action, resource in ToolSet::"money");
        @id("no-change") @text("x") forbid (principal is Agent in Role::"support", action in Action::"write",
          resource is Tool) when { context.run.autonomy == "shadow" };
        """
    )

    assert bundle.decide(desk.refund(agent="intern")).rules == ("no-money",)
    assert bundle.decide(desk.reply(agent="intern")).verdict is Verdict.ALLOW
    assert bundle.decide(desk.reply(autonomy="shadow")).rules == ("no-change",)
    assert bundle.decide(desk.refund(autonomy="shadow")).rules == ("no-change",)
    assert bundle.decide(desk.refund(agent="intern", autonomy="shadow")).rules == ("no-money",)


def test_time_is_an_argument(desk: Desk) -> None:
    """The same bundle answers for any moment that it is told."""
    bundle = desk.load(
        '@id("night") @text("No refunds at night") forbid (principal, action == Action::"create_refund", resource)'
        ' when { context.now.toTime() < duration("6h") };'
    )
    before_six = int(datetime(2026, 6, 1, 5, 59, 59, tzinfo=UTC).timestamp()) * 1_000_000

    assert bundle.decide(desk.refund(now_us=before_six)).rules == ("night",)
    assert bundle.decide(desk.refund(now_us=before_six + 1_000_000)).verdict is Verdict.ALLOW


def test_a_tool_that_was_not_loaded_is_denied(desk: Desk) -> None:
    """P13, P16: another name for the same thing is another tool."""
    for name in ("Create_Refund", "create_refund ", "mcp.create_refund", ""):
        decision = desk.load().decide(desk.refund(tool=replace(desk.create_refund, name=name)))

        assert decision.verdict is Verdict.DENY
        assert decision.reason == f"no rules were loaded for a tool `{name}`"


def test_a_tool_that_changed_since_the_rules_were_checked_is_denied(desk: Desk) -> None:
    """Rules checked against one model say nothing about another."""
    changed = replace(desk.create_refund, data_class="pii")

    decision = desk.load().decide(desk.refund(tool=changed))

    assert decision.reason == "tool `create_refund` is not the one that the rules were checked against"
    same = replace(desk.create_refund, timeout_s=1.0)
    assert desk.load().decide(desk.refund(tool=same)).verdict is Verdict.ALLOW


def test_an_agent_that_was_not_loaded_is_denied(desk: Desk) -> None:
    """Even where a permit is open to everyone."""
    decision = desk.load().decide(desk.read(agent="stranger"))

    assert decision.reason == "no rules were loaded for an agent `stranger`"


def test_a_rule_that_cannot_be_evaluated_denies(desk: Desk) -> None:
    """Cedar would skip a forbid whose arithmetic overflows, and allow. The answer names the rule."""
    bundle = desk.load(
        '@id("sum") @text("x") forbid (principal, action == Action::"create_refund", resource)'
        " when { context.run.calls_before == 5 || context.run.calls_before + 9223372036854775807 < 0 };"
    )

    decision = bundle.decide(desk.refund(calls_before=1))

    assert decision.verdict is Verdict.DENY
    assert decision.reason.startswith("a rule could not be evaluated: ")
    assert "`sum`" in decision.reason


def test_no_decision_and_an_unforeseen_fault_are_denials(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever Cedar or a library does, the answer is a value and the value is no."""
    bundle = desk.load()

    def undecided(*_question: Any) -> cedar.Answer:
        return cedar.Answer("allow", ("refunds",), ("Cedar came to no decision",))

    def broken(*_question: Any) -> cedar.Answer:
        raise RuntimeError

    monkeypatch.setattr(cedar, "ask", undecided)
    assert bundle.decide(desk.refund()).verdict is Verdict.DENY
    monkeypatch.setattr(cedar, "ask", broken)
    decision = bundle.decide(desk.refund())
    assert decision.verdict is Verdict.DENY
    assert decision.reason == "the rules could not be asked: RuntimeError"


def test_cedar_without_a_decision_is_an_error() -> None:
    """A request that Cedar refuses comes back as "no decision", with no exception: it has to count as an error."""
    schema = cedar.Schema.from_str("entity Agent; action go appliesTo { principal: Agent, resource: Agent };")
    agent = {"type": "Agent", "id": "a"}
    request = {"principal": agent, "action": {"type": "Action", "id": "stop"}, "resource": agent}
    policies = cedar.PolicySet.from_str('@id("all") permit (principal, action, resource);')

    answer = cedar.ask(request, policies, cedar.read_entities("[]", schema), schema)

    assert answer.verdict == "deny"
    assert answer.errors


def test_a_label_for_an_argument_that_does_not_exist_is_denied(desk: Desk) -> None:
    """A misspelt name must not leave the right one at its default."""
    decision = desk.load().decide(desk.refund(labels={"order_ld": Label(origin="field")}))

    assert decision.verdict is Verdict.DENY
    assert "order_ld" in decision.reason
