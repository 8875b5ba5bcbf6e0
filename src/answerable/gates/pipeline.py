"""All gates in their order, ending in the permit: the only thing that `perform` accepts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from answerable.gates import autonomy, budget, repeat
from answerable.kernel.decision import Decision, Verdict

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from answerable.gates.request import PolicyRequest
    from answerable.kernel.entry import Entry
    from answerable.kernel.events import CallIntended
    from answerable.kernel.state import CallRecord


class Policy(Protocol):
    """What the pipeline needs of a policy bundle."""

    @property
    def digest(self) -> str: ...

    def decide(self, request: PolicyRequest, discharged: frozenset[str] = ...) -> Decision: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Situation:
    """What is known of the run, besides the call itself."""

    history: Sequence[CallRecord]
    args: str
    unknown_tools: frozenset[str]
    limits: Mapping[str, int]
    spent: Mapping[str, int]
    ask: Mapping[str, int]
    wall_clock_us: int | None
    active_us: int
    discharged: frozenset[str]


def decide(request: PolicyRequest, situation: Situation, policy: Policy) -> Decision:
    """Ask every gate after the schema, in order. The first no stands; every wish for a person is kept.

    Policy runs first, so that a refusal is reported by the rule that refuses, then repeat, budget and autonomy.
    """
    spec = request.tool
    answers = [
        policy.decide(request, situation.discharged),
        repeat.check(
            situation.history,
            tool=spec.name,
            args=situation.args,
            is_write=spec.is_write,
            unknown_tools=situation.unknown_tools,
        ),
        budget.check(
            situation.limits,
            situation.spent,
            ask=situation.ask,
            wall_clock_us=situation.wall_clock_us,
            active_us=situation.active_us,
        ),
        autonomy.check(
            spec,
            request.autonomy,
            has_money_limit=spec.business_key is not None,
            discharged=situation.discharged,
        ),
    ]
    for answer in answers:
        if answer.verdict is Verdict.DENY:
            return answer
    asking = [answer for answer in answers if answer.verdict is Verdict.REQUIRE_APPROVAL]
    if asking and request.autonomy != "shadow":
        return _together(asking, policy.digest)
    return answers[0]


def _together(asking: list[Decision], digest: str) -> Decision:
    texts: dict[str, str] = {}
    for answer in asking:
        texts.update(answer.texts)
    return Decision(
        verdict=Verdict.REQUIRE_APPROVAL,
        gate=asking[0].gate,
        code=asking[0].code,
        reason="; ".join(answer.reason for answer in asking),
        rules=tuple(sorted({rule for answer in asking for rule in answer.rules})),
        texts=texts,
        needs=tuple(need for answer in asking for need in answer.needs),
        digest=digest,
    )


_SEAL = object()


class Permit:
    """Proof that all gates passed for one effect, at one entry of the journal.

    Only `admit` makes one. `send_by_ns` is on a monotonic clock: after it, nothing may be sent.
    """

    __slots__ = ("effect", "halt_epoch", "intent", "seq", "send_by_ns", "stream")

    def __init__(self, seal: object, intent: CallIntended, entry: Entry, send_by_ns: int) -> None:
        if seal is not _SEAL:
            message = "a permit is made only by the gates"
            raise TypeError(message)
        self.intent = intent
        self.effect = intent.effect
        self.halt_epoch = intent.halt_epoch
        self.stream = entry.stream
        self.seq = entry.seq
        self.send_by_ns = send_by_ns


def admit(decision: Decision, intent: CallIntended, entry: Entry, *, send_by_ns: int) -> Permit:
    """The permit for an intent that is committed in `entry` after the gates said yes.

    Raises `ValueError` where that is not so: a wrong verdict, or an entry that does not hold the intent.
    """
    if decision.verdict is not Verdict.ALLOW:
        message = f"no permit for a call that was answered `{decision.verdict}`"
        raise ValueError(message)
    if intent not in entry.events:
        message = "no permit for an intent that is not in the journal"
        raise ValueError(message)
    return Permit(_SEAL, intent, entry, send_by_ns)
