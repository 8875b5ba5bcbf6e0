"""What all the formulas of one question have in common: the literals of its rules, and how large sets have to be.

A set is unbounded, and a formula has to be finite. But a formula can tell only so many elements apart: the literals
that stand beside a set, the values that are looked for in one, and for every comparison of two sets one element by which
they differ (two for `==`). Any request keeps its answers when every set in it is cut down to those. So a symbol for a
set has one place for each literal, and room for as many others as are counted here; more would prove nothing more.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from cedarpy import pst

from answerable.errors import PolicyError
from answerable.gates.policy.shape import Attribute, Record, SetOf, Shape
from answerable.gates.policy.tree import Reads, chain, context_reads, look_up, walk
from answerable.prove.literals import plain
from answerable.prove.texts import Texts
from answerable.prove.values import Number, NumberKind, Words

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from answerable.gates.policy.rules import Rule
    from answerable.prove.place import Place

ROOM_MAX = 24
"""Elements of a set that no rule names; rules that need more are refused."""
_BETWEEN_SETS = frozenset({"contains_all", "contains_any", "eq", "not_eq"})


@dataclass(slots=True, eq=False)
class Vocabulary:
    """See the module."""

    texts: Texts
    reads: Reads
    """All that any of the rules looks at."""
    strings: tuple[str, ...]
    numbers: dict[NumberKind, tuple[int, ...]]
    """Every literal number, by kind: values worth trying."""
    in_sets: dict[NumberKind, tuple[int, ...]]
    """Those that stand beside a set."""
    room: int
    """How many elements without a name a set has room for."""


@dataclass(slots=True)
class _Count:
    """What stands beside sets, found rule by rule."""

    contexts: tuple[Record, ...]
    texts: dict[str, None] = field(default_factory=dict[str, None])
    numbers: dict[NumberKind, dict[int, None]] = field(default_factory=dict["NumberKind", dict[int, None]])
    sought: set[pst.Expr] = field(default_factory=set[pst.Expr])
    compared: dict[tuple[pst.Expr, pst.Expr], int] = field(
        default_factory=dict[tuple[pst.Expr, pst.Expr], int]
    )

    def take(self, nodes: Sequence[object]) -> None:
        """Count every operation on sets, and every set that is written out."""
        operations = [node for node in nodes if isinstance(node, pst.BinaryOp)]
        asked = {id(set_) for node in operations for set_ in _only_asked(node)}
        for node in nodes:
            if isinstance(node, pst.Set) and id(node) not in asked:
                # Wherever it stands, in a choice or in a record: it may be compared with a symbol.
                for element in node.elements:
                    self._element(element)
        for node in operations:
            self._operation(node)

    def _operation(self, node: pst.BinaryOp) -> None:
        if node.op == "contains":
            if not isinstance(node.left, pst.Set):
                self._element(node.right)
        elif node.op in _BETWEEN_SETS and not (
            isinstance(node.left, pst.Set) or isinstance(node.right, pst.Set)
        ):
            sets = max(self._sets_in(node.left), self._sets_in(node.right), node.op.startswith("contains"))
            if sets:
                self.compared[node.left, node.right] = sets

    def _element(self, expr: pst.Expr) -> None:
        match plain(expr):
            case Words(str(text)):
                self.texts.setdefault(text)
            case Number(int(term), kind):
                self.numbers.setdefault(kind, {}).setdefault(term)
            case _:
                self.sought.add(expr)

    def _sets_in(self, expr: pst.Expr) -> int:
        return max((_sets(shape) for shape in self._shapes(expr)), default=0)

    def _shapes(self, expr: pst.Expr) -> list[Shape]:
        """What the expression may be, as far as it holds sets."""
        found = chain(expr)
        if found is not None:
            shapes = (
                [look_up(context, found[1]) for context in self.contexts] if found[0] == "context" else []
            )
            return [shape for shape in shapes if shape is not None]
        match expr:
            case pst.GetAttr(base, name):
                parts = [shape.get(name) for shape in self._shapes(base) if isinstance(shape, Record)]
                return [part.shape for part in parts if part is not None]
            case pst.IfThenElse(_, then, otherwise):
                return [*self._shapes(then), *self._shapes(otherwise)]
            case pst.Record(fields):
                inner = [(name, self._shapes(value)) for name, value in fields.items()]
                largest = [(name, max(shapes, key=_sets)) for name, shapes in inner if shapes]
                return [Record(tuple(Attribute(name, shape) for name, shape in largest))]
            case _:
                return []

    def room(self, copies: int) -> int:
        """One for "any other element", one for each that is looked for, two for each comparison."""
        return 1 + copies * (len(self.sought) + 2 * sum(self.compared.values()))


def vocabulary_of(rules: Iterable[Rule], places: Sequence[Place], *, copies: int = 1) -> Vocabulary:
    """The vocabulary for formulas over these rules, in these places.

    `copies` is how many copies of a place will be looked at together. Raises `PolicyError` where sets would have to
    be larger than can be handled.
    """
    clauses = [rule.body.clauses for rule in rules]
    nodes = [node for each in clauses for node in walk(each)]
    contexts = tuple(dict.fromkeys(place.tool.context for place in places))
    count = _Count(contexts)
    count.take(nodes)
    room = count.room(copies)
    if room > ROOM_MAX:
        raise PolicyError(
            f"the rules compare too many sets with each other to be proven ({room} elements, at most {ROOM_MAX})",
            hint='compare sets with lists of literals: `context.args.tags.containsAny(["vip", …])`',
        )
    made = {
        node.arg for node in nodes if isinstance(node, pst.UnaryOp) and isinstance(node.arg, pst.StringLit)
    }
    strings = [node.value for node in nodes if isinstance(node, pst.StringLit) and node not in made]
    return Vocabulary(
        texts=Texts(any(isinstance(node, pst.Like) for node in nodes), tuple(count.texts)),
        reads=context_reads(clauses),
        strings=tuple(dict.fromkeys(strings)),
        numbers=_numbers(nodes),
        in_sets={kind: tuple(found) for kind, found in count.numbers.items()},
        room=room,
    )


def _only_asked(node: pst.BinaryOp) -> Iterator[pst.Set]:
    """Sets that are asked for one value, or whether an entity is in one: no symbol for a set is compared with them."""
    if node.op == "contains" and isinstance(node.left, pst.Set):
        yield node.left
    if node.op == "in" and isinstance(node.right, pst.Set):
        yield node.right
    if node.op in _BETWEEN_SETS and isinstance(node.left, pst.Set) and isinstance(node.right, pst.Set):
        yield from (node.left, node.right)


def _numbers(nodes: list[object]) -> dict[NumberKind, tuple[int, ...]]:
    found: dict[NumberKind, dict[int, None]] = {}
    for node in nodes:
        if isinstance(node, (pst.LongLit, pst.UnaryOp)):
            match plain(node):
                case Number(int(term), kind):
                    found.setdefault(kind, {}).setdefault(term)
                case _:
                    pass
    return {kind: tuple(terms) for kind, terms in found.items()}


def _sets(shape: Shape) -> int:
    """How many sets there are in a shape."""
    if isinstance(shape, Record):
        return sum(_sets(each.shape) for each in shape.attributes)
    return int(isinstance(shape, SetOf))
