"""Which Python types a rule can read, and as what; what has no exact form is left out and named."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from enum import Enum, IntEnum, StrEnum
from typing import Annotated, Any, Literal, NewType, NotRequired, Optional, Required, TypedDict
from uuid import UUID

import pytest
from pydantic import BaseModel, Field, SecretStr
from typing_extensions import TypeAliasType

from answerable.gates.policy.schema import render
from answerable.gates.policy.shape import Attribute, LeftOut, Record, Scalar, SetOf, Shape, shape_of
from answerable.gates.policy.tree import look_up
from answerable.gates.policy.validator import ContextValidator

OrderId = NewType("OrderId", str)
Name = TypeAliasType("Name", Annotated[str, Field(max_length=9)])


class Colour(StrEnum):
    RED = "red"
    BLUE = "blue"


class Level(IntEnum):
    LOW = 1


class Mixed(Enum):
    ONE = 1
    TWO = "two"


class Address(BaseModel):
    street: str
    number: int | None = None


class Tree(BaseModel):
    name: str
    left: Tree | None = None


class Typed(TypedDict):
    a: Required[int]
    b: NotRequired[str]


@dataclass
class Plain:
    a: int
    b: str | None = None
    c: str = "x"


def shape(annotation: object) -> tuple[Shape, bool] | None:
    """The shape, where what is left out does not matter."""
    return shape_of(annotation, "x", [])


@pytest.mark.parametrize(
    ("annotation", "cedar"),
    [
        (str, "String"),
        (OrderId, "String"),
        (Name, "String"),
        (Annotated[Annotated[str, "a"], "b"], "String"),
        (Colour, "String"),
        (Literal["a", "b"], "String"),
        (Literal[Colour.RED], "String"),
        (int, "Long"),
        (Level, "Long"),
        (Literal[1, 2], "Long"),
        (bool, "Bool"),
        (Literal[True], "Bool"),
        (Decimal, "decimal"),
        (datetime, "datetime"),
        (date, "datetime"),
        (list[str], "Set<String>"),
        (tuple[int, ...], "Set<Long>"),
        (tuple[int, int], "Set<Long>"),
        (set[Decimal], "Set<decimal>"),
        (frozenset[OrderId], "Set<String>"),
        (Sequence[bool], "Set<Bool>"),
        (list[list[int]], "Set<Set<Long>>"),
        (list[Address], "Set<{\n  street: String,\n  number?: Long,\n}>"),
        (Address, "{\n  street: String,\n  number?: Long,\n}"),
        (Typed, "{\n  a: Long,\n  b?: String,\n}"),
        (Plain, "{\n  a: Long,\n  b?: String,\n  c: String,\n}"),
    ],
)
def test_a_type_with_an_exact_form_has_a_cedar_type(annotation: object, cedar: str) -> None:
    """Aliases, new types and annotations are looked through."""
    found = shape(annotation)

    assert found is not None
    assert (render(found[0], {}), found[1]) == (cedar, False)


@pytest.mark.parametrize("annotation", [str | None, Optional[str], Annotated[str | None, "x"]])  # noqa: UP045
def test_what_may_be_none_is_optional(annotation: object) -> None:
    """A rule has to ask `has` first."""
    assert shape(annotation) == (Scalar("String"), True)


def test_a_closed_list_keeps_its_values() -> None:
    """Also where `None` is one of them."""
    assert shape(Literal["a", "b", None]) == (Scalar("String", ("a", "b")), True)  # noqa: PYI061
    assert shape(Colour | None) == (Scalar("String", ("red", "blue")), True)


def test_a_default_of_none_makes_a_field_optional() -> None:
    """Whatever its annotation says; any other default is always there."""

    class Loose(BaseModel):
        a: str = None  # pyright: ignore[reportAssignmentType]
        b: str = "x"
        c: list[str] = Field(default_factory=list)

    found = shape(Loose)

    assert found is not None
    assert render(found[0], {}) == "{\n  a?: String,\n  b: String,\n  c: Set<String>,\n}"


@pytest.mark.parametrize(
    ("annotation", "why"),
    [
        (float, "a float has no exact form; use Decimal"),
        (dict[str, Any], "dict has no Cedar type"),
        (dict, "dict does not say what is in it"),
        (list, "list does not say what is in it"),
        (bytes, "bytes does not say what is in it"),
        (int | str, "a union of types has no single Cedar type"),
        (int | str | None, "a union of types has no single Cedar type"),
        (Any, "Any has no Cedar type"),
        (timedelta, "timedelta has no Cedar type"),
        (UUID, "UUID has no Cedar type"),
        (SecretStr, "SecretStr has no Cedar type"),
        (Literal["a", 1], "its values are of several types"),
        (Mixed, "its values are of several types"),
        (tuple[int, str], "its items are of several types"),
        (list[str | None], "its items may be None"),
        (list[float], "a float has no exact form; use Decimal"),
        (None, "None has no Cedar type"),
    ],
)
def test_a_type_without_an_exact_form_is_left_out(annotation: object, why: str) -> None:
    """With the reason, so that an author knows what to change."""
    left_out: list[LeftOut] = []

    assert shape_of(annotation, "args.x", left_out) is None
    assert [str(each) for each in left_out] == [f"args.x: {why}"]


def test_a_model_that_contains_itself_ends() -> None:
    """The part that would go on for ever is left out; the rest can be read."""
    left_out: list[LeftOut] = []

    found = shape_of(Tree, "facts.tree", left_out)

    assert found == (Record((Attribute("name", Scalar("String")),)), False)
    assert [str(each) for each in left_out] == ["facts.tree.left: Tree contains itself"]


def test_types_that_cannot_be_looked_up_are_left_out() -> None:
    """A type that only exists inside a function is out of reach; that is said, and nothing breaks."""

    class Hidden(BaseModel):
        a: int

    @dataclass
    class Holder:
        hidden: Hidden

    left_out: list[LeftOut] = []

    assert shape_of(Holder, "x", left_out) is None
    assert [str(each) for each in left_out] == ["x: the types of Holder cannot be looked up"]


def test_an_unusual_name_is_quoted() -> None:
    """A field may be called like a word of Cedar."""
    record = Record(
        (Attribute("in", Scalar("Long")), Attribute("a-b", SetOf(Scalar("Long")), is_optional=True))
    )

    assert render(record, {}) == '{\n  "in": Long,\n  "a-b"?: Set<Long>,\n}'
    assert render(Record(()), {}) == "{}"


def test_a_path_through_a_plain_value_leads_nowhere() -> None:
    """Rather than to an error."""
    record = Record((Attribute("a", Scalar("Long")),))

    assert look_up(record, ("a",)) == Scalar("Long")
    assert look_up(record, ("a", "b")) is None
    assert look_up(record, ("b",)) is None


def test_the_validator_closes_every_record() -> None:
    """Required where Cedar requires, nothing else allowed, the same closed lists, nothing coerced."""
    found = shape_of(Address, "x", [])

    assert found is not None
    address = ContextValidator(found[0])
    assert address.is_valid({"street": "High", "number": 2**63 - 1})
    assert address.is_valid({"street": "High"})
    assert address.problem({"street": "High"}) == ""
    for wrong in (
        {},
        {"street": 1},
        {"street": "High", "number": "1"},
        {"street": "High", "number": True},
        {"street": "High", "number": 2**63},
        {"street": "High", "nubmer": 1},
        {"street": "High", "number": 1.0},
        [],
    ):
        assert not address.is_valid(wrong)
        assert address.problem(wrong)
    letters = ContextValidator(SetOf(Scalar("String", ("a",))))
    assert letters.is_valid(["a", "a"])
    assert not letters.is_valid(["b"])
    assert not letters.is_valid(("a",))
