"""What the shop keeps on record: customers, products, orders, and what was done to them."""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict

from answerable import Kind

CENT = Decimal("0.01")

Status = Literal[
    "pending",
    "pending (items modified)",
    "processed",
    "delivered",
    "cancelled",
    "return requested",
    "exchange requested",
]
"""Where an order stands. After its items were changed it is still to be sent, and nobody may touch it again."""

MethodKind = Literal["credit_card", "paypal", "gift_card"]
Change = Literal["address", "payment", "items", "cancel", "return", "exchange"]


def _cents(value: Decimal) -> Decimal:
    return value.quantize(CENT)


Money = Annotated[Decimal, AfterValidator(_cents)]
UserId = Annotated[str, Kind("user_id")]
OrderId = Annotated[str, Kind("order_id")]
ItemId = Annotated[str, Kind("item_id")]
ProductId = Annotated[str, Kind("product_id")]
MethodId = Annotated[str, Kind("payment_method_id")]


class Record(BaseModel):
    """Closed and frozen: a record is replaced, never edited."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Address(Record):
    """Where a parcel goes."""

    address1: str
    address2: str
    city: str
    state: str
    country: str
    zip: str


class PaymentMethod(Record):
    """One way in which a customer pays. Only a gift card has a balance."""

    payment_method_id: MethodId
    kind: MethodKind
    balance: Money | None = None


class User(Record):
    """A customer's profile."""

    user_id: UserId
    first_name: str
    last_name: str
    email: str
    address: Address
    payment_methods: list[PaymentMethod]
    orders: list[OrderId]


class Variant(Record):
    """One thing that can be bought: a product in one choice of its options."""

    item_id: ItemId
    options: dict[str, str]
    is_available: bool
    price: Money


class Product(Record):
    """A product with all its variants."""

    product_id: ProductId
    name: str
    variants: list[Variant]


class Item(Record):
    """A variant together with the product that it is one of."""

    item_id: ItemId
    product_id: ProductId
    name: str
    options: dict[str, str]
    is_available: bool
    price: Money


class Line(Record):
    """One thing in an order, at the price that it was sold for."""

    item_id: ItemId
    product_id: ProductId
    name: str
    options: dict[str, str]
    price: Money


class Payment(Record):
    """Money that came in for an order, or went back."""

    kind: Literal["payment", "refund"]
    amount: Money
    payment_method_id: MethodId


class Order(Record):
    """An order as it stands now."""

    order_id: OrderId
    user_id: UserId
    status: Status
    address: Address
    items: list[Line]
    paid_with: MethodId
    """What pays for it: where a refund goes."""
    payments: list[Payment]
    changes: list[Change] = []
    """What this desk has done to it, in order."""
    cancel_reason: str | None = None
    coming_back: list[ItemId] = []
    """What the customer sends back, in a return or an exchange."""
    sent_instead: list[ItemId] = []
    """What is sent in its place, in an exchange."""
    settled_with: MethodId | None = None
    """Where the difference or the refund goes once the parcel is back."""

    @property
    def total(self) -> Decimal:
        """What its items cost together."""
        return sum((line.price for line in self.items), Decimal(0)).quantize(CENT)


class Found(Record):
    """Whom a look-up by e-mail, or by name and zip code, has found."""

    user_id: UserId


class ProductName(Record):
    """A product, by name."""

    name: str
    product_id: ProductId


class Handover(Record):
    """That a colleague takes the conversation over."""

    number: int
    summary: str


# What rules ask for. No model sees these.


class OrderState(Record):
    """An order, as far as a rule can want to know."""

    user_id: str
    status: Status
    total: Money
    item_ids: list[str]
    paid_with: str
    changes: list[Change]


class OrderOwner(Record):
    """Whose an order is; nobody's where there is no such order."""

    user_id: str | None


class MethodState(Record):
    """A payment method, and whose it is."""

    user_id: str
    kind: MethodKind
    balance: Money | None


class Swap(Record):
    """What it would mean to put new items in the place of old ones, pair by pair."""

    is_paired: bool
    """Whether there is one new item for each old one."""
    other_product: list[str]
    """New items that are not of the product whose place they would take."""
    same_item: list[str]
    """New items that are just what they would replace."""
    sold_out: list[str]
    """New items that are not available."""
    difference: Money
    """What the customer would pay; below zero is what they get back."""
