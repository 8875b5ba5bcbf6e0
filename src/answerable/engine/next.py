"""What comes next for a call, given what the journal says of it. Pure: no I/O, no clock, no dice.

This is where recovery lives, and it is the only path: a call that was just proposed and one that a crash
interrupted are the same question.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from answerable.kernel.tool import PROBEABLE, RESENDABLE, WriteMode

if TYPE_CHECKING:
    from answerable.kernel.events import (
        ApprovalRequested,
        CallDecided,
        CallEnded,
        CallIntended,
        EffectReported,
    )
    from answerable.kernel.state import CallStep
    from answerable.kernel.tool import ToolSpec

SEND_WITHIN_S = 5.0
"""How long after its intent a send may still begin."""
CLOCKS_AGREE_S = 4.0
"""How far the clocks of two processes may be apart: who recovers an intent reads its deadline on a clock of his own."""


@dataclass(frozen=True, slots=True)
class Decide:
    """Ask the gates. `discharged` are the rules that people have said yes to for this proposal."""

    discharged: frozenset[str]


@dataclass(frozen=True, slots=True)
class Refuse:
    """The answer was no, and stays no."""

    decided: CallDecided
    settled: str = ""
    """`denied` or `expired` where people were asked."""


@dataclass(frozen=True, slots=True)
class Await:
    """People have been asked and have not answered."""

    request: ApprovalRequested


@dataclass(frozen=True, slots=True)
class Void:
    """What people were asked about is not what would be sent now: ask anew."""

    request: ApprovalRequested


@dataclass(frozen=True, slots=True)
class Finish:
    """It has ended; return what was recorded."""

    ended: CallEnded


@dataclass(frozen=True, slots=True)
class Resend:
    """Send the same again with the same key."""

    intent: CallIntended


@dataclass(frozen=True, slots=True)
class Probe:
    """Ask the system of record, not before `not_before` (microseconds of UTC)."""

    intent: CallIntended
    not_before: int


@dataclass(frozen=True, slots=True)
class GiveUp:
    """It may have happened and cannot be asked for: say that it is unknown."""

    intent: CallIntended


@dataclass(frozen=True, slots=True)
class Report:
    """Somebody has said what became of an unknown effect."""

    reported: EffectReported


Action = Decide | Refuse | Await | Void | Finish | Resend | Probe | GiveUp | Report


def next_action(
    step: CallStep | None,
    spec: ToolSpec,
    *,
    digest: str,
    now: int,
    reported: EffectReported | None,
) -> Action:
    """The next action for the call whose recorded step is `step`.

    `digest` names the proposal as it is now; a request for approval of another one no longer counts. `now` is
    in microseconds of UTC.
    """
    if step is None:
        return Decide(frozenset())
    if step.ended is not None:
        if step.ended.state == "unknown" and reported is not None:
            return Report(reported)
        return Finish(step.ended)
    if step.intent is not None:
        return reported_or(reported, _in_doubt(step, step.intent, spec, now))
    if step.decided.verdict == "deny":
        return Refuse(step.decided)
    if step.decided.verdict == "allow":
        return Decide(_granted(step, digest))
    return _asked(step, digest)


def reported_or(reported: EffectReported | None, action: Action) -> Action:
    """What somebody said of an effect in doubt goes before anything we could try."""
    return Report(reported) if reported is not None else action


def is_key_honoured(step: CallStep, spec: ToolSpec, now: int) -> bool:
    """Whether the vendor still knows the key of this effect, however late in its window a send begins.

    The vendor counts from the first time that it saw the key, and so do we; later attempts prolong nothing.
    """
    if spec.key_ttl_s is None:
        return True
    return now + int(SEND_WITHIN_S * 1e6) < step.intended_at + int(spec.key_ttl_s * 1e6)


def _in_doubt(step: CallStep, intent: CallIntended, spec: ToolSpec, now: int) -> Action:
    """An intent without an outcome: the process died, or the reply was lost."""
    mode = WriteMode(intent.mode) if intent.mode != "read" else None
    if mode is None:
        return Resend(intent)
    if mode in RESENDABLE and is_key_honoured(step, spec, now):
        return Resend(intent)
    if mode in PROBEABLE or spec.has_probe:
        return Probe(intent, intent.send_by + int((spec.timeout_s + spec.probe_lag_s + CLOCKS_AGREE_S) * 1e6))
    return GiveUp(intent)


def _asked(step: CallStep, digest: str) -> Action:
    for request in reversed(step.requests):
        settled = step.settled.get(request.request)
        if settled is None:
            return Await(request) if request.digest == digest else Void(request)
        if settled.state in ("denied", "expired"):
            return Refuse(step.decided, settled.state)
        break
    return Decide(_granted(step, digest))


def _granted(step: CallStep, digest: str) -> frozenset[str]:
    """Rules that people discharged for exactly this proposal. An approval is used up by an intent."""
    return frozenset(
        rule
        for request in step.requests
        if request.digest == digest
        and (settled := step.settled.get(request.request)) is not None
        and settled.state == "granted"
        for rule, _, _ in request.needs
    )
