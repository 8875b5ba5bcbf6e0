"""Marks on types: what sort of value it is, who wrote it, and whether a model may see it.

They stand in `Annotated[...]` on parameters, result fields and task fields. A mark in a place where values cannot be
followed (a union of models) is refused: it would promise what nobody keeps.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from decimal import Decimal
from enum import Enum
from functools import cache
from typing import TYPE_CHECKING, Any, Literal, cast, get_args, get_origin

from answerable.kernel.annotations import Unreadable, is_record, parts_of, unwrap

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pydantic import BaseModel

_KIND = re.compile(r"[a-z][a-z0-9_]{0,31}")


class MarkError(ValueError):
    """A mark that cannot be kept. The message says where and why."""


@dataclass(frozen=True, slots=True)
class Kind:
    """What sort of value it is, on the field that it is read from and the parameter that it goes to.

    As in `Annotated[str, Kind("iban")]`. `Kind("url")` is an address whose very use tells somebody something.
    """

    name: str

    def __post_init__(self) -> None:
        if not _KIND.fullmatch(self.name):
            message = f"`{self.name}` is no kind of value: use a-z, 0-9 and _, at most 32"
            raise MarkError(message)


@dataclass(frozen=True, slots=True)
class Trusted:
    """Written by the company itself, or by the user for whom the agent acts; never by an outsider."""


@dataclass(frozen=True, slots=True)
class Hidden:
    """No model sees the value: it is given a handle, and can pass that to a parameter of the same kind."""


Sort = Literal["text", "number", "closed", "other"]
"""`closed` is a choice among few: a truth value or a member of a list. It earns no trust by being found somewhere."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Marks:
    """What is marked in a type, as a tree. `inside` are a record's parts, `items` what a collection holds."""

    sort: Sort = "other"
    kind: str = ""
    is_trusted: bool = False
    is_hidden: bool = False
    inside: Mapping[str, Marks] = field(default_factory=dict[str, "Marks"])
    items: Marks | None = None

    def nodes(self) -> Iterator[Marks]:
        """All of the tree: the root, then what is below it."""
        yield self
        for each in self.inside.values():
            yield from each.nodes()
        if self.items is not None:
            yield from self.items.nodes()

    @property
    def is_plain(self) -> bool:
        """Whether nothing is marked."""
        return not any(node.kind or node.is_trusted or node.is_hidden for node in self.nodes())

    def kinds(self) -> frozenset[str]:
        """Every kind that is named."""
        return frozenset(node.kind for node in self.nodes() if node.kind)

    def described(self) -> Any:
        """The marks as JSON, for a digest; None where there are none."""
        if self.is_plain:
            return None
        own = {"kind": self.kind, "trusted": self.is_trusted, "hidden": self.is_hidden}
        parts = {name: each.described() for name, each in sorted(self.inside.items())}
        return {**own, "inside": parts, "items": self.items.described() if self.items else None}


@dataclass(frozen=True, slots=True)
class Leaf:
    """One plain value with its marks; `text` is the form in which values are compared."""

    path: str
    text: str
    marks: Marks


def marks_of(annotation: object) -> Marks:
    """What is marked in a type. Raises `MarkError` for a mark that cannot be kept."""
    loops: list[str] = []
    found = _marks(annotation, (), _Outer(loops=loops), is_trusted=False)
    if loops and not found.is_plain:
        message = f"`{loops[0]}` contains itself: marks in it cannot be followed to the end"
        raise MarkError(message)
    return found


@cache
def marks_of_model(model: type[BaseModel]) -> Marks:
    """What is marked in the fields of a model."""
    return marks_of(model)


def leaves(marks: Marks, value: object, path: str = "") -> Iterator[Leaf]:
    """Every plain value in a JSON value of the marked type. What is absent has none."""
    if value is None:
        return
    if marks.inside and isinstance(value, dict):
        for name, item in cast("dict[str, object]", value).items():
            yield from leaves(marks.inside.get(name, _NOTHING), item, join_path(path, name))
    elif isinstance(value, dict):
        inner = marks.items or _NOTHING
        for name, item in cast("dict[str, object]", value).items():
            yield from leaves(inner, item, join_path(path, name))
    elif isinstance(value, (list, tuple)):
        inner = marks.items or _NOTHING
        for index, item in enumerate(cast("Sequence[object]", value)):
            yield from leaves(inner, item, join_path(path, str(index)))
    else:
        yield Leaf(path, plain_text(value), marks)


def plain_text(value: object) -> str:
    """A plain JSON value as it is compared: numbers in their shortest exact form."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)


_NOTHING = Marks()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Outer:
    """The models that a type is nested in, and those that were met again."""

    models: tuple[object, ...] = ()
    loops: list[str]


def join_path(path: str, name: str) -> str:
    """The path of what is called `name` at `path`."""
    return f"{path}.{name}" if path else name


def _marks(annotation: Any, notes: tuple[object, ...], outer: _Outer, *, is_trusted: bool) -> Marks:
    """The tree below an annotation. `notes` are the marks that were found on the way down to it."""
    found = unwrap(annotation)
    bare: Any = found.type
    notes = (*notes, *found.notes)
    own = _own(notes, is_trusted=is_trusted)
    origin = get_origin(bare)
    if origin is Literal:
        return _leaf(own, "closed")
    if isinstance(origin, type) and issubclass(origin, (Sequence, AbstractSet)):
        return _collection(own, [each for each in get_args(bare) if each is not Ellipsis], notes, outer)
    if isinstance(origin, type) and issubclass(origin, Mapping):
        return _collection(own, [get_args(bare)[1]], notes, outer)
    if not isinstance(bare, type):
        return _unfollowed(own, get_args(bare), outer)
    return _of_type(cast("type[Any]", bare), own, outer)


def _unfollowed(own: Marks, parts: tuple[Any, ...], outer: _Outer) -> Marks:
    """A union, or a generic type that nobody here knows: nothing in it may be marked."""
    found = [_marks(part, (), outer, is_trusted=False) for part in parts]
    if own.kind or own.is_hidden or not all(part.is_plain for part in found):
        message = "a mark inside a union of types, or a type that is not known, cannot be followed: give each its own field"
        raise MarkError(message)
    return own


def _of_type(bare: type[Any], own: Marks, outer: _Outer) -> Marks:
    if is_record(bare):
        if own.kind or own.is_hidden:
            message = f"`{bare.__name__}` has parts: mark the part that it is about"
            raise MarkError(message)
        if bare in outer.models:
            outer.loops.append(bare.__name__)
            return own
        inner = _Outer(models=(*outer.models, bare), loops=outer.loops)
        try:
            parts = list(parts_of(bare))
        except Unreadable:
            parts = []
        inside = {
            part.name: _marks(part.annotation, part.notes, inner, is_trusted=own.is_trusted) for part in parts
        }
        return Marks(is_trusted=own.is_trusted, inside=inside)
    return _leaf(own, _sort(bare))


def _collection(own: Marks, parts: list[Any], notes: tuple[object, ...], outer: _Outer) -> Marks:
    """A list of marked values is a list of which each is marked."""
    found = [_marks(part, notes, outer, is_trusted=own.is_trusted) for part in parts]
    if len(found) > 1 and any(each != found[0] for each in found):
        if all(each.is_plain for each in found):
            return own
        message = "a mark inside a tuple of several types cannot be followed: give each its own field"
        raise MarkError(message)
    return Marks(is_trusted=own.is_trusted, items=found[0] if found else None)


def _leaf(own: Marks, sort: Sort) -> Marks:
    if own.is_hidden and (sort != "text" or not own.kind):
        message = "`Hidden` stands only on text that has a `Kind`: a handle goes where that kind is taken"
        raise MarkError(message)
    return Marks(sort=sort, kind=own.kind, is_trusted=own.is_trusted, is_hidden=own.is_hidden)


def _own(notes: tuple[object, ...], *, is_trusted: bool) -> Marks:
    kinds = [note.name for note in notes if isinstance(note, Kind)]
    if len(set(kinds)) > 1:
        message = f"one value has the kinds {', '.join(sorted(set(kinds)))}: choose one"
        raise MarkError(message)
    return Marks(
        kind=kinds[0] if kinds else "",
        is_trusted=is_trusted or any(isinstance(note, Trusted) or note is Trusted for note in notes),
        is_hidden=any(isinstance(note, Hidden) or note is Hidden for note in notes),
    )


def _sort(bare: type) -> Sort:
    if issubclass(bare, (Enum, bool)):
        return "closed"
    if issubclass(bare, str):
        return "text"
    return "number" if issubclass(bare, (int, Decimal)) else "other"
