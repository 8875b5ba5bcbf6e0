"""The schema gate against a slow, obvious reader of the same rules, on calls that hypothesis makes up."""

from __future__ import annotations

import json
import re
from decimal import Decimal
from typing import Annotated, Any, Literal

from hypothesis import example, given, settings
from hypothesis import strategies as st
from pydantic import Field, TypeAdapter, create_model

from answerable.gates.schema import Refused, accept, canonical
from answerable.kernel.encoding import encode_payload
from answerable.kernel.tool import EffectClass, ToolSpec
from answerable.tools.argument_types import Arguments

ITEM = create_model(
    "item", __base__=Arguments, sku=(Annotated[str, Field(max_length=4)], ...), count=(int, 1)
)
MODEL = create_model(
    "arguments",
    __base__=Arguments,
    amount=(Annotated[Decimal, Field(gt=0, le=20_000)], ...),
    kind=(Literal["a", "b"], "a"),
    items=(list[ITEM], Field(default_factory=list)),  # type: ignore[valid-type]
    by=(dict[str, bool], Field(default_factory=dict)),
)
SPEC = ToolSpec(
    name="t", description="d", effect_class=EffectClass.READ, arguments=MODEL, result=TypeAdapter(str)
)

SAFE = re.compile(r"[ -~]*")


def is_identifier(text: object) -> bool:
    """Printable ASCII without white space at the ends; the generator makes no other text that would pass."""
    return type(text) is str and SAFE.fullmatch(text) is not None and text == text.strip(" ")


def is_amount(value: object) -> bool:
    """A number or plain text of one, above 0 and up to 20,000."""
    if type(value) is str:
        if not re.fullmatch(r"(0|[1-9][0-9]{0,27})(\.[0-9]{1,18})?", value):
            return False
        value = Decimal(value)
    return type(value) in (int, float, Decimal) and 0 < value <= 20_000  # type: ignore[operator]


def is_item(value: object) -> bool:
    """A closed object with a short code, and perhaps a count."""
    return (
        type(value) is dict
        and "sku" in value
        and set(value) <= {"sku", "count"}
        and is_identifier(value["sku"])
        and len(value["sku"]) <= 4
        and type(value.get("count", 1)) is int
    )


def should_pass(call: Any) -> bool:
    """The whole rule, in the plainest words."""
    return (
        type(call) is dict
        and "amount" in call
        and set(call) <= {"amount", "kind", "items", "by"}
        and is_amount(call["amount"])
        and call.get("kind", "a") in ("a", "b")
        and type(call.get("items", [])) is list
        and all(map(is_item, call.get("items", [])))
        and type(call.get("by", {})) is dict
        and all(is_identifier(key) and type(item) is bool for key, item in call.get("by", {}).items())
    )


TEXTS = st.one_of(
    st.text("ab1 \n\x00\u200b\uff11é\u0301а", max_size=5).filter(
        lambda t: "é" not in t and "\n" not in t.strip()
    ),
    st.sampled_from(["a", "b", "5", "1e3", "0.50", " 5", "-1", "NaN"]),
)
JUNK = st.recursive(
    st.one_of(
        st.none(), st.booleans(), st.integers(-5, 30_000), st.sampled_from([0.5, 1.0, 1e3, 2.5e4]), TEXTS
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=2),
        st.dictionaries(st.sampled_from(["sku", "count", "amount", "x"]), inner, max_size=3),
    ),
    max_leaves=5,
)
GOOD_ITEM = st.fixed_dictionaries(
    {"sku": st.sampled_from(["a", "a b"])}, optional={"count": st.integers(0, 9)}
)
PARTS = {
    "amount": st.one_of(
        st.integers(1, 20_000), st.sampled_from(["5", "0.50", "19999.999999999999999999"]), JUNK
    ),
    "kind": st.one_of(st.sampled_from(["a", "b"]), JUNK),
    "items": st.one_of(st.lists(st.one_of(GOOD_ITEM, GOOD_ITEM, JUNK), max_size=2), JUNK),
    "by": st.one_of(st.dictionaries(TEXTS, st.booleans(), max_size=2), JUNK),
    "more": JUNK,
}
CALLS = st.one_of(
    st.fixed_dictionaries(
        {"amount": PARTS["amount"]}, optional={k: v for k, v in PARTS.items() if k not in ("amount", "more")}
    ),
    st.fixed_dictionaries({}, optional=PARTS),
    JUNK,
)


@given(CALLS)
@example({"amount": "20000.000000000000000001"})
@example({"amount": True})
@example({"amount": 1, "items": [{"sku": "a"}, {"sku": "a", "count": True}]})
@settings(deadline=None, max_examples=300)
def test_the_gate_lets_through_exactly_what_the_plain_rule_lets_through(call: Any) -> None:
    """Whether it comes as text or as values."""
    for raw in (json.dumps(call), call):
        try:
            accept(SPEC, raw)
        except Refused:
            assert not should_pass(call)
        else:
            assert should_pass(call)


@given(CALLS.filter(should_pass))
@settings(deadline=None)
def test_what_passed_has_one_canonical_form_and_passes_again_as_it(call: Any) -> None:
    """So a call that is driven again after a crash is the same call."""
    arguments = accept(SPEC, json.dumps(call))
    form = canonical(arguments)
    assert list(form) == list(MODEL.model_fields)
    again = accept(SPEC, encode_payload(form))
    assert again == arguments
    assert encode_payload(canonical(again)) == encode_payload(form)


@given(st.text())
@settings(deadline=None, max_examples=200)
def test_any_text_is_accepted_or_refused_and_never_anything_else(text: str) -> None:
    """A hostile model cannot stop a run with an odd character; and the refusal can always be written down."""
    for raw in (
        text,
        text.encode("utf-8", "surrogatepass"),
        json.dumps({"amount": text}),
        json.dumps({text: 1, "amount": 1}),
    ):
        try:
            accept(SPEC, raw)
        except Refused as refused:
            str(refused).encode()


@given(st.binary(max_size=40))
@settings(deadline=None)
def test_any_bytes_are_accepted_or_refused_and_never_anything_else(raw: bytes) -> None:
    """Whatever arrives on a wire."""
    try:
        accept(SPEC, raw)
    except Refused as refused:
        str(refused).encode()
