"""Reading the parsed tree of a rule: its nodes, and which parts of the context it looks at."""

from __future__ import annotations

from dataclasses import dataclass, field, fields, is_dataclass
from typing import TYPE_CHECKING

from cedarpy import pst

from answerable.gates.policy.shape import Attribute, Record, SetOf

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from answerable.gates.policy.shape import Shape


def walk(node: object) -> Iterator[object]:
    """Every node under `node`, itself included."""
    stack = [node]
    while stack:
        each = stack.pop()
        if isinstance(each, dict):
            stack.extend(each.values())  # pyright: ignore[reportUnknownArgumentType]
        elif isinstance(each, tuple):
            stack.extend(each)  # pyright: ignore[reportUnknownArgumentType]
        elif is_dataclass(each):
            yield each
            stack.extend(getattr(each, part.name) for part in fields(each))


def chain(expr: object) -> tuple[str, tuple[str, ...]] | None:
    """`context.args.amount` as `("context", ("args", "amount"))`; None for anything but such a chain."""
    path: list[str] = []
    while isinstance(expr, pst.GetAttr):
        path.append(expr.attr)
        expr = expr.base
    return (expr.name, tuple(reversed(path))) if isinstance(expr, pst.Var) else None


@dataclass(slots=True)
class Reads:
    """What a rule looks at, as a tree of names. A whole part is taken with all that is in it."""

    is_whole: bool = False
    inside: dict[str, Reads] = field(default_factory=dict["str", "Reads"])

    def mark(self, path: Iterable[str], *, is_whole: bool) -> None:
        """Add a path. Where only its presence is asked for, `is_whole` is false."""
        here = self
        for name in path:
            here = here.inside.setdefault(name, Reads())
        here.is_whole = here.is_whole or is_whole

    @property
    def is_empty(self) -> bool:
        """Whether nothing at all is looked at."""
        return not self.is_whole and not self.inside


def context_reads(nodes: Iterable[object]) -> Reads:
    """What these expressions or clauses read of the context. Never less than they read."""
    reads = Reads()
    for node in nodes:
        _collect(node, reads)
    return reads


def _collect(node: object, reads: Reads) -> None:
    stack = [node]
    while stack:
        each = stack.pop()
        if isinstance(each, pst.HasAttr) and (found := chain(each.base)) is not None:
            if found[0] == "context":
                reads.mark((*found[1], *each.attrs), is_whole=False)
        elif isinstance(each, (pst.GetAttr, pst.Var)) and (found := chain(each)) is not None:
            # A chain that ends in a record is compared as a whole: all of it is kept.
            if found[0] == "context":
                reads.mark(found[1], is_whole=True)
        elif isinstance(each, dict):
            stack.extend(each.values())  # pyright: ignore[reportUnknownArgumentType]
        elif isinstance(each, tuple):
            stack.extend(each)  # pyright: ignore[reportUnknownArgumentType]
        elif is_dataclass(each):
            stack.extend(getattr(each, part.name) for part in fields(each))


def prune_shape(shape: Shape, reads: Reads) -> Shape:
    """The shape cut down to what is read."""
    if reads.is_whole or not isinstance(shape, Record):
        return shape
    return Record(
        tuple(
            Attribute(each.name, prune_shape(each.shape, reads.inside[each.name]), each.is_optional)
            for each in shape.attributes
            if each.name in reads.inside
        )
    )


def prune_value(value: dict[str, object], shape: Record) -> dict[str, object]:
    """A context value cut down to a pruned shape."""
    kept: dict[str, object] = {}
    for each in shape.attributes:
        if each.name in value:
            inner = value[each.name]
            kept[each.name] = prune_value(inner, each.shape) if isinstance(each.shape, Record) else inner  # pyright: ignore[reportArgumentType]
    return kept


def look_up(record: Record, path: tuple[str, ...]) -> Shape | None:
    """The shape at a path; None where there is none, or where the path leads through a plain value."""
    here: Shape = record
    for name in path:
        attribute = here.get(name) if isinstance(here, Record) else None
        if attribute is None:
            return None
        here = attribute.shape
    return here


def item_shape(shape: Shape) -> Shape:
    """What a collection holds; the shape itself where it is none."""
    return shape.item if isinstance(shape, SetOf) else shape
