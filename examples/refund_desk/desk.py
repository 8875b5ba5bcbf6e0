"""The refund desk: its tickets, when its work is done, and the agent itself.

Start reading here. `tools.py` says what the desk can do, `policy/` what it may do, `prompt.md` what it is
told.
"""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from answerable import Agent, Arguments, Budget, Check, Secret, Text, done_check, fact
from answerable.models.port import ModelPort
from answerable.models.scripted import ScriptedModel

from .clerk import clerk
from .seed import seed_shop
from .shop import Case, Order, Refund, Shop, open_shop, shop_token
from .tools import (
    TIMEOUT_S,
    AmountUsd,
    Email,
    Language,
    OrderId,
    TicketId,
    draft_reply,
    find_refunds,
    get_case,
    get_customer,
    get_order,
    refund_tool,
    send_reply,
)
from .words import names_status

HERE = Path(__file__).parent


class Ticket(Arguments):
    """What a customer wrote, and what the help desk's form made of it."""

    id: TicketId
    customer_email: Email
    order_id: OrderId | None = None
    request: Literal["refund", "order_status", "other"]
    amount_usd: AmountUsd | None = None
    """How much is asked for; none means the whole order."""
    language: Language = "en"
    subject: Annotated[Text, Field(max_length=200)] = ""
    text: Annotated[Text, Field(max_length=8000)] = ""


@done_check(case=fact(get_case, ticket_id="{id}", customer_email="{customer_email}"))
def refund_matches_ticket(ticket: Ticket, case: Case) -> Check:
    """Whether the shop's records show what the ticket asked for. What the model says is not heard."""
    theirs = {order.order_id: order for order in case.orders if order.customer_id == case.customer_id}
    strangers = sorted({order.order_id for order in case.orders} - set(theirs))
    if strangers:
        return _no(f"{', '.join(strangers)} is not an order of {ticket.customer_email}")
    match ticket.request:
        case "refund":
            return _is_refunded(ticket, case, theirs)
        case "order_status":
            return _is_status_given(ticket, case, theirs)
        case "other":
            if case.sent:
                return _yes("a reply was sent on this ticket")
            return _no("no record can show that this is done: a person has to read it")


def _is_refunded(ticket: Ticket, case: Case, theirs: dict[str, Order]) -> Check:
    paid = [refund for refund in case.refunds if refund.status == "done"]
    order_ids = {ticket.order_id} if ticket.order_id else set(theirs)
    if not order_ids:
        return _no("the ticket names no order, and nothing was done about any")
    if len(order_ids) > 1 or any(refund.order_id not in order_ids for refund in paid):
        return _no("the refunds on this ticket are not for the one order that it is about")
    (order_id,) = order_ids
    if ticket.amount_usd is not None:
        return _is_part_refunded(order_id, ticket.amount_usd, paid)
    return _is_all_refunded(order_id, theirs.get(order_id))


def _is_part_refunded(order_id: str, asked: Decimal, paid: list[Refund]) -> Check:
    total = sum((refund.amount for refund in paid), Decimal(0))
    if total == asked:
        return _yes(f"${total} of {order_id} was refunded on this ticket, as asked")
    return _no(f"${asked} of {order_id} was asked for; ${total} was refunded on this ticket")


def _is_all_refunded(order_id: str, order: Order | None) -> Check:
    if order is None:
        return _no(f"nothing was done about {order_id} on this ticket")
    if order.refunded == order.total:
        return _yes(f"{order_id} is refunded in full, ${order.refunded}")
    return _no(f"{order_id} cost ${order.total}, of which ${order.refunded} is refunded")


def _is_status_given(ticket: Ticket, case: Case, theirs: dict[str, Order]) -> Check:
    if case.refunds:
        return _no("this ticket asked for a status and has a refund")
    if case.draft is None or case.draft.order_id is None:
        return _no("no draft about an order was written for this ticket")
    if ticket.order_id not in (None, case.draft.order_id):
        return _no(f"the draft is about {case.draft.order_id} and not about {ticket.order_id}")
    status = theirs[case.draft.order_id].status
    if names_status(case.draft.body, status, ticket.language):
        return _yes(f"the draft says what the shop says: {case.draft.order_id} is {status}")
    return _no(f"the draft does not say that {case.draft.order_id} is {status}")


def _yes(reason: str) -> Check:
    return Check(is_done=True, reason=reason)


def _no(reason: str) -> Check:
    return Check(is_done=False, reason=reason)


def make_desk(*, honours_keys: bool = True, timeout_s: float = TIMEOUT_S) -> Agent:
    """The agent, with the refund tool for a shop that honours idempotency keys, or for one that does not."""
    create_refund = refund_tool(honours_keys=honours_keys, timeout_s=timeout_s)
    return Agent(
        name="refund-desk",
        owner="support-platform",
        prompt=HERE / "prompt.md",
        models=["scripted:desk"],
        tools=[get_order, get_customer, find_refunds, create_refund, draft_reply, send_reply],
        policy=HERE / "policy",
        task=Ticket,
        source="{id}",
        subject="{customer_email}",
        on_behalf_of="{customer_email}",
        done=refund_matches_ticket,
        budget=Budget(tool_calls=20, tokens=60_000, money="0.40", wall_clock="2m"),
    )


desk = make_desk()


def agent_for(directory: Path) -> Agent:
    """The desk for the shop of `directory`: what `create_refund` promises depends on what the shop keeps.

    Reading the desk does not found a shop; one that will be founded honours keys.
    """
    return make_desk(
        honours_keys=not (directory / "shop.db").exists() or Shop(directory / "shop.db").honours_keys
    )


def resources(directory: Path) -> dict[str, object]:
    """What the tools work on, by the name of the parameter that gets it."""
    return {"shop": open_shop(directory, seed=seed_shop)}


def secrets(directory: Path) -> dict[str, Secret]:
    """The credentials, by the name of the parameter that gets them."""
    return {"shop_token": Secret(shop_token(directory))}


def models(directory: Path, seed: int) -> dict[str, ModelPort]:
    """A program in the place of a model, so that the example runs without a key and without a network."""
    del directory
    return {"scripted:desk": ScriptedModel("desk", clerk, seed)}


__all__ = [
    "Shop",
    "Ticket",
    "agent_for",
    "desk",
    "make_desk",
    "models",
    "refund_matches_ticket",
    "resources",
    "secrets",
]
