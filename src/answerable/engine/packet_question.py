"""The one question of an escalation packet, and the answers that can be acted on."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from answerable.kernel.state import RunState

Json = dict[str, object]

ASKED_BY_AGENT = frozenset({"ambiguous_input", "user_requested", "low_confidence"})
"""Reasons that the agent itself gives, so that the words may be a model's."""

_QUESTIONS = {
    "policy_denied": "A rule refused `{tool}`. Should a person do what was asked, or should it be declined?",
    "approval_required": "May `{tool}` be sent exactly as previewed?",
    "approval_denied": "A person said no to `{tool}`. What should be done for this task instead?",
    "approval_expired": "Nobody answered in time about `{tool}`. Should a person do it now, or decline it?",
    "budget_exhausted": "The run reached a limit before its work was done. Who finishes it?",
    "loop_detected": "The run was going in circles. What should be done for this task?",
    "repeated_effect": "The agent wanted to do `{tool}` again. Is anything left to be done?",
    "claim_held": "Another call holds what `{tool}` needs, or has done it. Is anything left to be done?",
    "effect_unknown": "Did `{tool}` happen, by the system of record?",
    "invalid_call": "The model found no usable call. What should be done for this task?",
    "fact_unavailable": "What is needed to decide about `{tool}` could not be read. Who looks, and decides?",
    "not_done": "The system of record does not show the work as done. What is left to be done?",
    "tool_failure": "`{tool}` failed. Who finishes this task?",
    "autonomy": "The agent may not do `{tool}` alone. Should a person do it?",
    "halted": "The run was stopped by an operator. What should become of its task?",
}
_OTHERWISE = "The run could not go on. Who finishes this task?"


def question_for(code: str, state: RunState) -> str:
    """The question that a reason asks, where nobody has asked a better one."""
    paths = list(state.unknown.values()) or list(state.calls)[-1:]
    tool = state.calls[paths[-1]].decided.tool if paths else "the last call"
    asks = "effect_unknown" if state.unknown else code
    return _QUESTIONS.get(asks, _OTHERWISE).format(tool=tool)


def answers(run: str, state: RunState) -> list[Json]:
    """The answers that the runtime, or the person's own desk, can act on."""
    note: Json = {"note": {"type": "string", "is_required": False}}
    if state.ended is None and state.parked is not None and state.parked.request is not None:
        stop = f"answerable halt --run {run} --reason TEXT"
        return [
            _answer("approve", "send it, exactly as previewed", note, f"answerable approve {run}"),
            _answer("reject", "do not send it", note, f"answerable deny {run}"),
            _answer("take_over", "stop the run and do it by hand", note, stop),
        ]
    found: list[Json] = []
    for effect, path in state.unknown.items():
        which: Json = {"effect": {"type": "string", "const": effect, "is_required": True}}
        found.append(_answer("it_happened", f"the effect at {path} is in the system of record", which, None))
        found.append(_answer("it_did_not_happen", f"the effect at {path} is certainly absent", which, None))
    found.append(_answer("take_over", "a person finishes the work by hand", note, None))
    found.append(_answer("reject", "nothing more is done about this task", note, None))
    found.append(
        _answer("ask_more", "ask whoever wrote the task, and submit it again as a new one", note, None)
    )
    return found


def _answer(name: str, means: str, arguments: Json, command: str | None) -> Json:
    return {"answer": name, "means": means, "arguments": arguments, "command": command}
