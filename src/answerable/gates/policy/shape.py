"""Shapes: what a rule may read of a value, as far as Cedar can say it exactly.

One shape is the source of both the Cedar type and the validator of the same value, so that the two
cannot drift apart. What has no exact Cedar form (a float, a free-form mapping, a union) is *left out*:
a rule cannot mention it, and the bundle lists it.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from enum import Enum
from types import UnionType
from typing import Any, Literal, NoReturn, Union, get_args, get_origin

from answerable.kernel.annotations import Unreadable, is_record, parts_of, unwrap

Kind = Literal["String", "Long", "Bool", "decimal", "datetime"]


@dataclass(frozen=True, slots=True)
class Scalar:
    """One plain value. `values` closes the list where the type does (an enum, a `Literal`)."""

    kind: Kind
    values: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class SetOf:
    """A collection; Cedar knows neither order nor repetition."""

    item: Shape


@dataclass(frozen=True, slots=True)
class Attribute:
    """A named part of a record."""

    name: str
    shape: Shape
    is_optional: bool = False


@dataclass(frozen=True, slots=True)
class Record:
    """Named parts, closed: what is not listed does not exist."""

    attributes: tuple[Attribute, ...]

    def get(self, name: str) -> Attribute | None:
        """The attribute of that name, if there is one."""
        return next((each for each in self.attributes if each.name == name), None)


Shape = Scalar | SetOf | Record

STRING = Scalar("String")
LONG = Scalar("Long")
BOOL = Scalar("Bool")
DECIMAL = Scalar("decimal")
DATETIME = Scalar("datetime")

# In this order: `bool` is an `int` to Python, and must not become one here.
_PLAIN: tuple[tuple[tuple[type, ...], Scalar], ...] = (
    ((str,), STRING),
    ((bool,), BOOL),
    ((int,), LONG),
    ((Decimal,), DECIMAL),
    ((datetime, date), DATETIME),
)


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A value that no rule can read, and why."""

    path: str
    why: str

    def __str__(self) -> str:
        return f"{self.path}: {self.why}"


class _Inexpressible(Exception):
    """The annotation has no exact Cedar type. The message says why."""


def shape_of(annotation: object, path: str, left_out: list[LeftOut]) -> tuple[Shape, bool] | None:
    """The shape of an annotation and whether it may be absent; None where it has none.

    Whatever had to be left out, here or deeper, is added to `left_out`.
    """
    try:
        return _shape(annotation, path, left_out, ())
    except _Inexpressible as error:
        left_out.append(LeftOut(path, str(error)))
        return None


def _shape(
    annotation: object, path: str, left_out: list[LeftOut], outer: tuple[object, ...]
) -> tuple[Shape, bool]:
    found = unwrap(annotation)
    bare: Any = found.type
    is_optional = found.is_optional
    origin = get_origin(bare)
    if origin is Literal:
        return _closed(get_args(bare)), is_optional
    if origin in (Union, UnionType):
        _refuse("a union of types has no single Cedar type")
    if isinstance(origin, type) and issubclass(origin, (Sequence, AbstractSet)):
        return SetOf(_item(bare, path, left_out, outer)), is_optional
    if not isinstance(bare, type):
        _refuse(f"{_name(bare)} has no Cedar type")
    if is_record(bare):
        if bare in outer:
            _refuse(f"{_name(bare)} contains itself")
        return _record(bare, path, left_out, (*outer, bare)), is_optional
    return _plain(bare), is_optional


def _plain(bare: Any) -> Scalar:
    if issubclass(bare, Enum):
        return _closed(tuple(member.value for member in bare))
    found = next((scalar for kinds, scalar in _PLAIN if issubclass(bare, kinds)), None)
    if found is not None:
        return found
    return _refuse(_why_not(bare))


def _why_not(bare: Any) -> str:
    if issubclass(bare, float):
        return "a float has no exact form; use Decimal"
    if issubclass(bare, Collection):
        return f"{_name(bare)} does not say what is in it"
    return f"{_name(bare)} has no Cedar type"


def _closed(values: tuple[object, ...]) -> Scalar:
    plain = [each.value if isinstance(each, Enum) else each for each in values]
    kinds: set[type[object]] = {type(each) for each in plain}
    if kinds == {str}:
        return Scalar("String", tuple(str(each) for each in plain))
    if kinds == {int}:
        return LONG
    if kinds == {bool}:
        return BOOL
    return _refuse("its values are of several types")


def _item(bare: Any, path: str, left_out: list[LeftOut], outer: tuple[object, ...]) -> Shape:
    kinds = set[Any](get_args(bare)) - {Ellipsis}
    if len(kinds) != 1:
        _refuse("its items are of several types")
    shape, is_optional = _shape(kinds.pop(), f"{path}[]", left_out, outer)
    if is_optional:
        _refuse("its items may be None")
    return shape


def _record(bare: type, path: str, left_out: list[LeftOut], outer: tuple[object, ...]) -> Record:
    attributes: list[Attribute] = []
    try:
        parts = list(parts_of(bare))
    except Unreadable:
        _refuse(f"the types of {_name(bare)} cannot be looked up")
    for part in parts:
        inner = f"{path}.{part.name}"
        try:
            shape, is_optional = _shape(part.annotation, inner, left_out, outer)
        except _Inexpressible as error:
            left_out.append(LeftOut(inner, str(error)))
        else:
            attributes.append(Attribute(part.name, shape, is_optional or part.may_be_absent))
    return Record(tuple(attributes))


def _refuse(why: str) -> NoReturn:
    raise _Inexpressible(why)


def _name(bare: Any) -> str:
    return getattr(bare, "__name__", str(bare))
