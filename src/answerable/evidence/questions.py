"""The ten questions that anybody may ask of a run, answered from its journal and from nothing else.

Each answer is plain language with the evidence it rests on: the entries that say so. Where content has been
erased the answer says that; it never guesses.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from answerable.engine.packet_rules import built_in_text
from answerable.evidence.changes import changed, undoable, unknown
from answerable.evidence.endings import ended
from answerable.evidence.words import ERASED, brief, counted, dollars, in_line, lasting, listed, when
from answerable.journal.store import Erased
from answerable.kernel.events import (
    ApprovalGiven,
    ApprovalRequested,
    ApprovalSettled,
    CallDecided,
    ModelEnded,
    RunAdopted,
    RunCreated,
    RunEnded,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from answerable.evidence.view import Place, RunView, Said

QUESTIONS = {
    "who": "Who did it?",
    "for_whom": "For whom?",
    "asked": "What was asked?",
    "changed": "What changed?",
    "rules": "Which rule decided?",
    "approvals": "Whose yes was it?",
    "cost": "What did it cost?",
    "unknown": "What is unknown?",
    "undoable": "What can be undone?",
    "ended": "Why did it end?",
}
"""The keys of `show --json`, in order, and the questions in words."""


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer in plain language, and the places in the journal that say so."""

    answer: str
    evidence: tuple[Place, ...]

    def to_json(self) -> dict[str, object]:
        """The form of `show --json`."""
        return {"answer": self.answer, "evidence": [place.to_json() for place in self.evidence]}


def answers(view: RunView) -> dict[str, Answer]:
    """All ten answers, by key. What has no entry of its own rests on the run's first."""
    begun = places(view.find(RunCreated))
    return {
        key: Answer(text, tuple(dict.fromkeys(said or begun))) for key, (text, said) in _all(view).items()
    }


def answers_json(view: RunView) -> dict[str, object]:
    """All ten answers as `show --json` prints them."""
    return {key: answer.to_json() for key, answer in answers(view).items()}


def _all(view: RunView) -> dict[str, tuple[str, list[Place]]]:
    return {key: answer(view) for key, answer in _ANSWERS.items()}


def places(said: Sequence[Said[Any]]) -> list[Place]:
    """Where events are written."""
    return [each.place for each in said]


def who(view: RunView) -> tuple[str, list[Place]]:
    """Which agent, in which release, run by which process, with which models."""
    created = view.created
    pinned = view.state.release
    text = f"The agent `{created.agent}`, release {pinned[:12]}, autonomy `{created.autonomy}`."
    if pinned != created.release:
        text += f" Release {created.release[:12]} accepted the run, and did not begin it."
    adopted = view.find(RunAdopted)
    owners = list(dict.fromkeys(each.event.owner for each in adopted))
    if owners:
        text += f" It was driven by {listed([f'`{in_line(owner)}`' for owner in owners], 'and then')}."
    models = _models(view)
    if models:
        text += f" It was told what to do by {listed(models)}."
    return text, places([*view.find(RunCreated), *adopted, *view.find(ModelEnded)[:1]])


def _models(view: RunView) -> list[str]:
    scripted: dict[str, bool] = {}
    for step in view.state.models.values():
        name = in_line(step.intent.model)
        scripted[name] = scripted.get(name, False) or bool(step.ended and step.ended.scripted)
    return [
        f"`{name}` (a scripted program, not a model)" if is_scripted else f"the model `{name}`"
        for name, is_scripted in scripted.items()
    ]


def for_whom(view: RunView) -> tuple[str, list[Place]]:
    """On whose behalf, and whose data it holds."""
    created = view.created
    said = view.find(RunCreated)
    text = f"The person whose data this is has the random name `{created.subject}`."
    task = view.content(created.task)
    if isinstance(task, Erased):
        return f"{text} Who that is has been erased.", places(said)
    person = view.members(created.task)
    on_behalf_of = in_line(str(person.get("on_behalf_of") or ""))
    requested_by = in_line(str(person.get("requested_by") or ""))
    if on_behalf_of:
        text = f"On behalf of `{on_behalf_of}`. {text}"
    else:
        text = f"No user was named on whose behalf it acted. {text}"
    return (f"{text} It was requested by `{requested_by}`." if requested_by else text), places(said)


def task_of(view: RunView) -> object | Erased | None:
    """The task alone: what was given to the agent, without who gave it."""
    return view.members(view.created.task).get("task", view.content(view.created.task))


def asked(view: RunView) -> tuple[str, list[Place]]:
    """The task, in the words it came in."""
    said = view.find(RunCreated)
    task = task_of(view)
    if isinstance(task, Erased):
        return f"{ERASED} What was asked is gone; the journal still proves that it was asked.", places(said)
    return f"In the words of whoever asked (untrusted): {brief(task, 0, part=0)}", places(said)


def rules(view: RunView) -> tuple[str, list[Place]]:
    """Which rules refused or asked for a person, with their text; else which ones allowed."""
    said = view.find(CallDecided)
    stopped = [each for each in said if each.event.verdict != "allow"]
    parts = [
        f"At {event.path} `{event.tool}` was {_answered(event)}: {_why(view, event)}"
        for event, _, _ in stopped
    ]
    ended = view.state.ended
    if ended is not None and ended.rules:
        if not stopped:
            parts.append(f"The run ended by {listed([_rule(view, rule) for rule in ended.rules])}.")
        return "\n".join(parts), places([*stopped, *view.find(RunEnded)])
    if parts:
        return "\n".join(parts), places(stopped)
    if not said:
        return "No rule was asked: no tool call was proposed.", []
    names = dict.fromkeys(rule for each in said for rule in each.event.rules)
    by = f" Allowed by {listed([_rule(view, rule) for rule in names])}." if names else ""
    return f"No rule refused anything, and none asked for a person.{by}", places(said)


def _answered(event: CallDecided) -> str:
    return "refused" if event.verdict == "deny" else "held for a person"


def _why(view: RunView, event: CallDecided) -> str:
    content = view.content(event.why)
    if isinstance(content, Erased):
        by = listed([f"`{rule}`" for rule in event.rules]) or f"the gate `{event.gate}`"
        return f"by {by}; the words are {ERASED}."
    if event.rules:
        return f"{listed([_rule(view, rule) for rule in event.rules])}."
    reason = in_line(str(view.members(event.why).get("reason") or event.code or ""))
    return f"by the gate `{event.gate}`{f' ({reason})' if reason else ''}."


def texts(view: RunView) -> dict[str, str]:
    """The text of every rule that the run's decisions quote."""
    found: dict[str, str] = {}
    for each in view.find(CallDecided):
        quoted = view.members(each.event.why).get("rules")
        if isinstance(quoted, dict):
            found |= {str(rule): str(text) for rule, text in cast("dict[str, object]", quoted).items()}
    return found


def _rule(view: RunView, rule: str) -> str:
    text = in_line(texts(view).get(rule) or built_in_text(rule))
    return f"`{rule}` (“{text}”)" if text else f"`{rule}`"


def approvals(view: RunView) -> tuple[str, list[Place]]:
    """Who was asked, who answered, what it discharged."""
    asked_for = view.find(ApprovalRequested)
    if not asked_for:
        return "Nobody's: no yes was needed.", places(view.find(CallDecided))
    parts: list[str] = []
    evidence = places(asked_for)
    for each in asked_for:
        event = each.event
        step = view.state.calls[event.path]
        text, more = _settled(view, event, step.settled.get(event.request))
        parts.append(f"At {event.path} `{step.decided.tool}`: {text}")
        evidence += more
    return "\n".join(parts), evidence


def _settled(
    view: RunView, request: ApprovalRequested, settled: ApprovalSettled | None
) -> tuple[str, list[Place]]:
    inbox = [each for each in view.find(ApprovalGiven) if each.event.request == request.request]
    if settled is None:
        people = listed(_needs(request))
        given = f"; {counted(len(inbox), 'answer')} not yet taken in" if inbox else ""
        until = when(request.expires)
        return f"waiting for {people}, until {until}{given}. After that the answer is no.", places(inbox)
    counting = [each for each in inbox if each.place.seq in settled.inbox]
    names = [f"`{in_line(each.event.approver)}`{_note(view, each.event)}" for each in counting]
    evidence = [*places(counting), *view.at(request.path, ApprovalSettled)]
    rule_names = listed([f"`{rule}`" for rule, _, _ in request.needs])
    match settled.state:
        case "granted":
            return f"{listed(names)} said yes and signed it, for {rule_names}.", evidence
        case "denied":
            return f"{listed(names)} said no and signed it, to {rule_names}.", evidence
        case "expired":
            return f"nobody answered until {when(request.expires)}, so the answer was no.", evidence
        case _:
            return "the request was voided: what was proposed changed before anybody had answered.", evidence


def _needs(request: ApprovalRequested) -> list[str]:
    """Who has to say yes, rules with the same wish together."""
    wishes: dict[tuple[tuple[str, ...], int], list[str]] = {}
    for rule, roles, count in request.needs:
        wishes.setdefault((roles, count), []).append(f"`{rule}`")
    return [
        f"{counted(count, 'person', 'different people')} from {listed([f'`{role}`' for role in roles], 'or')}"
        f" (by {listed(rules)})"
        for (roles, count), rules in wishes.items()
    ]


def _note(view: RunView, given: ApprovalGiven) -> str:
    note = view.content(given.note)
    if note is None or isinstance(note, Erased):
        return "" if note is None else f" ({ERASED})"
    return f" (“{in_line(str(note), 200)}”)"


def cost(view: RunView) -> tuple[str, list[Place]]:
    """Money, tokens, calls and time at work."""
    spent = view.state.spent
    amount = dollars(spent.money)
    if not spent.is_cost_known:
        amount = f"At least {amount}: one price or more is not known"
    scripted = any(step.ended and step.ended.scripted for step in view.state.models.values())
    text = (
        f"{amount}. {counted(spent.model_calls, 'model call')} with {counted(spent.tokens, 'token')},"
        f" {counted(spent.tool_calls, 'tool call')}, {lasting(spent.active_us)} at work."
    )
    if scripted:
        text += " The model was a scripted program, which costs nothing."
    return text, places(view.find(ModelEnded))


_ANSWERS: dict[str, Callable[[RunView], tuple[str, list[Place]]]] = {
    "who": who,
    "for_whom": for_whom,
    "asked": asked,
    "changed": changed,
    "rules": rules,
    "approvals": approvals,
    "cost": cost,
    "unknown": unknown,
    "undoable": undoable,
    "ended": ended,
}
