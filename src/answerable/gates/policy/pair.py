"""Two bundles asked about one call together: its context is built once, and no rule is evaluated twice.

Which rules match a call does not depend on what they lead to. So the rules of both bundles are evaluated as one set, in
which each only says whether it matches; each bundle then settles its own decision from those that are its own. Where
anything is unusual (a rule errs, the context cannot be built, the bundles see the tool differently) each bundle is asked by
itself: that is always the same answer, and only takes longer.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from answerable.gates.policy import cedar
from answerable.gates.policy.slices import make_slice, remember

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from answerable.gates.policy.bundle import Bundle
    from answerable.gates.policy.rules import Rule
    from answerable.gates.policy.slices import Asked, Slice
    from answerable.gates.request import PolicyRequest
    from answerable.kernel.decision import Decision
    from answerable.kernel.tool import ToolSpec

NOBODY: frozenset[str] = frozenset()
"""The rules that are discharged where nobody was asked."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Twofold:
    """What two bundles say of one call."""

    discharged: Decision
    """The current bundle, with the approvals that were given."""
    current: Decision
    """The current bundle, with nobody having approved anything."""
    candidate: Decision
    """The candidate, in the same way."""


@dataclass(slots=True, eq=False)
class Pair:
    """A bundle and one that may take its place, loaded for the same tools."""

    current: Bundle
    candidate: Bundle
    _joined: dict[tuple[str, str], _Joined | None] = field(
        default_factory=dict["tuple[str, str]", "_Joined | None"]
    )
    _places: dict[tuple[str, str, str], tuple[ToolSpec, tuple[_Joined, Asked] | None]] = field(
        default_factory=dict["tuple[str, str, str]", "tuple[ToolSpec, tuple[_Joined, Asked] | None]"]
    )

    def decide(self, request: PolicyRequest, discharged: frozenset[str] = NOBODY) -> Twofold:
        """What each says of this call. Never raises: as `Bundle.decide`, and always with its answer."""
        try:
            found = self._together(request, discharged)
        except Exception:  # noqa: BLE001 - each bundle by itself knows what to make of it
            found = None
        return found or self._apart(request, discharged)

    def is_read(self, tool: ToolSpec, agent: str) -> bool:
        """Whether any rule of either looks at anything else of such a call than who makes it, with which tool."""
        found = [bundle.find(tool, agent, "") for bundle in (self.current, self.candidate)]
        return any(not isinstance(each, str) and each[0].reads_context for each in found)

    def _apart(self, request: PolicyRequest, discharged: frozenset[str]) -> Twofold:
        current = self.current.decide(request)
        return Twofold(
            discharged=self.current.decide(request, discharged) if discharged else current,
            current=current,
            candidate=self.candidate.decide(request),
        )

    def _together(self, request: PolicyRequest, discharged: frozenset[str]) -> Twofold | None:
        """Both from one evaluation; None where they have to be asked apart."""
        key = (request.tool.name, request.agent, request.tenant)
        place = self._places.get(key)
        if place is None or place[0] is not request.tool:
            place = (request.tool, self._place(request))
            remember(self._places, key, place)
        if place[1] is None:
            return None
        joined, asked = place[1]
        return joined.decide(request, asked, discharged)

    def _place(self, request: PolicyRequest) -> tuple[_Joined, Asked] | None:
        """The rules for such a call, and who asks; None where the bundles do not see the same tool and agent."""
        who = request.tool, request.agent, request.tenant
        ours, theirs = self.current.find(*who), self.candidate.find(*who)
        if isinstance(ours, str) or isinstance(theirs, str) or ours[1] != theirs[1]:
            return None
        key = (request.tool.name, request.agent)
        if key not in self._joined:
            remember(self._joined, key, _join(self.current, self.candidate, ours[0], theirs[0]))
        joined = self._joined[key]
        return None if joined is None else (joined, ours[1])


@dataclass(frozen=True, slots=True)
class _Side:
    """One of the bundles, and its rules among the joined ones: number and id, sorted by id."""

    bundle: Bundle
    permits: tuple[tuple[str, str], ...]
    forbids: tuple[tuple[str, str], ...]

    def settle(self, tool: str, matching: Collection[str], discharged: frozenset[str]) -> Decision:
        """The bundle's decision, where the rules of these numbers match."""
        return self.bundle.settle(
            tool,
            [name for number, name in self.permits if number in matching],
            [name for number, name in self.forbids if number in matching],
            discharged,
        )


@dataclass(slots=True)
class _Joined:
    """The rules of both bundles for one tool and one kind of agent; those that are written alike are there once."""

    where: Slice
    rules: cedar.PolicySet
    current: _Side
    candidate: _Side
    known: dict[Asked, tuple[str, ...]] = field(default_factory=dict["Asked", tuple[str, ...]])
    """Which rules match, by who asks, where no rule looks at the context."""
    settled: dict[tuple[tuple[str, ...], frozenset[str]], Twofold] = field(
        default_factory=dict["tuple[tuple[str, ...], frozenset[str]]", "Twofold"]
    )
    """What both say, by which rules match and which are discharged: a call has no other part in it."""

    def decide(self, request: PolicyRequest, asked: Asked, discharged: frozenset[str]) -> Twofold | None:
        """What both say; None where that cannot be said of both at once."""
        matching = self._matching(request, asked)
        if matching is None:
            return None
        found = self.settled.get((matching, discharged))
        if found is None:
            found = self._settle(matching, discharged)
            remember(self.settled, (matching, discharged), found)
        return found

    def _settle(self, matching: tuple[str, ...], discharged: frozenset[str]) -> Twofold:
        name = self.where.tool.spec.name
        current = self.current.settle(name, matching, NOBODY)
        return Twofold(
            discharged=self.current.settle(name, matching, discharged) if discharged else current,
            current=current,
            candidate=self.candidate.settle(name, matching, NOBODY),
        )

    def _matching(self, request: PolicyRequest, asked: Asked) -> tuple[str, ...] | None:
        """The numbers of the rules that match the call; None where one errs."""
        if self.where.reads_context:
            return self._evaluated(asked, self.where.build(request))
        found = self.known.get(asked)
        if found is None:
            found = self._evaluated(asked, {})
            if found is not None:
                remember(self.known, asked, found)
        return found

    def _evaluated(self, asked: Asked, context: dict[str, object]) -> tuple[str, ...] | None:
        answer = self.where.ask(self.rules, *self.where.request(asked, context))
        return None if answer.errors else answer.rules


def _join(current: Bundle, candidate: Bundle, ours: Slice, theirs: Slice) -> _Joined | None:
    """The rules of two slices as one; None where the tool does not look the same to both."""
    if ours.tool.context != theirs.tool.context:
        return None
    rules: dict[str, Rule] = {}
    for rule in (*ours.rules, *theirs.rules):
        rules.setdefault(rule.source, rule)
    numbers = {source: str(number) for number, source in enumerate(rules)}
    return _Joined(
        where=make_slice(ours.tool, tuple(rules.values()), current.tools),
        rules=cedar.matching_set(rules),
        current=_side(current, ours.rules, numbers),
        candidate=_side(candidate, theirs.rules, numbers),
    )


def _side(bundle: Bundle, rules: Iterable[Rule], numbers: dict[str, str]) -> _Side:
    named = sorted((rule.id, numbers[rule.source], rule.effect) for rule in rules)
    return _Side(
        bundle=bundle,
        permits=tuple((number, name) for name, number, effect in named if effect == "permit"),
        forbids=tuple((number, name) for name, number, effect in named if effect == "forbid"),
    )
