"""Any event, and runs of events that may follow each other."""

from __future__ import annotations

import types
import typing
from dataclasses import MISSING, fields
from typing import Any, get_args, get_origin

from hypothesis import strategies as st

from answerable.kernel import events
from answerable.kernel.events import Event

KINDS: tuple[type[Event], ...] = get_args(Event)
TEXT = st.text(st.characters(codec="utf-8"), max_size=12)
INTEGER = st.integers(-(2**53) + 1, 2**53 - 1)


def values_of(annotation: Any) -> st.SearchStrategy[Any]:
    """Values of a field's type."""
    origin, parts = get_origin(annotation), get_args(annotation)
    if annotation is str:
        return TEXT
    if annotation is bool:
        return st.booleans()
    if annotation is int:
        return INTEGER
    if annotation is Any:
        return st.one_of(TEXT, INTEGER)
    if origin is types.UnionType:
        return st.one_of(*(st.none() if part is types.NoneType else values_of(part) for part in parts))
    if origin is dict:
        return st.dictionaries(st.from_regex(r"[a-z]{1,5}", fullmatch=True), values_of(parts[1]), max_size=3)
    assert origin is tuple, annotation
    if parts[1:] == (...,):
        return st.lists(values_of(parts[0]), max_size=3).map(tuple)
    return st.tuples(*map(values_of, parts))


def events_of(kind: type[Event]) -> st.SearchStrategy[Any]:
    """Events of one type, with and without what may be left out."""
    hints = typing.get_type_hints(kind, vars(events))
    required = {f.name: values_of(hints[f.name]) for f in fields(kind) if f.default is MISSING}
    optional = {f.name: values_of(hints[f.name]) for f in fields(kind) if f.default is not MISSING}
    return st.fixed_dictionaries(required, optional=optional).map(lambda given: kind(**given))


ANY_EVENT: st.SearchStrategy[Any] = st.one_of(*map(events_of, KINDS))
