"""Canonical bytes against a slow, obvious encoder; scrubbing, money and events there and back."""

from __future__ import annotations

import json
import math
from decimal import Decimal, localcontext
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from tests.property.event_values import ANY_EVENT, KINDS, events_of

from answerable.kernel.encoding import INTEGER_MAX, NotEncodable, decode, encode_entry, encode_payload, scrub
from answerable.kernel.events import from_json, to_json
from answerable.kernel.money import from_micros, plain, to_micros

ESCAPES = {'"': '\\"', "\\": "\\\\", "\b": "\\b", "\f": "\\f", "\n": "\\n", "\r": "\\r", "\t": "\\t"}
LEAVES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-INTEGER_MAX, INTEGER_MAX),
    st.text(st.characters(codec="utf-8"), max_size=9),
)
KEYS = st.text(st.characters(codec="ascii"), max_size=5)


def nested(leaves: st.SearchStrategy[Any], keys: st.SearchStrategy[str] = KEYS) -> st.SearchStrategy[Any]:
    """Lists, tuples and objects of leaves."""
    return st.recursive(
        leaves,
        lambda inner: st.one_of(
            st.lists(inner, max_size=3),
            st.lists(inner, max_size=3).map(tuple),
            st.dictionaries(keys, inner, max_size=3),
        ),
        max_leaves=8,
    )


def rfc8785(value: Any) -> str:
    """RFC 8785 as its sections 3.2.2 and 3.2.3 say it, for values without floats."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, int):
        return str(value)
    if isinstance(value, str):
        return '"' + "".join(ESCAPES.get(c) or (f"\\u{ord(c):04x}" if c < " " else c) for c in value) + '"'
    if isinstance(value, dict):
        keys = sorted(value, key=lambda key: key.encode("utf-16-be"))
        return "{" + ",".join(f"{rfc8785(key)}:{rfc8785(value[key])}" for key in keys) + "}"
    return "[" + ",".join(map(rfc8785, value)) + "]"


def thawed(value: Any) -> Any:
    """Tuples as the lists that JSON has."""
    if isinstance(value, dict):
        return {key: thawed(item) for key, item in value.items()}
    return [thawed(item) for item in value] if isinstance(value, (list, tuple)) else value


@given(st.dictionaries(KEYS, nested(LEAVES), max_size=4))
@settings(deadline=None)
def test_an_entry_is_encoded_as_rfc_8785_says(body: dict[str, Any]) -> None:
    """Any JSON library that follows the RFC can verify an entry."""
    encoded = encode_entry(body)
    assert encoded == rfc8785(body).encode()
    assert decode(encoded) == json.loads(encoded) == thawed(body)


BAD = st.one_of(
    st.floats(),
    st.integers(min_value=INTEGER_MAX + 1),
    st.integers(max_value=-INTEGER_MAX - 1),
    st.sampled_from(["\ud800", "a\udfffb", b"bytes", Decimal(1), {1: "x"}, {"é": 1}, {"\ud800": 1}, {1, 2}]),
)


@given(nested(LEAVES), BAD, st.booleans())
@settings(deadline=None)
def test_one_bad_value_anywhere_is_refused(good: Any, bad: object, is_deep: bool) -> None:
    """What has no canonical form is never written in another form."""
    with pytest.raises(NotEncodable):
        encode_entry({"a": good, "b": [{"c": [bad]}] if is_deep else bad})


@given(nested(st.one_of(LEAVES, st.floats(allow_nan=False, allow_infinity=False))))
@settings(deadline=None)
def test_a_payload_comes_back_as_it_was(content: Any) -> None:
    """Content may hold floats; its bytes do not depend on the order of members."""
    encoded = encode_payload(content)
    assert decode(encoded) == thawed(content)
    assert encode_payload(decode(encoded)) == encoded


@given(st.text(st.one_of(st.characters(), st.sampled_from("\ud800\udbff\udc00\udfff")), max_size=8))
@settings(deadline=None)
def test_scrubbing_replaces_half_characters_and_nothing_else(text: str) -> None:
    """The reference walks the text: a pair becomes its character, a half becomes U+FFFD."""
    expected, index = "", 0
    while index < len(text):
        first, second = text[index], text[index + 1 : index + 2]
        if "\ud800" <= first <= "\udbff" and "\udc00" <= second <= "\udfff" and second:
            expected += chr(0x10000 + (ord(first) - 0xD800) * 0x400 + ord(second) - 0xDC00)
            index += 2
            continue
        expected += "\ufffd" if "\ud800" <= first <= "\udfff" else first
        index += 1
    assert scrub(text) == expected
    assert scrub(expected) == expected


AMOUNTS = st.decimals(-9_000_000_000, 9_000_000_000, allow_nan=False, places=None)


@given(AMOUNTS, st.sampled_from([3, 6, 28]))
@settings(deadline=None)
def test_money_is_rounded_up_exactly_whatever_the_precision_of_the_process(
    amount: Decimal, precision: int
) -> None:
    """The reference is a fraction; the process may have lowered its precision."""
    assume(amount.adjusted() > -50)
    with localcontext() as context:
        context.prec = precision
        micros = to_micros(amount)
        back = from_micros(micros)
    assert micros == math.ceil(Fraction(amount) * 1_000_000)
    assert Fraction(back) == Fraction(micros, 1_000_000)


@given(st.decimals(allow_nan=False, allow_infinity=False, min_value=-(10**20), max_value=10**20))
@settings(deadline=None)
def test_plain_text_is_the_same_amount_in_the_fewest_digits(amount: Decimal) -> None:
    """Two spellings of an amount have one plain text, so they have one digest."""
    text = plain(amount)
    assert Decimal(text) == amount
    assert "e" not in text.lower()
    assert not ("." in text and text.endswith(("0", ".")))
    assert plain(Decimal(text)) == text


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
@given(data=st.data())
@settings(deadline=None, max_examples=25)
def test_an_event_comes_back_from_its_bytes(kind: Any, data: st.DataObject) -> None:
    """Every type of event: to JSON, to bytes, and back to the same value."""
    event = data.draw(events_of(kind))
    encoded = to_json(event)
    assert None not in encoded.values()
    assert from_json(decode(encode_entry({"event": encoded}))["event"]) == event  # type: ignore[index]


@given(ANY_EVENT)
@settings(deadline=None)
def test_no_two_events_have_the_same_form(event: Any) -> None:
    """The type is part of it."""
    assert to_json(event)["type"] == type(event).__name__
