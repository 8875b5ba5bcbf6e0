"""Two bundles that cannot be asked together are asked apart, and say what each says alone."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from answerable.gates.policy.pair import Pair
from answerable.kernel.decision import Verdict
from answerable.kernel.tool import Total

if TYPE_CHECKING:
    from conftest import Desk

PERMIT = '@id("p") @text("All.") permit (principal, action, resource);\n'
ERRS = (
    PERMIT + '@id("errs") @text("Odd.") forbid (principal, action == Action::"create_refund", resource) '
    'when { if principal.tenant == "odd" then 9223372036854775807 + 1 > 0 else principal.tenant == "closed" };'
)


def test_a_tool_that_the_two_see_differently(desk: Desk) -> None:
    seen = replace(desk.create_refund, totals=(Total(name="other", of="amount_usd"),))
    tools = (desk.get_order, desk.find_customer, seen, desk.send_reply)
    current, candidate = desk.load(), desk.load(tools=tools, only=PERMIT)
    request = desk.refund()
    both = Pair(current, candidate).decide(request)
    assert (both.current, both.candidate) == (current.decide(request), candidate.decide(request))


def test_a_rule_that_errs_without_looking_at_the_context(desk: Desk) -> None:
    current, candidate = desk.load(only=PERMIT), desk.load(only=ERRS)
    pair = Pair(current, candidate)
    for tenant, verdict in (("acme", Verdict.ALLOW), ("odd", Verdict.DENY), ("closed", Verdict.DENY)):
        both = pair.decide(desk.refund(tenant=tenant))
        assert (both.current.verdict, both.candidate.verdict) == (Verdict.ALLOW, verdict)
        assert both.candidate == candidate.decide(desk.refund(tenant=tenant))
