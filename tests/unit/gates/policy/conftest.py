"""A small refund desk for policy tests: three tools, two agents, and rules like those a team would write."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Annotated, Any, Literal

import pytest
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from answerable.gates.policy import load_bundle
from answerable.gates.request import Label, PolicyRequest, TotalValue
from answerable.kernel.tool import EffectClass, FactSpec, ToolSpec, Total

if TYPE_CHECKING:
    from answerable.gates.policy import Bundle


class Model(BaseModel):
    """As registration makes them: strict, closed, frozen."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)


class Order(Model):
    """What the shop says of an order. `weight` is a float, which no rule can read."""

    id: str
    total_usd: Decimal
    status: Literal["open", "paid"]
    placed: datetime
    weight: float = 0.0


class Customer(Model):
    """Somebody the shop may or may not know."""

    tier: str


class OrderArguments(Model):
    """Arguments of the reads."""

    order_id: str


class Item(Model):
    """A line of an order."""

    sku: str


class RefundArguments(Model):
    """Arguments of the refund. `extra` is free-form, which no rule can read."""

    order_id: str
    amount_usd: Annotated[Decimal, Field(gt=0, le=20_000)]
    reason: str
    note: str | None = None
    tags: list[str] = Field(default_factory=list)
    items: list[Item] = Field(default_factory=list["Item"])
    extra: dict[str, Any] = Field(default_factory=dict)


class ReplyArguments(Model):
    """Arguments of the reply."""

    to: list[str]
    body: str


NOON = datetime(2026, 6, 1, 12, tzinfo=UTC)

RULES = """
// What the desk may do.
@id("reads") @text("Reading is free")
permit (principal, action in Action::"read", resource);

@id("refunds") @text("The desk may refund") @owner("support-platform")
permit (principal in Role::"support", action == Action::"create_refund", resource);

@id("replies") @text("The desk may reply")
permit (principal in Role::"support", action == Action::"send_reply", resource);

// What it may not, or not alone.
@id("refund-cap") @text("Refunds over 500 need a person")
@decision("require_approval") @approvers("finance, lead") @count("2")
forbid (principal, action == Action::"create_refund", resource)
when { context.args.amount_usd.greaterThan(decimal("500.00")) };

@id("refund-day") @text("More than three refunds need a person")
@decision("require_approval") @approvers("lead")
forbid (principal, action == Action::"create_refund", resource)
when { context.totals.refunded.count >= 3 };

@id("over-order") @text("Never refund more than the order")
forbid (principal, action == Action::"create_refund", resource)
when { context.args.amount_usd.greaterThan(context.facts.order.total_usd) };

@id("untrusted-order") @text("The order id must come from a trusted place")
forbid (principal, action == Action::"create_refund", resource)
unless { context.labels.order_id.trusted };
"""


def make_tool(
    name: str, arguments: type[BaseModel], effect_class: EffectClass, result: object = str, **more: Any
) -> ToolSpec:
    """A tool value with as little said as possible."""
    return ToolSpec(
        name=name,
        description=name,
        effect_class=effect_class,
        arguments=arguments,
        result=TypeAdapter[Any](result),
        result_annotation=result,
        **more,
    )


class Desk:
    """Loads rules for the desk's tools and asks about its calls."""

    get_order = make_tool("get_order", OrderArguments, EffectClass.READ, Order)
    find_customer = make_tool("find_customer", OrderArguments, EffectClass.READ, Customer | None)
    create_refund = make_tool(
        "create_refund",
        RefundArguments,
        EffectClass.WRITE,
        facts=(
            FactSpec(name="order", tool="get_order", arguments={"order_id": "{order_id}"}),
            FactSpec(name="customer", tool="find_customer", arguments={"order_id": "{order_id}"}),
        ),
        totals=(Total(name="refunded", of="amount_usd", by="{order_id}"),),
    )
    send_reply = make_tool("send_reply", ReplyArguments, EffectClass.IRREVERSIBLE)
    tools = (get_order, find_customer, create_refund, send_reply)
    rules = RULES
    order = Order(id="A-1", total_usd=Decimal("900.00"), status="paid", placed=NOON)

    def load(self, more: str = "", *, only: str | None = None, **options: Any) -> Bundle:
        """The desk's rules with `more` in a second file, or `only` these."""
        sources = {"desk.cedar": RULES, "more.cedar": more} if only is None else {"only.cedar": only}
        given: dict[str, Any] = {
            "tools": self.tools,
            "agents": ["desk", "intern"],
            "roles": {"desk": ["support"]},
            "tool_sets": {"money": ["create_refund"]},
        }
        return load_bundle(sources, **(given | options))

    def refund(
        self, amount: str = "20.00", *, arguments: dict[str, Any] | None = None, **changes: Any
    ) -> PolicyRequest:
        """A request for a refund, harmless unless changed."""
        given = {"order_id": "A-1", "amount_usd": Decimal(amount), "reason": "broken"} | (arguments or {})
        request = PolicyRequest(
            agent="desk",
            tenant="acme",
            on_behalf_of="user-1",
            tool=self.create_refund,
            arguments=RefundArguments(**given),
            labels={
                name: Label(origin="field", sources=("ticket",)) for name in RefundArguments.model_fields
            },
            facts={"order": self.order, "customer": None},
            totals={"refunded": TotalValue(amount=Decimal("20.00"), count=0)},
            now_us=int(NOON.timestamp()) * 1_000_000,
        )
        return replace(request, **changes)

    def read(self, **changes: Any) -> PolicyRequest:
        """A request to read an order."""
        request = PolicyRequest(
            agent="desk",
            tenant="acme",
            on_behalf_of="",
            tool=self.get_order,
            arguments=OrderArguments(order_id="A-1"),
        )
        return replace(request, **changes)

    def reply(self, *to: str, body: str = "hello", **changes: Any) -> PolicyRequest:
        """A request to send a reply."""
        request = PolicyRequest(
            agent="desk",
            tenant="acme",
            on_behalf_of="",
            tool=self.send_reply,
            arguments=ReplyArguments(to=list(to), body=body),
        )
        return replace(request, **changes)


@pytest.fixture
def desk() -> Desk:
    """The refund desk."""
    return Desk()
