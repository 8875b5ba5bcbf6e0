"""Handles: how a model passes a value on without seeing it.

A hidden value is shown as `handle:STEP/PATH`. Where a proposal has exactly that text as a value, the recorded value is
put in its place before the arguments are validated; a handle inside a longer text is just text.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, cast

from answerable.kernel.marks import join_path, leaves

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from answerable.kernel.marks import Leaf, Marks

PREFIX = "handle:"
_HANDLE = re.compile(r"handle:((?:0|[1-9][0-9]{0,8})\.(?:0|[1-9][0-9]{0,8}))/([^\s]{1,200})")


def hide(gives: Marks, value: Any, step: str, path: str = "") -> Any:
    """A result in its JSON form, as a model is shown it: every hidden value replaced by its handle."""
    if value is None or not any(node.is_hidden for node in gives.nodes()):
        return value
    if isinstance(value, dict):
        return {
            name: hide(inner, item, step, join_path(path, name)) if inner is not None else item
            for name, item in cast("dict[str, Any]", value).items()
            for inner in (gives.inside.get(name) or gives.items,)
        }
    if isinstance(value, list):
        assert gives.items is not None
        return [
            hide(gives.items, item, step, join_path(path, str(index)))
            for index, item in enumerate(cast("list[Any]", value))
        ]
    return f"{PREFIX}{step}/{path}"


def parse(text: object) -> tuple[str, str] | None:
    """The step and the path that a handle names; None for anything that is not exactly a handle."""
    match = _HANDLE.fullmatch(text) if isinstance(text, str) else None
    return (match[1], match[2]) if match is not None else None


def handles_in(value: Any, path: str = "") -> Iterator[tuple[str, str]]:
    """Every handle in a proposal's arguments: where it stands, and its text."""
    if isinstance(value, dict):
        for name, item in cast("dict[str, Any]", value).items():
            yield from handles_in(item, join_path(path, str(name)))
    elif isinstance(value, list):
        for index, item in enumerate(cast("list[Any]", value)):
            yield from handles_in(item, join_path(path, str(index)))
    elif parse(value) is not None:
        yield path, value


def put_in(value: Any, known: Callable[[str], str | None], path: str = "") -> Any:
    """The arguments with what is `known` at a path in the place of what stood there."""
    if isinstance(value, dict):
        return {
            name: put_in(item, known, join_path(path, str(name)))
            for name, item in cast("dict[str, Any]", value).items()
        }
    if isinstance(value, list):
        return [
            put_in(item, known, join_path(path, str(index)))
            for index, item in enumerate(cast("list[Any]", value))
        ]
    found = known(path)
    return value if found is None else found


def hidden_at(gives: Marks, result: Any, path: str) -> Leaf | None:
    """The hidden value at a path of a result; None where there is none."""
    return next((leaf for leaf in leaves(gives, result) if leaf.path == path and leaf.marks.is_hidden), None)


def kind_at(takes: Marks, path: str) -> str:
    """The kind of value that a parameter takes at a path; empty where it takes none."""
    here = takes
    for name in path.split("."):
        inner = here.inside.get(name) or here.items
        if inner is None:
            return ""
        here = inner
    return here.kind
