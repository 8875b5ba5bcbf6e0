"""Values of rules as terms: what an expression stands for, and how two values are compared.

A collection is a list of guarded elements: each is in it where its guard holds. That is exact as long as a symbol for a
collection has room for every element that a formula can tell from the others; `vocabulary.py` counts them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from cedarpy import pst

from answerable.prove.logic import alike, both, choose, either, equal, implies, negate

if TYPE_CHECKING:
    from collections.abc import Mapping

    from answerable.prove.logic import Bool, Num
    from answerable.prove.texts import Text, Texts

NumberKind = Literal["Long", "decimal", "datetime", "duration"]


class NoForm(Exception):
    """What has no exact form as a formula. The first argument says what it is, the second what to write instead."""

    def __init__(self, what: str, instead: str) -> None:
        super().__init__(what)
        self.instead = instead


@dataclass(frozen=True, slots=True)
class Truth:
    """True or false."""

    term: Bool


@dataclass(frozen=True, slots=True)
class Number:
    """A whole number: a decimal in ten-thousandths, times and durations in milliseconds."""

    term: Num
    kind: NumberKind


@dataclass(frozen=True, slots=True)
class Words:
    """A text."""

    term: Text


@dataclass(frozen=True, slots=True)
class Entity:
    """An entity. Which one it is, is always known: a place is one agent and one tool."""

    uid: pst.EntityUid


@dataclass(frozen=True, slots=True)
class Item:
    """Something that is in a collection where its guard holds."""

    guard: Bool
    value: Value


@dataclass(frozen=True, slots=True)
class Many:
    """A set. One that is opaque holds records or sets, of which only the number matters: none, or some."""

    items: tuple[Item, ...]
    is_opaque: bool = False


@dataclass(frozen=True, slots=True)
class Part:
    """An attribute of a record, and whether it is there."""

    present: Bool
    value: Value


@dataclass(frozen=True, slots=True)
class Parts:
    """A record."""

    fields: Mapping[str, Part]


Value = Truth | Number | Words | Entity | Many | Parts


@dataclass(frozen=True, slots=True)
class Coded:
    """An expression as a value, and whether evaluating it is an error."""

    value: Value
    error: Bool = False


_OPAQUE = NoForm(
    "a list of records can only be asked whether it `isEmpty()`", "write the rule on a plain attribute"
)


def same(left: Value, right: Value, texts: Texts) -> Bool:
    """Cedar's `==`. Values of different types are different."""
    match left, right:
        case Truth(one), Truth(other):
            return alike(one, other)
        case Number(one, kind), Number(other, other_kind):
            return equal(one, other) if kind == other_kind else False
        case Words(one), Words(other):
            return texts.same(one, other)
        case Entity(one), Entity(other):
            return one == other
        case Many(), Many():
            return both(is_within(left, right, texts), is_within(right, left, texts))
        case Parts(one), Parts(other):
            return both(
                *(_same_part(one.get(name), other.get(name), texts) for name in sorted({*one, *other}))
            )
        case _:
            return False


def _same_part(left: Part | None, right: Part | None, texts: Texts) -> Bool:
    if left is None or right is None:
        there = left or right
        return negate(there.present) if there is not None else True
    return both(
        alike(left.present, right.present), implies(left.present, same(left.value, right.value, texts))
    )


def holds(many: Many, value: Value, texts: Texts) -> Bool:
    """Cedar's `contains`."""
    _refuse_opaque(many)
    return either(*(both(item.guard, same(item.value, value, texts)) for item in many.items))


def is_within(inner: Many, outer: Many, texts: Texts) -> Bool:
    """Whether everything in the one is in the other: `outer.containsAll(inner)`."""
    _refuse_opaque(inner, outer)
    return both(*(implies(item.guard, holds(outer, item.value, texts)) for item in inner.items))


def meets(left: Many, right: Many, texts: Texts) -> Bool:
    """Whether anything is in both: `containsAny`."""
    _refuse_opaque(left, right)
    return either(*(both(item.guard, holds(right, item.value, texts)) for item in left.items))


def is_nothing(many: Many) -> Bool:
    """Cedar's `isEmpty`."""
    return negate(either(*(item.guard for item in many.items)))


def merged(condition: Bool, then: Value, otherwise: Value, texts: Texts) -> Value:
    """`if condition then … else …`."""
    if isinstance(condition, bool):
        return then if condition else otherwise
    match then, otherwise:
        case Truth(one), Truth(other):
            return Truth(choose(condition, one, other))
        case Number(one, kind), Number(other, other_kind) if kind == other_kind:
            return Number(choose(condition, one, other), kind)
        case Words(one), Words(other):
            return Words(choose(condition, texts.term(one), texts.term(other)))
        case Entity(one), Entity(other) if one == other:
            return then
        case Many(one, opaque), Many(other, other_opaque):
            yes = [Item(both(condition, item.guard), item.value) for item in one]
            no = [Item(both(negate(condition), item.guard), item.value) for item in other]
            return Many((*yes, *no), is_opaque=opaque or other_opaque)
        case Parts(one), Parts(other):
            names = sorted({*one, *other})
            return Parts(
                {name: _merged_part(condition, one.get(name), other.get(name), texts) for name in names}
            )
        case _:
            raise NoForm("`if … then … else …` gives an entity here", "compare inside the branches instead")


def _merged_part(condition: Bool, then: Part | None, otherwise: Part | None, texts: Texts) -> Part:
    if then is None:
        assert otherwise is not None
        return Part(both(negate(condition), otherwise.present), otherwise.value)
    if otherwise is None:
        return Part(both(condition, then.present), then.value)
    present = either(both(condition, then.present), both(negate(condition), otherwise.present))
    return Part(present, merged(condition, then.value, otherwise.value, texts))


def _refuse_opaque(*many: Many) -> None:
    if any(each.is_opaque for each in many):
        raise _OPAQUE
