"""What is in the shop on the first morning: customers, products in their variants, and orders in every state."""

from __future__ import annotations

from decimal import Decimal
from itertools import product
from typing import NamedTuple

from .records import (
    Address,
    Line,
    Order,
    Payment,
    PaymentMethod,
    Product,
    Status,
    User,
    Variant,
)
from .shop import Stock


class _Thing(NamedTuple):
    """A product: its options, whose every combination is a variant, the first price, and how it rises."""

    number: str
    name: str
    options: dict[str, tuple[str, ...]]
    price: str
    step: str
    sold_out: tuple[int, ...] = ()


class _Person(NamedTuple):
    name: str
    email: str
    street: str
    city: str
    state: str
    zip: str
    methods: tuple[tuple[str, str | None], ...]


class _Sale(NamedTuple):
    order_id: str
    user_id: str
    status: Status
    items: tuple[str, ...]
    paid_with: str


THINGS = (
    _Thing(
        "700100", "Wool blanket", {"size": ("single", "double"), "colour": ("moss", "rust")}, "64.00", "9.50"
    ),
    _Thing(
        "700200", "Linen shirt", {"size": ("S", "M", "L"), "colour": ("white", "ink")}, "48.00", "0.00", (5,)
    ),
    _Thing("700300", "Felt slippers", {"size": ("37", "39", "41", "43")}, "36.00", "1.00", (2,)),
    _Thing("700400", "Loom kit", {"width": ("20 cm", "40 cm")}, "89.00", "70.00"),
    _Thing(
        "700500", "Larch stool", {"height": ("45 cm", "65 cm"), "finish": ("oiled", "raw")}, "120.00", "15.00"
    ),
)
"""The item of a variant has the product's number and the variant's place: `700201` is the first linen shirt."""

PEOPLE = {
    "ada_lund_1001": _Person(
        "Ada Lund",
        "ada@example.com",
        "14 Harbour Lane",
        "Portland",
        "ME",
        "04101",
        (("credit_card_5001", None), ("gift_card_5002", "30.00")),
    ),
    "bo_okoye_1002": _Person(
        "Bo Okoye",
        "bo@example.com",
        "3 Elm Court",
        "Austin",
        "TX",
        "78701",
        (("paypal_5003", None), ("gift_card_5004", "500.00")),
    ),
    "cara_weiss_1003": _Person(
        "Cara Weiss",
        "cara@example.org",
        "77 Mill Road",
        "Duluth",
        "MN",
        "55802",
        (("credit_card_5005", None), ("paypal_5006", None)),
    ),
    "dov_levi_1004": _Person(
        "Dov Levi",
        "dov@example.org",
        "9 Quarry Street",
        "Reno",
        "NV",
        "89501",
        (("gift_card_5007", "12.00"), ("credit_card_5008", None)),
    ),
}

SALES = (
    _Sale("#L2001", "ada_lund_1001", "pending", ("700101",), "credit_card_5001"),
    _Sale("#L2002", "ada_lund_1001", "delivered", ("700202", "700302"), "credit_card_5001"),
    _Sale("#L2003", "bo_okoye_1002", "pending", ("700501", "700401"), "paypal_5003"),
    _Sale("#L2004", "bo_okoye_1002", "delivered", ("700301",), "paypal_5003"),
    _Sale("#L2005", "cara_weiss_1003", "processed", ("700102",), "credit_card_5005"),
    _Sale("#L2006", "cara_weiss_1003", "delivered", ("700201", "700201"), "credit_card_5005"),
    _Sale("#L2007", "dov_levi_1004", "pending", ("700203",), "credit_card_5008"),
    _Sale("#L2008", "dov_levi_1004", "cancelled", ("700304",), "credit_card_5008"),
)


def stock() -> Stock:
    """The whole shop. The same every time."""
    products = [_product(thing) for thing in THINGS]
    lines = {line.item_id: line for each in products for line in _lines(each)}
    return Stock(
        users=[_user(user_id, person) for user_id, person in PEOPLE.items()],
        products=products,
        orders=[_order(sale, lines) for sale in SALES],
    )


def _product(thing: _Thing) -> Product:
    """Each option after the first in its list makes a variant dearer."""
    variants: list[Variant] = []
    for place, choice in enumerate(product(*thing.options.values()), 1):
        rank = sum(values.index(each) for values, each in zip(thing.options.values(), choice, strict=True))
        variants.append(
            Variant(
                item_id=str(int(thing.number) + place),
                options=dict(zip(thing.options, choice, strict=True)),
                is_available=place not in thing.sold_out,
                price=Decimal(thing.price) + rank * Decimal(thing.step),
            )
        )
    return Product(product_id=thing.number, name=thing.name, variants=variants)


def _lines(made: Product) -> list[Line]:
    return [
        Line(
            item_id=each.item_id,
            product_id=made.product_id,
            name=made.name,
            options=each.options,
            price=each.price,
        )
        for each in made.variants
    ]


def _user(user_id: str, person: _Person) -> User:
    first_name, last_name = person.name.split()
    methods = [
        PaymentMethod.model_validate(
            {
                "payment_method_id": method,
                "kind": method.rpartition("_")[0],
                "balance": None if balance is None else Decimal(balance),
            }
        )
        for method, balance in person.methods
    ]
    return User(
        user_id=user_id,
        first_name=first_name,
        last_name=last_name,
        email=person.email,
        address=_address(person),
        payment_methods=methods,
        orders=[sale.order_id for sale in SALES if sale.user_id == user_id],
    )


def _address(person: _Person) -> Address:
    return Address(
        address1=person.street,
        address2="",
        city=person.city,
        state=person.state,
        country="USA",
        zip=person.zip,
    )


def _order(sale: _Sale, lines: dict[str, Line]) -> Order:
    items = [lines[each] for each in sale.items]
    paid = Payment(
        kind="payment",
        amount=sum((line.price for line in items), Decimal(0)),
        payment_method_id=sale.paid_with,
    )
    refund = paid.model_copy(update={"kind": "refund"})
    return Order(
        order_id=sale.order_id,
        user_id=sale.user_id,
        status=sale.status,
        address=_address(PEOPLE[sale.user_id]),
        items=items,
        paid_with=sale.paid_with,
        payments=[paid, refund] if sale.status == "cancelled" else [paid],
    )
