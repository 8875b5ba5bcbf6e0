"""One call put to the rules of the retail policy, with everything that the rules read under control."""

from __future__ import annotations

import re
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from answerable.gates.policy import Bundle
from answerable.gates.request import Established, Label, PolicyRequest
from answerable.gates.schema import accept
from answerable.kernel.state import Tally
from answerable.project import bundle_of, load_rules
from retail_policy.agent import HERE, desk
from retail_policy.records import MethodState, OrderOwner, OrderState, Swap

if TYPE_CHECKING:
    from answerable.kernel.decision import Decision

HANDOVER = "transfer_to_human_agents"
ME, STRANGER = "ada_lund_1001", "bo_okoye_1002"
ADDRESS = {
    "address1": "2 Pine Street",
    "address2": "",
    "city": "Portland",
    "state": "ME",
    "country": "USA",
    "zip": "04102",
}
ORDER = {"order_id": "#L2002"}
PAY = {"payment_method_id": "credit_card_5001"}
SWAPPED = {"item_ids": ["700202"], "new_item_ids": ["700203"]}
CALLS: dict[str, dict[str, Any]] = {
    "find_user_id_by_email": {"email": "ada@example.com"},
    "find_user_id_by_name_zip": {"first_name": "Ada", "last_name": "Lund", "zip": "04101"},
    "get_user_details": {"user_id": ME},
    "get_order_details": ORDER,
    "get_product_details": {"product_id": "700200"},
    "get_item_details": {"item_id": "700202"},
    "list_all_product_types": {},
    "calculate": {"expression": "1 + 1"},
    "cancel_pending_order": ORDER | {"reason": "no longer needed"},
    "modify_pending_order_address": ORDER | ADDRESS,
    "modify_pending_order_payment": ORDER | PAY,
    "modify_pending_order_items": ORDER | SWAPPED | PAY,
    "return_delivered_order_items": ORDER | {"item_ids": ["700202"]} | PAY,
    "exchange_delivered_order_items": ORDER | SWAPPED | PAY,
    "modify_user_address": {"user_id": ME} | ADDRESS,
    HANDOVER: {"summary": "The customer would like to talk to somebody."},
}
"""A good call of every tool."""
CHANGES = [name for name in CALLS if name.startswith(("cancel", "modify", "return", "exchange"))]
_STATE = {"delivered": ("return_delivered_order_items", "exchange_delivered_order_items")}


@cache
def rules() -> Bundle:
    """The policy, loaded once."""
    return bundle_of(desk)


@cache
def invariants() -> Bundle:
    """The invariants as rules beside one permit: which of them a call would break."""
    texts = {each.name: each.read_text("utf-8") for each in (HERE / "policy" / "invariants").glob("*.cedar")}
    everything = '@id("everything") @text("Everything.") permit (principal, action, resource);'
    return load_rules(desk, {**texts, "everything.cedar": everything})


def request(
    tool: str,
    *,
    customer: str | None = ME,
    args: dict[str, Any] | None = None,
    order: dict[str, Any] | None = None,
    owner: str | None = ME,
    payment: dict[str, Any] | None = None,
    swap: dict[str, Any] | None = None,
    unknown: tuple[str, ...] = (),
    handed_over: int = 0,
) -> PolicyRequest:
    """A good call of a tool by an authenticated customer, except for what is given.

    `unknown` are the arguments that stand in nothing that was read.
    """
    spec = desk.all_tools()[tool].spec
    arguments = accept(spec, CALLS[tool] | (args or {}))
    status = "delivered" if tool in _STATE["delivered"] else "pending"
    known = {
        "order": OrderState.model_validate(
            {
                "user_id": ME,
                "status": status,
                "total": Decimal("100.00"),
                "item_ids": ["700202", "700302"],
                "paid_with": "paypal_1" if tool == "modify_pending_order_payment" else "credit_card_5001",
                "changes": [],
            }
            | (order or {})
        ),
        "payment": MethodState.model_validate(
            {"user_id": ME, "kind": "credit_card", "balance": None} | (payment or {})
        ),
        "swap": Swap.model_validate(
            {
                "is_paired": True,
                "other_product": [],
                "same_item": [],
                "sold_out": [],
                "difference": Decimal("10.00"),
            }
            | (swap or {})
        ),
    }
    if tool == "get_order_details":
        known["order"] = OrderOwner(user_id=owner)  # type: ignore[assignment]
    return PolicyRequest(
        agent=desk.name,
        tenant="default",
        on_behalf_of="",
        tool=spec,
        arguments=arguments,
        labels={
            name: Label(origin="none" if name in unknown else "text") for name in type(arguments).model_fields
        },
        facts={each.name: known[each.name] for each in spec.facts},
        session={}
        if customer is None
        else {"customer": Established(by="find_user_id_by_email", value=customer)},
        history={HANDOVER: Tally(decided=handed_over, done=handed_over, last=handed_over)},
        now_us=1_790_000_000_000_000,
    )


def decide(tool: str, **given: Any) -> Decision:
    """What the rules say of it."""
    return rules().decide(request(tool, **given))


def rules_named_in(page: Path) -> set[str]:
    """Every rule that a page names: in backticks behind the word rule or rules, one or several."""
    named = re.findall(r"\b[Rr]ules? ((?:`[a-z-]+`(?:, )?)+)", page.read_text("utf-8"))
    return {each for group in named for each in re.findall(r"`([a-z-]+)`", group)}
