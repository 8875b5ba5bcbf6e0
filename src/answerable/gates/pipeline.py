"""All gates in their order, ending in the permit: the only thing that `perform` accepts."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NoReturn, Protocol

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
    def digest(self) -> str:
        """Names the text that rule ids refer to."""
        ...

    def decide(self, request: PolicyRequest, discharged: frozenset[str] = ...) -> Decision:
        """What the rules say; `discharged` are those that people have said yes to."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Situation:
    """What is known of the run, besides the call itself."""

    history: Sequence[CallRecord]
    args: str
    unknown_tools: frozenset[str]
    is_done: bool
    """Whether this run has done exactly this write before, however long ago."""
    limits: Mapping[str, int]
    spent: Mapping[str, int]
    ask: Mapping[str, int]
    wall_clock_us: int | None
    active_us: int
    discharged: frozenset[str]


def decide(request: PolicyRequest, situation: Situation, policy: Policy) -> Decision:
    """Ask every gate after the schema, in order. The first no stands; every wish for a person is kept.

    Policy runs first, so that a refusal is reported by the rule that refuses, then repeat, budget and autonomy.
    In shadow no write is performed, so nobody is asked: it passes, and says who would have been.
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
            is_done=situation.is_done,
        ),
        budget.check(
            situation.limits,
            situation.spent,
            ask=situation.ask,
            wall_clock_us=situation.wall_clock_us,
            active_us=situation.active_us,
        ),
        autonomy.check(spec, request.autonomy, discharged=situation.discharged),
    ]
    for answer in answers:
        if answer.verdict is Verdict.DENY:
            return answer
    asking = [answer for answer in answers if answer.verdict is Verdict.REQUIRE_APPROVAL]
    if not asking:
        return answers[0]
    together = _together(asking, policy.digest)
    if request.autonomy == "shadow" and spec.is_write:
        return replace(together, verdict=Verdict.ALLOW, needs=())
    return together


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
_ONLY_GATES = "a permit is made only by the gates, and stays as they made it"


class Permit:
    """Proof that all gates passed for one effect, at one entry of the journal.

    Only `admit` makes one, and nobody changes, copies or stores it. `send_by_ns` is on a monotonic clock: after
    it, nothing may be sent.
    """

    __slots__ = ("intent", "send_by_ns", "seq", "stream")
    intent: CallIntended
    send_by_ns: int
    seq: int
    stream: str

    def __init__(self, seal: object, intent: CallIntended, entry: Entry, send_by_ns: int) -> None:
        if seal is not _SEAL:
            raise TypeError(_ONLY_GATES)
        for name, value in (
            ("intent", intent),
            ("send_by_ns", send_by_ns),
            ("seq", entry.seq),
            ("stream", entry.stream),
        ):
            object.__setattr__(self, name, value)

    def __init_subclass__(cls) -> NoReturn:
        raise TypeError(_ONLY_GATES)

    def __setattr__(self, name: str, value: object) -> NoReturn:
        raise TypeError(_ONLY_GATES)

    def __delattr__(self, name: str) -> NoReturn:
        raise TypeError(_ONLY_GATES)

    def __reduce__(self) -> NoReturn:
        raise TypeError(_ONLY_GATES)

    @property
    def effect(self) -> str:
        """The key of the effect that it is for."""
        return self.intent.effect

    @property
    def halt_epoch(self) -> int:
        """The halt epoch that the intent's transaction read."""
        return self.intent.halt_epoch


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
