"""The program in the place of a model: it reads the request and the tools' answers, and picks the next call.

It knows words, not tasks: names, zip codes, e-mail addresses, order numbers and the words for what is wanted.
It never sees what the oracle did. What it cannot find out it does not make up: it hands over to a person.
Whom it talks to and whose order it is, it does not ask itself: that is for the gates.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from answerable.models.scripted import call, say, use

if TYPE_CHECKING:
    import random

    from answerable.models.port import Message, ModelReply, ToolCall, ToolOffer

CALLS_MAX = 20
HANDOVER = "transfer_to_human_agents"
READS = ("find_", "get_", "list_", "calculate")

_EMAIL = re.compile(r"[\w.+-]+@[\w-]+(?:\.[\w-]+)+")
_ZIP = re.compile(r"(?<![\w#])\d{5}(?!\d)")
_NAME = re.compile(r"\b([A-Z][a-z]+) ([A-Z][a-z]+)\b")
_USER_ID = re.compile(r"\b([a-z]+)_([a-z]+)_\d{4}\b")
_ORDER = re.compile(r"#W?\d{7}\b")
_NUMBER = re.compile(r"(?<!\d)\d{10}(?!\d)")
_ITEM = re.compile(r'"name": "([^"]+)", "product_id": "(\d+)", "item_id": "(\d+)"')
_VARIANT = re.compile(r'"item_id": "(\d+)", "options": (\{[^}]*\}), "available": (true|false)')
_PAYMENT = re.compile(r'"((?:credit_card|paypal|gift_card)_\d+)"')
_ADDRESS = re.compile(r'"address": (\{[^}]*\})')
_WRITTEN = re.compile(
    r"(\d{1,5} [A-Z][\w.]*(?: [A-Z][\w.]*)*)(?:, ((?:Suite|Apt|Unit) \w+))?, ([A-Z][a-z]+(?: [A-Z][a-z]+)*),?"
    r" (?:([A-Z]{2}|[A-Z][a-z]+),? )?(\d{5})"
)
_SUITE = re.compile(r"\b(?:Suite|Apt|Unit) \d+")
_STATES = {
    "New York": "NY",
    "Los Angeles": "CA",
    "Chicago": "IL",
    "Houston": "TX",
    "Phoenix": "AZ",
    "Philadelphia": "PA",
    "San Antonio": "TX",
    "San Diego": "CA",
    "Dallas": "TX",
    "San Jose": "CA",
    "Austin": "TX",
    "Denver": "CO",
    "Seattle": "WA",
    "Boston": "MA",
    "Texas": "TX",
    "California": "CA",
    "Florida": "FL",
    "Illinois": "IL",
}
"""A city, or a state's name, → the state as the shop writes it."""
_NO_NAMES = {
    "You",
    "Your",
    "The",
    "San",
    "New",
    "Los",
    "Las",
    "Desk",
    "Air",
    "Tea",
    "Fort",
    "If",
    "For",
    "Big",
}


@dataclass(frozen=True)
class Made:
    """A call that was made, and what came of it."""

    name: str
    arguments: dict[str, Any]
    is_ok: bool
    result: str


class View:
    """What the clerk can see: the request, and the calls so far."""

    def __init__(self, messages: tuple[Message, ...]) -> None:
        self.text: str = json.loads(next(m.text for m in messages if m.role == "user"))["text"]
        self.lower = self.text.lower()
        calls = {each.id: each for m in messages for each in m.calls}
        self.made: list[Made] = []
        for message in messages:
            if message.role == "tool":
                said, asked = json.loads(message.text), calls[message.call_id]
                result = str(said.get("result", said.get("error", "")))
                self.made.append(Made(asked.name, json.loads(asked.arguments), said["ok"], result))

    def results(self, name: str) -> list[Made]:
        """The calls of a tool that gave something."""
        return [made for made in self.made if made.is_ok and made.name.startswith(name)]

    def has_made(self, wanted: ToolCall) -> bool:
        """Whether exactly this was called already."""
        return any(
            made.name == wanted.name and made.arguments == json.loads(wanted.arguments) for made in self.made
        )

    @property
    def user(self) -> str:
        """The user who was found; empty before that."""
        found = self.results("find_user_id")
        return found[-1].result if found else ""

    @property
    def orders(self) -> dict[str, str]:
        """Order id → its record; empty for an order that the request names and no record shows."""
        named = dict.fromkeys(_ORDER.findall(self.text), "")
        return named | {str(made.arguments["order_id"]): made.result for made in self.results("get_order")}

    @property
    def payment(self) -> str:
        """The payment method that the request names, or the first that the records show."""
        shown = [each for made in self.made if made.is_ok for each in _PAYMENT.findall(made.result)]
        for word, kind in (("gift", "gift_card"), ("paypal", "paypal"), ("card", "credit_card")):
            if word in self.lower and (named := [each for each in shown if each.startswith(kind)]):
                return named[0]
        return shown[0] if shown else ""

    def sentences(self, *words: str) -> list[str]:
        """The sentences of the request with one of these words."""
        parts = re.split(r"(?<=[.;!?])\s+|\n|,? and (?=you |then |also )|, but ", self.text)
        return [part for part in parts if any(re.search(rf"\b{word}", part.lower()) for word in words)]


def clerk(
    messages: tuple[Message, ...], tools: tuple[ToolOffer, ...], generator: random.Random
) -> ModelReply:
    """The next call: the first that makes sense and was not made yet. One at a time."""
    del tools, generator
    view = View(messages)
    if len(view.made) < CALLS_MAX:
        for plan in (_identify, _look_up, _change):
            for wanted in plan(view):
                if not view.has_made(wanted):
                    return use(wanted)
    return _finish(view)


def _identify(view: View) -> Iterator[ToolCall]:
    if view.user:
        return
    for email in _EMAIL.findall(view.text):
        yield call("find_user_id_by_email", email=email)
    names = [(first.title(), last.title()) for first, last in _USER_ID.findall(view.text)]
    names += [pair for pair in _NAME.findall(view.text) if pair[0] not in _NO_NAMES]
    for zip_ in _ZIP.findall(view.text)[:2]:
        for first, last in names[:2]:
            yield call("find_user_id_by_name_zip", first_name=first, last_name=last, zip=zip_)


def _look_up(view: View) -> Iterator[ToolCall]:
    if view.user:
        yield call("get_user_details", user_id=view.user)
    for order in _ORDER.findall(view.text):
        yield call("get_order_details", order_id=order if "W" in order else order.replace("#", "#W"))
    for made in view.results("get_user"):
        for order in _ORDER.findall(made.result):
            yield call("get_order_details", order_id=order)
    for number in _NUMBER.findall(view.text):
        yield call("get_item_details", item_id=number)
    for record in view.orders.values():
        for name, product, _ in _ITEM.findall(record):
            if _mentions(view.lower, name):
                yield call("get_product_details", product_id=product)
    asks_for_products = re.search(r"\b(how many|option|exchang|modif|cheapest)", view.lower)
    if asks_for_products and not view.results("get_product"):
        yield call("list_all_product_types")


def _mentions(text: str, name: str) -> bool:
    """Whether the text speaks of a thing of that name: `T-Shirt` as `tshirts`, `Desk Lamp` as `lamp`."""
    squeezed = re.sub(r"[^a-z ]", "", text)
    whole = re.sub(r"[^a-z ]", "", name.lower())
    return whole in squeezed or any(f" {word}" in squeezed for word in whole.split()[-1:] if len(word) > 3)


def _change(view: View) -> Iterator[ToolCall]:
    for order, record in view.orders.items():
        for sentence in view.sentences("cancel"):
            if _is_about(view, sentence, order):
                reason = "ordered by mistake" if "mistake" in view.lower else "no longer needed"
                yield call("cancel_pending_order", order_id=order, reason=reason)
        for sentence in view.sentences("address", "deliver", "ship", "suite"):
            address = _new_address(view, sentence, record, but=order)
            if address and _is_about(view, sentence, order):
                yield call("modify_pending_order_address", order_id=order, **address)
        yield from _change_items(view, order, record)
    for sentence in view.sentences(
        "user address", "default address", "my address", "your address", "profile"
    ):
        address = _new_address(view, sentence, "", but="")
        if address and view.user:
            yield call("modify_user_address", user_id=view.user, **address)


def _is_about(view: View, sentence: str, order: str) -> bool:
    """Whether a sentence is about an order: it names it, or there is no other that it could mean."""
    return order in sentence or (not _ORDER.search(sentence) and len(view.orders) == 1)


def _new_address(view: View, sentence: str, record: str, *, but: str) -> dict[str, str] | None:
    """The address that a sentence asks for: written out, with another suite, or that of another order."""
    known = _ADDRESS.search(record)
    suite_only = _SUITE.search(sentence)
    written = _WRITTEN.search(sentence) or (None if suite_only else _WRITTEN.search(view.text))
    if written:
        street, suite, city, state, zip_ = written.groups()
        state = _STATES.get(state, state) if state else _STATES.get(city, "")
        return _address(street, suite or "", city, state, zip_) if state else None
    if known and suite_only:
        return {**json.loads(known[1]), "address2": suite_only[0]}
    for other in _ORDER.findall(sentence):
        if other != but and other in view.orders and (theirs := _ADDRESS.search(view.orders[other])):
            return dict(json.loads(theirs[1]))
    return None


def _address(street: str, suite: str, city: str, state: str, zip_: str) -> dict[str, str]:
    return {
        "address1": street,
        "address2": suite,
        "city": city,
        "state": state,
        "country": "USA",
        "zip": zip_,
    }


def _change_items(view: View, order: str, record: str) -> Iterator[ToolCall]:
    """Return, exchange or modify the things that the request speaks of, where it is known how to pay."""
    if not view.payment:
        return
    for word, name in (
        ("return", "return_delivered_order_items"),
        ("exchange", "exchange_delivered_order_items"),
        ("modify", "modify_pending_order_items"),
        ("change", "modify_pending_order_items"),
    ):
        said = " ".join(view.sentences(word)).lower()
        mine = [item for item in _ITEM.findall(record) if said and _mentions(said, item[0])]
        swaps = {item: _wanted_variant(view, product, item, said) for _, product, item in mine}
        if word == "return":
            chosen: dict[str, Any] = {"item_ids": list(swaps)}
        else:
            swaps = {old: new for old, new in swaps.items() if new}
            chosen = {"item_ids": list(swaps), "new_item_ids": list(swaps.values())}
        if chosen["item_ids"]:
            yield call(name, order_id=order, payment_method_id=view.payment, **chosen)


def _wanted_variant(view: View, product: str, item: str, said: str) -> str:
    """The available variant of a product that has most of what was asked for; empty if none has any."""
    best, most = "", 0
    for made in view.results("get_product"):
        if made.arguments["product_id"] != product:
            continue
        for variant, options, available in _VARIANT.findall(made.result):
            score = sum(str(value).lower() in said for value in json.loads(options).values())
            if available == "true" and variant != item and score > most:
                best, most = variant, score
    return best


def _finish(view: View) -> ModelReply:
    done = [made for made in view.made if made.is_ok and not made.name.startswith(READS)]
    if done:
        return say(f"Done: {', '.join(sorted({made.name for made in done}))}.")
    why = "the user was not found" if not view.user else "the records do not say enough to act"
    summary = call(HANDOVER, summary=f"The request needs a person: {why}.")
    if not view.has_made(summary):
        return use(summary)
    return use(call("escalate", reason=why, question="What should be done for this customer?"))
