"""The desk's tools: narrow, typed, and honest about what a lost reply means."""

from __future__ import annotations

import asyncio
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest

from answerable import EffectKey, NotDone, Secret, Tool, ToolFailed
from answerable.gates.schema import Refused, accept
from answerable.kernel.tool import EffectClass, WriteMode
from refund_desk.desk import desk, make_desk
from refund_desk.tools import get_order, refund_tool

if TYPE_CHECKING:
    from refund_desk.shop import Refund, Shop

GOOD = {
    "ticket_id": "T-1",
    "order_id": "O-1001",
    "customer_email": "ana@example.com",
    "amount_usd": "48.00",
    "reason": "broken",
}


def perform(tool: Tool, shop: Shop, token: Secret, **arguments: Any) -> Any:
    """What the engine does once all gates have passed."""
    accepted = accept(tool.spec, arguments)
    injected = {"shop": shop, "shop_token": token, "key": EffectKey("k1")}
    given = {name: getattr(accepted, name) for name in type(accepted).model_fields}
    return tool.function(**given, **{name: injected[name] for name, _ in tool.injected})


@pytest.fixture
def create_refund() -> Tool:
    """For a shop that honours keys."""
    return refund_tool(honours_keys=True)


def test_reading_drafting_and_sending_are_apart() -> None:
    """And what only people and checks use is not offered to a model."""
    classes = {name: tool.spec.effect_class for name, tool in desk.all_tools().items()}

    assert classes == {
        "get_order": EffectClass.READ,
        "get_customer": EffectClass.READ,
        "find_refunds": EffectClass.READ,
        "get_case": EffectClass.READ,
        "create_refund": EffectClass.WRITE,
        "cancel_refund": EffectClass.WRITE,
        "draft_reply": EffectClass.WRITE,
        "send_reply": EffectClass.IRREVERSIBLE,
    }
    assert {tool.name for tool in desk.tools} == set(classes) - {"get_case", "cancel_refund"}


def test_every_write_says_what_it_can_change_at_most() -> None:
    """What is undeclared would count as unbounded."""
    assert all(tool.spec.impact for tool in desk.all_tools().values() if tool.spec.is_write)


def test_no_result_of_the_shop_is_trusted() -> None:
    """Customers write the notes on orders."""
    assert not any(tool.spec.is_result_trusted for tool in desk.all_tools().values())


def test_the_token_and_the_key_are_never_shown_to_a_model() -> None:
    """They are injected when the call is performed."""
    for tool in desk.all_tools().values():
        assert not {"shop", "shop_token", "key"} & set(tool.spec.parameters()["properties"])


def test_what_the_refund_promises_depends_on_the_shop() -> None:
    """Where keys are ignored, sending again would not be safe and is not claimed to be."""
    modes = {
        keyed: make_desk(honours_keys=keyed).all_tools()["create_refund"].spec for keyed in (True, False)
    }

    assert modes[True].mode is WriteMode.NATIVE_KEY
    assert modes[False].mode is WriteMode.PROBE_THEN_WRITE
    assert modes[False].has_probe
    assert modes[False].key_ttl_s is None
    assert make_desk().release() != make_desk(honours_keys=False).release()
    assert make_desk().release() == desk.release()


def test_a_refund_is_made_and_can_be_taken_back(shop: Shop, token: Secret, create_refund: Tool) -> None:
    """The refund names its own undo."""
    made: Refund = perform(create_refund, shop, token, **GOOD)
    assert create_refund.undo is not None

    undone: Refund = perform(create_refund.undo, shop, token, refund_id=made.refund_id, reason="mistake")

    assert made.amount == Decimal("48.00")
    assert undone.status == "cancelled"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("order_id", "o-1001"),
        ("order_id", "O-1001\n"),
        ("order_id", "\u041e-1001"),
        ("order_id", "O-\uff11\uff10\uff10\uff11"),
        ("order_id", "O-1001 or O-1002"),
        ("order_id", 1001),
        ("ticket_id", "../T-1"),
        ("ticket_id", ""),
        ("customer_email", "ana@ex\u0430mple.com"),
        ("customer_email", "ana@example.com,eve@example.net"),
        ("customer_email", "ana"),
        ("amount_usd", "48,00"),
        ("amount_usd", "48.00 dollars"),
        ("amount_usd", "\uff14\uff18"),
        ("amount_usd", "48.005"),
        ("amount_usd", "0"),
        ("amount_usd", "-1"),
        ("amount_usd", "20000.01"),
        ("amount_usd", True),
        ("amount_usd", {"value": "48.00"}),
        ("reason", ""),
        ("approved", True),
    ],
)
def test_what_is_no_refund_is_refused_before_anything_else(name: str, value: object) -> None:
    """Look-alikes, lists, fractions of cents, too much, too many fields."""
    with pytest.raises(Refused):
        accept(refund_tool(honours_keys=True).spec, GOOD | {name: value})


def test_a_timeout_means_maybe_and_a_refusal_means_no(shop: Shop, token: Secret, create_refund: Tool) -> None:
    """The runtime must not take one for the other."""
    with pytest.raises(NotDone) as refused:
        perform(create_refund, shop, token, **GOOD | {"order_id": "O-9999"})
    shop.set_fault("refund", "O-1001", "unavailable")
    with pytest.raises(NotDone) as busy:
        perform(create_refund, shop, token, **GOOD)
    with pytest.raises(NotDone) as denied:
        perform(create_refund, shop, Secret("guess"), **GOOD)
    shop.set_fault("refund", "O-1001", "lose_reply")
    with pytest.raises(ToolFailed) as lost:
        perform(create_refund, shop, token, **GOOD)

    assert not isinstance(lost.value, NotDone)
    assert [each.value.failure for each in (lost, refused, busy, denied)] == [
        "timeout",
        "not_found",
        "upstream",
        "permission",
    ]


def test_an_error_never_quotes_the_token(shop: Shop) -> None:
    """Errors are shown to models and kept."""
    with pytest.raises(NotDone) as caught:
        perform(refund_tool(honours_keys=True), shop, Secret("sesame-0815"), **GOOD)

    assert "sesame" not in str(caught.value)


@pytest.mark.parametrize(("fault", "is_found"), [("lose_reply", True), ("lose_request", False)])
def test_the_probe_tells_a_lost_reply_from_a_lost_request(
    forgetful: Shop, token: Secret, fault: Any, *, is_found: bool
) -> None:
    """Knowing which makes a second try safe where the shop does not know keys."""
    careful = refund_tool(honours_keys=False)
    forgetful.set_fault("refund", "O-1001", fault)
    with pytest.raises(ToolFailed):
        perform(careful, forgetful, token, **GOOD)
    assert careful.probe is not None

    arguments = accept(careful.spec, GOOD)
    found: Any = asyncio.run(careful.probe(arguments, key=EffectKey("k1"), shop=forgetful))  # type: ignore[arg-type]
    other: Any = asyncio.run(careful.probe(arguments, key=EffectKey("k2"), shop=forgetful))  # type: ignore[arg-type]

    assert (found is not None) == is_found
    assert other is None


def test_a_read_that_finds_nothing_says_so(shop: Shop) -> None:
    """In words that a model can use."""
    with pytest.raises(ToolFailed, match="no order O-9999"):
        get_order.function("O-9999", shop=shop)
