"""Values of a made-up world: valid where they stand, and new each time."""

from __future__ import annotations

import re
from decimal import Decimal
from enum import StrEnum
from typing import Annotated, Any, Literal

import pytest
from pydantic import AfterValidator, BaseModel, Field, TypeAdapter

from answerable.kernel.encoding import encode_payload
from answerable.prove.blast_texts import texts
from answerable.prove.blast_values import ABSENT, PRESENT, Form, Maker

MANY = 200


@pytest.mark.parametrize(
    "pattern",
    [
        r"^O-[0-9]{4}$",
        r"^[a-z0-9._+-]{1,64}@[a-z0-9-]+(\.[a-z0-9-]+)+$",
        r"^(credit_card|gift_card)_[0-9]{6}$",
        r"^#W\d{7}$",
        r"[^0-9]{5}",
        r"^a.b.c\w{3}$",
        r"^(?:DE|FR)[0-9]{20}$",
        r"x?y*z+[k-m]{2,}",
    ],
)
def test_texts_of_a_pattern_are_valid_and_different(pattern: str) -> None:
    tries = texts({"type": "string", "pattern": pattern}, "name")

    found = [next(tries(n), "") for n in range(MANY)]

    assert all(re.search(pattern, text) for text in found)
    assert len(set(found)) > 3, "as many as the pattern has room for"


@pytest.mark.parametrize("pattern", [r"^(?=x)y$", r"(?i)\p{Lu}+", r"^(a)\1$"])
def test_a_pattern_that_is_not_understood_gives_no_wrong_text(pattern: str) -> None:
    schema = {"type": "string", "pattern": pattern}

    for text in texts(schema, "name")(1):
        assert re.search(pattern, text)


class Colour(StrEnum):
    RED = "red"
    BLUE = "blue"


class Inner(BaseModel):
    code: Annotated[str, Field(pattern="^[A-Z]{3}$")]
    note: str | None = None


class Outer(BaseModel):
    id: str
    colour: Colour
    kind: Literal["a", "b"]
    amount: Annotated[Decimal, Field(gt=0, le=5)]
    count: Annotated[int, Field(ge=3, multiple_of=2)]
    inner: Inner
    others: Annotated[list[Inner], Field(min_length=2)]
    names: Annotated[set[str], Field(min_length=1)]
    maybe: Inner | None
    when: Annotated[str, Field(json_schema_extra={"format": "uuid"})] = ""
    is_it: bool = False


def made(maker: Maker, chosen: dict[tuple[str, ...], Any] | None = None) -> dict[str, Any]:
    """A value of `Outer`."""
    found = maker.value(Form.of(Outer), chosen or {}, Outer.model_validate_json)
    assert found is not None
    assert isinstance(found[1], Outer)
    return found[0]


def test_a_value_of_a_nested_type_is_valid() -> None:
    value = made(Maker())

    assert value["maybe"] is None
    assert len(value["others"]) == 2
    assert Decimal(value["amount"]) > 0


def test_what_is_chosen_stands_where_it_was_chosen() -> None:
    value = made(
        Maker(),
        {("amount",): "4.50", ("inner", "note"): "kept", ("maybe", "code"): "XYZ", ("colour",): "blue"},
    )

    assert (value["amount"], value["inner"]["note"], value["maybe"]["code"], value["colour"]) == (
        "4.50",
        "kept",
        "XYZ",
        "blue",
    )
    assert made(Maker(), {("maybe",): PRESENT})["maybe"] is not None
    assert made(Maker(), {("inner", "note"): ABSENT})["inner"].get("note") is None


def test_a_choice_that_is_not_valid_makes_no_value() -> None:
    assert Maker().value(Form.of(Outer), {("amount",): "9"}, Outer.model_validate_json) is None


def test_no_text_is_made_twice_and_another_can_stand_in_its_place() -> None:
    maker = Maker()
    ids = [made(maker)["id"] for _ in range(MANY)]

    other = maker.again(ids[0])

    assert len(set(ids)) == MANY
    assert other is not None
    assert other not in ids
    assert maker.again("never made") is None


def test_a_validator_of_its_own_is_met_by_trying_other_ways() -> None:
    def with_at(text: str) -> str:
        if "@" not in text:
            raise ValueError("no address")
        return text

    class Letter(BaseModel):
        to: Annotated[str, AfterValidator(with_at)]

    found = Maker().value(Form.of(Letter), {}, Letter.model_validate_json)

    assert found is not None
    assert "@" in found[0]["to"]


def test_a_type_that_takes_nothing_has_no_value() -> None:
    def never(text: str) -> str:
        raise ValueError(text)

    class Letter(BaseModel):
        to: Annotated[str, AfterValidator(never)]

    assert Maker().value(Form.of(Letter), {}, Letter.model_validate_json) is None


@pytest.mark.parametrize("annotation", [str, None, int, list[str], dict[str, int], Decimal, bool])
def test_results_need_not_be_models(annotation: Any) -> None:
    adapter: TypeAdapter[Any] = TypeAdapter(annotation)

    found = Maker().value(Form.of(adapter), {}, adapter.validate_json)

    assert found is not None
    assert adapter.validate_json(encode_payload(found[0])) == found[1]
