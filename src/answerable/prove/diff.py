"""What a change of the rules lets through, asks about or stops: for each transition a request, or a proof of none."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random
from time import perf_counter
from typing import TYPE_CHECKING, Any, Literal

from answerable.kernel.decision import Verdict
from answerable.prove.changes import RuleChange, decides_alike, rule_changes
from answerable.prove.confirm import confirm
from answerable.prove.invariants import CONSERVATIVE, SAMPLES, SEED, trusted_base
from answerable.prove.logic import both, either, negate
from answerable.prove.place import places_of
from answerable.prove.requests import EncodingWrong
from answerable.prove.sampling import check_samples
from answerable.prove.solving import TIMEOUT_S, Found, Solving, Unknown
from answerable.prove.symbolic import symbolize
from answerable.prove.vocabulary import vocabulary_of
from answerable.prove.witness import Witness, answered, make_witness, plainest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from answerable.gates.policy import Bundle
    from answerable.kernel.decision import Decision
    from answerable.prove.confirm import Confirmed
    from answerable.prove.logic import Bool
    from answerable.prove.place import Place
    from answerable.prove.symbolic import Symbolic

Kind = Literal[
    "deny_to_allow",
    "ask_to_allow",
    "asks_less",
    "deny_to_ask",
    "allow_to_ask",
    "allow_to_deny",
    "ask_to_deny",
    "asks_others",
]
LOOSER: frozenset[Kind] = frozenset({"deny_to_allow", "ask_to_allow", "asks_less"})
"""Something is newly allowed, or somebody who had to say yes no longer has to."""
WORDS: dict[Kind, str] = {
    "deny_to_allow": "newly allowed, was denied",
    "ask_to_allow": "newly allowed, a person was asked",
    "asks_less": "still asked, but somebody who had to say yes no longer has to",
    "deny_to_ask": "newly asked, was denied",
    "allow_to_ask": "newly asked, was allowed",
    "allow_to_deny": "newly denied, was allowed",
    "ask_to_deny": "newly denied, a person was asked",
    "asks_others": "asked of other or more people",
}
_VERDICTS: dict[Kind, tuple[Verdict, Verdict]] = {
    "deny_to_allow": (Verdict.DENY, Verdict.ALLOW),
    "ask_to_allow": (Verdict.REQUIRE_APPROVAL, Verdict.ALLOW),
    "asks_less": (Verdict.REQUIRE_APPROVAL, Verdict.REQUIRE_APPROVAL),
    "deny_to_ask": (Verdict.DENY, Verdict.REQUIRE_APPROVAL),
    "allow_to_ask": (Verdict.ALLOW, Verdict.REQUIRE_APPROVAL),
    "allow_to_deny": (Verdict.ALLOW, Verdict.DENY),
    "ask_to_deny": (Verdict.REQUIRE_APPROVAL, Verdict.DENY),
    "asks_others": (Verdict.REQUIRE_APPROVAL, Verdict.REQUIRE_APPROVAL),
}
_Need = tuple[frozenset[str], int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Transition:
    """Requests that are answered differently in one place: one of them, or why it is not known."""

    kind: Kind
    tool: str
    agent: str
    witness: Witness | None = None
    """The request, with the answer of the rules as they would be."""
    before: Confirmed | None = None
    why: str = ""
    """Where z3 gave up."""

    def described(self) -> dict[str, Any]:
        """As JSON."""
        found: dict[str, Any] = {"kind": self.kind, "tool": self.tool, "agent": self.agent, "why": self.why}
        if self.witness is None or self.before is None:
            return {**found, "status": "not proven", "witness": None}
        shown = self.witness.described()
        after = shown.pop("answer")
        return {
            **found,
            "status": "found",
            "witness": shown,
            "before": answered(self.before),
            "after": after,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """Everything that differs between two bundles, and what that rests on."""

    before_digest: str
    after_digest: str
    rules: tuple[RuleChange, ...]
    transitions: tuple[Transition, ...]
    tools_before_only: tuple[str, ...]
    tools_after_only: tuple[str, ...]
    tools_changed: tuple[str, ...]
    """Tools that rules see with other parts on both sides: their calls cannot be compared."""
    places: int
    assumptions: tuple[str, ...]
    trusted: tuple[str, ...]
    duration_ms: float

    @property
    def is_proven(self) -> bool:
        """Whether nothing is open: what is not listed does not happen."""
        return not self.tools_changed and not any(each.why for each in self.transitions)

    @property
    def is_looser(self) -> bool:
        """Whether something is newly allowed, or somebody is no longer asked; also where that is not known."""
        is_open = bool(self.tools_changed or self.tools_after_only)
        return is_open or any(each.kind in LOOSER for each in self.transitions)

    def described(self) -> dict[str, Any]:
        """As JSON."""
        return {
            "before_digest": self.before_digest,
            "after_digest": self.after_digest,
            "is_proven": self.is_proven,
            "is_looser": self.is_looser,
            "rules": [each.described() for each in self.rules],
            "transitions": [each.described() for each in self.transitions],
            "tools_before_only": list(self.tools_before_only),
            "tools_after_only": list(self.tools_after_only),
            "tools_changed": list(self.tools_changed),
            "places": self.places,
            "assumptions": list(self.assumptions),
            "trusted": list(self.trusted),
            "duration_ms": round(self.duration_ms, 1),
        }


def compare(
    before: Bundle, after: Bundle, *, timeout_s: float = TIMEOUT_S, samples: int = SAMPLES
) -> Comparison:
    """Compare what two bundles answer to every request that is valid for both.

    Raises `PolicyError` for a rule that has no exact form, and `EncodingWrong` where the formulas and the real gates
    contradict each other.
    """
    began = perf_counter()
    old = {(place.name, place.agent): place for place in places_of(before)}
    new = {(place.name, place.agent): place for place in places_of(after)}
    pairs = [(old[key], new[key]) for key in old if key in new]
    comparable = [pair for pair in pairs if _is_alike(*pair)]
    vocabulary = vocabulary_of((*before.rules, *after.rules), [each for pair in comparable for each in pair])
    random = Random(SEED)  # noqa: S311 - no secret: the same requests every time
    transitions: list[Transition] = []
    assumptions: dict[str, None] = {}
    checked = 0
    for pair in comparable:
        if _is_same(*pair):
            continue
        sides = (symbolize(pair[0], vocabulary), symbolize(pair[1], vocabulary))
        for side in sides:
            assumptions.update(dict.fromkeys(each.text for each in side.assumptions))
            check_samples(side, random, samples)
        checked += 2 * samples
        transitions.extend(_transitions(*sides, timeout_s))
    return Comparison(
        before_digest=before.digest,
        after_digest=after.digest,
        rules=rule_changes(before.rules, after.rules),
        transitions=tuple(transitions),
        tools_before_only=_only(old, new),
        tools_after_only=_only(new, old),
        tools_changed=tuple(sorted({pair[0].name for pair in pairs if pair not in comparable})),
        places=len(comparable),
        assumptions=(*assumptions, *CONSERVATIVE) if checked else (),
        trusted=trusted_base(checked) if checked else (),
        duration_ms=(perf_counter() - began) * 1000,
    )


def _only(these: dict[tuple[str, str], Place], those: dict[tuple[str, str], Place]) -> tuple[str, ...]:
    """Tools (of an agent) that only one side has."""
    return tuple(sorted({name for name, agent in these if (name, agent) not in those}))


def _is_alike(before: Place, after: Place) -> bool:
    """Whether rules see the same parts of a call. The other tools, of which they see the history, may differ."""
    old, new = (
        [each for each in place.tool.context.attributes if each.name != "history"]
        for place in (before, after)
    )
    return old == new


def _is_same(before: Place, after: Place) -> bool:
    """Whether the same rules are asked in a place, word for word, about the same entities: then nothing can differ."""
    old, new = ({rule.id: rule for rule in place.rules} for place in (before, after))
    return (
        old.keys() == new.keys()
        and all(decides_alike(old[name], new[name]) for name in old)
        and before.asked == after.asked
        and before.attributes == after.attributes
        and before.bundle.schema_text == after.bundle.schema_text
    )


def _transitions(before: Symbolic, after: Symbolic, timeout_s: float) -> Iterator[Transition]:
    solving = Solving([before, after], timeout_s)
    for kind, wanted in _wanted(before, after):
        found = _search(kind, wanted, solving, before, after)
        if found is not None:
            yield found


def _wanted(before: Symbolic, after: Symbolic) -> Iterator[tuple[Kind, Bool]]:
    """Each transition as a term over the symbols that both sides share."""
    sides = [
        {Verdict.ALLOW: each.allow, Verdict.REQUIRE_APPROVAL: each.asks, Verdict.DENY: each.deny}
        for each in (before, after)
    ]
    old, new = _needs(before), _needs(after)
    less = either(*(both(term, negate(_is_kept(need, new))) for need, term in old.items()))
    others = either(
        *(both(old.get(need, False), negate(new.get(need, False))) for need in old),
        *(both(new.get(need, False), negate(old.get(need, False))) for need in new),
    )
    more: dict[Kind, Bool] = {"asks_less": less, "asks_others": both(others, negate(less))}
    for kind, (one, other) in _VERDICTS.items():
        yield kind, both(sides[0][one], sides[1][other], more.get(kind, True))


def _needs(side: Symbolic) -> dict[_Need, Bool]:
    """Who is asked by the rules alone: autonomy is the same on both sides."""
    found: dict[_Need, Bool] = {}
    for each in side.rules:
        if each.rule.decision == "require_approval":
            need = (frozenset(each.rule.approvers), each.rule.count)
            found[need] = either(found.get(need, False), both(side.asks, each.fires))
    return found


def _is_kept(need: _Need, others: dict[_Need, Bool]) -> Bool:
    """Somebody is asked who would have satisfied this need, and as many."""
    return either(*(term for other, term in others.items() if other[0] <= need[0] and other[1] >= need[1]))


def _search(
    kind: Kind, wanted: Bool, solving: Solving, before: Symbolic, after: Symbolic
) -> Transition | None:
    place = after.place
    terms = [wanted, after.sent]
    answer = solving.find(*terms) if kind in ("deny_to_allow", "ask_to_allow") else None
    if not isinstance(answer, Found):  # then one that autonomy stops will do
        terms = [wanted]
        answer = solving.find(wanted)
    if isinstance(answer, Unknown):
        return Transition(kind=kind, tool=place.name, agent=place.agent, why=f"z3 gave up: {answer.why}")
    if not isinstance(answer, Found):
        return None
    rules = [each.rule for side in (before, after) for each in side.rules]
    model = plainest(solving, after, terms, answer.model, rules)
    was, would_be = confirm(before, model), confirm(after, model)
    if not _is_real(kind, was.policy, would_be.policy):
        raise EncodingWrong(
            f"`{place.name}` for `{place.agent}`: the real bundles do not differ where the formulas do"
        )
    return Transition(
        kind=kind,
        tool=place.name,
        agent=place.agent,
        witness=make_witness(place, would_be, rules),
        before=was,
    )


def _is_real(kind: Kind, before: Decision, after: Decision) -> bool:
    """Whether the two real answers are the transition that was searched for."""
    if (before.verdict, after.verdict) != _VERDICTS[kind]:
        return False
    if kind not in ("asks_less", "asks_others"):
        return True
    old, new = ({(frozenset(need.roles), need.count) for need in each.needs} for each in (before, after))
    is_less = any(not any(other[0] <= need[0] and other[1] >= need[1] for other in new) for need in old)
    return old != new and is_less == (kind == "asks_less")
