"""The shop of `examples/retail_policy` with somebody else's stock: as recorded, or as in the recording's own database.

The recording cuts every answer off at 300 characters, so it says whose an order is and rarely where it stands.
`recorded_stock` takes what it says and *completes* the rest so that what the oracle did was possible: orders are
in the state that the oracle's write needs, gift cards hold enough. `database_stock` makes nothing up; it needs
the database beside the recording (`tau2_retail_db.json`, the file `db.json` of tau2-bench's retail domain).
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

from tau2_shop import RETAIL, WORKLOADS

from retail_policy.records import (
    Address,
    Line,
    Order,
    Payment,
    PaymentMethod,
    Product,
    User,
    Variant,
)
from retail_policy.shop import Stock

DATABASE = WORKLOADS / "tau2_retail_db.json"
Step = dict[str, Any]

_EMAIL = re.compile(r"[\w.+-]+@[\w-]+(?:\.[\w-]+)+")
_ZIP = re.compile(r"(?<![\w#])\d{5}(?!\d)")
_OWNER = re.compile(r'"user_id": "(\w+)"')
_PENDING = {
    "cancel_pending_order",
    "modify_pending_order_address",
    "modify_pending_order_payment",
    "modify_pending_order_items",
}
STATES = ("pending", "processed", "delivered", "cancelled")
NOWHERE = Address(
    address1="1 Some Street", address2="", city="Denver", state="CO", country="USA", zip="80202"
)
STRANGER = "some_stranger_0001"


@dataclass(frozen=True)
class Conversation:
    """One recorded conversation."""

    id: str
    text: str
    """All that is written down of what the customer knows and wants."""
    user_id: str
    steps: tuple[Step, ...]
    proofs: tuple[Step, ...]
    """How the customer proves who they are: look-ups by e-mail, or by name and zip code."""
    is_proof_recorded: bool


def load_conversations() -> list[Conversation]:
    """Every recorded conversation, in order."""
    return [_conversation(trace) for trace in json.loads(RETAIL.read_text("utf-8"))["traces"]]


def _conversation(trace: dict[str, Any]) -> Conversation:
    said = "\n".join(str(value) for name, value in trace["user"].items() if value and name != "domain")
    known = str(trace["user"]["known_info"])
    proofs = [s for s in trace["steps"] if s["tool"].startswith("find_user") and not s["error"]]
    seen = [_OWNER.search(str(step["result"])) for step in trace["steps"]]
    owner = proofs[0]["result"] if proofs else next((each[1] for each in seen if each), _said_name(known))
    return Conversation(
        id=trace["id"],
        text=said,
        user_id=owner,
        steps=tuple(trace["steps"]),
        proofs=tuple(proofs or _said_proofs(known, owner)),
        is_proof_recorded=bool(proofs),
    )


def _said_name(known: str) -> str:
    """A customer's id, made from the name that they give: where no record shows the real one."""
    found = re.search(r"\b([a-z]+_[a-z]+_\d{4})\b", known)
    if found:
        return found[1]
    first, last = re.findall(r"\b([A-Z][a-z]+) ([A-Z][a-z]+)\b", known)[0]
    return f"{first}_{last}_0000".lower()


def _said_proofs(known: str, owner: str) -> list[Step]:
    """The look-ups that an oracle left out, from what the customer says of themselves; the first may find nobody."""
    first, last = (part.title() for part in owner.split("_")[:2])
    by_email = [
        {"tool": "find_user_id_by_email", "args": {"email": each.rstrip(".")}}
        for each in _EMAIL.findall(known)
    ]
    by_name = [
        {
            "tool": "find_user_id_by_name_zip",
            "args": {"first_name": first, "last_name": last, "zip": each},
        }
        for each in _ZIP.findall(known)
    ]
    return [*by_email, *by_name]


# --- From the database ---------------------------------------------------------------------------------------------


def database_stock(path: Path = DATABASE) -> Stock:
    """The whole recorded shop."""
    read = json.loads(path.read_text("utf-8"), parse_float=Decimal)
    return Stock(
        users=[_db_user(each) for each in read["users"].values()],
        products=[_db_product(each) for each in read["products"].values()],
        orders=[_db_order(each) for each in read["orders"].values()],
    )


def _db_user(read: dict[str, Any]) -> User:
    return User(
        user_id=read["user_id"],
        first_name=read["name"]["first_name"],
        last_name=read["name"]["last_name"],
        email=read["email"],
        address=Address(**read["address"]),
        payment_methods=[
            PaymentMethod(
                payment_method_id=each["id"], kind=each["source"], balance=_money(each.get("balance"))
            )
            for each in read["payment_methods"].values()
        ],
        orders=read["orders"],
    )


def _money(value: Decimal | int | None) -> Decimal | None:
    return None if value is None else Decimal(value)


def _db_product(read: dict[str, Any]) -> Product:
    return Product(
        product_id=read["product_id"],
        name=read["name"],
        variants=[
            Variant(
                item_id=each["item_id"],
                options=each["options"],
                is_available=each["available"],
                price=Decimal(each["price"]),
            )
            for each in read["variants"].values()
        ],
    )


def _db_order(read: dict[str, Any]) -> Order:
    payments = [
        Payment(
            kind=each["transaction_type"],
            amount=Decimal(each["amount"]),
            payment_method_id=each["payment_method_id"],
        )
        for each in read["payment_history"]
    ]
    return Order(
        order_id=read["order_id"],
        user_id=read["user_id"],
        status=read["status"],
        address=Address(**read["address"]),
        items=[Line(**each | {"price": Decimal(each["price"])}) for each in read["items"]],
        paid_with=payments[0].payment_method_id,
        payments=payments,
    )


# --- From the recording alone --------------------------------------------------------------------------------------


@dataclass
class _Sketch:
    """What a recording says of one order, and what its writes need of it."""

    status: str = ""
    paid_with: str = ""
    items: Counter[str] = field(default_factory=Counter[str])


def recorded_stock(said: Conversation) -> Stock:
    """The shop of one conversation, completed; with a stranger and an order of everybody's in every state."""
    sketches, pairs = _sketches(said)
    kinds = _kinds(sketches, pairs)
    products = [_product(f"90000{number}", items) for number, items in enumerate(kinds, 1)]
    products.append(_product("999999", ["9999990001", "9999990002", "9999990003"]))
    lines = {each.item_id: each for product in products for each in _lines(product)}
    methods = sorted(
        {"credit_card_1", "paypal_1", "gift_card_1"}
        | {s["args"]["payment_method_id"] for s in said.steps if "payment_method_id" in s["args"]}
    )
    orders = [
        _order(
            order_id,
            said.user_id,
            sketch.status or "processed",
            list(sketch.items.elements()),
            sketch.paid_with,
        )
        for order_id, sketch in sketches.items()
    ]
    spare = ["9999990001"]
    for number, status in enumerate(STATES):
        orders.append(_order(f"#S{1000 + number}", STRANGER, status, spare, "credit_card_2"))
        orders.append(_order(f"#O{1000 + number}", said.user_id, status, spare, "credit_card_1"))
    return Stock(
        users=[
            _user(said, methods, [each.order_id for each in orders if each.user_id == said.user_id]),
            User(
                user_id=STRANGER,
                first_name="Some",
                last_name="Stranger",
                email="some.stranger@example.com",
                address=NOWHERE,
                payment_methods=[_method("credit_card_2"), _method("gift_card_2")],
                orders=[each.order_id for each in orders if each.user_id == STRANGER],
            ),
        ],
        products=products,
        orders=[
            order.model_copy(update={"items": [lines[line.item_id] for line in order.items]})
            for order in orders
        ],
    )


def _sketches(said: Conversation) -> tuple[dict[str, _Sketch], list[tuple[str, str]]]:
    sketches: dict[str, _Sketch] = {}
    pairs: list[tuple[str, str]] = []
    for step in said.steps:
        args = step["args"]
        if "order_id" not in args or step["error"]:
            continue
        sketch = sketches.setdefault(args["order_id"], _Sketch())
        if step["type"] != "ToolType.WRITE":
            continue
        sketch.status = sketch.status or ("pending" if step["tool"] in _PENDING else "delivered")
        sketch.items |= Counter(args.get("item_ids", ()))
        if step["tool"].startswith("return") and not args["payment_method_id"].startswith("gift_card"):
            sketch.paid_with = args["payment_method_id"]
        pairs += zip(args.get("item_ids", ()), args.get("new_item_ids", ()), strict=False)
    for sketch in sketches.values():
        sketch.items = sketch.items or Counter(["9999990001"])
    return sketches, pairs


def _kinds(sketches: dict[str, _Sketch], pairs: Iterable[tuple[str, str]]) -> list[list[str]]:
    """The items, those together that the oracle exchanged for one another: they are of one product."""
    kind_of: dict[str, set[str]] = {}
    for item in (item for sketch in sketches.values() for item in sketch.items):
        kind_of.setdefault(item, {item})
    for old, new in pairs:
        joined = kind_of.setdefault(old, {old}) | kind_of.setdefault(new, {new})
        kind_of.update(dict.fromkeys(joined, joined))
    found = {frozenset(kind) for item, kind in kind_of.items() if not item.startswith("99999900")}
    return sorted(sorted(kind) for kind in found)


def _product(product_id: str, items: list[str]) -> Product:
    """A product with these variants, and with one that is sold out and one that is dear."""
    more = [f"{product_id}0098", f"{product_id}0099"]
    variants = [
        Variant(
            item_id=each,
            options={"variant": each},
            is_available=each != more[0],
            price=Decimal(9000 if each == more[1] else 20),
        )
        for each in (*items, *more)
    ]
    return Product(product_id=product_id, name=f"Thing {product_id}", variants=variants)


def _lines(product: Product) -> Iterator[Line]:
    for each in product.variants:
        yield Line(
            item_id=each.item_id,
            product_id=product.product_id,
            name=product.name,
            options=each.options,
            price=each.price,
        )


def _order(order_id: str, user_id: str, status: Any, items: list[str], paid_with: str) -> Order:
    method = paid_with or "credit_card_1"
    paid = Payment(kind="payment", amount=Decimal(20) * len(items), payment_method_id=method)
    return Order(
        order_id=order_id,
        user_id=user_id,
        status=status,
        address=NOWHERE,
        items=[
            Line(item_id=each, product_id="0", name="", options={}, price=Decimal(20))
            for each in sorted(items)
        ],
        paid_with=method,
        payments=[paid],
    )


def _user(said: Conversation, methods: list[str], orders: list[str]) -> User:
    first, last = (part.title() for part in said.user_id.split("_")[:2])
    proof = said.proofs[0]["args"]
    return User(
        user_id=said.user_id,
        first_name=proof.get("first_name", first),
        last_name=proof.get("last_name", last),
        email=proof.get("email", f"{said.user_id}@example.com"),
        address=NOWHERE.model_copy(update={"zip": proof.get("zip", NOWHERE.zip)}),
        payment_methods=[_method(each) for each in methods],
        orders=orders,
    )


def _method(method_id: str) -> PaymentMethod:
    kind = method_id.rpartition("_")[0]
    balance = Decimal(5000) if kind == "gift_card" else None
    return PaymentMethod.model_validate({"payment_method_id": method_id, "kind": kind, "balance": balance})
