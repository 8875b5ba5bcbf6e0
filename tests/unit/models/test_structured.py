"""What a model wrote is a value, or a problem in plain words, and never an exception."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, ConfigDict, TypeAdapter

from answerable.models.structured import (
    DEPTH_MAX,
    JSON_BYTES_MAX,
    PROBLEM_LENGTH_MAX,
    Problem,
    parse_json,
    validate_output,
)


class Answer(BaseModel):
    """A structured answer as an agent may declare it."""

    model_config = ConfigDict(extra="forbid")

    order_id: str
    amount: Decimal


ANSWER: TypeAdapter[Any] = TypeAdapter(Answer)
SCHEMA = {
    "type": "object",
    "properties": {"order_id": {"type": "string"}, "amount": {"type": "number", "maximum": 500}},
    "required": ["order_id", "amount"],
    "additionalProperties": False,
}
GOOD = '{"order_id": "A-1", "amount": 12.5}'

json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), inner),
    max_leaves=20,
)


def refused(result: object) -> str:
    """The words of the problem that `result` must be."""
    assert isinstance(result, Problem), result
    assert result.text.isprintable()
    assert len(result.text) <= PROBLEM_LENGTH_MAX
    return result.text


def nested(depth: int) -> str:
    """An arguments object of so many levels."""
    return '{"a":' * depth + "1" + "}" * depth


def test_an_object_is_read() -> None:
    """Plain arguments come back as a dict, whatever their spacing."""
    assert parse_json(' { "a" : [1, 2.5, true, null, "é"] } ') == {"a": [1, 2.5, True, None, "é"]}


@pytest.mark.parametrize(
    ("text", "where"),
    [
        ('{"amount": 1, "amount": 900}', "duplicate key $.amount"),
        ('{"a": [{"b": 1, "b": 1}]}', "duplicate key $.a[0].b"),
        ('{"a": 1, "\\u0061": 2}', "duplicate key $.a"),
        ('{"a": NaN}', "$.a is not a finite number"),
        ('{"a": [1, Infinity]}', "$.a[1] is not a finite number"),
        ('{"a": -Infinity}', "$.a is not a finite number"),
        ('{"a": 1e999}', "$.a is not a finite number"),
        ('{"a": ' + "9" * 5000 + "}", "too many digits"),
        ('{"a": "\\ud800"}', "a lone surrogate in $.a"),
        ('{"\\udfff": 1}', "a lone surrogate in a key of $"),
        ('{"a": "\ud800"}', "a lone surrogate at character 8"),
        ('{"a": 1', "line 1 column 8"),
        ('{"a": 1} {"a": 2}', "line 1 column 10"),
        ("{'a': 1}", "line 1 column 2"),
        ('{"a": 01}', "not JSON"),
        ('{"a": "tab\there"}', "not JSON"),
        ('\ufeff{"a": 1}', "not JSON"),
        ("Sure! Here you go.", "not JSON"),
        (nested(DEPTH_MAX + 1), "nested deeper than 32 levels"),
        ("[" * 60_000, "nested deeper than 32 levels"),
        ('{"a": "' + "x" * JSON_BYTES_MAX + '"}', "65536 are read"),
        ('{"a": "' + "é" * (JSON_BYTES_MAX // 2) + '"}', "65536 are read"),
    ],
)
def test_what_two_readers_may_read_differently_is_refused(text: str, where: str) -> None:
    """Each trap of JSON is a problem that says where it is."""
    assert where in refused(parse_json(text))


def test_the_limits_themselves_are_allowed() -> None:
    """32 levels and 64 KiB are read; the next level or byte is not."""
    assert isinstance(parse_json(nested(DEPTH_MAX)), dict)
    text = json.dumps({"a": ""})
    assert isinstance(parse_json(text[:-2] + "x" * (JSON_BYTES_MAX - len(text)) + text[-2:]), dict)


def test_a_surrogate_pair_is_one_character() -> None:
    """Escaped characters beyond the basic plane are ordinary text."""
    assert parse_json('{"a": "\\ud83d\\ude00"}') == {"a": "😀"}


@settings(deadline=None)  # a loaded machine is slow now and then; that is no finding
@given(json_values)
def test_what_json_can_say_is_read_back(value: Any) -> None:
    """Whatever a strict writer writes within the limits is read as the same value."""
    assert parse_json(json.dumps(value)) == value


@settings(deadline=None)  # a loaded machine is slow now and then; that is no finding
@given(st.text(max_size=200) | st.text(alphabet='{}[]":,0123456789eE+-. \\untrfalsNIiy', max_size=60))
def test_no_text_raises(text: str) -> None:
    """Garbage is a problem, not a crash."""
    parse_json(text)
    assert validate_output(text, SCHEMA) is not None


def test_a_bare_document_is_an_answer() -> None:
    """A valid document becomes the declared value, or the plain value where only a schema is known."""
    assert validate_output(GOOD, ANSWER) == Answer(order_id="A-1", amount=Decimal("12.5"))
    assert validate_output(GOOD, SCHEMA) == {"order_id": "A-1", "amount": 12.5}


@pytest.mark.parametrize(
    "text",
    [f"```json\n{GOOD}\n```", f"```\n{GOOD}\n```\n", f"Here it is:\n\n```json\n{GOOD}\n```\nAnything else?"],
)
def test_one_fenced_block_is_an_answer(text: str) -> None:
    """Models fence their JSON out of habit, and say something around it; one block leaves no doubt."""
    assert validate_output(text, ANSWER) == Answer(order_id="A-1", amount=Decimal("12.5"))


@pytest.mark.parametrize(
    "text",
    [f"```json\n{GOOD}\n```\nor\n```json\n{GOOD}\n```", f"```json\n{GOOD}", f"{GOOD}\n```", "```\n```\n```"],
)
def test_a_doubtful_fence_is_refused(text: str) -> None:
    """Two blocks, or a block that never closes: nobody guesses which is meant."""
    assert "exactly one fenced block" in refused(validate_output(text, ANSWER))


@pytest.mark.parametrize(
    "text", [f"The answer is {GOOD}", f"{GOOD} {GOOD}", "I refunded it.", "", "```json\n```"]
)
def test_prose_is_no_answer(text: str) -> None:
    """JSON hidden in prose without a fence is not dug out."""
    assert "not JSON" in refused(validate_output(text, ANSWER))


@pytest.mark.parametrize("shape", [ANSWER, SCHEMA])
@pytest.mark.parametrize(
    ("text", "where"),
    [
        ('{"order_id": 5, "amount": 1}', "$.order_id"),
        ('{"order_id": "A-1"}', "amount"),
        ('{"order_id": "A-1", "amount": 1, "extra": 1}', "extra"),
        ('{"order_id": "A-1", "amount": true}', "$.amount"),
        ('{"order_id": "A-1", "amount": 1, "amount": 2}', "duplicate key $.amount"),
        ("[]", "$"),
    ],
)
def test_a_wrong_shape_says_where(text: str, where: str, shape: Any) -> None:
    """Nothing is coerced; the problem names the field."""
    assert where in refused(validate_output(text, shape))


def test_many_problems_stay_short() -> None:
    """A wholly wrong answer gives a few lines to act on, not a wall."""
    shape = TypeAdapter(list[int])
    assert "and 97 more" in refused(validate_output(json.dumps(["x" * 500] * 100), shape))


def test_null_is_a_value() -> None:
    """An answer of `null` that the schema allows is told apart from a problem."""
    assert validate_output("null", {"type": "null"}) is None
