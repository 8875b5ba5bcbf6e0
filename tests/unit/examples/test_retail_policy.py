"""The rules of the retail policy, one by one, and the invariants that they have to imply."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest
from retail_desk import CALLS, CHANGES, HANDOVER, STRANGER, decide, invariants, request, rules, rules_named_in

from answerable.gates.request import PolicyRequest
from answerable.gates.schema import Refused, accept
from answerable.kernel.decision import Verdict
from retail_policy.agent import HERE, desk

GIFT = {"kind": "gift_card", "balance": Decimal("9.99")}
DEAR = {"kind": "gift_card", "balance": Decimal("10.00")}
PENDING = CHANGES[:4]
DELIVERED = ["return_delivered_order_items", "exchange_delivered_order_items"]
SWAPS = ["modify_pending_order_items", "exchange_delivered_order_items"]
ITEMS = [*SWAPS, "return_delivered_order_items"]
PAYS = ["modify_pending_order_payment", *ITEMS]
ORDERS = [*PENDING, *DELIVERED]


@pytest.mark.parametrize("tool", sorted(set(CALLS) - set(CHANGES)))
def test_what_changes_no_record_needs_nobody(tool: str) -> None:
    """Looking up, reckoning and handing over are allowed; looking for somebody, while nobody is known."""
    before = {"customer": None} if tool.startswith("find_user") else {}

    assert decide(tool, **before).verdict is Verdict.ALLOW


@pytest.mark.parametrize("tool", CHANGES)
def test_each_change_asks_for_the_customers_yes_and_for_nothing_else(tool: str) -> None:
    """One rule asks, one role can answer; with the yes it is allowed."""
    decision = decide(tool)

    assert decision.verdict is Verdict.REQUIRE_APPROVAL
    assert [(need.rule, need.roles, need.count) for need in decision.needs] == [
        ("customer-says-yes", ("customer",), 1)
    ]
    assert rules().decide(request(tool), frozenset({"customer-says-yes"})).verdict is Verdict.ALLOW


def wrongs() -> Iterator[tuple[str, dict[str, Any], set[str]]]:
    """Each rule that denies, on each tool that it is about: a good call with one thing wrong."""
    others = [tool for tool in CALLS if tool not in (*CHANGES, "calculate", HANDOVER)]
    looks = [tool for tool in others if not tool.startswith("find_user")]
    for tool in CALLS:
        nobody_yet = {"customer": None} if tool.startswith("find_user") else {}
        yield tool, {"handed_over": 1, **nobody_yet}, {"hand-over-ends-it"}
    for tool in ("find_user_id_by_email", "find_user_id_by_name_zip"):
        yield tool, {}, {"one-customer"}
    yield "find_user_id_by_email", {"customer": None, "unknown": ("email",)}, {"email-from-the-customer"}
    yield "find_user_id_by_name_zip", {"customer": None, "unknown": ("zip",)}, {"zip-from-the-customer"}
    for tool in (*looks, *CHANGES):
        also = {
            rule
            for rule, tools in {
                "own-profile-only": ("get_user_details", "modify_user_address"),
                "own-orders-read": ("get_order_details",),
                "own-orders-only": ORDERS,
                "own-payment-method": PAYS,
            }.items()
            if tool in tools
        }
        yield tool, {"customer": None}, {"authenticate-first", *also}
    for tool in ("get_user_details", "modify_user_address"):
        yield tool, {"args": {"user_id": STRANGER}}, {"own-profile-only"}
    yield "get_order_details", {"owner": STRANGER}, {"own-orders-read"}
    for tool in ORDERS:
        yield tool, {"order": {"user_id": STRANGER}}, {"own-orders-only"}
        yield tool, {"unknown": ("order_id",)}, {"order-not-made-up"}
    for tool in ITEMS:
        yield tool, {"unknown": ("item_ids",)}, {"items-not-made-up"}
        yield tool, {"order": {"item_ids": ["700302"]}}, {"items-of-the-order"}
    for tool in PAYS:
        yield tool, {"unknown": ("payment_method_id",)}, {"payment-not-made-up"}
        yield tool, {"payment": {"user_id": STRANGER}}, {"own-payment-method"}
    for tool, status in itertools.product(
        PENDING,
        (
            "pending (items modified)",
            "processed",
            "delivered",
            "cancelled",
            "return requested",
            "exchange requested",
        ),
    ):
        yield tool, {"order": {"status": status}}, {"pending-only"}
    for tool, status in itertools.product(
        DELIVERED, ("pending", "processed", "cancelled", "return requested", "exchange requested")
    ):
        yield tool, {"order": {"status": status}}, {"delivered-only"}
    for tool in PENDING:
        yield tool, {"order": {"changes": ["address", "items"]}}, _once(tool, "items-once")
    yield "modify_pending_order_address", {"order": {"changes": ["address"]}}, {"address-once"}
    yield "modify_pending_order_payment", {"order": {"changes": ["payment"]}}, {"payment-once"}
    for tool, change in itertools.product(DELIVERED, ("return", "exchange")):
        yield tool, {"order": {"changes": [change]}}, {"return-or-exchange-once"}
    for tool in SWAPS:
        yield tool, {"unknown": ("new_item_ids",)}, {"new-items-not-made-up"}
        yield tool, {"swap": {"is_paired": False}}, {"one-for-one"}
        yield tool, {"swap": {"other_product": ["700203"]}}, {"same-product"}
        yield tool, {"swap": {"same_item": ["700203"]}}, {"another-option"}
        yield tool, {"swap": {"sold_out": ["700203"]}}, {"available-only"}
        yield tool, {"payment": GIFT}, {"gift-card-covers-the-difference"}
    yield (
        "modify_pending_order_payment",
        {"order": {"paid_with": "credit_card_5001"}},
        {"another-payment-method"},
    )
    yield "modify_pending_order_payment", {"payment": DEAR}, {"gift-card-covers-the-order"}
    yield "return_delivered_order_items", {"order": {"paid_with": "paypal_1"}}, {"refund-to-the-original"}


def _once(tool: str, rule: str) -> set[str]:
    return {rule, "address-once"} if tool == "modify_pending_order_address" else {rule}


WRONGS = list(wrongs())


@pytest.mark.parametrize(
    ("tool", "wrong", "expected"),
    WRONGS,
    ids=[f"{tool}-{min(by)}-{n}" for n, (tool, _, by) in enumerate(WRONGS)],
)
def test_one_wrong_thing_is_denied_by_its_rule(tool: str, wrong: dict[str, Any], expected: set[str]) -> None:
    """Denied, and not put before a person; the yes of a customer changes nothing."""
    for discharged in (frozenset[str](), frozenset({"customer-says-yes"})):
        decision = rules().decide(request(tool, **wrong), discharged)

        assert decision.verdict is Verdict.DENY
        assert set(decision.rules) == expected


def test_every_rule_that_denies_is_tried() -> None:
    """No forbid stands in the policy without a case above."""
    forbids = {rule.id for rule in rules().rules if rule.effect == "forbid"}

    assert {rule for _, _, expected in WRONGS for rule in expected} == forbids - {"customer-says-yes"}


def test_an_order_that_nobody_knows_can_be_asked_for() -> None:
    """The shop answers that there is none: that is no secret, and no reason to end the conversation."""
    assert decide("get_order_details", owner=None).verdict is Verdict.ALLOW


def test_exactly_enough_is_enough() -> None:
    """A gift card that holds the difference, or the total, to the cent; and any, where money comes back."""
    for tool in SWAPS:
        assert decide(tool, payment=DEAR).verdict is Verdict.REQUIRE_APPROVAL
        assert (
            decide(tool, payment=GIFT, swap={"difference": Decimal("-3.00")}).verdict
            is Verdict.REQUIRE_APPROVAL
        )
    whole = {"kind": "gift_card", "balance": Decimal("100.00")}

    assert decide("modify_pending_order_payment", payment=whole).verdict is Verdict.REQUIRE_APPROVAL


def test_a_return_may_go_to_a_gift_card_of_ones_own() -> None:
    """Another card or account it may not go to, and a stranger's gift card neither."""
    elsewhere = {"order": {"paid_with": "paypal_1"}, "payment": GIFT}
    strange = {**elsewhere, "payment": GIFT | {"user_id": STRANGER}}

    assert decide("return_delivered_order_items", **elsewhere).verdict is Verdict.REQUIRE_APPROVAL
    assert decide("return_delivered_order_items", **strange).rules == ("own-payment-method",)


@pytest.mark.parametrize(
    ("tool", "wrong"),
    [
        ("cancel_pending_order", {"reason": "found it cheaper elsewhere"}),
        ("return_delivered_order_items", {"item_ids": []}),
        ("modify_pending_order_payment", {"payment_method_id": ["paypal_1", "paypal_2"]}),
        ("calculate", {"expression": "__import__('os')"}),
        ("get_order_details", {"order_id": "L2001"}),
    ],
)
def test_what_is_impossible_is_no_valid_call(tool: str, wrong: dict[str, Any]) -> None:
    """A third reason, nothing at all, two payment methods, a program, half a number."""
    with pytest.raises(Refused):
        accept(desk.all_tools()[tool].spec, CALLS[tool] | wrong)


def test_what_only_rules_ask_for_nobody_may_call() -> None:
    """The reads behind the facts show any order and any payment method: no rule permits them."""
    assert set(rules().unreachable) == {"compare_items", "method_state", "order_owner", "order_state"}


def worlds() -> Iterator[PolicyRequest]:
    """Calls of every tool in every combination of what the invariants are about."""
    for tool in CALLS:
        about = {name for name, info in desk.all_tools()[tool].facts.items() if info}
        yield from (
            request(tool, **dict(zip(axes, point, strict=True)))
            for axes in [_axes(tool, about)]
            for point in itertools.product(*axes.values())
        )


def _axes(tool: str, about: set[str]) -> dict[str, list[Any]]:
    me, strange = None, {"user_id": STRANGER}
    axes: dict[str, list[Any]] = {"customer": [None, "ada_lund_1001", STRANGER], "handed_over": [0, 1]}
    if tool == "get_order_details":
        axes["owner"] = [None, "ada_lund_1001", STRANGER]
    elif "order" in about:
        states = ("pending", "pending (items modified)", "processed", "delivered", "cancelled")
        axes["order"] = [
            {**(mine or {}), "status": status, "paid_with": paid}
            for mine in (me, strange)
            for status in states
            for paid in ("credit_card_5001", "paypal_1")
        ]
    if "payment" in about:
        axes["payment"] = [
            {**(mine or {}), "kind": kind, "balance": Decimal(500) if kind == "gift_card" else None}
            for mine in (me, strange)
            for kind in ("credit_card", "paypal", "gift_card")
        ]
    return axes


def test_whatever_the_rules_let_through_breaks_no_invariant() -> None:
    """Over every combination: what goes without a yes, and what goes with one."""
    tried = passed = 0
    for asked in worlds():
        tried += 1
        broken = invariants().decide(asked)
        if rules().decide(asked).verdict is Verdict.ALLOW:
            passed += 1
            assert broken.verdict is Verdict.ALLOW, (asked.tool.name, broken.rules)
        elif rules().decide(asked, frozenset({"customer-says-yes"})).verdict is Verdict.ALLOW:
            passed += 1
            assert broken.rules in (("no-change-without-a-yes",), ("everything",)), (
                asked.tool.name,
                broken.rules,
            )

    assert tried > 1000
    assert passed > 50


def test_each_invariant_can_be_broken() -> None:
    """Each fires somewhere in the same combinations: none holds only because nothing can break it."""
    fired = {rule for asked in worlds() for rule in invariants().decide(asked).rules}

    assert fired == {rule.id for rule in invariants().rules}


def test_every_rule_has_an_owner_and_a_sentence_and_a_place_in_the_table() -> None:
    """`RULES.md` names every rule, and no rule that there is not."""
    for rule in (*rules().rules, *invariants().rules):
        assert rule.owner or rule.id == "everything"
        assert rule.text.endswith(".")

    assert rules_named_in(HERE / "RULES.md") == {rule.id for rule in rules().rules}
