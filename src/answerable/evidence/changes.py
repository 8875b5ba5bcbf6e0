"""What a run changed outside, what nobody knows, and what can be taken back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from answerable.evidence.words import brief, counted, in_line
from answerable.kernel.events import CallDecided, CallEnded, CallIntended, EffectReported, RunEnded
from answerable.kernel.ids import StepPath
from answerable.kernel.tool import PROBEABLE, WriteMode

if TYPE_CHECKING:
    from answerable.evidence.view import Place, RunView
    from answerable.kernel.state import CallStep

WRITES = frozenset({"write", "irreversible"})


@dataclass(frozen=True, slots=True)
class Change:
    """One write of the run, and how it stands: `done`, `unknown`, `shadowed` or `not_done`."""

    path: str
    tool: str
    step: CallStep
    state: str
    says: str
    undone_by: str


def changes(view: RunView) -> list[Change]:
    """Every write that the run proposed, in order."""
    calls = sorted(view.state.calls.items(), key=lambda item: StepPath.parse(item[0]))
    undone = {
        step.intent.undoes: path
        for path, step in calls
        if step.intent and step.intent.undoes and step.ended and step.ended.state == "done"
    }
    found: list[Change] = []
    for path, step in calls:
        if step.decided.cls not in WRITES:
            continue
        args = view.content(step.decided.args)
        key = step.intent.effect if step.intent else None
        found.append(
            Change(
                path=path,
                tool=step.decided.tool,
                step=step,
                state=_state(view, step),
                says=f"`{in_line(step.decided.tool)}` at {path} ({brief(args, 160)})",
                undone_by=undone.get(key, "") if key else "",
            )
        )
    return found


def _state(view: RunView, step: CallStep) -> str:
    if step.intent is not None and step.intent.effect in view.state.unknown:
        return "unknown"
    if step.ended is None:
        return "not_done"
    return {"done": "done", "unknown": "unknown", "shadowed": "shadowed"}.get(step.ended.state, "not_done")


_VIA = {
    "send": "the tool said so",
    "probe": "the system of record was asked and said so",
    "person": "a person said so",
    "fallback": "by the tool's fallback",
    "late": "a late reply said so",
}


def changed(view: RunView) -> tuple[str, list[Place]]:
    """What was done outside, and how that is known."""
    every = changes(view)
    done = [each for each in every if each.state == "done"]
    parts = [f"{each.says} was done: {_known(each)}." for each in done]
    doubtful = [each for each in every if each.state == "unknown"]
    parts += [f"{each.says} may have been done: nobody knows yet." for each in doubtful]
    evidence = [place for each in (*done, *doubtful) for place in _places(view, each)]
    if not parts:
        parts = ["Nothing was changed outside."]
        evidence = [each.place for each in view.find(RunEnded)]
    shadowed = [each for each in every if each.state == "shadowed"]
    if shadowed:
        count = counted(len(shadowed), "write")
        parts.append(f"{count} {_was(shadowed)} only proposed: the agent runs in shadow.")
        evidence += [place for each in shadowed for place in _places(view, each)]
    refused = [each for each in every if each.state == "not_done"]
    if refused:
        parts.append(f"{counted(len(refused), 'write')} {_was(refused)} proposed and not done.")
        evidence += [place for each in refused for place in _places(view, each)]
    return "\n".join(parts), evidence


def _was(items: list[Change]) -> str:
    return "was" if len(items) == 1 else "were"


def _known(change: Change) -> str:
    ended = change.step.ended
    known = _VIA.get(ended.via, ended.via) if ended else ""
    return f"{known}. It was taken back at {change.undone_by}" if change.undone_by else known


def _places(view: RunView, change: Change) -> list[Place]:
    return view.at(change.path, CallIntended, CallEnded) or view.at(change.path, CallDecided)


def unknown(view: RunView) -> tuple[str, list[Place]]:
    """Effects that may have happened, and what may safely be done about each."""
    parts: list[str] = []
    evidence: list[Place] = []
    for each in changes(view):
        if each.state != "unknown":
            continue
        parts.append(f"Whether {each.says} happened. {_advice(view, each)}")
        evidence += _places(view, each)
        evidence += [
            said.place
            for said in view.find(EffectReported)
            if each.step.intent is not None and said.event.effect == each.step.intent.effect
        ]
    reads = [
        (path, step)
        for path, step in view.state.calls.items()
        if step.decided.cls == "read" and step.ended is not None and step.ended.state == "unknown"
    ]
    parts += [
        f"What `{step.decided.tool}` at {path} would have answered; a read changes nothing."
        for path, step in reads
    ]
    evidence += [place for path, _ in reads for place in view.at(path, CallEnded)]
    if not parts:
        outcomes = [said.place for said in view.find(CallEnded)]
        return "Nothing: every effect that was sent has a known outcome.", outcomes
    return "\n".join(parts), evidence


def _advice(view: RunView, change: Change) -> str:
    if view.state.ended is None:
        return "The run is still open and will find out if it can."
    intent = change.step.intent
    mode = intent.mode if intent else ""
    if mode == WriteMode.NATIVE_KEY:
        return "It must not be sent again under another key: look in the system of record."
    if mode in PROBEABLE:
        return "The system of record was asked and could not say: a person must look."
    return "It must not be sent again: a person must look in the system of record."


def undoable(view: RunView) -> tuple[str, list[Place]]:
    """What was done, and what takes it back."""
    done = [each for each in changes(view) if each.state in ("done", "unknown")]
    if not done:
        return "There is nothing to undo.", [each.place for each in view.find(RunEnded)]
    parts: list[str] = []
    for each in done:
        is_sure = each.state == "done"
        said = "can be taken back" if is_sure else "may have happened; if so it can be taken back"
        if each.undone_by:
            parts.append(f"{each.says} was already taken back at {each.undone_by}.")
            continue
        undo = _undo(view, each)
        if undo is None:
            parts.append(
                f"{each.says} {'' if is_sure else 'may have happened and '}cannot be undone by a tool."
            )
        else:
            parts.append(f"{each.says} {said} with `{in_line(undo)}`, through the same gates.")
    return "\n".join(parts), [place for each in done for place in _places(view, each)]


def _undo(view: RunView, change: Change) -> str | None:
    """The tool that takes a change back, as its intent says."""
    step = view.state.calls.get(change.path)
    return step.intent.undo if step is not None and step.intent is not None else None
