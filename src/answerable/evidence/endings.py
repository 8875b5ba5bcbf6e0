"""Why a run ended, or what it waits for."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from answerable.evidence.words import ERASED, in_line, sentence, when
from answerable.journal.store import Erased
from answerable.kernel.events import (
    CallDecided,
    HaltLifted,
    HaltRaised,
    RunAdopted,
    RunCreated,
    RunEnded,
    RunParked,
)

if TYPE_CHECKING:
    from answerable.evidence.view import Place, RunView, Said

_OUTCOMES = {
    "succeeded": "It succeeded: the done check, which looks only at the system of record, said yes.",
    "unverified": "It came to its end. Whether the work is done is not checked: there is no done check.",
    "escalated": "It stopped and was handed to a person.",
    "failed": "It could not go on, for a technical reason.",
    "halted": "An operator stopped it.",
    "abandoned": "Whoever drove it disappeared.",
}
_CODES = {
    "policy_denied": "A rule refused a call.",
    "approval_required": "A person has to decide.",
    "approval_denied": "A person said no.",
    "approval_expired": "Nobody answered in time, and then the answer is no.",
    "budget_exhausted": "A limit was reached.",
    "loop_detected": "It was going round in circles.",
    "repeated_effect": "It proposed an effect again that it had already tried.",
    "claim_held": "The same effect is held by another call, or was already done.",
    "tool_failure": "A tool failed.",
    "model_failure": "The model did not give a usable reply.",
    "effect_unknown": "Nobody knows whether an effect happened.",
    "invalid_call": "What the model proposed was not a valid call.",
    "fact_unavailable": "What is needed for deciding could not be read.",
    "not_done": "The done check said no.",
    "ambiguous_input": "What was asked can be read in more than one way.",
    "user_requested": "The person who asked wanted a person.",
    "low_confidence": "The agent was not sure enough.",
    "autonomy": "The agent may not do this alone.",
    "halted": "An operator stopped it.",
    "diverged": "The program asked for something else than its journal says.",
    "internal": "Something in the runtime went wrong.",
}


def code_words(code: str | None) -> str:
    """A reason code as a sentence; empty where there is none."""
    return _CODES.get(code or "", f"Reason: {code}." if code else "")


def outcome_words(outcome: str) -> str:
    """An outcome as a sentence."""
    return _OUTCOMES.get(outcome, f"Outcome: {outcome}.")


def ended(view: RunView) -> tuple[str, list[Place]]:
    """The outcome and its reason; for an open run, what it is doing or waiting for."""
    event = view.state.ended
    if event is None:
        return _open(view)
    said = view.find(RunEnded)
    parts = [outcome_words(event.outcome)]
    if event.outcome != "halted":
        parts.append(code_words(event.code))
    parts.append(sentence(_reason(view, event)))
    evidence = [each.place for each in said]
    if event.outcome == "halted" or event.code == "halted":
        halts = _in_force(view)
        parts += [_halt(each) for each in halts]
        evidence += [each.place for each in halts]
    evidence += [each.place for each in _deciding(view, event)]
    return " ".join(part for part in parts if part), evidence


def _reason(view: RunView, event: RunEnded) -> str:
    """The most telling words that the journal has for this end."""
    for ref in (event.answer, event.check):
        reason = view.members(ref).get("reason")
        if reason:
            return in_line(str(reason))
    packet = view.members(event.packet).get("reason")
    if isinstance(packet, dict):
        return in_line(str(cast("dict[str, object]", packet).get("text") or ""))
    gone = [ref for ref in (event.answer, event.check, event.packet) if isinstance(view.content(ref), Erased)]
    return f"The words for it are {ERASED}" if gone else ""


def _deciding(view: RunView, event: RunEnded) -> list[Said[CallDecided]]:
    """The last decision by the rules that the run ended on."""
    wanted = set(event.rules)
    held = [each for each in view.find(CallDecided) if each.event.verdict != "allow"]
    return [each for each in held if wanted & set(each.event.rules)][-1:]


def _open(view: RunView) -> tuple[str, list[Place]]:
    state = view.state
    halts = _in_force(view)
    tail = f" {' '.join(_halt(each) for each in halts)}" if halts else ""
    evidence = [each.place for each in halts]
    if state.parked is not None:
        parked = view.find(RunParked)[-1:]
        evidence = [each.place for each in parked] + evidence
        return f"It has not ended. {_waits(view, state.parked)}{tail}", evidence
    if state.name == "created":
        created = [each.place for each in view.find(RunCreated)]
        return f"It has not ended: it is accepted and has not started.{tail}", created + evidence
    adopted = [each.place for each in view.find(RunAdopted)[-1:]]
    text = (
        f"It has not ended: `{in_line(state.owner)}` took it at epoch {state.epoch} and wrote last at"
        f" {when(state.last_at)}. If that process is gone, `answerable resume --all` goes on from there."
    )
    return f"{text}{tail}", adopted + evidence


def _waits(view: RunView, parked: RunParked) -> str:
    if parked.waiting_for == "approval":
        until = next(
            (
                request.expires
                for step in view.state.calls.values()
                for request in step.requests
                if request.request == parked.request
            ),
            parked.wake_at,
        )
        deadline = f" until {when(until)}; then the answer is no" if until else ""
        return f"It waits for a person to answer{deadline}. Meanwhile it holds no money, claim or process."
    if parked.waiting_for == "release":
        return (
            "It waits for the release that it began with: the agent's prompt, tools or models were others when it was"
            " last driven."
        )
    wake = f" until {when(parked.wake_at)}" if parked.wake_at else ""
    return f"It waits for a timer{wake}."


def _in_force(view: RunView) -> list[Said[HaltRaised]]:
    """Halts that cover the run and were not lifted: the last word on each scope."""
    lifted = {each.event.scope: each.event.epoch for each in view.find(HaltLifted)}
    raised = {each.event.scope: each for each in view.find(HaltRaised)}
    return [each for scope, each in raised.items() if each.event.epoch > lifted.get(scope, 0)]


def _halt(each: Said[HaltRaised]) -> str:
    event = each.event
    return f"A halt of `{event.scope}` by `{in_line(event.by)}` is in force: “{in_line(event.reason)}”."
