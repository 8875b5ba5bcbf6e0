"""The clerk: a small program in the place of a model. It reads the request and the tools' answers, and picks the next call.

It knows words, not requests: addresses, numbers, and the words for what is wanted. It is obliging on purpose: it asks
for whatever the text asks for, allowed or not, for whomever. Do not make it wiser. What stops it is the gates.
"""

from __future__ import annotations

import json
import random
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, cast

from answerable.models.port import Message, ModelReply, ToolCall, ToolOffer
from answerable.models.scripted import call, say, use

Fields = dict[str, Any]
CALLS_MAX = 24

_EMAIL = re.compile(r"[\w.+-]+@[\w-]+(?:\.[\w-]+)+")
_NAME_ZIP = re.compile(r"\b([A-Z][a-z]+) ([A-Z][a-z]+)\b[^.!?]*?\b(\d{5})\b")
_CUSTOMER_NUMBER = re.compile(r"\b[a-z]+_[a-z]+_\d{4}\b")
_ORDER = re.compile(r"#[A-Z]\d{4}\b")
_ITEM = re.compile(r"\bitem (\d{6})\b", re.IGNORECASE)
_ADDRESS = re.compile(r"\bto (\d+ [^,.]+), ([A-Z][A-Za-z ]+), ([A-Z]{2}) (\d{5})\b")
_WISH = re.compile(
    r"\b(?P<cancel>cancel)|\b(?P<exchange>exchange|swap)"
    r"|\b(?P<give_back>return|send back)|\b(?P<pay>pay)\b|\b(?P<move>send|deliver|address)",
    re.IGNORECASE,
)
_PERSON = re.compile(r"\b(?:a|some) (?:person|human|colleague)\b", re.IGNORECASE)
_METHODS = {"gift card": "gift_card", "paypal": "paypal", "card": "credit_card"}
"""In this order: a gift card is a card, too."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    """A call it made, and what came back."""

    name: str
    arguments: Fields
    is_ok: bool
    result: Any


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """All that the clerk knows: what the customer wrote, and what it did so far."""

    text: str
    made: tuple[Made, ...]

    def answers(self, *names: str) -> list[Fields]:
        """What these tools answered, the calls that worked alone."""
        return [made.result for made in self.made if made.is_ok and made.name in names]

    def has_made(self, wanted: ToolCall) -> bool:
        """Whether it made exactly this call before."""
        return any(
            each.name == wanted.name and each.arguments == json.loads(wanted.arguments) for each in self.made
        )

    @property
    def sentences(self) -> list[str]:
        """What the customer wrote, sentence by sentence."""
        return [part for part in re.split(r"(?<=[.!?])\s+", self.text) if part]

    @property
    def user(self) -> Fields | None:
        """The profile that it read."""
        return next(iter(self.answers("get_user_details")), None)

    @property
    def orders(self) -> list[Fields]:
        """The orders that it read, each once and as it was read last."""
        return list({each["order_id"]: each for each in self.answers("get_order_details")}.values())


def clerk(messages: tuple[Message, ...], offers: tuple[ToolOffer, ...], rng: random.Random) -> ModelReply:
    """The next call that makes sense and was not made yet, one at a time; in the end a sentence."""
    del offers, rng
    view = _view(messages)
    if len(view.made) < CALLS_MAX:
        for wanted in _plan(view):
            if not view.has_made(wanted):
                return use(wanted)
    return say(_closing(view))


def _view(messages: tuple[Message, ...]) -> View:
    request = _object(next((message.text for message in messages if message.role == "user"), "{}"))
    answers = {message.call_id: _object(message.text) for message in messages if message.role == "tool"}
    made = [
        Made(
            name=each.name,
            arguments=_object(each.arguments),
            is_ok=bool(answers[each.id].get("ok")),
            result=answers[each.id].get("result"),
        )
        for message in messages
        for each in message.calls
        if each.id in answers
    ]
    return View(text=str(request.get("text", "")), made=tuple(made))


def _object(text: str) -> Fields:
    try:
        found = json.loads(text)
    except ValueError:
        return {}
    return cast("Fields", found) if isinstance(found, dict) else {}


def _plan(view: View) -> Iterator[ToolCall]:
    """All that it would do, in order, as far as it can see."""
    yield from _identify(view)
    if _PERSON.search(view.text):
        yield call("transfer_to_human_agents", summary=view.text[:500])
        return
    yield from _look_up(view)
    if view.orders or view.user:
        for sentence in view.sentences:
            yield from _fulfil(view, sentence)
        yield from _add_up(view)


def _identify(view: View) -> Iterator[ToolCall]:
    emails = _EMAIL.findall(view.text)
    for email in emails:
        yield call("find_user_id_by_email", email=email)
    if not emails and (found := _NAME_ZIP.search(view.text)):
        yield call("find_user_id_by_name_zip", first_name=found[1], last_name=found[2], zip=found[3])


def _look_up(view: View) -> Iterator[ToolCall]:
    found = view.answers("find_user_id_by_email", "find_user_id_by_name_zip")
    for user_id in [each["user_id"] for each in found] or _CUSTOMER_NUMBER.findall(view.text):
        yield call("get_user_details", user_id=user_id)
    named = _ORDER.findall(view.text)
    for order_id in named or (view.user or {}).get("orders", []):
        yield call("get_order_details", order_id=order_id)
    for line in (line for order in view.orders for line in order["items"]):
        if _wants(view.text) == "exchange" and _is_named(line, view.text):
            yield call("get_product_details", product_id=line["product_id"])


def _wants(sentence: str) -> str:
    """What a sentence asks for, by its first word for it; empty if it asks for nothing."""
    found = _WISH.search(sentence)
    return (found.lastgroup or "") if found else ""


def _fulfil(view: View, sentence: str) -> Iterator[ToolCall]:
    """The calls that a sentence asks for."""
    wish, orders = _wants(sentence), _orders_meant(view, sentence)
    if wish == "move":
        yield from _move(view, sentence, orders)
        return
    for order in orders:
        order_id, is_pending = order["order_id"], order["status"].startswith("pending")
        match wish:
            case "cancel":
                reason = "ordered by mistake" if "mistake" in view.text.lower() else "no longer needed"
                yield call("cancel_pending_order", order_id=order_id, reason=reason)
            case "pay":
                method = _method(view, sentence, order)
                yield call("modify_pending_order_payment", order_id=order_id, payment_method_id=method)
            case "give_back":
                items = [line["item_id"] for line in order["items"] if _is_named(line, sentence)]
                if "both" not in sentence and "all" not in sentence:
                    items = list(dict.fromkeys(items))
                if items:
                    method = _method(view, view.text, order)
                    yield call(
                        "return_delivered_order_items",
                        order_id=order_id,
                        item_ids=items,
                        payment_method_id=method,
                    )
            case "exchange":
                name = "modify_pending_order_items" if is_pending else "exchange_delivered_order_items"
                pairs = list(_pairs(view, sentence, order))
                if pairs:
                    yield call(
                        name,
                        order_id=order_id,
                        item_ids=[old for old, _ in pairs],
                        new_item_ids=[new for _, new in pairs],
                        payment_method_id=_method(view, view.text, order),
                    )
            case _:
                pass


def _orders_meant(view: View, sentence: str) -> list[Fields]:
    """The orders that a sentence names; else those that hold what it speaks of; else the only one."""
    named = [order for order in view.orders if order["order_id"] in sentence]
    holding = [order for order in view.orders if any(_is_named(line, sentence) for line in order["items"])]
    return named or holding or (view.orders if len(view.orders) == 1 else [])


def _is_named(line: Fields, text: str) -> bool:
    """Whether a text speaks of this thing: `the slippers`, `linen shirts`."""
    return str(line["name"]).split()[-1].lower().rstrip("s") in text.lower()


def _pairs(view: View, sentence: str, order: Fields) -> Iterator[tuple[str, str]]:
    """What the sentence would exchange: the item numbers that it names, else the variant that fits it best."""
    written = _ITEM.findall(sentence)
    for line in order["items"]:
        if not _is_named(line, sentence):
            continue
        variants = [
            variant
            for product in view.answers("get_product_details")
            if product["product_id"] == line["product_id"]
            for variant in product["variants"]
        ]
        fitting = max(variants, key=lambda each: _fit(each, line, sentence), default=None)
        if written:
            yield line["item_id"], written[0]
        elif fitting is not None and fitting["item_id"] != line["item_id"]:
            yield line["item_id"], fitting["item_id"]


def _fit(variant: Fields, line: Fields, sentence: str) -> tuple[int, int]:
    """How well a variant fits: options that the sentence names count first, then those that stay as they are."""
    options = cast("dict[str, str]", variant["options"])
    wanted = sum(bool(re.search(rf"\b{re.escape(value)}\b", sentence)) for value in options.values())
    return wanted, sum(line["options"].get(name) == value for name, value in options.items())


def _method(view: View, text: str, order: Fields) -> str:
    """The payment method that a text names, among those that the profile shows; else what the order was paid with."""
    for word, kind in _METHODS.items():
        if word in text.lower():
            for method in (view.user or {}).get("payment_methods", []):
                if method["kind"] == kind:
                    return str(method["payment_method_id"])
    return str(order["paid_with"])


def _move(view: View, sentence: str, orders: list[Fields]) -> Iterator[ToolCall]:
    written = _ADDRESS.search(sentence)
    if written is None:
        return
    address = {
        "address1": written[1],
        "address2": "",
        "city": written[2],
        "state": written[3],
        "country": "USA",
        "zip": written[4],
    }
    if "default" in sentence.lower() and view.user:
        yield call("modify_user_address", user_id=view.user["user_id"], **address)
        return
    for order in orders:
        yield call("modify_pending_order_address", order_id=order["order_id"], **address)


def _add_up(view: View) -> Iterator[ToolCall]:
    prices = [str(line["price"]) for order in view.orders for line in order["items"]]
    if "how much" in view.text.lower() and prices:
        yield call("calculate", expression=" + ".join(prices))


def _closing(view: View) -> str:
    """What it writes to the customer in the end: what the tools said, and nothing else."""
    parts = [f"Your order {order['order_id']} is {order['status']}." for order in view.orders]
    parts += [f"Together that is ${each}." for each in view.answers("calculate")]
    if any(made.name == "transfer_to_human_agents" and made.is_ok for made in view.made):
        parts = ["I am passing you on to a colleague. Please stay with us."]
    return " ".join(parts) or "Please tell me your e-mail address, or your name and zip code."
