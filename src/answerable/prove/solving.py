# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# pyright: reportAttributeAccessIssue=false
"""Searching for a request: found, none there, or not known. What is not known is never taken for proven."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from answerable.prove.logic import both, engine

if TYPE_CHECKING:
    from collections.abc import Iterable

    from answerable.prove.logic import Bool, Model
    from answerable.prove.symbolic import Symbolic

TIMEOUT_S = 20.0
"""For one question. What takes longer is not proven."""
SEED = 7


@dataclass(frozen=True, slots=True)
class Found:
    """There is one; `model` says what it is."""

    model: Model


@dataclass(frozen=True, slots=True)
class Nothing:
    """There is none: proven."""


@dataclass(frozen=True, slots=True)
class Unknown:
    """z3 gave up."""

    why: str


Answer = Found | Nothing | Unknown


class Solving:
    """Questions about some places that all of their requests are valid in. One thread, one seed."""

    def __init__(self, symbolics: Iterable[Symbolic], timeout_s: float = TIMEOUT_S) -> None:
        z3 = engine()
        self._solver: Any = z3.Solver()
        self._solver.set("timeout", max(1, int(timeout_s * 1000)))
        self._solver.set("random_seed", SEED)
        self._solver.set("threads", 1)
        self.add(*(each.valid for each in symbolics))

    def add(self, *terms: Bool) -> None:
        """Hold these true from here on."""
        self._solver.add(both(*terms))

    def find(self, *wanted: Bool) -> Answer:
        """A model in which all of these are true, besides what is held."""
        term = both(*wanted)
        if term is False:
            return Nothing()
        z3 = engine()
        self._solver.push()
        try:
            self._solver.add(term)
            answer = self._solver.check()
            if answer == z3.sat:
                return Found(self._solver.model())
            if answer == z3.unsat:
                return Nothing()
            return Unknown(str(self._solver.reason_unknown()))
        finally:
            self._solver.pop()
