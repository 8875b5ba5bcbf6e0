"""A run as a list of moments: what happened when, one line each, in the order of the journal."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from answerable.evidence.endings import code_words
from answerable.evidence.words import WAITS_FOR, brief, counted, dollars, in_line, lasting, listed
from answerable.journal.store import Erased
from answerable.kernel.events import (
    ApprovalGiven,
    ApprovalRequested,
    ApprovalSettled,
    CallDecided,
    CallEnded,
    CallIntended,
    Declassified,
    EffectReported,
    Endorsed,
    HaltLifted,
    HaltRaised,
    ModelEnded,
    RunAdopted,
    RunCreated,
    RunEnded,
    RunParked,
    SourceRead,
    ToolsFixed,
)

if TYPE_CHECKING:
    from answerable.evidence.view import RunView, Said
    from answerable.kernel.events import Event

Tone = Literal["plain", "good", "waiting", "bad", "unknown", "quiet"]


@dataclass(frozen=True, slots=True)
class Moment:
    """One line: when since the run was created, at which step, what. `tone` decides mark and colour."""

    since_us: int
    path: str
    what: str
    tone: Tone


def timeline(view: RunView) -> list[Moment]:
    """The moments worth a line."""
    return [
        Moment(max(0, said.time - view.state.created_at), said.place.path, what, tone)
        for said in view.said
        for what, tone in _moment(view, said)
    ]


def _moment(view: RunView, said: Said[Event]) -> list[tuple[str, Tone]]:
    event = said.event
    match event:
        case RunCreated():
            return [(f"accepted for `{in_line(event.agent)}`", "quiet")]
        case RunAdopted():
            return _adopted(event)
        case ModelEnded():
            return [_model(view, event)]
        case CallDecided():
            return _decided(view, event)
        case CallIntended():
            again = f", attempt {event.attempt}" if event.attempt > 1 else ""
            return [(f"`{in_line(event.tool)}` is about to be sent{again}", "quiet")]
        case CallEnded():
            return [_call(view, event)]
        case ToolsFixed():
            return [
                (f"from here on only {listed([f'`{each}`' for each in event.tools]) or 'no tool'}", "plain")
            ]
        case SourceRead():
            trust = "trusted" if event.trusted else "untrusted"
            return [
                (f"the run's code takes in `{in_line(event.source)}`, {trust}, {in_line(event.cls)}", "plain")
            ]
        case Endorsed():
            return [
                (f"the run's code endorses “{_text(view, event.value)}”: {_text(view, event.why)}", "plain")
            ]
        case Declassified():
            names = listed([f"`{in_line(each)}`" for each in event.classes])
            return [(f"the run's code declassifies {names}: {_text(view, event.why)}", "plain")]
        case ApprovalRequested():
            rules = listed([f"`{rule}`" for rule, _, _ in event.needs])
            return [(f"a person is asked, because of {rules}", "waiting")]
        case ApprovalGiven():
            word = "yes" if event.verdict == "grant" else "no"
            return [(f"`{in_line(event.approver)}` says {word}, signed", "plain")]
        case ApprovalSettled():
            tone: Tone = "good" if event.state == "granted" else "bad"
            return [(f"the request is {event.state}", tone)]
        case RunParked():
            return [(f"waits for {WAITS_FOR[event.waiting_for]}", "waiting")]
        case EffectReported():
            return [(f"`{in_line(event.by)}` says that the effect is {event.state}", "plain")]
        case HaltRaised():
            return [(f"halt of `{event.scope}` by `{in_line(event.by)}`: “{in_line(event.reason)}”", "bad")]
        case HaltLifted():
            return [(f"halt of `{event.scope}` lifted by `{in_line(event.by)}`", "quiet")]
        case RunEnded():
            return [_ended(event)]
        case _:
            return []


def _text(view: RunView, ref: str) -> str:
    content = view.content(ref)
    return "(erased)" if isinstance(content, Erased) else in_line(str(content), 90)


def _adopted(event: RunAdopted) -> list[tuple[str, Tone]]:
    words = {"start": "started", "wake": "woken", "recovery": "recovered after its process was gone"}
    tone: Tone = "plain" if event.cause == "recovery" else "quiet"
    begun = f", with release {event.release[:12]}" if event.release else ""
    return [(f"{words.get(event.cause, event.cause)} by `{in_line(event.owner)}`{begun}", tone)]


def _model(view: RunView, event: ModelEnded) -> tuple[str, Tone]:
    name = "scripted program" if event.scripted else "model"
    if event.state != "replied":
        failure = in_line(event.failure or "")
        return f"{name}: {event.state}{f' ({failure})' if failure else ''}", "bad"
    cost = "price unknown" if event.cost is None else dollars(event.cost)
    tokens = counted(event.tokens_in + event.tokens_out, "token")
    reply = view.members(event.reply)
    text = in_line(str(reply.get("text") or ""), 90)
    return f"{name} replied ({tokens}, {cost}){f': “{text}”' if text else ''}", "quiet"


def _decided(view: RunView, event: CallDecided) -> list[tuple[str, Tone]]:
    args = brief(view.content(event.args), 110)
    name = f"`{in_line(event.tool)}` {args}".rstrip()
    rules = listed([f"`{rule}`" for rule in event.rules])
    if event.verdict == "allow":
        return [(name, "plain")] if event.cls != "read" else [(name, "quiet")]
    why = view.content(event.why)
    reason = "" if isinstance(why, Erased) else in_line(str(view.members(event.why).get("reason") or ""), 140)
    word, tone = ("refused", "bad") if event.verdict == "deny" else ("held", "waiting")
    by = rules or f"the gate `{event.gate}`"
    return [(f"{name}: {word} by {by}{f' ({reason})' if reason else ''}", tone)]


def _call(view: RunView, event: CallEnded) -> tuple[str, Tone]:
    tool = f"`{in_line(event.tool)}`"
    took = lasting(event.us)
    match event.state:
        case "done":
            via = {"probe": ", found by asking", "person": ", a person says so", "late": ", by a late reply"}
            result = brief(view.content(event.result), 90) if event.result else ""
            return f"{tool} done in {took}{via.get(event.via, '')}{f': {result}' if result else ''}", "good"
        case "failed":
            error = in_line(str(view.members(event.result).get("error") or event.failure or ""), 110)
            return f"{tool} failed{f': {error}' if error else ''}", "bad"
        case "shadowed":
            return f"{tool} not sent: the agent runs in shadow", "quiet"
        case _:
            return f"{tool} UNKNOWN: it may have happened", "unknown"


def _ended(event: RunEnded) -> tuple[str, Tone]:
    why = code_words(event.code).rstrip(".") if event.code and event.outcome != "succeeded" else ""
    tones: dict[str, Tone] = {"succeeded": "good", "escalated": "waiting", "unverified": "plain"}
    tone = tones.get(event.outcome, "bad")
    return f"{event.outcome}{f': {why[0].lower()}{why[1:]}' if why else ''}", tone
