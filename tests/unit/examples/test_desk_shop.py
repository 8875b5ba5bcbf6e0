"""The shop keeps its word, and breaks it in exactly the ways that a test asks for."""

from __future__ import annotations

import os
import sqlite3
import stat
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from decimal import Decimal
from typing import TYPE_CHECKING, Literal

import pytest

from refund_desk.seed import FAULTS, seed_shop
from refund_desk.shop import (
    Draft,
    Refund,
    Shop,
    ShopDenied,
    ShopError,
    ShopNotFound,
    ShopRefused,
    ShopTimeout,
    ShopUnavailable,
    open_shop,
    shop_token,
)

if TYPE_CHECKING:
    from pathlib import Path

    from answerable import Secret


def refund(
    shop: Shop, token: Secret, amount: str = "48.00", *, key: str = "k1", order_id: str = "O-1001"
) -> Refund:
    """Pay something back."""
    return shop.refund(order_id, Decimal(amount), "broken", ticket_id="T-1", key=key, token=token.reveal())


def amounts(shop: Shop, order_id: str = "O-1001") -> list[Decimal]:
    """What was paid back for an order."""
    return [each.amount for each in shop.refunds(order_id).refunds]


def test_a_refund_is_on_record_in_dollars(shop: Shop, token: Secret, tmp_path: Path) -> None:
    """Other tools read this table."""
    refund(shop, token, "19.90")

    with closing(sqlite3.connect(tmp_path / "shop.db")) as db:
        assert db.execute("SELECT order_id, amount FROM refund").fetchall() == [("O-1001", 19.9)]
    assert shop.order("O-1001").refunded == Decimal("19.90")


def test_the_same_key_returns_the_same_receipt(shop: Shop, token: Secret) -> None:
    """However the amount is written."""
    first = refund(shop, token)

    assert refund(shop, token, "48.0") == first
    assert amounts(shop) == [Decimal("48.00")]


def test_a_key_is_not_good_for_another_refund(shop: Shop, token: Secret) -> None:
    """A vendor refuses that, and so does this one."""
    refund(shop, token, "10.00")

    with pytest.raises(ShopRefused, match="another refund"):
        refund(shop, token, "11.00")


def test_a_shop_that_ignores_keys_pays_twice_and_still_keeps_the_reference(
    forgetful: Shop, token: Secret
) -> None:
    """So that one can at least ask what became of a key."""
    refund(forgetful, token, "10.00")
    refund(forgetful, token, "10.00")

    assert amounts(forgetful) == [Decimal("10.00")] * 2
    found = forgetful.refund_with_reference("k1")
    assert found is not None
    assert found.refund_id == "R-0001"
    assert forgetful.refund_with_reference("k2") is None


def test_whether_keys_count_is_kept_with_the_shop(tmp_path: Path) -> None:
    """Whoever opens it later sees the same shop."""
    open_shop(tmp_path, seed=seed_shop, honours_keys=False)

    assert not open_shop(tmp_path, seed=seed_shop, honours_keys=True).honours_keys


@pytest.mark.parametrize(
    ("order_id", "amount"),
    [
        ("O-1001", "48.01"),
        ("O-1001", "0"),
        ("O-1001", "-1"),
        ("O-1001", "1.005"),
        ("O-1026", "1.00"),
        ("O-9999", "1"),
    ],
)
def test_what_no_vendor_would_do_is_refused(shop: Shop, token: Secret, order_id: str, amount: str) -> None:
    """More than was paid, nothing, less than nothing, parts of a cent, what was never paid or never sold."""
    with pytest.raises(ShopRefused):
        refund(shop, token, amount, order_id=order_id)

    assert amounts(shop, order_id) == []


def test_refunds_of_an_order_add_up_to_no_more_than_it_cost(shop: Shop, token: Secret) -> None:
    """To the cent."""
    refund(shop, token, "30.00", key="k1")

    with pytest.raises(ShopRefused):
        refund(shop, token, "18.01", key="k2")
    refund(shop, token, "18.00", key="k3")
    assert shop.order("O-1001").refunded == shop.order("O-1001").total == Decimal("48.00")


def test_a_cancelled_refund_no_longer_counts_and_can_be_cancelled_again(shop: Shop, token: Secret) -> None:
    """The second time changes nothing."""
    made = refund(shop, token)

    first = shop.cancel_refund(made.refund_id, "wrong order", token=token.reveal())
    second = shop.cancel_refund(made.refund_id, "wrong order", token=token.reveal())

    assert first == second
    assert first.status == "cancelled"
    assert shop.order("O-1001").refunded == 0
    with pytest.raises(ShopNotFound):
        shop.cancel_refund("R-0099", "no such", token=token.reveal())


def test_a_lost_request_did_nothing_and_a_lost_reply_did_it(shop: Shop, token: Secret) -> None:
    """To the caller they are the same."""
    told: list[str] = []
    for order_id in ("O-1014", "O-1015"):
        with pytest.raises(ShopTimeout) as caught:
            refund(shop, token, "5.00", order_id=order_id)
        told.append(str(caught.value))

    assert told[0] == told[1]
    assert amounts(shop, "O-1014") == [Decimal("5.00")]
    assert amounts(shop, "O-1015") == []


def test_a_fault_happens_as_often_as_it_was_set_and_in_every_process(shop: Shop, tmp_path: Path) -> None:
    """Then the shop is well again."""
    shop.set_fault("get_order", "O-1001", "unavailable", times=2)
    other = open_shop(tmp_path, seed=seed_shop)

    for each in (shop, other):
        with pytest.raises(ShopUnavailable):
            each.order("O-1001")
    assert shop.order("O-1001").order_id == "O-1001"


@pytest.mark.parametrize("kind", ["slow", "slow_reply"])
def test_a_slow_shop_answers_in_the_end(
    shop: Shop, token: Secret, kind: Literal["slow", "slow_reply"]
) -> None:
    """Before the work or after it."""
    shop.set_fault("refund", "O-1001", kind)

    assert refund(shop, token).amount == Decimal("48.00")


def test_nothing_changes_without_the_token(shop: Shop, token: Secret) -> None:
    """Not a refund, not an undo, not a draft, not a message."""
    wrong = token.reveal() + "x"
    draft = Draft(ticket_id="T-1", order_id=None, language="en", subject="s", body="b")
    attempts = (
        lambda: shop.refund("O-1001", Decimal(1), "r", ticket_id="T-1", key="k", token=wrong),
        lambda: shop.cancel_refund("R-0001", "r", token=wrong),
        lambda: shop.save_draft(draft, token=wrong),
        lambda: shop.send("T-1", "ana@example.com", "s", "b", token=wrong),
    )
    for attempt in attempts:
        with pytest.raises(ShopDenied):
            attempt()

    case = shop.case("T-1", "ana@example.com")
    assert (case.refunds, case.draft, case.sent) == ([], None, [])


def test_a_failed_operation_leaves_the_shop_usable(shop: Shop, token: Secret) -> None:
    """The transaction is gone and the lock is free."""
    with pytest.raises(ShopError):
        refund(shop, token, "1000.00")

    assert refund(shop, token).refund_id == "R-0001"


def test_a_case_is_what_was_done_on_a_ticket(shop: Shop, token: Secret) -> None:
    """Refunds, the last draft, what was sent, and the orders these name."""
    refund(shop, token)
    draft = Draft(ticket_id="T-1", order_id="O-1002", language="en", subject="s", body="b")
    shop.save_draft(draft.model_copy(update={"body": "first"}), token=token.reveal())
    shop.save_draft(draft, token=token.reveal())
    shop.send("T-1", "ana@example.com", "s", "b", token=token.reveal())

    case = shop.case("T-1", "ana@example.com")

    assert case.customer_id == "C-01"
    assert [order.order_id for order in case.orders] == ["O-1001", "O-1002"]
    assert [each.refund_id for each in case.refunds] == ["R-0001"]
    assert case.draft == draft
    assert [each.to for each in case.sent] == ["ana@example.com"]
    assert shop.case("T-2", "nobody@example.com").customer_id is None


def test_founding_is_the_same_every_time_and_private(tmp_path: Path) -> None:
    """Except for the token, and for nobody else to read."""
    one = open_shop(tmp_path / "one", seed=seed_shop)
    two = open_shop(tmp_path / "two", seed=seed_shop)

    assert one.order("O-1018") == two.order("O-1018")
    assert shop_token(tmp_path / "one") != shop_token(tmp_path / "two")
    for path in (tmp_path / "one").iterdir():
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert {path.name for path in (tmp_path / "one").iterdir()} >= {"shop.db", "shop.token"}


def test_several_founders_found_one_shop(tmp_path: Path) -> None:
    """The first one wins, and all see its shop and its token."""
    with ThreadPoolExecutor(8) as pool:
        futures = [pool.submit(open_shop, tmp_path, seed=seed_shop) for _ in range(8)]
        shops = [future.result() for future in futures]

    made = shops[0].refund("O-1001", Decimal(1), "r", ticket_id="T-1", key="k", token=shop_token(tmp_path))
    assert all(shop.refunds("O-1001").refunds == [made] for shop in shops)


@pytest.mark.parametrize("honours_keys", [True, False])
def test_processes_that_refund_at_once_never_pay_more_than_was_paid(
    tmp_path: Path, *, honours_keys: bool
) -> None:
    """Four processes, each with ten keys that all of them use, against an order of $89.90."""
    open_shop(tmp_path, seed=seed_shop, honours_keys=honours_keys)
    script = (
        "import sys; from decimal import Decimal; from pathlib import Path\n"
        "from refund_desk.seed import seed_shop\n"
        "from refund_desk.shop import ShopRefused, ShopUnavailable, open_shop, shop_token\n"
        "at = Path(sys.argv[1]); shop = open_shop(at, seed=seed_shop); token = shop_token(at)\n"
        "for n in range(10):\n"
        "    try: shop.refund('O-1004', Decimal('5.00'), 'r', ticket_id='T', key=f'k{n}', token=token)\n"
        "    except (ShopRefused, ShopUnavailable): pass\n"
    )
    command = [sys.executable, "-c", script, str(tmp_path)]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    children = [subprocess.Popen(command, env=environment) for _ in range(4)]

    assert [child.wait(60) for child in children] == [0] * 4
    order = open_shop(tmp_path, seed=seed_shop).order("O-1004")
    assert order.refunded == (Decimal("50.00") if honours_keys else Decimal("85.00"))


def test_the_seeded_faults_hit_orders_that_exist(shop: Shop) -> None:
    """A fault that can never happen would show nothing."""
    for operation, order_id, _, _ in FAULTS:
        if operation == "refund":
            assert shop.order(order_id).status == "delivered"
