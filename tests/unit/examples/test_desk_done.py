"""When a ticket is done: what the shop has on record decides, and nothing that anybody says."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest

from answerable import Check
from refund_desk.desk import Ticket, refund_matches_ticket
from refund_desk.shop import Draft

if TYPE_CHECKING:
    from answerable import Secret
    from refund_desk.shop import Shop


class Desk:
    """What was done on ticket T-1 of Ana, whose order O-1001 cost $48."""

    def __init__(self, shop: Shop, token: Secret) -> None:
        self.shop = shop
        self.token = token.reveal()

    def refund(self, amount: str, order_id: str = "O-1001", ticket_id: str = "T-1") -> str:
        """Pay back."""
        key = f"{ticket_id}{order_id}{len(self.shop.refunds(order_id).refunds)}"
        return self.shop.refund(
            order_id, Decimal(amount), "r", ticket_id=ticket_id, key=key, token=self.token
        ).refund_id

    def draft(self, body: str, order_id: str | None = "O-1001") -> None:
        """Write."""
        draft = Draft(ticket_id="T-1", order_id=order_id, language="en", subject="s", body=body)
        self.shop.save_draft(draft, token=self.token)

    def check(self, **ticket: Any) -> Check:
        """Whether it is done."""
        values = {"id": "T-1", "customer_email": "ana@example.com", "request": "refund", "order_id": "O-1001"}
        given = Ticket.model_validate(values | ticket)
        return refund_matches_ticket.function(given, self.shop.case("T-1", given.customer_email))


@pytest.fixture
def desk(shop: Shop, token: Secret) -> Desk:
    """A desk at which nothing was done yet."""
    return Desk(shop, token)


def test_a_refund_that_was_only_spoken_of_is_not_done(desk: Desk) -> None:
    """No wording of a draft can make it so."""
    desk.draft("We have refunded $48.00. The refund is done. is_done=True")

    assert not desk.check().is_done
    assert not desk.check(amount_usd=Decimal("48.00")).is_done
    assert not desk.check(order_id=None).is_done


def test_the_whole_order_is_done_when_all_of_it_was_paid_back(desk: Desk) -> None:
    """In one refund or in several."""
    desk.refund("40.00")
    assert not desk.check().is_done

    desk.refund("8.00")
    assert desk.check().is_done
    assert desk.check(order_id=None).is_done


def test_a_part_is_done_when_exactly_that_was_paid_on_this_ticket(desk: Desk) -> None:
    """Not on another ticket, and not twice."""
    part = {"amount_usd": Decimal("10.00")}
    desk.refund("10.00", ticket_id="T-2")
    assert not desk.check(**part).is_done

    desk.refund("10.00")
    assert desk.check(**part).is_done

    desk.refund("10.00")
    assert not desk.check(**part).is_done


def test_a_repeated_ticket_about_a_whole_order_is_done_already(desk: Desk) -> None:
    """There is nothing left to pay, and an answer is enough."""
    desk.refund("48.00", ticket_id="T-0")
    assert not desk.check().is_done, "nobody has answered this one"

    desk.draft("already refunded")
    assert desk.check().is_done


def test_a_cancelled_refund_is_none(desk: Desk) -> None:
    """What was taken back no longer counts."""
    refund_id = desk.refund("48.00")
    desk.shop.cancel_refund(refund_id, "mistake", token=desk.token)

    assert not desk.check().is_done
    assert not desk.check(amount_usd=Decimal("48.00")).is_done


def test_money_on_another_order_is_never_done(desk: Desk) -> None:
    """Neither instead of the right one nor beside it."""
    desk.refund("48.00")
    desk.refund("5.00", order_id="O-1020")

    assert not desk.check().is_done
    assert "O-1020" in desk.check().reason


def test_money_on_another_order_of_the_same_customer_is_not_done_either(desk: Desk) -> None:
    """The ticket is about one order."""
    desk.refund("10.00", order_id="O-1011")
    ivan = {"customer_email": "ivan@example.com", "order_id": "O-1010"}

    assert not desk.check(**ivan, amount_usd=Decimal("10.00")).is_done
    assert not desk.check(**ivan).is_done


@pytest.mark.parametrize(
    ("body", "is_done"),
    [
        ("Your order is delivered.", True),
        ("DELIVERED!", True),
        ("Your order is shipped.", False),
        ("Your order was undelivered.", False),
        ("Ihre Bestellung ist zugestellt.", False),
        ("", False),
    ],
)
def test_a_status_is_given_when_the_draft_says_what_the_shop_says(
    desk: Desk, body: str, *, is_done: bool
) -> None:
    """As a whole word, in the language of the ticket."""
    desk.draft(body)

    assert desk.check(request="order_status").is_done == is_done
    assert desk.check(request="order_status", order_id=None).is_done == is_done


def test_a_status_needs_a_draft_about_that_order_and_no_refund(desk: Desk) -> None:
    """About the customer's own order, with no money moved."""
    assert not desk.check(request="order_status").is_done
    desk.draft("delivered", order_id=None)
    assert not desk.check(request="order_status").is_done
    desk.draft("delivered", order_id="O-1020")
    assert not desk.check(request="order_status").is_done, "that is somebody else's"
    desk.draft("delivered")
    assert desk.check(request="order_status").is_done
    desk.refund("1.00")
    assert not desk.check(request="order_status").is_done


def test_other_requests_are_done_only_when_a_reply_has_left(desk: Desk) -> None:
    """Nothing else about them is on record."""
    desk.draft("I have sent it.")
    assert not desk.check(request="other").is_done

    desk.shop.send("T-1", "ana@example.com", "s", "b", token=desk.token)
    assert desk.check(request="other").is_done


def test_every_answer_says_why(desk: Desk) -> None:
    """It goes into the packet that a person reads."""
    for request in ("refund", "order_status", "other"):
        assert desk.check(request=request).reason
