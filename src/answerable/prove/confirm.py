"""Asking the real gates about a request that was found: a proof and the gates have to say the same."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from answerable.gates import pipeline
from answerable.kernel.decision import Verdict
from answerable.prove.logic import value_of
from answerable.prove.requests import EncodingWrong

if TYPE_CHECKING:
    from answerable.gates.request import PolicyRequest
    from answerable.kernel.decision import Decision
    from answerable.prove.logic import Model
    from answerable.prove.place import Place
    from answerable.prove.symbolic import Symbolic

_NOTHING_ELSE = pipeline.Situation(
    history=(),
    args="",
    unknown_tools=frozenset(),
    is_done=False,
    limits={},
    spent={},
    ask={},
    wall_clock_us=None,
    active_us=0,
    discharged=frozenset(),
)
"""No repetition and no budget stands against the call: only the rules and autonomy decide."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Confirmed:
    """A request with what the real bundle and the real gates answer."""

    request: PolicyRequest
    policy: Decision
    """What the rules alone say."""
    decision: Decision
    """What the gates say, with autonomy."""

    @property
    def is_performed(self) -> bool:
        """Whether it is sent with nobody asked."""
        is_shadow = self.request.autonomy == "shadow" and self.request.tool.is_write
        return self.decision.verdict is Verdict.ALLOW and not is_shadow


def ask(place: Place, request: PolicyRequest) -> Confirmed:
    """What the real gates answer to a request, where nothing but rules and autonomy is against it."""
    return Confirmed(
        request=request,
        policy=place.bundle.decide(request),
        decision=pipeline.decide(request, _NOTHING_ELSE, place.bundle),
    )


def confirm(symbolic: Symbolic, model: Model) -> Confirmed:
    """The request behind a model, once the real gates have answered it as the formulas do.

    Raises `EncodingWrong` where they differ.
    """
    confirmed = ask(symbolic.place, symbolic.request(model))
    check(symbolic, model, confirmed)
    return confirmed


def check(symbolic: Symbolic, model: Model, confirmed: Confirmed) -> None:
    """Raise `EncodingWrong` unless the formulas say in this model what the gates said."""
    expected = {
        Verdict.ALLOW: value_of(model, symbolic.allow),
        Verdict.REQUIRE_APPROVAL: value_of(model, symbolic.asks),
        Verdict.DENY: value_of(model, symbolic.deny),
    }
    said = confirmed.policy
    if [verdict for verdict, is_so in expected.items() if is_so] != [said.verdict]:
        told = " and ".join(verdict for verdict, is_so in expected.items() if is_so) or "nothing"
        _differ(
            symbolic,
            f"the rules answer `{said.verdict}` ({said.reason or 'no reason'}), the formulas `{told}`",
        )
    fires = {each.rule.id: each.fires for each in symbolic.rules}
    if not all(value_of(model, fires[name]) for name in said.rules):
        _differ(symbolic, f"of the rules that decided, {', '.join(said.rules)}, the formulas do not meet all")
    if value_of(model, symbolic.sent) != confirmed.is_performed:
        _differ(symbolic, "autonomy lets it be sent, and the formulas do not, or the other way round")
    is_asked = (
        said.verdict is Verdict.REQUIRE_APPROVAL
    )  # else no rule's need is open: it holds only where `asks` does
    asking = [each for each in symbolic.asking if is_asked or each.need.rule not in fires]
    needs = {each.need for each in asking if value_of(model, each.asked)}
    if needs != set(confirmed.decision.needs):
        _differ(symbolic, "the people who are asked are not those that the formulas name")


def _differ(symbolic: Symbolic, what: str) -> None:
    place = symbolic.place
    raise EncodingWrong(f"`{place.name}` for `{place.agent}`: {what}")
