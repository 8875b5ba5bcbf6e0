"""What is claimed of one invariant in one place, and what a search says about it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from answerable.kernel.decision import Verdict
from answerable.prove.confirm import confirm
from answerable.prove.logic import both, either, negate
from answerable.prove.requests import EncodingWrong
from answerable.prove.solving import Found, Unknown
from answerable.prove.witness import Witness, make_witness, plainest

if TYPE_CHECKING:
    from answerable.gates.policy import Rule
    from answerable.prove.confirm import Confirmed
    from answerable.prove.logic import Bool
    from answerable.prove.solving import Solving
    from answerable.prove.symbolic import Symbolic


@dataclass(frozen=True, slots=True)
class Holds:
    """No valid request there breaks it."""


@dataclass(frozen=True, slots=True)
class Broken:
    """Some request breaks it, and the real gates say so too."""

    witness: Witness


@dataclass(frozen=True, slots=True)
class Open:
    """It is not known."""

    why: str


def broken_by(symbolic: Symbolic, invariant: Rule) -> Bool:
    """When a request breaks an invariant: it is met, and the call may be performed without what it asks for.

    Without a decision: performed at all, whoever says yes. With `require_approval`: performed though none of the people
    who are asked must be one of its approvers. Where the invariant itself cannot be evaluated, it counts as met.
    """
    met, error = symbolic.encode(invariant)
    return both(either(met, error), symbolic.performable, negate(_is_asked(symbolic, invariant)))


def settle(solving: Solving, symbolic: Symbolic, invariant: Rule) -> Holds | Broken | Open:
    """Search one place for a request that breaks an invariant. Raises `EncodingWrong` where the gates contradict."""
    wanted = broken_by(symbolic, invariant)
    answer = solving.find(wanted)
    if isinstance(answer, Unknown):
        return Open(answer.why)
    if not isinstance(answer, Found):
        return Holds()
    rules = (*(each.rule for each in symbolic.rules), invariant)
    model = plainest(solving, symbolic, [wanted], answer.model, rules)
    confirmed = confirm(symbolic, model)
    place = symbolic.place
    if not place.matches(invariant, confirmed.request) or not is_breach(invariant, confirmed):
        raise EncodingWrong(
            f"`{place.name}` for `{place.agent}`: the real gates keep `{invariant.id}` where the formulas break it"
        )
    return Broken(make_witness(place, confirmed, rules))


def is_breach(invariant: Rule, confirmed: Confirmed) -> bool:
    """Whether the real answer to a request that meets an invariant is less strict than it demands."""
    decision = confirmed.decision
    if decision.verdict is Verdict.ALLOW:
        return confirmed.is_performed
    if decision.verdict is Verdict.DENY:
        return False
    return invariant.decision == "deny" or not any(
        set(need.roles) <= set(invariant.approvers) and need.count >= invariant.count
        for need in decision.needs
    )


def _is_asked(symbolic: Symbolic, invariant: Rule) -> Bool:
    if invariant.decision != "require_approval":
        return False
    return symbolic.need(invariant.approvers, invariant.count)
