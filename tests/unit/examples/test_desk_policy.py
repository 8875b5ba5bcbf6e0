"""The rules of the desk, one by one: what they allow, what they deny, and whom they ask."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from answerable.gates.policy import Bundle, load_bundle
from answerable.gates.request import PolicyRequest, TotalValue
from answerable.gates.schema import accept
from answerable.kernel.decision import Decision, Verdict
from refund_desk.desk import desk
from refund_desk.shop import Customer, Order

if TYPE_CHECKING:
    from collections.abc import Mapping

ANA = Customer(customer_id="C-01", name="Ana", email="ana@example.com", language="en", standing="good")
ORDER = Order.model_validate(
    {
        "order_id": "O-1",
        "customer_id": "C-01",
        "status": "delivered",
        "is_paid": True,
        "paid_with": "card",
        "currency": "USD",
        "total": Decimal("20000.00"),
        "refunded": Decimal("0.00"),
        "placed": "2026-08-03",
        "items": [],
        "note": "",
    }
)
BUNDLES: list[Bundle] = []


def bundle() -> Bundle:
    """The desk's rules, loaded once."""
    if not BUNDLES:
        assert isinstance(desk.policy, Path)
        texts = {path.name: path.read_text("utf-8") for path in desk.policy.glob("*.cedar")}
        BUNDLES.append(load_bundle(texts, [tool.spec for tool in desk.all_tools().values()], [desk.name]))
    return BUNDLES[0]


def decide(
    tool: str,
    arguments: Mapping[str, object],
    *,
    facts: Mapping[str, object] | None = None,
    totals: Mapping[str, TotalValue] | None = None,
    agent: str = "refund-desk",
    on_behalf_of: str = "ana@example.com",
) -> Decision:
    """What policy says of one call."""
    spec = desk.all_tools()[tool].spec
    return bundle().decide(
        PolicyRequest(
            agent=agent,
            tenant="default",
            on_behalf_of=on_behalf_of,
            tool=spec,
            arguments=accept(spec, arguments),
            facts=facts or {},
            totals=totals or {},
            now_us=1_790_000_000_000_000,
        )
    )


def refund(
    amount: str = "100.00",
    *,
    order: Mapping[str, Any] | None = None,
    customer: Mapping[str, Any] | None = None,
    email: str = "ana@example.com",
    before: str = "0",
    before_today: str | None = None,
    desk_today: str | None = None,
    count: int | None = None,
) -> Decision:
    """What policy says of a refund, after others on the order (`before`) and to the customer."""

    def total(earlier: str) -> TotalValue:
        amount_before = Decimal(earlier)
        made = int(amount_before > 0) if count is None else count
        return TotalValue(amount=amount_before + Decimal(amount), count=made)

    today = before if before_today is None else before_today
    return decide(
        "create_refund",
        {
            "ticket_id": "T-1",
            "order_id": "O-0001",
            "customer_email": email,
            "amount_usd": amount,
            "reason": "broken",
        },
        facts={
            "order": ORDER.model_copy(update=dict(order or {})),
            "customer": ANA.model_copy(update=dict(customer or {})),
        },
        totals={
            "order": total(before),
            "customer_day": total(today),
            "desk_day": total(today if desk_today is None else desk_today),
        },
    )


def test_an_ordinary_refund_needs_nobody() -> None:
    """Exactly at the cap is not over it."""
    assert refund("500.00").verdict is Verdict.ALLOW


@pytest.mark.parametrize(
    ("case", "rules"),
    [
        ({"amount": "500.01"}, ("refund-cap", "refund-customer-day")),
        ({"amount": "400.00", "before": "400.00"}, ("refund-again", "refund-cap", "refund-customer-day")),
        ({"amount": "1.00", "before": "500.00"}, ("refund-again", "refund-cap", "refund-customer-day")),
        ({"amount": "300.00", "before_today": "300.00"}, ("refund-customer-day",)),
        ({"amount": "10.00", "before_today": "0", "desk_today": "4990.01"}, ("refund-desk-day",)),
        ({"amount": "10.00", "before": "10.00"}, ("refund-again",)),
        ({"amount": "10.00", "order": {"refunded": Decimal("5.00")}}, ("refund-again",)),
        ({"amount": "10.00", "customer": {"standing": "watched"}}, ("refund-watched-customer",)),
        (
            {"amount": "5000.01"},
            ("refund-cap", "refund-customer-day", "refund-desk-day", "refund-large"),
        ),
    ],
)
def test_a_person_is_asked(case: dict[str, Any], rules: tuple[str, ...]) -> None:
    """Splitting an amount, over one order or several, asks the same people as asking for all of it."""
    decision = refund(**case)

    assert decision.verdict is Verdict.REQUIRE_APPROVAL
    assert decision.rules == rules
    assert {need.rule for need in decision.needs} == set(rules)


def test_large_refunds_need_two_people_from_finance() -> None:
    """And the support lead, for the smaller cap."""
    needs = {need.rule: (need.roles, need.count) for need in refund("6000.00").needs}

    assert needs["refund-large"] == (("finance",), 2)
    assert needs["refund-cap"] == (("support-lead",), 1)


@pytest.mark.parametrize(
    ("case", "rule"),
    [
        ({"order": {"customer_id": "C-02"}}, "refund-own-order"),
        ({"customer": {"customer_id": "C-02"}}, "refund-own-order"),
        ({"email": "eve@example.com", "customer": {"email": "eve@example.com"}}, "refund-own-order"),
        ({"customer": {"email": "eve@example.com"}}, "refund-own-order"),
        ({"order": {"is_paid": False}}, "refund-paid-and-closed"),
        ({"order": {"status": "processing"}}, "refund-paid-and-closed"),
        ({"order": {"status": "shipped"}}, "refund-paid-and-closed"),
        ({"order": {"currency": "EUR"}}, "refund-dollars-only"),
        ({"order": {"total": Decimal("99.99")}}, "refund-within-order"),
        ({"order": {"total": Decimal("150.00")}, "before": "50.01"}, "refund-within-order"),
    ],
)
def test_nobody_is_asked_about_what_must_not_be(case: dict[str, Any], rule: str) -> None:
    """A denial names its one rule."""
    decision = refund(**case)

    assert decision.verdict is Verdict.DENY
    assert decision.rules == (rule,)


def test_no_approval_lifts_a_denial() -> None:
    """A refund that is both too much and for somebody else is denied, not put before a person."""
    assert refund("6000.00", order={"customer_id": "C-02"}).verdict is Verdict.DENY


def test_a_cancelled_order_can_be_refunded() -> None:
    """It was paid and never left."""
    assert refund(order={"status": "cancelled"}).verdict is Verdict.ALLOW


def test_only_the_customer_on_the_ticket_is_looked_up() -> None:
    """With nobody on the ticket, nobody is looked up."""
    own = decide("get_customer", {"customer_email": "ana@example.com"})
    other = decide("get_customer", {"customer_email": "eve@example.com"})
    nobody = decide("get_customer", {"customer_email": "ana@example.com"}, on_behalf_of="")

    assert [each.verdict for each in (own, other, nobody)] == [Verdict.ALLOW, Verdict.DENY, Verdict.DENY]
    assert other.rules == ("own-customer-only",)


def test_drafts_are_free_and_messages_need_a_person() -> None:
    """And one more person where the address is a new one."""
    letter = {"ticket_id": "T-1", "subject": "s", "body": "b"}

    drafted = decide("draft_reply", letter | {"order_id": None, "language": "en"})
    sent = decide("send_reply", letter | {"to": "ana@example.com"})
    strayed = decide("send_reply", letter | {"to": "eve@example.net"})

    assert drafted.verdict is Verdict.ALLOW
    assert (sent.verdict, sent.rules) == (Verdict.REQUIRE_APPROVAL, ("send-needs-a-person",))
    assert strayed.verdict is Verdict.REQUIRE_APPROVAL
    assert {need.roles for need in strayed.needs} == {("support-lead",), ("privacy",)}


def test_taking_a_refund_back_needs_a_person() -> None:
    """An undo passes the same gates."""
    decision = decide("cancel_refund", {"refund_id": "R-0001", "reason": "mistake"})

    assert decision.verdict is Verdict.REQUIRE_APPROVAL


def test_another_agent_may_do_nothing() -> None:
    """The permits name this desk."""
    assert decide("get_order", {"order_id": "O-1001"}, agent="refund-desk-2").verdict is Verdict.DENY


def test_every_rule_has_an_owner_and_a_sentence() -> None:
    """People who are refused are told in words, and by whom."""
    for rule in bundle().rules:
        assert rule.owner
        assert rule.text.endswith(".")
