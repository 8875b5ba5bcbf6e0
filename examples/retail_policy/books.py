"""The shop's books: one transaction's view of the records, and the few moves that they are changed by.

Each record is one JSON document in a table of its kind. Whatever is done here is done in one transaction of
`shop.py`, so that it happens as a whole or not at all.
"""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import TypeVar

from .records import (
    Handover,
    Item,
    MethodState,
    Order,
    Payment,
    PaymentMethod,
    Product,
    Record,
    User,
)

R = TypeVar("R", bound=Record)

SCHEMA = """
CREATE TABLE setting (name TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE user (
    id TEXT PRIMARY KEY, record TEXT NOT NULL, email TEXT NOT NULL UNIQUE, name TEXT NOT NULL, zip TEXT NOT NULL
);
CREATE INDEX user_name_zip ON user (name, zip);
CREATE TABLE method (id TEXT PRIMARY KEY, user_id TEXT NOT NULL REFERENCES user);
CREATE TABLE product (id TEXT PRIMARY KEY, record TEXT NOT NULL);
CREATE TABLE item (id TEXT PRIMARY KEY, product_id TEXT NOT NULL REFERENCES product);
CREATE TABLE sale (id TEXT PRIMARY KEY, record TEXT NOT NULL);
CREATE TABLE handover (number INTEGER PRIMARY KEY, summary TEXT NOT NULL);
CREATE TABLE answered (key TEXT PRIMARY KEY, asked TEXT NOT NULL, answer TEXT NOT NULL);
"""


class ShopError(Exception):
    """The shop did not do what it was asked to do. Nothing happened."""


class ShopNotFound(ShopError):
    """There is no such record."""


class ShopRefused(ShopError):
    """It cannot be done."""


class ShopDenied(ShopError):
    """The token is not one that may change anything."""


class ShopBusy(ShopError):
    """The shop turned the request away at the door."""


class Books:
    """The records, inside one transaction."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db

    # Reading.

    def user(self, user_id: str) -> User:
        """A customer. Raises `ShopNotFound`, like everything here that looks for one record."""
        return User.model_validate_json(self._one("user", user_id, f"there is no customer {user_id}"))

    def order(self, order_id: str) -> Order:
        """An order."""
        return Order.model_validate_json(self._one("sale", order_id, f"there is no order {order_id}"))

    def product(self, product_id: str) -> Product:
        """A product."""
        text = self._one("product", product_id, f"there is no product {product_id}")
        return Product.model_validate_json(text)

    def products(self) -> list[Product]:
        """Every product."""
        rows = self._db.execute("SELECT record FROM product").fetchall()
        return [Product.model_validate_json(row["record"]) for row in rows]

    def item(self, item_id: str) -> Item:
        """A variant, and what it is a variant of."""
        row = self._db.execute("SELECT product_id FROM item WHERE id = ?", (item_id,)).fetchone()
        if row is None:
            raise ShopNotFound(f"there is no item {item_id}")
        product = self.product(row["product_id"])
        variant = next(each for each in product.variants if each.item_id == item_id)
        return Item(name=product.name, product_id=product.product_id, **variant.model_dump())

    def method(self, payment_method_id: str) -> MethodState:
        """A payment method, and whose it is."""
        owner, method = self._method(payment_method_id)
        return MethodState(user_id=owner.user_id, kind=method.kind, balance=method.balance)

    def user_with_email(self, email: str) -> str:
        """The id of whoever has this e-mail address."""
        row = self._db.execute("SELECT id FROM user WHERE email = ?", (email.lower(),)).fetchone()
        return _id(row, "nobody has this e-mail address")

    def user_with_name(self, first_name: str, last_name: str, zip_: str) -> str:
        """The id of whoever has this name and lives there."""
        name = f"{first_name} {last_name}".lower()
        rows = self._db.execute("SELECT id FROM user WHERE name = ? AND zip = ?", (name, zip_)).fetchall()
        return _id(rows[0] if len(rows) == 1 else None, "nobody of this name has this zip code")

    # Changing.

    def put(self, record: Order | User | Product) -> None:
        """Keep a record, in the place of the one before."""
        text = record.model_dump_json()
        match record:
            case Order():
                self._db.execute("INSERT OR REPLACE INTO sale VALUES (?, ?)", (record.order_id, text))
            case Product():
                self._db.execute("INSERT OR REPLACE INTO product VALUES (?, ?)", (record.product_id, text))
                items = [(each.item_id, record.product_id) for each in record.variants]
                self._db.executemany("INSERT OR REPLACE INTO item VALUES (?, ?)", items)
            case User():
                name = f"{record.first_name} {record.last_name}".lower()
                self._db.execute(
                    "INSERT OR REPLACE INTO user VALUES (?, ?, ?, ?, ?)",
                    (record.user_id, text, record.email.lower(), name, record.address.zip),
                )
                methods = [(each.payment_method_id, record.user_id) for each in record.payment_methods]
                self._db.executemany("INSERT OR REPLACE INTO method VALUES (?, ?)", methods)

    def charge(self, payment_method_id: str, amount: Decimal) -> Payment:
        """Take money. A gift card pays only what is on it."""
        self._move(payment_method_id, -amount)
        return Payment(kind="payment", amount=amount, payment_method_id=payment_method_id)

    def pay_back(self, payment_method_id: str, amount: Decimal) -> Payment:
        """Give money back. On a gift card it is at once; elsewhere the bank takes some days."""
        self._move(payment_method_id, amount)
        return Payment(kind="refund", amount=amount, payment_method_id=payment_method_id)

    def hand_over(self, summary: str) -> Handover:
        """Put a conversation into the colleagues' queue."""
        done = self._db.execute(
            "INSERT INTO handover (summary) VALUES (?) RETURNING *", (summary,)
        ).fetchone()
        return Handover(number=done["number"], summary=done["summary"])

    def once(self, key: str, asked: str, change: Callable[[], R]) -> R | str:
        """Do it and remember the answer under `key`; or give the answer that was given under it before, as JSON."""
        row = self._db.execute("SELECT * FROM answered WHERE key = ?", (key,)).fetchone()
        if row is not None:
            if row["asked"] != asked:
                raise ShopRefused("the key was used for another request")
            return str(row["answer"])
        answer = change()
        self._db.execute("INSERT INTO answered VALUES (?, ?, ?)", (key, asked, answer.model_dump_json()))
        return answer

    def _move(self, payment_method_id: str, amount: Decimal) -> None:
        owner, method = self._method(payment_method_id)
        if method.balance is None:
            return
        after = method.balance + amount
        if after < 0:
            raise ShopRefused(f"{payment_method_id} holds ${method.balance}")
        methods = [
            method.model_copy(update={"balance": after})
            if each.payment_method_id == payment_method_id
            else each
            for each in owner.payment_methods
        ]
        self.put(owner.model_copy(update={"payment_methods": methods}))

    def _method(self, payment_method_id: str) -> tuple[User, PaymentMethod]:
        row = self._db.execute("SELECT user_id FROM method WHERE id = ?", (payment_method_id,)).fetchone()
        if row is None:
            raise ShopNotFound(f"there is no payment method {payment_method_id}")
        owner = self.user(row["user_id"])
        return owner, next(
            each for each in owner.payment_methods if each.payment_method_id == payment_method_id
        )

    def _one(self, table: str, id_: str, otherwise: str) -> str:
        row = self._db.execute(f"SELECT record FROM {table} WHERE id = ?", (id_,)).fetchone()
        if row is None:
            raise ShopNotFound(otherwise)
        return str(row["record"])


def check_in_order(order: Order, item_ids: Sequence[str]) -> None:
    """Refuse items that the order does not have, or not so often."""
    surplus = Counter(item_ids) - Counter(line.item_id for line in order.items)
    if surplus:
        raise ShopRefused(f"{order.order_id} does not have {', '.join(sorted(surplus.elements()))}")


def paired(item_ids: Sequence[str], new_item_ids: Sequence[str]) -> Sequence[str]:
    """The new items, if there is one for each old one."""
    if len(item_ids) != len(new_item_ids):
        raise ShopRefused("there must be one new item for each old one")
    return new_item_ids


def _id(row: sqlite3.Row | None, otherwise: str) -> str:
    if row is None:
        raise ShopNotFound(otherwise)
    return str(row["id"])
