"""Reading types: what stands around one (notes, aliases, `None`), and the parts of a record.

Looked through in one way for everybody who reads types. Where two readers differed, one of them would not see what the
other relies on: a mark behind `NotRequired`, an optional part behind an alias.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, is_dataclass
from types import NoneType, UnionType
from typing import (
    TYPE_CHECKING,
    Annotated,
    Any,
    Literal,
    NewType,
    NotRequired,
    Required,
    Union,
    get_args,
    get_origin,
    get_type_hints,
    is_typeddict,
)

from pydantic import BaseModel

if TYPE_CHECKING:
    from collections.abc import Iterator


@dataclass(frozen=True, slots=True, kw_only=True)
class Bare:
    """A type with nothing around it: the notes that stood there, and whether it may be `None` instead."""

    type: Any
    notes: tuple[object, ...]
    is_optional: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One named part of a record. `name` is the code's own, never an alias."""

    name: str
    annotation: Any
    notes: tuple[object, ...] = ()
    may_be_absent: bool = False


class Unreadable(ValueError):
    """The types of a record's parts cannot be looked up."""


def unwrap(annotation: Any) -> Bare:
    """The type behind `Annotated`, `Required`, aliases, new types and `None`."""
    notes: tuple[object, ...] = ()
    is_optional = False
    while True:
        origin = get_origin(annotation)
        if isinstance(annotation, NewType):
            annotation = annotation.__supertype__
        elif origin in (Annotated, Required, NotRequired):
            annotation, *more = get_args(annotation)
            notes = (*notes, *more)
        elif hasattr(annotation, "__value__"):
            annotation = annotation.__value__
        elif origin in (Union, UnionType) and NoneType in get_args(annotation):
            annotation = Union[tuple(each for each in get_args(annotation) if each is not NoneType)]  # noqa: UP007
            is_optional = True
        elif origin is Literal and None in get_args(annotation):
            annotation = Literal[tuple(each for each in get_args(annotation) if each is not None)]
            is_optional = True
        else:
            return Bare(type=annotation, notes=notes, is_optional=is_optional)


def is_record(bare: Any) -> bool:
    """Whether a type has named parts: a model, a dataclass or a typed dict."""
    return issubclass(bare, BaseModel) or is_dataclass(bare) or is_typeddict(bare)


def parts_of(bare: Any) -> Iterator[Part]:
    """The parts of a record. Raises `Unreadable` where their types cannot be looked up."""
    if issubclass(bare, BaseModel):
        for name, info in bare.model_fields.items():
            yield Part(
                name=name,
                annotation=info.annotation,
                notes=tuple(info.metadata),
                may_be_absent=info.default is None,
            )
        return
    try:
        hints = get_type_hints(bare, include_extras=True)
    except (NameError, TypeError):
        raise Unreadable from None
    if is_dataclass(bare):
        for field in fields(bare):
            yield Part(name=field.name, annotation=hints[field.name], may_be_absent=field.default is None)
        return
    required: frozenset[str] = getattr(bare, "__required_keys__", frozenset())
    for name, hint in hints.items():
        # Python cannot see `NotRequired` inside an annotation that is still text, so the key set may be wrong.
        marked = get_origin(hint)
        may_be_absent = marked is NotRequired or (marked is not Required and name not in required)
        yield Part(name=name, annotation=hint, may_be_absent=may_be_absent)
