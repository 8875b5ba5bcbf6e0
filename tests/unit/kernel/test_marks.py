"""Marks on types are found wherever they can be followed, and refused wherever they cannot."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from enum import Enum
from typing import Annotated, Any, Literal, NewType, NotRequired, Required, TypedDict

import pytest
from pydantic import BaseModel

from answerable.kernel.marks import (
    Hidden,
    Kind,
    MarkError,
    Marks,
    Trusted,
    leaves,
    marks_of,
    marks_of_model,
    plain_text,
)

Iban = NewType("Iban", str)
Account = Annotated[str, Kind("iban")]


class Colour(Enum):
    RED = "red"


class Payee(BaseModel):
    name: str
    iban: Annotated[Account, Trusted()]
    colour: Colour = Colour.RED
    size: Literal["s", "m"] = "s"
    is_open: bool = False
    limit: Decimal | None = None
    count: int = 0
    when: bytes = b""


class Book(BaseModel):
    owner: Annotated[str, Trusted]
    payees: list[Payee]
    by_name: dict[str, Payee] = {}
    pairs: tuple[str, int] = ("", 0)
    free: dict[str, Any] = {}
    loose: Any = None


class Typed(TypedDict):
    token: Annotated[str, Kind("token"), Hidden()]


class Partly(TypedDict, total=False):
    """A part that need not be there is as hidden as one that must."""

    token: NotRequired[Annotated[str, Kind("token"), Hidden()]]
    other: Required[Annotated[str, Kind("token"), Hidden()]]


@dataclass
class Plain:
    iban: Annotated[Iban, Kind("iban"), Trusted()]
    note: str | None = None


class Loop(BaseModel):
    inner: Loop | None = None
    name: str = ""


class MarkedLoop(BaseModel):
    inner: MarkedLoop | None = None
    name: Annotated[str, Trusted()] = ""


def found(marks: Marks, value: object) -> dict[str, str]:
    """Path → what is marked there, for the leaves that are."""
    return {
        leaf.path: f"{leaf.marks.kind}{' trusted' if leaf.marks.is_trusted else ''}"
        for leaf in leaves(marks, value)
        if leaf.marks.kind or leaf.marks.is_trusted
    }


def test_marks_are_found_in_models_lists_and_mappings() -> None:
    marks = marks_of_model(Book)
    payee = {"name": "Bob", "iban": "DE1", "colour": "red", "limit": None, "count": 3}
    book = {"owner": "Ana", "payees": [payee], "by_name": {"b": payee}, "loose": {"x": ["y"]}, "new": [1]}

    assert found(marks, book) == {
        "owner": " trusted",
        "payees.0.iban": "iban trusted",
        "by_name.b.iban": "iban trusted",
    }
    sorts = {leaf.path: leaf.marks.sort for leaf in leaves(marks, book)}
    assert sorts["payees.0.colour"] == "closed"
    assert sorts["payees.0.count"] == "number"
    assert sorts["payees.0.name"] == "text"
    assert sorts["loose.x.0"] == sorts["new.0"] == "other"
    assert "payees.0.limit" not in sorts


@pytest.mark.parametrize(
    ("annotation", "value", "expected"),
    [
        (Typed, {"token": "t"}, {"token": "token"}),
        (Partly, {"token": "t", "other": "u"}, {"token": "token", "other": "token"}),
        (Mapping[str, Account], {"k": "v"}, {"k": "iban"}),
        (Iterable[str], ["v"], {}),
        (Plain, {"iban": "DE1", "note": None}, {"iban": "iban trusted"}),
        (list[Annotated[str, Kind("url")]], ["a", "b"], {"0": "url", "1": "url"}),
        (Annotated[list[str], Trusted()], ["a"], {"0": " trusted"}),
        (Annotated[Plain, Trusted()], {"note": "n"}, {"note": " trusted"}),
        (Annotated[str | None, Kind("x")], "v", {"": "x"}),
        (Annotated[dict[str, str], Trusted()], {"k": "v"}, {"k": " trusted"}),
        (Annotated[str | int, Trusted()], "v", {"": " trusted"}),
        (set[Account], ["a"], {"0": "iban"}),
        (tuple[Account, ...], ["a"], {"0": "iban"}),
        (tuple[str, int], ["a", 1], {}),
        (Sequence[Account], ["a"], {"0": "iban"}),
        (Loop, {"inner": {"name": "n"}}, {}),
        (None, None, {}),
        (Any, {"a": 1}, {}),
    ],
)
def test_where_a_mark_is_found(annotation: Any, value: object, expected: dict[str, str]) -> None:
    assert found(marks_of(annotation), value) == expected


@pytest.mark.parametrize(
    ("annotation", "message"),
    [
        (Annotated[Payee, Kind("payee")], "has parts"),
        (Annotated[Payee, Hidden()], "has parts"),
        (Payee | Plain, "union of types"),
        (Iterable[Payee], "a type that is not known"),
        (Annotated[str | int, Kind("id")], "union of types"),
        (tuple[Account, str], "tuple of several types"),
        (Annotated[str, Hidden()], "has a `Kind`"),
        (Annotated[int, Kind("id"), Hidden()], "only on text"),
        (Annotated[Account, Kind("bic")], "choose one"),
        (MarkedLoop, "contains itself"),
    ],
)
def test_a_mark_that_cannot_be_followed_is_refused(annotation: Any, message: str) -> None:
    with pytest.raises(MarkError, match=message):
        marks_of(annotation)


@pytest.mark.parametrize("name", ["", "IBAN", "1x", "a b", "x" * 33])
def test_a_kind_has_a_plain_name(name: str) -> None:
    with pytest.raises(MarkError, match="no kind of value"):
        Kind(name)


def test_types_that_cannot_be_looked_up_have_no_marks() -> None:
    @dataclass
    class Broken:
        what: Missing  # noqa: F821  # pyright: ignore[reportUndefinedVariable]

    assert marks_of(Broken).is_plain


def test_marks_are_described_for_a_digest_only_where_there_are_any() -> None:
    assert marks_of(str).described() is None
    described = marks_of_model(Book).described()
    assert described["inside"]["owner"]["trusted"]
    assert described["inside"]["payees"]["items"]["inside"]["iban"]["kind"] == "iban"
    assert marks_of_model(Book).kinds() == {"iban"}


def test_values_are_compared_in_one_form() -> None:
    assert [plain_text(each) for each in (True, False, 7, "x")] == ["true", "false", "7", "x"]


def test_hidden_behind_a_part_that_need_not_be_there_stays_hidden() -> None:
    """Two readers of types once differed here, and a model was shown what was hidden."""
    assert all(each.is_hidden for each in marks_of(Partly).inside.values())
