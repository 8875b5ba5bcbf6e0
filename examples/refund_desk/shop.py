"""The shop: the world outside. A small system of record in one SQLite file, and all the faults of a real one.

Nothing here knows about agents. The shop sells tea, takes a token, keeps its own records and refuses what any
vendor would. It can lose a request (nothing happened) and it can lose a reply (it happened, and nobody was
told); to the caller the two look the same. Whether it honours idempotency keys is a setting in its database,
so that every process which opens the file sees the same shop.
"""

from __future__ import annotations

import hashlib
import os
import secrets
import sqlite3
import threading
import time
import weakref
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict

CENT = Decimal("0.01")
BUSY_S = 3.0
"""How long a request waits for the ones before it. Then it is turned away: better than a late yes."""

Status = Literal["processing", "shipped", "delivered", "cancelled"]
Fault = Literal["lose_request", "lose_reply", "slow", "slow_reply", "unavailable"]


class ShopError(Exception):
    """The shop did not do what it was asked to do, or did not say so."""


class ShopRefused(ShopError):
    """The shop looked at it and said no. Nothing happened."""


class ShopNotFound(ShopRefused):
    """There is no such record."""


class ShopDenied(ShopRefused):
    """The token is not one that may change anything."""


class ShopUnavailable(ShopError):
    """The shop turned the request away at the door. Nothing happened."""


class ShopTimeout(ShopError):
    """No reply came. It may have happened, or not."""


def _cents(value: object) -> object:
    """SQLite gives back a number; money has two places."""
    return Decimal(str(value)).quantize(CENT) if isinstance(value, (int, float)) else value


Money = Annotated[Decimal, BeforeValidator(_cents)]


class _Record(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Item(_Record):
    """One line of an order."""

    name: str
    quantity: int
    price: Money


class Order(_Record):
    """An order as the shop has it now. `note` was written by the customer."""

    order_id: str
    customer_id: str
    status: Status
    is_paid: bool
    paid_with: str
    currency: str
    total: Money
    refunded: Money
    """What has been paid back so far; cancelled refunds do not count."""
    placed: str
    items: list[Item]
    note: str


class Customer(_Record):
    """A customer, and whether the shop has reason to look twice."""

    customer_id: str
    name: str
    email: str
    language: str
    standing: Literal["good", "watched"]


class Refund(_Record):
    """Money that went back, and on which ticket."""

    refund_id: str
    order_id: str
    ticket_id: str
    amount: Money
    currency: str
    reason: str
    status: Literal["done", "cancelled"]
    created: str


class Refunds(_Record):
    """Every refund of one order, the oldest first."""

    order_id: str
    refunds: list[Refund]


class Draft(_Record):
    """A reply that nobody has sent."""

    ticket_id: str
    order_id: str | None
    language: str
    subject: str
    body: str


class Sent(_Record):
    """A reply that has left."""

    ticket_id: str
    to: str
    subject: str
    body: str
    created: str


class Case(_Record):
    """What the shop's own records hold about one ticket: what was done on it, and to which orders."""

    ticket_id: str
    customer_id: str | None
    """Who has the e-mail address on the ticket, if anybody."""
    orders: list[Order]
    refunds: list[Refund]
    draft: Draft | None
    sent: list[Sent]


def _utc_now() -> datetime:
    return datetime.now(UTC)


class Shop:
    """One open shop. Safe for several threads and several processes; every operation is one transaction."""

    def __init__(self, path: Path, *, now: Callable[[], datetime] = _utc_now) -> None:
        self._now = now
        self._lock = threading.Lock()
        self._db = sqlite3.connect(path, timeout=BUSY_S, isolation_level=None, check_same_thread=False)
        self._db.row_factory = sqlite3.Row
        self.close = weakref.finalize(self, self._db.close)
        settings = {str(row["name"]): str(row["value"]) for row in self._db.execute("SELECT * FROM setting")}
        self.honours_keys = settings["honours_keys"] == "1"
        self._token_sha256 = settings["token_sha256"]
        self._slow_s = int(settings["slow_ms"]) / 1000

    # Looking things up.

    def order(self, order_id: str) -> Order:
        """The order of that id. Raises `ShopNotFound`."""
        with self._operation("get_order", order_id) as db:
            return _order(db, order_id)

    def customer(self, email: str) -> Customer:
        """Whoever has that e-mail address. Raises `ShopNotFound`."""
        with self._operation("get_customer", email) as db:
            row = db.execute("SELECT * FROM customer WHERE email = ?", (email,)).fetchone()
        if row is None:
            raise ShopNotFound(f"nobody has the e-mail address {email}")
        return Customer.model_validate(dict(row))

    def refunds(self, order_id: str) -> Refunds:
        """All refunds of an order, cancelled ones too. An unknown order has none."""
        with self._operation("find_refunds", order_id) as db:
            rows = db.execute("SELECT * FROM refund WHERE order_id = ? ORDER BY id", (order_id,)).fetchall()
        return Refunds(order_id=order_id, refunds=[_refund(row) for row in rows])

    def refund_with_reference(self, reference: str) -> Refund | None:
        """The refund that carries this reference, if there is one."""
        with self._operation("find_reference", reference) as db:
            row = db.execute("SELECT * FROM refund WHERE reference = ? ORDER BY id", (reference,)).fetchone()
        return None if row is None else _refund(row)

    def case(self, ticket_id: str, email: str) -> Case:
        """What was done about a ticket."""
        with self._operation("get_case", ticket_id) as db:
            customer = db.execute("SELECT customer_id FROM customer WHERE email = ?", (email,)).fetchone()
            about = (ticket_id,)
            refunds = db.execute("SELECT * FROM refund WHERE ticket_id = ? ORDER BY id", about).fetchall()
            draft = db.execute("SELECT * FROM draft WHERE ticket_id = ?", about).fetchone()
            sent = db.execute("SELECT * FROM sent WHERE ticket_id = ? ORDER BY id", about).fetchall()
            named = {str(row["order_id"]) for row in refunds}
            if draft is not None and draft["order_id"] is not None:
                named.add(str(draft["order_id"]))
            return Case(
                ticket_id=ticket_id,
                customer_id=None if customer is None else customer["customer_id"],
                orders=[_order(db, order_id) for order_id in sorted(named)],
                refunds=[_refund(row) for row in refunds],
                draft=None if draft is None else Draft.model_validate(dict(draft)),
                sent=[_sent(row) for row in sent],
            )

    # Changing things.

    def refund(
        self, order_id: str, amount: Decimal, reason: str, *, ticket_id: str, key: str, token: str
    ) -> Refund:
        """Pay `amount` back. Where keys are honoured, the same key again returns the first refund.

        The key is kept as the refund's reference even where it is not honoured, as vendors keep a memo.
        Raises `ShopRefused` for an order that is not paid, for more than was paid, and for a key that was
        used for something else.
        """
        asked = f"{order_id} {amount.normalize():f} {ticket_id}"
        with self._operation("refund", order_id, token) as db:
            if self.honours_keys:
                known = db.execute("SELECT * FROM idempotency WHERE key = ?", (key,)).fetchone()
                if known is not None:
                    if known["asked"] != asked:
                        raise ShopRefused("this idempotency key was used for another refund")
                    return _refund_of(db, known["refund"])
            order = _order(db, order_id)
            if not order.is_paid:
                raise ShopRefused(f"{order_id} has not been paid")
            if amount <= 0 or amount != amount.quantize(CENT) or order.refunded + amount > order.total:
                left = order.total - order.refunded
                raise ShopRefused(f"{left} of {order_id} can be paid back, and not {amount}")
            row = db.execute(
                "INSERT INTO refund"
                " (order_id, ticket_id, amount, currency, reason, reference, status, created)"
                " VALUES (?, ?, ?, ?, ?, ?, 'done', ?)",
                (order_id, ticket_id, f"{amount:f}", order.currency, reason, key, self._created()),
            )
            if self.honours_keys:
                db.execute("INSERT INTO idempotency VALUES (?, ?, ?)", (key, asked, row.lastrowid))
            return _refund_of(db, row.lastrowid)

    def cancel_refund(self, refund_id: str, reason: str, *, token: str) -> Refund:
        """Take a refund back. Cancelling it again changes nothing."""
        with self._operation("cancel_refund", refund_id, token) as db:
            number = int(refund_id.removeprefix("R-"))
            if db.execute("SELECT id FROM refund WHERE id = ?", (number,)).fetchone() is None:
                raise ShopNotFound(f"there is no refund {refund_id}")
            db.execute(
                "UPDATE refund SET status = 'cancelled', reason = reason || ' | cancelled: ' || ?"
                " WHERE id = ? AND status = 'done'",
                (reason, number),
            )
            return _refund_of(db, number)

    def save_draft(self, draft: Draft, *, token: str) -> Draft:
        """Keep a reply for later. A ticket has one draft; saving again replaces it."""
        with self._operation("save_draft", draft.ticket_id, token) as db:
            if draft.order_id is not None:
                _order(db, draft.order_id)
            db.execute(
                "INSERT OR REPLACE INTO draft VALUES (:ticket_id, :order_id, :language, :subject, :body)",
                draft.model_dump(),
            )
        return draft

    def send(self, ticket_id: str, to: str, subject: str, body: str, *, token: str) -> Sent:
        """Send a reply. It cannot be taken back, and sending it again sends it again."""
        with self._operation("send", ticket_id, token) as db:
            row = db.execute(
                "INSERT INTO sent (ticket_id, address, subject, body, created)"
                " VALUES (?, ?, ?, ?, ?) RETURNING *",
                (ticket_id, to, subject, body, self._created()),
            ).fetchone()
            return _sent(row)

    # Making things go wrong.

    def set_fault(self, operation: str, target: str, kind: Fault, *, times: int = 1) -> None:
        """The next `times` times that `operation` is asked for `target`, `kind` happens."""
        with self._transaction("IMMEDIATE") as db:
            db.execute("INSERT OR REPLACE INTO fault VALUES (?, ?, ?, ?)", (operation, target, kind, times))

    @contextmanager
    def _operation(
        self, operation: str, target: str, token: str | None = None
    ) -> Generator[sqlite3.Connection]:
        """One request: the fault that is due, if any, around one transaction."""
        fault = self._take_fault(operation, target)
        match fault:
            case "lose_request":
                raise ShopTimeout("the shop did not answer in time")
            case "unavailable":
                raise ShopUnavailable("the shop is too busy to take the request")
            case "slow":
                time.sleep(self._slow_s)
            case _:
                pass
        with self._transaction("DEFERRED" if token is None else "IMMEDIATE") as db:
            if token is not None and hashlib.sha256(token.encode()).hexdigest() != self._token_sha256:
                raise ShopDenied("the shop does not know this token")
            yield db
        if fault == "slow_reply":
            time.sleep(self._slow_s)
        if fault == "lose_reply":
            raise ShopTimeout("the shop did not answer in time")

    def _take_fault(self, operation: str, target: str) -> str | None:
        at = (operation, target)
        with self._transaction("DEFERRED") as db:
            if db.execute(_DUE, at).fetchone() is None:
                return None
        with self._transaction("IMMEDIATE") as db:
            row = db.execute(_DUE, at).fetchone()
            if row is None:
                return None
            db.execute("UPDATE fault SET remaining = remaining - 1 WHERE rowid = ?", (row["rowid"],))
            return str(row["kind"])

    @contextmanager
    def _transaction(self, kind: Literal["DEFERRED", "IMMEDIATE"]) -> Generator[sqlite3.Connection]:
        with self._lock:
            try:
                self._db.execute(f"BEGIN {kind}")
            except sqlite3.OperationalError as error:
                raise ShopUnavailable("the shop is too busy to take the request") from error
            try:
                yield self._db
            except BaseException:
                self._db.execute("ROLLBACK")
                raise
            self._db.execute("COMMIT")

    def _created(self) -> str:
        return self._now().isoformat(timespec="milliseconds")


def _order(db: sqlite3.Connection, order_id: str) -> Order:
    row = db.execute("SELECT * FROM shop_order WHERE order_id = ?", (order_id,)).fetchone()
    if row is None:
        raise ShopNotFound(f"there is no order {order_id}")
    items = [
        Item.model_validate({"name": item["name"], "quantity": item["quantity"], "price": item["price"]})
        for item in db.execute("SELECT * FROM item WHERE order_id = ? ORDER BY position", (order_id,))
    ]
    standing = db.execute("SELECT amount FROM refund WHERE order_id = ? AND status = 'done'", (order_id,))
    # Summed here and not by SQLite, whose SUM is a float.
    refunded = sum((Decimal(str(paid["amount"])) for paid in standing), Decimal(0)).quantize(CENT)
    total = sum((item.price * item.quantity for item in items), Decimal(0)).quantize(CENT)
    return Order.model_validate(dict(row) | {"items": items, "total": total, "refunded": refunded})


def _refund(row: sqlite3.Row) -> Refund:
    fields: dict[str, Any] = dict(row)
    number = fields.pop("id")
    del fields["reference"]
    return Refund.model_validate(fields | {"refund_id": f"R-{number:04d}"})


def _refund_of(db: sqlite3.Connection, number: int | None) -> Refund:
    return _refund(db.execute("SELECT * FROM refund WHERE id = ?", (number,)).fetchone())


def _sent(row: sqlite3.Row) -> Sent:
    fields: dict[str, Any] = dict(row)
    del fields["id"]
    return Sent.model_validate(fields | {"to": fields.pop("address")})


def open_shop(
    directory: Path,
    *,
    seed: Callable[[sqlite3.Connection], None],
    honours_keys: bool = True,
    slow_ms: int = 300,
    now: Callable[[], datetime] = _utc_now,
) -> Shop:
    """The shop of a directory, founded and filled by `seed` if it is not there yet.

    `honours_keys` and `slow_ms` count only then; afterwards they are what the database says. Several
    processes may do this at once: whole files are put in place, and the first one wins.
    """
    path = directory / "shop.db"
    if not path.exists():
        directory.mkdir(parents=True, exist_ok=True)
        token = shop_token(directory)
        with _published(path) as rough, _closing(sqlite3.connect(rough)) as db:
            db.execute("PRAGMA journal_mode = WAL")
            db.executescript(_SCHEMA)
            settings = {
                "honours_keys": str(int(honours_keys)),
                "slow_ms": str(slow_ms),
                "token_sha256": hashlib.sha256(token.encode()).hexdigest(),
            }
            with db:
                db.executemany("INSERT INTO setting VALUES (?, ?)", settings.items())
                seed(db)
    return Shop(path, now=now)


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


@contextmanager
def _closing(db: sqlite3.Connection) -> Generator[sqlite3.Connection]:
    try:
        yield db
    finally:
        db.close()


_DUE = "SELECT rowid, kind FROM fault WHERE operation = ? AND order_id = ? AND remaining > 0 ORDER BY kind"

_SCHEMA = """
CREATE TABLE setting (name TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE customer (
    customer_id TEXT PRIMARY KEY, name TEXT NOT NULL, email TEXT NOT NULL UNIQUE,
    language TEXT NOT NULL, standing TEXT NOT NULL
);
CREATE TABLE shop_order (
    order_id TEXT PRIMARY KEY, customer_id TEXT NOT NULL REFERENCES customer, status TEXT NOT NULL,
    is_paid INTEGER NOT NULL, paid_with TEXT NOT NULL, currency TEXT NOT NULL, placed TEXT NOT NULL,
    note TEXT NOT NULL
);
CREATE TABLE item (
    order_id TEXT NOT NULL REFERENCES shop_order, position INTEGER NOT NULL, name TEXT NOT NULL,
    quantity INTEGER NOT NULL, price NUMERIC NOT NULL, PRIMARY KEY (order_id, position)
);
CREATE TABLE refund (
    id INTEGER PRIMARY KEY, order_id TEXT NOT NULL REFERENCES shop_order, ticket_id TEXT NOT NULL,
    amount NUMERIC NOT NULL, currency TEXT NOT NULL, reason TEXT NOT NULL, reference TEXT NOT NULL,
    status TEXT NOT NULL, created TEXT NOT NULL
);
CREATE INDEX refund_order ON refund (order_id);
CREATE INDEX refund_ticket ON refund (ticket_id);
CREATE INDEX refund_reference ON refund (reference);
CREATE TABLE idempotency (key TEXT PRIMARY KEY, asked TEXT NOT NULL, refund INTEGER NOT NULL);
CREATE TABLE draft (
    ticket_id TEXT PRIMARY KEY, order_id TEXT, language TEXT NOT NULL, subject TEXT NOT NULL,
    body TEXT NOT NULL
);
CREATE TABLE sent (
    id INTEGER PRIMARY KEY, ticket_id TEXT NOT NULL, address TEXT NOT NULL, subject TEXT NOT NULL,
    body TEXT NOT NULL, created TEXT NOT NULL
);
CREATE TABLE fault (
    operation TEXT NOT NULL, order_id TEXT NOT NULL, kind TEXT NOT NULL, remaining INTEGER NOT NULL,
    PRIMARY KEY (operation, order_id, kind)
);
"""
