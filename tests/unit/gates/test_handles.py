"""A model passes a hidden value on without seeing it."""

from __future__ import annotations

from typing import Annotated

import pytest
from pydantic import BaseModel

from answerable.gates import handles
from answerable.kernel.marks import Hidden, Kind, marks_of_model


class Card(BaseModel):
    holder: str
    number: Annotated[str, Kind("card"), Hidden()]


class Wallet(BaseModel):
    cards: list[Card]
    best: Card | None = None
    named: dict[str, Card] = {}
    note: str = ""


class Charge(BaseModel):
    card: Annotated[str, Kind("card")]
    others: list[Annotated[str, Kind("card")]] = []
    note: str = ""


WALLET, CHARGE = marks_of_model(Wallet), marks_of_model(Charge)
RESULT = {
    "cards": [{"holder": "Ana", "number": "4111"}, {"holder": "Ben", "number": "5222"}],
    "best": None,
    "named": {"a": {"holder": "Ana", "number": "4111"}},
    "note": "x",
    "new": "field",
}


def test_hidden_values_are_shown_as_handles_and_found_again() -> None:
    shown = handles.hide(WALLET, RESULT, "3.0")
    assert shown == {
        "cards": [
            {"holder": "Ana", "number": "handle:3.0/cards.0.number"},
            {"holder": "Ben", "number": "handle:3.0/cards.1.number"},
        ],
        "best": None,
        "named": {"a": {"holder": "Ana", "number": "handle:3.0/named.a.number"}},
        "note": "x",
        "new": "field",
    }
    for _, text in handles.handles_in(shown):
        named = handles.parse(text)
        assert named is not None
        leaf = handles.hidden_at(WALLET, RESULT, named[1])
        assert leaf is not None
        assert leaf.text in {"4111", "5222"}


@pytest.mark.parametrize(
    "text", ["handle:3.0", "handle:03.0/x", " handle:3.0/x", "handle:3.0/x y", "Handle:3.0/x", "", 3, None]
)
def test_anything_else_is_no_handle(text: object) -> None:
    assert handles.parse(text) is None


def test_only_hidden_values_can_be_named() -> None:
    assert handles.hidden_at(WALLET, RESULT, "cards.0.holder") is None
    assert handles.hidden_at(WALLET, RESULT, "cards.9.number") is None


def test_values_are_put_where_their_handles_stood() -> None:
    raw = {"card": "handle:1.0/a", "others": ["x", "handle:1.0/b"], "note": "see handle:1.0/a", "n": 3}
    assert dict(handles.handles_in(raw)) == {"card": "handle:1.0/a", "others.1": "handle:1.0/b"}
    known = {"card": "4111", "others.1": "5222"}
    assert handles.put_in(raw, known.get) == {
        "card": "4111",
        "others": ["x", "5222"],
        "note": "see handle:1.0/a",
        "n": 3,
    }


def test_the_kind_that_is_taken_at_a_place() -> None:
    assert handles.kind_at(CHARGE, "card") == "card"
    assert handles.kind_at(CHARGE, "others.4") == "card"
    assert handles.kind_at(CHARGE, "note") == ""
    assert handles.kind_at(CHARGE, "unknown.0") == ""
