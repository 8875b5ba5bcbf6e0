"""The shop behind the retail policy: what it does when asked, what it cannot do, and that a key counts once."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING

import pytest

from retail_policy.books import ShopDenied, ShopNotFound, ShopRefused
from retail_policy.reckon import reckon
from retail_policy.seed import stock
from retail_policy.shop import Shop, Warrant, open_shop, shop_token

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def retail(tmp_path: Path) -> Shop:
    """A shop on its first morning."""
    return open_shop(tmp_path, stock=stock)


@pytest.fixture
def by(tmp_path: Path) -> Warrant:
    """Somebody who may change things, under a first key."""
    return Warrant(key="k1", token=shop_token(tmp_path))


def other(by: Warrant, key: str) -> Warrant:
    """The same person, under another key."""
    return Warrant(key=key, token=by.token)


def test_somebody_is_found_by_address_or_by_name_and_zip_code(retail: Shop) -> None:
    """Both find the same person; what nobody has finds nobody."""
    assert retail.find_by_email("Ada@Example.com") == retail.find_by_name_zip("ada", "Lund", "04101")
    for look in (
        lambda: retail.find_by_email("eve@example.com"),
        lambda: retail.find_by_name_zip("Ada", "Lund", "99999"),
        lambda: retail.order("#L9999"),
        lambda: retail.item("700999"),
        lambda: retail.method_state("paypal_1"),
    ):
        with pytest.raises(ShopNotFound):
            look()


def test_a_cancelled_order_is_paid_back_to_what_paid(retail: Shop, by: Warrant) -> None:
    """The reason is kept, and the money goes where it came from."""
    order = retail.cancel("#L2001", "no longer needed", by=by)

    assert (order.status, order.cancel_reason, order.changes) == ("cancelled", "no longer needed", ["cancel"])
    assert order.payments[-1].kind == "refund"
    assert (order.payments[-1].amount, order.payments[-1].payment_method_id) == (
        order.total,
        "credit_card_5001",
    )


def test_the_same_key_counts_once(retail: Shop, by: Warrant) -> None:
    """Asked again it gives the first answer; for anything else the key is spent."""
    first = retail.cancel("#L2001", "no longer needed", by=by)

    assert retail.cancel("#L2001", "no longer needed", by=by) == first
    assert retail.order("#L2001").changes == ["cancel"]
    with pytest.raises(ShopRefused, match="another request"):
        retail.cancel("#L2003", "no longer needed", by=by)


def test_only_the_token_changes_anything(retail: Shop) -> None:
    """A wrong one does nothing."""
    with pytest.raises(ShopDenied):
        retail.cancel("#L2001", "no longer needed", by=Warrant(key="k", token="guessed"))
    assert retail.order("#L2001").status == "pending"


def test_a_gift_card_pays_what_is_on_it_and_gets_it_back(retail: Shop, by: Warrant) -> None:
    """The balance moves with the order; a card that holds too little is refused and nothing happens."""
    order = retail.set_order_payment("#L2003", "gift_card_5004", by=by)

    assert order.paid_with == "gift_card_5004"
    assert retail.method_state("gift_card_5004").balance == Decimal("500.00") - order.total
    retail.cancel("#L2003", "no longer needed", by=other(by, "k2"))
    assert retail.method_state("gift_card_5004").balance == Decimal("500.00")
    with pytest.raises(ShopRefused, match="holds"):
        retail.set_order_payment("#L2007", "gift_card_5007", by=other(by, "k3"))
    assert retail.order("#L2007").paid_with == "credit_card_5008"


def test_items_are_put_in_the_place_of_others_and_the_difference_is_settled(
    retail: Shop, by: Warrant
) -> None:
    """The order can then be told from one that is as it was ordered."""
    before = retail.order("#L2003")
    compared = retail.compare("#L2003", ["700501"], ["700503"])
    after = retail.set_order_items("#L2003", ["700501"], ["700503"], "gift_card_5004", by=by)

    assert compared.difference == after.total - before.total == Decimal("15.00")
    assert after.status == "pending (items modified)"
    assert [line.item_id for line in after.items] == ["700503", "700401"]
    assert retail.method_state("gift_card_5004").balance == Decimal("485.00")


def test_a_comparison_names_what_is_wrong(retail: Shop) -> None:
    """Each list holds the new items with that fault."""
    assert not retail.compare("#L2002", ["700302"], []).is_paired
    assert retail.compare("#L2002", ["700302"], ["700101"]).other_product == ["700101"]
    assert retail.compare("#L2002", ["700302"], ["700302"]).same_item == ["700302"]
    assert retail.compare("#L2002", ["700202"], ["700205"]).sold_out == ["700205"]


def test_what_cannot_be_done_is_refused(retail: Shop, by: Warrant) -> None:
    """Items that an order does not have, or not so often; one new item for two."""
    for ids in (["700501"], ["700201", "700201", "700201"]):
        with pytest.raises(ShopRefused, match="does not have"):
            retail.take_back("#L2006", ids, "credit_card_5005", by=by)
    with pytest.raises(ShopRefused, match="one new item"):
        retail.exchange("#L2006", ["700201", "700201"], ["700202"], "credit_card_5005", by=by)
    assert retail.order("#L2006").changes == []


@pytest.mark.parametrize(
    ("sum_", "value"),
    [("1 + 2", "3.00"), ("0.1 + 0.2", "0.30"), ("-(2 - 5) * 1.5", "4.50"), ("10 / 4", "2.50")],
)
def test_sums_are_exact(sum_: str, value: str) -> None:
    """Numbers are taken as they are written."""
    assert reckon(sum_) == value


@pytest.mark.parametrize(
    "sum_", ["1 / 0", "2 ** 9999999", "(1", "", "1 if 1 else 2", "__import__('os')", "1 // 2"]
)
def test_nothing_but_a_sum_is_worked_out(sum_: str) -> None:
    """Python is never asked to run it."""
    with pytest.raises(ValueError, match=r"sum|only numbers"):
        reckon(sum_)
