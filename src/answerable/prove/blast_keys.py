"""Whether all the calls of one run share the key of a total or of a claim: then what limits the key limits the run.

It is a question about two calls of the same run. They share the tenant, the user for whom the agent acts, and every session
fact that both have; of facts it may be assumed that a field keeps its value while it is asked about the same thing. If two
calls that are both sent cannot differ in their keys, the run has one key. Only what that needs of facts is assumed, and named.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, cast

from answerable.kernel.tool import holes
from answerable.prove.assumptions import at, present
from answerable.prove.blast_peaks import NO_RULES, TIMEOUT_S, Question, place_of
from answerable.prove.logic import alike, at_most, both, either, implies, less, modulo, negate
from answerable.prove.solving import Nothing, Solving
from answerable.prove.symbolic import symbolize
from answerable.prove.symbols import leaves
from answerable.prove.values import Many, Number, Parts, same

if TYPE_CHECKING:
    from collections.abc import Iterator

    from answerable.kernel.tool import FactSpec
    from answerable.prove.blast_subject import Subject
    from answerable.prove.logic import Bool, Num
    from answerable.prove.place import Place
    from answerable.prove.vocabulary import Vocabulary

_SHARED = ("tenant", "run.on_behalf_of")
_DAY_MS = 86_400_000


@dataclass(frozen=True, slots=True)
class Shared:
    """A run has one key. `assumed` is what that takes of facts, in words."""

    assumed: tuple[str, ...] = ()


@dataclass(slots=True, eq=False)
class Twice:
    """Two calls of one tool in one run."""

    subject: Subject
    place: Place
    vocabulary: Vocabulary
    _pair: tuple[Question, Question] | None = None
    _solving: Solving | None = None
    _known: dict[tuple[str, frozenset[str]], Shared | None] = field(
        default_factory=dict[tuple[str, frozenset[str]], "Shared | None"]
    )

    @property
    def pair(self) -> tuple[Question, Question]:
        """The two calls, made when they are first needed."""
        if self._pair is None:
            one, other = (
                Question(self.subject, symbolize(self.place, self.vocabulary, prefix=prefix, shared=_SHARED))
                for prefix in ("one ", "other ")
            )
            self._pair = (one, other)
        return self._pair

    @property
    def solving(self) -> Solving:
        """What is true of the two together."""
        if self._solving is None:
            one, other = self.pair
            self._solving = Solving([one.symbolic, other.symbolic], TIMEOUT_S)
            self._solving.add(one.held, other.held, *self._session())
        return self._solving

    def shares(self, template: str, without: frozenset[str] = NO_RULES) -> Shared | None:
        """Whether any two calls that are sent have the same key; None where they may differ."""
        if (template, without) not in self._known:
            self._known[template, without] = self._shares(template, without)
        return self._known[template, without]

    def _shares(self, template: str, without: frozenset[str]) -> Shared | None:
        if not holes(template):
            return Shared()
        wanted = [*(each.sent(without) for each in self.pair), negate(self._same_key(template))]
        kept = list(self._kept())
        if not self._is_excluded(*wanted, *(each.term for each in kept)):
            return None
        for each in tuple(kept):
            rest = [other for other in kept if other is not each]
            if self._is_excluded(*wanted, *(other.term for other in rest)):
                kept = rest
        return Shared(tuple(each.text for each in kept))

    def crosses_midnight(self, without: frozenset[str] = NO_RULES) -> bool:
        """Whether calls on both sides of a midnight may be sent, as close together as the run's wall clock asks."""
        within_s = self.subject.wall_clock_s
        if within_s is None or not self.place.slice(self.subject.tenant)[0].reads.inside.get("now"):
            return True
        one, other = (each.symbolic.at("now") for each in self.pair)
        assert isinstance(one, Number)
        assert isinstance(other, Number)
        midnight = cast("Num", other.term - modulo(other.term, _DAY_MS))
        apart = cast("Num", other.term - one.term)
        return not self._is_excluded(
            *(each.sent(without) for each in self.pair),
            less(one.term, midnight),
            at_most(apart, int(within_s * 1000)),
        )

    def _is_excluded(self, *wanted: Bool) -> bool:
        return isinstance(self.solving.find(*wanted), Nothing)

    def _same_key(self, template: str) -> Bool:
        """Each value in the template is the same. Keys that differ in no value are the same text."""
        texts = self.vocabulary.texts
        one, other = (each.symbolic for each in self.pair)
        terms: list[Bool] = []
        for hole in holes(template):
            path = place_of(one, hole)
            left, right = at(one.context, path), at(other.context, path)
            if left is None or right is None:  # no rule can read it, so nothing ties it
                return False
            terms.append(same(left, right, texts))
        return both(*terms)

    def _session(self) -> Iterator[Bool]:
        """What is established once never changes in a run."""
        one, other = (each.symbolic for each in self.pair)
        session = one.at("session")
        assert isinstance(session, Parts)
        for name in session.fields:
            path = ("session", name)
            there = both(one.present(*path), other.present(*path))
            yield implies(there, same(one.at(*path), other.at(*path), self.vocabulary.texts))

    def _kept(self) -> Iterator[_Kept]:
        """For each plain field of a fact: it is the same in both calls where both ask about the same thing."""
        one, other = (each.symbolic for each in self.pair)
        for fact in self.place.tool.spec.facts:
            asked = self._same_question(fact)
            parts = at(one.context, ("facts", fact.name))
            if not isinstance(parts, Parts):
                continue
            for path, _, value in leaves(parts):
                if isinstance(value, (Parts, Many)):
                    continue
                here = ("facts", fact.name, *path)
                there = (present(one.context, here), present(other.context, here))
                theirs = at(other.context, here)
                assert theirs is not None
                kept = both(
                    alike(*there), either(negate(there[0]), same(value, theirs, self.vocabulary.texts))
                )
                yield _Kept(
                    f"`{'.'.join((fact.name, *path))}` stays the same within a run while it is read for the same "
                    f"{_named(fact)} (`{self.place.name}`)",
                    implies(asked, kept),
                )

    def _same_question(self, fact: FactSpec) -> Bool:
        return both(*(self._same_key(template) for template in fact.arguments.values()))


@dataclass(frozen=True, slots=True, eq=False)
class _Kept:
    """A sentence for people, and the same as a term."""

    text: str
    term: Bool


def _named(fact: FactSpec) -> str:
    names = [hole for template in fact.arguments.values() for hole in holes(template)]
    return " and ".join(f"`{name}`" for name in dict.fromkeys(names)) or "thing"
