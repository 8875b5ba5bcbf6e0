"""A symbol for everything in a context that a request can choose, in the shape that the rules were checked against.

Names are the paths: `context.args.amount_usd`, and `context.args.note?` for whether an optional part is there.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from answerable.gates.policy.shape import Record, Scalar, SetOf, Shape
from answerable.gates.policy.validator import LONG_MAX, LONG_MIN
from answerable.prove.literals import milliseconds
from answerable.prove.logic import between, equal, implies, negate, number, truth
from answerable.prove.values import Item, Many, Number, NumberKind, Part, Parts, Truth, Value, Words

if TYPE_CHECKING:
    from answerable.gates.policy.tree import Reads
    from answerable.prove.logic import Bool
    from answerable.prove.vocabulary import Vocabulary

Path = tuple[str, ...]
INSTANT_MIN = milliseconds(datetime(1, 1, 1, tzinfo=UTC))
INSTANT_MAX = milliseconds(datetime(9999, 12, 31, 23, 59, 59, 999_000, tzinfo=UTC))
_RANGES: dict[NumberKind, tuple[int, int]] = {
    "Long": (LONG_MIN, LONG_MAX),
    "decimal": (LONG_MIN, LONG_MAX),
    "datetime": (INSTANT_MIN, INSTANT_MAX),
}


@dataclass(slots=True)
class Symbols:
    """Makes the symbols of one copy of a place. `limits` are what holds of each by its type."""

    vocabulary: Vocabulary
    prefix: str = ""
    shared: frozenset[str] = frozenset()
    limits: list[Bool] = field(default_factory=list["Bool"])

    def name(self, path: Path) -> str:
        """The name of the symbol at a path; a shared one has no prefix."""
        dotted = ".".join(path)
        is_shared = any(dotted == each or dotted.startswith(f"{each}.") for each in self.shared)
        return dotted if is_shared else f"{self.prefix}{dotted}"

    def record(self, shape: Record, reads: Reads | None, path: Path = ()) -> Parts:
        """A record of symbols. Sets that no rule looks at are empty: they cannot matter."""
        fields: dict[str, Part] = {}
        for each in shape.attributes:
            here = (*path, each.name)
            inner = reads if reads is not None and reads.is_whole else reads and reads.inside.get(each.name)
            present: Bool = truth(f"context.{self.name(here)}?") if each.is_optional else True
            fields[each.name] = Part(present, self._value(each.shape, inner, here))
        return Parts(fields)

    def _value(self, shape: Shape, reads: Reads | None, path: Path) -> Value:
        if isinstance(shape, Record):
            return self.record(shape, reads, path)
        if isinstance(shape, SetOf):
            return self._many(shape, path) if reads is not None and reads.is_whole else Many(())
        return self._scalar(shape, f"context.{self.name(path)}")

    def _scalar(self, shape: Scalar, name: str) -> Value:
        match shape.kind:
            case "Bool":
                return Truth(truth(name))
            case "String":
                term = self.vocabulary.texts.symbol(name)
                if shape.values:
                    self.limits.append(self.vocabulary.texts.is_one_of(term, shape.values))
                return Words(term)
            case kind:
                term = number(name)
                low, high = _RANGES[kind]
                self.limits.append(between(low, term, high))
                return Number(term, kind)

    def _many(self, shape: SetOf, path: Path) -> Many:
        """The elements that rules name, each in it or not, and room for some that they do not."""
        name = f"context.{self.name(path)}"
        item = shape.item
        if not isinstance(item, Scalar):
            return Many((Item(truth(f"{name}[]"), Truth(True)),), is_opaque=True)
        named = self._named(item)
        items = [Item(truth(f"{name}[{_shown(known)}]"), known) for known in named]
        if item.kind != "Bool" and not item.values:
            items.extend(self._unnamed(item, name, named))
        return Many(tuple(items))

    def _named(self, item: Scalar) -> list[Value]:
        if item.values:
            return [Words(value) for value in item.values]
        if item.kind == "Bool":
            return [Truth(True), Truth(False)]
        if item.kind == "String":
            return [Words(text) for text in self.vocabulary.texts.known]
        low, high = _RANGES[item.kind]
        known = self.vocabulary.in_sets.get(item.kind, ())
        return [Number(each, item.kind) for each in known if low <= each <= high]

    def _unnamed(self, item: Scalar, name: str, named: Iterable[Value]) -> Iterable[Item]:
        for index in range(self.vocabulary.room):
            guard, value = truth(f"{name}[{index}]?"), self._scalar(item, f"{name}[{index}]")
            if isinstance(value, Words):
                assert not isinstance(value.term, str)
                self.limits.append(implies(guard, self.vocabulary.texts.is_unknown(value.term)))
            elif isinstance(value, Number):
                others = [each.term for each in named if isinstance(each, Number)]
                self.limits.extend(implies(guard, negate(equal(value.term, other))) for other in others)
            yield Item(guard, value)


def _shown(value: Value) -> str:
    """A named element in the name of its symbol."""
    term = value.term if isinstance(value, (Truth, Number, Words)) else ""
    return f"={term}"


def leaves(parts: Parts, path: Path = ()) -> Iterable[tuple[Path, Bool, Value]]:
    """Every plain value and collection of a record with its path, and whether it is there."""
    for name, part in parts.fields.items():
        here = (*path, name)
        if isinstance(part.value, Parts):
            yield here, part.present, part.value
            yield from leaves(part.value, here)
        else:
            yield here, part.present, part.value
