"""Values of a context that are plain ones, as formulas: a text, a number, a set, or a whole record in its JSON form."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Any, cast

from answerable.prove.literals import decimal_units
from answerable.prove.logic import both, either, equal, implies, negate
from answerable.prove.values import Many, Number, Parts, Truth, Words

if TYPE_CHECKING:
    from collections.abc import Collection

    from answerable.prove.logic import Bool
    from answerable.prove.symbolic import Symbolic
    from answerable.prove.values import Value


def is_value(symbolic: Symbolic, value: Value | None, meant: object) -> Bool:
    """A plain value of the context is this one, in its JSON form; True for what cannot be compared."""
    match value, meant:
        case Truth(term), bool():
            return term if meant else negate(term)
        case Words(term), str():
            return symbolic.vocabulary.texts.same(term, meant)
        case Number(term, "decimal"), str() | int() | Decimal():
            return equal(term, decimal_units(Decimal(meant)))
        case Number(term, "Long"), int():
            return equal(term, meant)
        case _:
            return True


def is_whole(symbolic: Symbolic, value: Value, meant: object) -> Bool:
    """A value is this one, part by part."""
    match value:
        case Parts(fields):
            inside = cast("dict[str, Any]", meant) if isinstance(meant, dict) else {}
            return both(
                *(
                    both(part.present, is_whole(symbolic, part.value, inside[name]))
                    if inside.get(name) is not None
                    else negate(part.present)
                    for name, part in fields.items()
                )
            )
        case Many(items, is_opaque) if isinstance(meant, list):
            listed = cast("list[object]", meant)
            if is_opaque:
                return (
                    either(*(item.guard for item in items))
                    if listed
                    else both(*(negate(i.guard) for i in items))
                )
            texts = [each for each in listed if isinstance(each, str)]
            if items and all(isinstance(item.value, Words) for item in items):
                return exactly(symbolic, value, texts)
            return True
        case _:
            return is_value(symbolic, value, meant)


def exactly(symbolic: Symbolic, many: Many, texts: Collection[str]) -> Bool:
    """A set of texts that holds just these. Those that no rule mentions are as good as one another."""
    known = set(symbolic.vocabulary.texts.known)
    other = sorted(set(texts) - known)
    terms: list[Bool] = []
    unnamed: list[Bool] = []
    for item in many.items:
        assert isinstance(item.value, Words)
        if isinstance(item.value.term, str):
            terms.append(item.guard if item.value.term in texts else negate(item.guard))
        else:
            unnamed.append(item.guard)
            terms.append(implies(item.guard, symbolic.vocabulary.texts.is_one_of(item.value.term, other)))
    if unnamed and other:
        terms.append(either(*unnamed))
    return both(*terms)
