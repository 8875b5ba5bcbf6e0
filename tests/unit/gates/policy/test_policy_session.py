"""Session facts, history and budgets, as rules read them."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from answerable.errors import PolicyError
from answerable.gates.request import Established
from answerable.kernel.decision import Verdict
from answerable.kernel.state import Tally
from answerable.kernel.tool import Impact, SessionSpec

if TYPE_CHECKING:
    from conftest import Desk

PERMIT = '@id("p") @text("All.") permit (principal, action, resource);\n'
CUSTOMER = SessionSpec(name="customer", tools=("get_order",), value="id")


def rule(condition: str, action: str = 'action == Action::"create_refund"') -> str:
    """Everything is permitted but where the condition does not hold."""
    return f'{PERMIT}@id("own") @text("Only then.") forbid (principal, {action}, resource) unless {{ {condition} }};'


def test_a_session_fact_is_asked_for_and_then_read(desk: Desk) -> None:
    condition = 'context.session has customer && context.session.customer.value == "A-1"'
    bundle = desk.load(only=rule(condition), sessions=[CUSTOMER])
    request = desk.refund()
    known = replace(request, session={"customer": Established(by="get_order", value="A-1")})
    other = replace(request, session={"customer": Established(by="get_order", value="A-2")})
    assert [bundle.decide(each).verdict for each in (request, known, other)] == [
        Verdict.DENY,
        Verdict.ALLOW,
        Verdict.DENY,
    ]
    unknown = replace(request, session={"shop": Established(by="get_order", value="A-1")})
    assert "not a session fact" in bundle.decide(unknown).reason
    wrong = replace(request, session={"customer": Established(by="who_knows", value="A-1")})
    assert bundle.decide(wrong).verdict is Verdict.DENY
    assert "session.customer.by" in bundle.decide(wrong).reason


@pytest.mark.parametrize(
    ("condition", "message"),
    [
        ('context.session.customer.value == "A-1"', "optional attribute"),
        ('context.session has custmer && context.session.custmer.value == "A"', "custmer"),
        ('context.session has customer && context.session.customer.by == "get_ordr"', "get_ordr"),
    ],
)
def test_a_session_fact_is_never_misspelt_or_taken_for_granted(
    desk: Desk, condition: str, message: str
) -> None:
    with pytest.raises(PolicyError, match=message):
        desk.load(only=rule(condition), sessions=[CUSTOMER])


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        (replace(CUSTOMER, tools=("get_odrer",)), "which is no tool here"),
        (replace(CUSTOMER, value="idd"), "which no rule can read"),
        (replace(CUSTOMER, value="id.more"), "which no rule can read"),
        (replace(CUSTOMER, tools=("get_order", "send_reply"), value=""), "do not agree on its type"),
    ],
)
def test_a_session_fact_that_cannot_be_established_is_refused(
    desk: Desk, spec: SessionSpec, message: str
) -> None:
    with pytest.raises(PolicyError, match=message):
        desk.load(only=PERMIT, sessions=[spec])


def test_history_counts_and_orders_calls(desk: Desk) -> None:
    condition = (
        "context.history.get_order.done == 1 && "
        "context.history.get_order.last > context.history.find_customer.last"
    )
    bundle = desk.load(only=rule(condition))
    request = desk.refund()
    once = replace(request, history={"get_order": Tally(decided=1, done=1, last=1)})
    before = {**once.history, "find_customer": Tally(decided=1, done=1, last=2)}
    assert bundle.decide(request).verdict is Verdict.DENY
    assert bundle.decide(once).verdict is Verdict.ALLOW
    assert bundle.decide(replace(request, history=before)).verdict is Verdict.DENY
    assert "not a tool" in bundle.decide(replace(request, history={"x": Tally()})).reason


def test_a_budget_is_never_shown_larger_than_it_is(desk: Desk) -> None:
    condition = 'context.budget has money && context.budget.money.greaterThanOrEqual(decimal("0.0002"))'
    bundle = desk.load(only=rule(condition))
    for left, expected in ((200, Verdict.ALLOW), (199, Verdict.DENY), (299, Verdict.ALLOW)):
        assert bundle.decide(desk.refund(budget_left={"money": left})).verdict is expected
    assert bundle.decide(desk.refund()).verdict is Verdict.DENY


def test_what_tells_somebody_outside_is_a_group_of_its_own(desk: Desk) -> None:
    send = replace(desk.send_reply, impact=Impact(recipients="to"))
    tools = (desk.get_order, desk.find_customer, desk.create_refund, send)
    text = f'{PERMIT}@id("out") @text("Nothing leaves.") forbid (principal, action in Action::"outward", resource);'
    bundle = desk.load(only=text, tools=tools)
    assert next(each.actions for each in bundle.rules if each.id == "out") == ("send_reply",)
    assert bundle.decide(desk.refund()).verdict is Verdict.ALLOW
    assert desk.load(only=text).idle == ("out",), "where no tool is outward the rule waits for the first"
    request = replace(desk.refund(), tool=replace(desk.create_refund, impact=Impact(recipients="reason")))
    assert "not the one" in bundle.decide(request).reason
