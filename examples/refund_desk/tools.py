"""What the desk can do: seven narrow tools, and what each one promises.

The parameters before the bare `*` are what a model may fill in. The shop and its token come from outside and
no model ever sees them. Reading, drafting and sending are apart, so that a rule can tell them apart.
"""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from decimal import Decimal
from typing import Annotated, Literal

from pydantic import BaseModel, Field

from answerable import EffectKey, Impact, NotDone, Secret, Text, Tool, ToolFailed, Total, UpTo, fact, tool

from .shop import (
    Case,
    Customer,
    Draft,
    Order,
    Refund,
    Refunds,
    Sent,
    Shop,
    ShopDenied,
    ShopNotFound,
    ShopRefused,
    ShopTimeout,
    ShopUnavailable,
)

# `[0-9]` and not `\d`: a digit of another script must not name an order.
OrderId = Annotated[str, Field(pattern=r"^O-[0-9]{4}$")]
RefundId = Annotated[str, Field(pattern=r"^R-[0-9]{4,9}$")]
TicketId = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]
Email = Annotated[str, Field(pattern=r"^[a-z0-9._+-]{1,64}@[a-z0-9-]+(\.[a-z0-9-]+)+$", max_length=254)]
Language = Literal["en", "de"]
# Above 20,000 is a mistake in any case; what is merely too much is for the policy to say.
AmountUsd = Annotated[Decimal, Field(gt=0, le=20_000, decimal_places=2)]
Subject = Annotated[Text, Field(min_length=1, max_length=200)]
Body = Annotated[Text, Field(min_length=1, max_length=4000)]
Reason = Annotated[Text, Field(min_length=1, max_length=500)]

KEY_TTL_S = 24 * 3600.0
TIMEOUT_S = 1.0


@contextmanager
def _shop_says() -> Generator[None]:
    """The shop's answers in the words of the runtime: certainly not done, or nobody knows."""
    try:
        yield
    except ShopTimeout as error:
        raise ToolFailed(str(error), failure="timeout") from error
    except ShopUnavailable as error:
        raise NotDone(str(error), failure="upstream") from error
    except ShopNotFound as error:
        raise NotDone(str(error), failure="not_found") from error
    except ShopDenied as error:
        raise NotDone(str(error), failure="permission") from error
    except ShopRefused as error:
        raise NotDone(str(error), failure="schema") from error


@tool(effect="read", timeout_s=TIMEOUT_S)
def get_order(order_id: OrderId, *, shop: Shop) -> Order:
    """Look up one order: what was bought, what it cost, whether it arrived, what was already refunded."""
    with _shop_says():
        return shop.order(order_id)


@tool(effect="read", timeout_s=TIMEOUT_S)
def get_customer(customer_email: Email, *, shop: Shop) -> Customer:
    """Look up the customer who wrote the ticket, by the e-mail address on it."""
    with _shop_says():
        return shop.customer(customer_email)


@tool(effect="read", timeout_s=TIMEOUT_S)
def find_refunds(order_id: OrderId, *, shop: Shop) -> Refunds:
    """List the refunds that an order has had so far. Look before you refund."""
    with _shop_says():
        return shop.refunds(order_id)


@tool(effect="read", timeout_s=TIMEOUT_S)
def get_case(ticket_id: TicketId, customer_email: Email, *, shop: Shop) -> Case:
    """Everything that the shop has on record about a ticket. Only the done check reads it."""
    with _shop_says():
        return shop.case(ticket_id, customer_email)


@tool(mode="upsert", impact=Impact(records=1), timeout_s=TIMEOUT_S)
def cancel_refund(refund_id: RefundId, reason: Reason, *, shop: Shop, shop_token: Secret) -> Refund:
    """Take a refund back. Only people do this, to undo what a run did."""
    with _shop_says():
        return shop.cancel_refund(refund_id, reason, token=shop_token.reveal())


def _create_refund(
    ticket_id: TicketId,
    order_id: OrderId,
    customer_email: Email,
    amount_usd: AmountUsd,
    reason: Reason,
    *,
    key: EffectKey,
    shop: Shop,
    shop_token: Secret,
) -> Refund:
    """Pay money back for an order: the whole total, or a part of it. Name the ticket and its customer."""
    del customer_email  # Not for the shop: the facts and the policy need to know whom it is for.
    with _shop_says():
        return shop.refund(
            order_id, amount_usd, reason, ticket_id=ticket_id, key=key, token=shop_token.reveal()
        )


async def _find_refund(arguments: BaseModel, *, key: EffectKey, shop: Shop) -> Refund | None:
    """Whether the refund of this key happened: the shop keeps the key as a reference, honoured or not."""
    del arguments  # The key says it all. Order and amount would also match somebody else's refund.
    with _shop_says():
        return shop.refund_with_reference(key)


def refund_tool(*, honours_keys: bool, timeout_s: float = TIMEOUT_S) -> Tool:
    """`create_refund`, with the promise that fits the shop.

    A shop that honours idempotency keys may be asked again after a lost reply. One that ignores them must not
    be: there the shop is first asked whether it happened, and where that cannot be found out, a person is.
    """
    return tool(
        name="create_refund",
        mode="native_key" if honours_keys else "probe_then_write",
        key_ttl_s=KEY_TTL_S if honours_keys else None,
        probe=None if honours_keys else _find_refund,
        timeout_s=timeout_s,
        business_key="refund:{order_id}",
        cardinality=UpTo(amount="amount_usd", total="order.total"),
        undo=cancel_refund,
        impact=Impact(money="amount_usd"),
        totals=(
            Total(name="order", of="amount_usd", by="{order_id}"),
            Total(name="customer_day", of="amount_usd", by="{customer.customer_id}", per="day"),
            Total(name="desk_day", of="amount_usd", per="day"),
        ),
        facts={
            "order": fact(get_order, order_id="{order_id}"),
            "customer": fact(get_customer, customer_email="{customer_email}"),
        },
    )(_create_refund)


@tool(mode="upsert", impact=Impact(records=1), timeout_s=TIMEOUT_S)
def draft_reply(
    ticket_id: TicketId,
    order_id: OrderId | None,
    language: Language,
    subject: Subject,
    body: Body,
    *,
    shop: Shop,
    shop_token: Secret,
) -> Draft:
    """Write the reply to a ticket as a draft, about one order if there is one. Nobody gets it yet."""
    draft = Draft(ticket_id=ticket_id, order_id=order_id, language=language, subject=subject, body=body)
    with _shop_says():
        return shop.save_draft(draft, token=shop_token.reveal())


@tool(
    effect="irreversible",
    mode="at_most_once",
    business_key="reply:{ticket_id}",
    impact=Impact(recipients="to"),
    timeout_s=TIMEOUT_S,
)
def send_reply(
    ticket_id: TicketId, to: Email, subject: Subject, body: Body, *, shop: Shop, shop_token: Secret
) -> Sent:
    """Send a reply by e-mail. Drafts are enough for almost every ticket: the support team sends them."""
    with _shop_says():
        return shop.send(ticket_id, to, subject, body, token=shop_token.reveal())
