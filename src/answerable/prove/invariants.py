"""Proving invariants of a bundle: each holds for every request, or a request shows that it does not, or it is open."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random
from time import perf_counter
from typing import TYPE_CHECKING, Any, Literal

from answerable.errors import PolicyError
from answerable.prove.claims import Broken, Open, settle
from answerable.prove.confirm import confirm
from answerable.prove.load import invariants_of
from answerable.prove.logic import engine
from answerable.prove.place import places_of
from answerable.prove.requests import EncodingWrong
from answerable.prove.sampling import check_samples
from answerable.prove.solving import TIMEOUT_S, Found, Solving, Unknown
from answerable.prove.symbolic import symbolize
from answerable.prove.vocabulary import vocabulary_of
from answerable.prove.witness import make_witness, plainest

if TYPE_CHECKING:
    from answerable.gates.policy import Bundle, Rule
    from answerable.prove.symbolic import Symbolic
    from answerable.prove.witness import Witness

Status = Literal["holds", "refuted", "not proven"]
SAMPLES = 50
"""Random requests in each place on which the formulas are compared with the real gates."""
SEED = 20_26
CONSERVATIVE = (
    "texts may be any texts: what a pattern or a length of an argument would refuse is not taken for impossible",
    "a value with no exact form (a fifth decimal place, 65 bits) is denied where a rule reads it, else left aside",
    "repeated calls, budgets, claims and halts can only refuse more; they are not counted on",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What is known of one invariant."""

    invariant: Rule
    status: Status
    why: str = ""
    counterexample: Witness | None = None
    places: int
    """In how many places it was looked for."""
    duration_ms: float

    def described(self) -> dict[str, Any]:
        """As JSON."""
        rule = self.invariant
        return {
            "id": rule.id,
            "text": rule.text,
            "file": rule.file,
            "line": rule.line,
            "unless_approved_by": list(rule.approvers),
            "count": rule.count,
            "status": self.status,
            "why": self.why,
            "counterexample": self.counterexample.described() if self.counterexample else None,
            "places": self.places,
            "duration_ms": round(self.duration_ms, 1),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Proof:
    """Everything that was proven of a bundle, and what that rests on."""

    digest: str
    invariants_digest: str
    findings: tuple[Finding, ...]
    assumptions: tuple[str, ...]
    trusted: tuple[str, ...]
    sanity: Witness
    """Something that may be sent: a claim that nothing ever may is refuted by it."""
    duration_ms: float

    @property
    def is_proven(self) -> bool:
        """Whether every invariant holds."""
        return all(each.status == "holds" for each in self.findings)

    def described(self) -> dict[str, Any]:
        """As JSON."""
        return {
            "digest": self.digest,
            "invariants_digest": self.invariants_digest,
            "is_proven": self.is_proven,
            "invariants": [each.described() for each in self.findings],
            "assumptions": list(self.assumptions),
            "trusted": list(self.trusted),
            "sanity": self.sanity.described(),
            "duration_ms": round(self.duration_ms, 1),
        }


@dataclass(slots=True)
class _Open:
    """What is known of one invariant so far."""

    rule: Rule
    places: int = 0
    duration_s: float = 0.0
    broken: Broken | None = None
    why: str = ""

    def finding(self) -> Finding:
        status: Status = "refuted" if self.broken else "not proven" if self.why else "holds"
        return Finding(
            invariant=self.rule,
            status=status,
            why=self.why
            if status == "not proven"
            else ""
            if self.places
            else "none of the tools is one it speaks of",
            counterexample=self.broken.witness if self.broken else None,
            places=self.places,
            duration_ms=self.duration_s * 1000,
        )


def prove(
    bundle: Bundle, invariants: Bundle, *, timeout_s: float = TIMEOUT_S, samples: int = SAMPLES
) -> Proof:
    """Prove or refute each invariant. `invariants` is a bundle that was loaded of them, over the same tools.

    Raises `PolicyError` for a rule or invariant that has no exact form, and `EncodingWrong` where the formulas and the
    real gates contradict each other, on a counterexample or on a random request.
    """
    began = perf_counter()
    claims = {rule.id: _Open(rule) for rule in invariants_of(invariants, bundle)}
    places = places_of(bundle)
    vocabulary = vocabulary_of((*bundle.rules, *invariants.rules), places)
    random = Random(SEED)  # noqa: S311 - no secret: the same requests every time
    assumptions: dict[str, None] = {}
    sanity: Witness | None = None
    for place in places:
        symbolic = symbolize(place, vocabulary)
        assumptions.update(dict.fromkeys(each.text for each in symbolic.assumptions))
        check_samples(symbolic, random, samples)
        solving = Solving([symbolic], timeout_s)
        _check_verdicts(solving, symbolic)
        if sanity is None or not sanity.confirmed.is_performed:
            sanity = _something_sent(solving, symbolic) or sanity
        for claim in claims.values():
            if place.is_covered(claim.rule.body):
                _settle(claim, solving, symbolic)
    if sanity is None:
        raise PolicyError(
            "nothing can be shown to be sent under these rules at all, so every claim would hold of them",
            hint="a proof of that would say nothing: look at the permits first",
        )
    return Proof(
        digest=bundle.digest,
        invariants_digest=invariants.digest,
        findings=tuple(claim.finding() for claim in claims.values()),
        assumptions=(*assumptions, *CONSERVATIVE),
        trusted=trusted_base(samples * len(places)),
        sanity=sanity,
        duration_ms=(perf_counter() - began) * 1000,
    )


def _settle(claim: _Open, solving: Solving, symbolic: Symbolic) -> None:
    """Look for a breach in one more place; once one is found, no other is looked for."""
    claim.places += 1
    if claim.broken is not None:
        return
    began = perf_counter()
    match settle(solving, symbolic, claim.rule):
        case Broken() as broken:
            claim.broken = broken
        case Open(why):
            place = symbolic.place
            claim.why = f"`{place.name}` for `{place.agent}`: z3 gave up: {why}"
        case _:
            pass
    claim.duration_s += perf_counter() - began


def _check_verdicts(solving: Solving, symbolic: Symbolic) -> None:
    """What is assumed must leave requests: of none, everything would hold.

    And for each verdict that the formulas say is possible, the real gates are asked about a request that z3 chose.
    """
    place = symbolic.place
    match solving.find():
        case Found():
            pass
        case Unknown(why):
            place.refuse(f"z3 cannot even find a valid request: {why}", "allow more time")
        case _:
            raise EncodingWrong(f"`{place.name}` for `{place.agent}`: the assumptions contradict each other")
    for verdict in (symbolic.allow, symbolic.asks, symbolic.deny, symbolic.withheld):
        answer = solving.find(verdict)
        if isinstance(answer, Found):
            confirm(symbolic, answer.model)


def _something_sent(solving: Solving, symbolic: Symbolic) -> Witness | None:
    """The claim that nothing is ever sent has to be refuted somewhere."""
    for wanted in (symbolic.sent, symbolic.performable):
        answer = solving.find(wanted)
        if isinstance(answer, Found):
            rules = [each.rule for each in symbolic.rules]
            model = plainest(solving, symbolic, [wanted], answer.model, rules)
            return make_witness(symbolic.place, confirm(symbolic, model), rules)
    return None


def trusted_base(samples: int) -> tuple[str, ...]:
    """What a proof rests on besides its assumptions."""
    agreed = f"Cedar's own evaluator and the gates agreed with it on {samples} random requests"
    return (
        f"the encoding of Cedar in this package; {agreed}, and on every request that is shown",
        f"z3 {engine().get_version_string()}, which says that there is no counterexample",
        "the gates before the rules (schema, labels, facts, totals), which make the assumptions true",
    )
