"""The shop: the world outside. Customers, products and orders in one SQLite file, and what can be done to them.

Nothing here knows about agents or rules. Like most such systems it does what it is asked, for any order in any
state; it refuses only what cannot be done at all. What *may* be done is for the policy to say. It honours
idempotency keys: the same key again gets the first answer and changes nothing.
"""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import sqlite3
import threading
import weakref
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Literal, TypeVar

from .books import (
    SCHEMA,
    Books,
    ShopBusy,
    ShopDenied,
    ShopError,
    ShopNotFound,
    ShopRefused,
    check_in_order,
    paired,
)
from .records import (
    Address,
    Change,
    Found,
    Handover,
    Item,
    Line,
    MethodState,
    Order,
    OrderOwner,
    OrderState,
    Product,
    ProductName,
    Record,
    Swap,
    User,
)

BUSY_S = 3.0
"""How long a request waits for the ones before it."""
R = TypeVar("R", bound=Record)


@dataclass(frozen=True, slots=True, kw_only=True)
class Stock:
    """What is in a shop on its first morning."""

    users: Sequence[User]
    products: Sequence[Product]
    orders: Sequence[Order]


@dataclass(frozen=True, slots=True, kw_only=True)
class Warrant:
    """Who asks for a change (the token), and by which name it is known if it is asked for again (the key)."""

    key: str
    token: str


class Shop:
    """One open shop. Safe for several threads and processes; every operation is one transaction."""

    def __init__(self, path: Path) -> None:
        self._lock = threading.Lock()
        self._db = sqlite3.connect(path, timeout=BUSY_S, isolation_level=None, check_same_thread=False)
        self._db.row_factory = sqlite3.Row
        self.close = weakref.finalize(self, self._db.close)
        row = self._db.execute("SELECT value FROM setting WHERE name = 'token_sha256'").fetchone()
        self._token_sha256 = str(row["value"])

    # Looking things up. Each raises `ShopNotFound` for what nobody knows.

    def find_by_email(self, email: str) -> Found:
        """Whoever has that e-mail address."""
        with self._transaction() as books:
            return Found(user_id=books.user_with_email(email))

    def find_by_name_zip(self, first_name: str, last_name: str, zip_: str) -> Found:
        """Whoever has that name and lives there."""
        with self._transaction() as books:
            return Found(user_id=books.user_with_name(first_name, last_name, zip_))

    def user(self, user_id: str) -> User:
        """A customer's profile."""
        with self._transaction() as books:
            return books.user(user_id)

    def order(self, order_id: str) -> Order:
        """An order as it stands."""
        with self._transaction() as books:
            return books.order(order_id)

    def product(self, product_id: str) -> Product:
        """A product with its variants."""
        with self._transaction() as books:
            return books.product(product_id)

    def item(self, item_id: str) -> Item:
        """One variant, and what it is a variant of."""
        with self._transaction() as books:
            return books.item(item_id)

    def products(self) -> list[ProductName]:
        """The name of everything that is sold."""
        with self._transaction() as books:
            names = [ProductName(name=each.name, product_id=each.product_id) for each in books.products()]
        return sorted(names, key=lambda each: each.name)

    # What rules ask for.

    def order_state(self, order_id: str) -> OrderState:
        """An order, as rules see it."""
        order = self.order(order_id)
        return OrderState(
            user_id=order.user_id,
            status=order.status,
            total=order.total,
            item_ids=[line.item_id for line in order.items],
            paid_with=order.paid_with,
            changes=order.changes,
        )

    def order_owner(self, order_id: str) -> OrderOwner:
        """Whose an order is. An order that nobody knows is nobody's."""
        try:
            return OrderOwner(user_id=self.order(order_id).user_id)
        except ShopNotFound:
            return OrderOwner(user_id=None)

    def method_state(self, payment_method_id: str) -> MethodState:
        """A payment method, and whose it is."""
        with self._transaction() as books:
            return books.method(payment_method_id)

    def compare(self, order_id: str, item_ids: Sequence[str], new_item_ids: Sequence[str]) -> Swap:
        """What it would mean to put new items in the place of old ones of an order."""
        with self._transaction() as books:
            lines = {line.item_id: line for line in books.order(order_id).items}
            old = [lines[each] if each in lines else books.item(each) for each in item_ids]
            new = [books.item(each) for each in new_item_ids]
        pairs = list(zip(old, new, strict=False))
        return Swap(
            is_paired=len(old) == len(new),
            other_product=[b.item_id for a, b in pairs if a.product_id != b.product_id],
            same_item=[b.item_id for a, b in pairs if a.item_id == b.item_id],
            sold_out=[each.item_id for each in new if not each.is_available],
            difference=sum((b.price - a.price for a, b in pairs), Decimal(0)),
        )

    # Changing things.

    def cancel(self, order_id: str, reason: str, *, by: Warrant) -> Order:
        """Take an order off the list, and pay back what was paid with what it was paid with."""

        def change(books: Books) -> Order:
            order = books.order(order_id)
            payments = [*order.payments, books.pay_back(order.paid_with, order.total)]
            after = {"status": "cancelled", "cancel_reason": reason, "payments": payments}
            return _changed(books, order, "cancel", after)

        return self._change(Order, by, ("cancel", order_id, reason), change)

    def set_order_address(self, order_id: str, address: Address, *, by: Warrant) -> Order:
        """Send an order somewhere else."""

        def change(books: Books) -> Order:
            return _changed(books, books.order(order_id), "address", {"address": address})

        return self._change(Order, by, ("address", order_id, address), change)

    def set_order_payment(self, order_id: str, payment_method_id: str, *, by: Warrant) -> Order:
        """Charge another payment method for an order, and pay back the one before."""

        def change(books: Books) -> Order:
            order = books.order(order_id)
            refund = books.pay_back(order.paid_with, order.total)
            payment = books.charge(payment_method_id, order.total)
            after = {"paid_with": payment_method_id, "payments": [*order.payments, refund, payment]}
            return _changed(books, order, "payment", after)

        return self._change(Order, by, ("payment", order_id, payment_method_id), change)

    def set_order_items(
        self,
        order_id: str,
        item_ids: Sequence[str],
        new_item_ids: Sequence[str],
        payment_method_id: str,
        *,
        by: Warrant,
    ) -> Order:
        """Put other items into an order that has not left, and settle the difference at once."""

        def change(books: Books) -> Order:
            order = books.order(order_id)
            check_in_order(order, item_ids)
            lines = list(order.items)
            for old_id, new_id in zip(item_ids, paired(item_ids, new_item_ids), strict=True):
                at = next(n for n, line in enumerate(lines) if line.item_id == old_id)
                lines[at] = Line.model_validate(books.item(new_id).model_dump(exclude={"is_available"}))
            difference = order.model_copy(update={"items": lines}).total - order.total
            move = books.charge if difference > 0 else books.pay_back
            moved = [move(payment_method_id, abs(difference))] if difference else []
            after = {
                "status": "pending (items modified)",
                "items": lines,
                "payments": [*order.payments, *moved],
            }
            return _changed(books, order, "items", after)

        asked = ("items", order_id, item_ids, new_item_ids, payment_method_id)
        return self._change(Order, by, asked, change)

    def take_back(
        self, order_id: str, item_ids: Sequence[str], payment_method_id: str, *, by: Warrant
    ) -> Order:
        """Ask for items to be sent back. The money follows when they are here."""

        def change(books: Books) -> Order:
            order = books.order(order_id)
            check_in_order(order, item_ids)
            books.method(payment_method_id)
            after = {
                "status": "return requested",
                "coming_back": sorted(item_ids),
                "settled_with": payment_method_id,
            }
            return _changed(books, order, "return", after)

        return self._change(Order, by, ("return", order_id, item_ids, payment_method_id), change)

    def exchange(
        self,
        order_id: str,
        item_ids: Sequence[str],
        new_item_ids: Sequence[str],
        payment_method_id: str,
        *,
        by: Warrant,
    ) -> Order:
        """Ask for items to be sent back and others to be sent instead. The difference is settled then."""

        def change(books: Books) -> Order:
            order = books.order(order_id)
            check_in_order(order, item_ids)
            books.method(payment_method_id)
            for each in paired(item_ids, new_item_ids):
                books.item(each)
            after = {
                "status": "exchange requested",
                "coming_back": sorted(item_ids),
                "sent_instead": sorted(new_item_ids),
                "settled_with": payment_method_id,
            }
            return _changed(books, order, "exchange", after)

        asked = ("exchange", order_id, item_ids, new_item_ids, payment_method_id)
        return self._change(Order, by, asked, change)

    def set_user_address(self, user_id: str, address: Address, *, by: Warrant) -> User:
        """Change where a customer's parcels go unless an order says otherwise."""

        def change(books: Books) -> User:
            user = books.user(user_id).model_copy(update={"address": address})
            books.put(user)
            return user

        return self._change(User, by, ("user_address", user_id, address), change)

    def hand_over(self, summary: str, *, by: Warrant) -> Handover:
        """Put a conversation into the queue of the colleagues."""
        return self._change(Handover, by, ("hand_over", summary), lambda books: books.hand_over(summary))

    def _change(self, kind: type[R], by: Warrant, asked: Sequence[object], change: Callable[[Books], R]) -> R:
        """One change, as a whole or not at all. Under a key that was used before, the answer of that time."""
        if hashlib.sha256(by.token.encode()).hexdigest() != self._token_sha256:
            raise ShopDenied("the shop does not know this token")
        request = json.dumps([each.model_dump() if isinstance(each, Record) else each for each in asked])
        with self._transaction("IMMEDIATE") as books:
            answer = books.once(by.key, request, lambda: change(books))
        return kind.model_validate_json(answer) if isinstance(answer, str) else answer

    @contextmanager
    def _transaction(self, kind: Literal["DEFERRED", "IMMEDIATE"] = "DEFERRED") -> Generator[Books]:
        with self._lock:
            try:
                self._db.execute(f"BEGIN {kind}")
            except sqlite3.OperationalError as error:
                raise ShopBusy("the shop is too busy to take the request") from error
            try:
                yield Books(self._db)
            except BaseException:
                self._db.execute("ROLLBACK")
                raise
            self._db.execute("COMMIT")


def _changed(books: Books, order: Order, change: Change, after: Mapping[str, object]) -> Order:
    """Keep an order as it is after a change, with a note of the change."""
    order = order.model_copy(update={**after, "changes": [*order.changes, change]})
    books.put(order)
    return order


def open_shop(directory: Path, *, stock: Callable[[], Stock]) -> Shop:
    """The shop of a directory, founded with that stock if it is not there yet.

    Several processes may do this at once: whole files are put in place, and the first one wins.
    """
    path = directory / "shop.db"
    if not path.exists():
        token = shop_token(directory)
        with _published(path) as rough, closing(sqlite3.connect(rough)) as db:
            db.execute("PRAGMA journal_mode = WAL")
            db.executescript(SCHEMA)
            digest = hashlib.sha256(token.encode()).hexdigest()
            with db:
                db.execute("INSERT INTO setting VALUES ('token_sha256', ?)", (digest,))
                books, first = Books(db), stock()
                for record in (*first.users, *first.products, *first.orders):
                    books.put(record)
    return Shop(path)


def shop_token(directory: Path) -> str:
    """The token that this shop takes, made with the shop and kept next to it."""
    path = directory / "shop.token"
    if not path.exists():
        directory.mkdir(parents=True, exist_ok=True)
        with _published(path) as rough:
            rough.write_text(f"shop-{secrets.token_urlsafe(24)}", "utf-8")
    return path.read_text("utf-8").strip()


@contextmanager
def _published(path: Path) -> Generator[Path]:
    """A file to write, private to us, that becomes `path` in one step unless somebody was faster."""
    rough = path.with_name(f"{path.name}.{os.getpid()}-{threading.get_ident()}")
    rough.touch(mode=0o600)
    try:
        yield rough
        with suppress(FileExistsError):
            os.link(rough, path)
    finally:
        rough.unlink()


__all__ = [
    "Books",
    "Shop",
    "ShopBusy",
    "ShopDenied",
    "ShopError",
    "ShopNotFound",
    "ShopRefused",
    "Stock",
    "Warrant",
    "open_shop",
    "shop_token",
]
