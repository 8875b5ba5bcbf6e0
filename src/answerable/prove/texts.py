# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# pyright: reportAttributeAccessIssue=false
"""Texts as terms, in one of two ways.

Where no rule asks for a pattern (`like`), all that rules can do with texts is tell them apart. Then each text is a
number: those that rules mention have one each below zero, and any other number is a text that no rule mentions. That
is exact, and much easier to decide. With a pattern, texts are z3's strings. Their alphabet ends before Cedar's, and has
half characters that Cedar has not; as rules can only tell characters apart, one stands for another.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from cedarpy import pst

from answerable.prove.logic import at_most, both, either, engine, equal, less, negate, number, spell, value_of
from answerable.prove.values import NoForm

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from answerable.prove.logic import Bool, Model, Term

    Text = Term | str

_CHARACTER_MAX = 0x2FFFF
"""The last character that z3 knows."""
_HALVES = range(0xD800, 0xE000)
_STAND_IN = 0x30000
"""Added to half a character, it is a whole one that no formula can have mentioned."""


@dataclass(slots=True, eq=False)
class Texts:
    """How texts become terms, for all the formulas of one question."""

    is_spelt: bool
    """Whether texts are z3's strings, because a pattern is asked for."""
    known: tuple[str, ...]
    """The texts that rules mention."""
    _numbers: dict[str, int] = field(default_factory=dict[str, int])

    def __post_init__(self) -> None:
        for text in self.known:
            self._numbers[text] = -1 - len(self._numbers)

    @property
    def mentioned(self) -> Iterable[str]:
        """Every text that has become a term so far."""
        return self._numbers

    def symbol(self, name: str) -> Term:
        """A symbol for a text."""
        return engine().String(name) if self.is_spelt else number(name)  # pyright: ignore[reportReturnType]

    def term(self, text: Text) -> Term:
        """A text as a term of the sort that all texts have here."""
        if not isinstance(text, str):
            return text
        if self.is_spelt:
            return spell(_checked(text))
        if text not in self._numbers:
            self._numbers[text] = -1 - len(self._numbers)
        return engine().IntVal(self._numbers[text])

    def same(self, left: Text, right: Text) -> Bool:
        """The same text."""
        if isinstance(left, str) and isinstance(right, str):
            return left == right
        return equal(self.term(left), self.term(right))  # pyright: ignore[reportArgumentType]

    def is_one_of(self, text: Text, values: Iterable[str]) -> Bool:
        """One of these."""
        return either(*(self.same(text, value) for value in values))

    def is_unknown(self, text: Term) -> Bool:
        """A text that no rule mentions."""
        if self.is_spelt:
            return both(*(negate(self.same(text, each)) for each in self.known))
        return either(at_most(0, text), less(text, -len(self.known)))  # pyright: ignore[reportArgumentType]

    def like(self, text: Text, pattern: Sequence[pst.PatternElem]) -> Bool:
        """Cedar's `like`."""
        if isinstance(text, str):
            return _is_like(text, pattern)
        if not self.is_spelt:
            message = "a pattern is asked for that was not counted: give `vocabulary_of` every rule"
            raise ValueError(message)
        z3 = engine()
        anything = z3.Full(z3.ReSort(z3.StringSort()))
        match [_checked(each) if each else None for each in _pieces(pattern)]:
            case []:
                return self.same(text, "")
            case [None]:
                return True
            case [str(whole)]:
                return self.same(text, whole)
            case [str(start), None]:
                return z3.PrefixOf(spell(start), text)
            case [None, str(end)]:
                return z3.SuffixOf(spell(end), text)
            case [None, str(inside), None]:
                return z3.Contains(text, spell(inside))
            case pieces:
                parts = [anything if each is None else z3.Re(spell(each)) for each in pieces]
                return z3.InRe(text, z3.Concat(*parts))

    def read(self, model: Model, term: Text) -> str | int:
        """The text that a term is in a model; a number where it is one that no rule mentions."""
        found = value_of(model, term)
        if isinstance(found, str):
            return "".join(_whole(each) for each in found)
        numbers = {number: text for text, number in self._numbers.items()}
        return numbers[found] if found in numbers else int(found)


def _pieces(pattern: Sequence[pst.PatternElem]) -> list[str]:
    """Runs of characters, and an empty text for each wildcard; two wildcards in a row are one."""
    pieces: list[str] = []
    is_open = False
    for each in pattern:
        if isinstance(each, pst.Wildcard):
            if not pieces or pieces[-1]:
                pieces.append("")
            is_open = False
        elif is_open:
            pieces[-1] += each.value
        else:
            pieces.append(each.value)
            is_open = True
    return pieces


def _is_like(text: str, pattern: Sequence[pst.PatternElem]) -> bool:
    parts = (re.escape(each.value) if isinstance(each, pst.Char) else ".*" for each in pattern)
    return re.fullmatch("".join(parts), text, re.DOTALL) is not None


def _checked(text: str) -> str:
    if any(ord(each) > _CHARACTER_MAX for each in text):
        raise NoForm(
            "a text with a character beyond U+2FFFF stands beside a `like`", "leave that character out"
        )
    return text


def _whole(character: str) -> str:
    return chr(_STAND_IN + ord(character)) if ord(character) in _HALVES else character
