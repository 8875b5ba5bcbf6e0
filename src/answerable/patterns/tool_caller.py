"""The single-agent tool caller: one model, a small set of tools, until it stops calling them.

A refusal by a gate ends the run and hands it to a person. It is never handed back to the model as a mistake in
its call: a model that hears "700 is over the cap" tries 499. Only what was not valid, what failed, and what is
unknown is told to the model, and only so often.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from answerable.errors import CallRefused, EffectUnknown
from answerable.gates.schema import Refused, canonical, parse_object
from answerable.kernel.decision import ReasonCode
from answerable.kernel.encoding import encode_payload
from answerable.models.port import Message, ToolOffer

if TYPE_CHECKING:
    from answerable.engine.run import Answered, Run
    from answerable.models.port import ModelReply, ToolCall

INVALID_MAX = 3
"""So many invalid calls in a row, and a person takes over."""

KINDS = ("ambiguous_input", "user_requested", "low_confidence")
"""What an agent may ask for a person about."""

ESCALATE = ToolOffer(
    name="escalate",
    description="Hand the work to a person: the request is unclear, or beyond what you may do.",
    parameters={
        "type": "object",
        "additionalProperties": False,
        "required": ["reason", "question"],
        "properties": {
            "reason": {"type": "string", "description": "Why a person is needed, in one sentence."},
            "question": {"type": "string", "description": "The one question that the person has to answer."},
            "kind": {
                "type": "string",
                "enum": list(KINDS),
                "description": "What it is about: the request is unclear, somebody asked for a person, or you are not sure.",
            },
        },
    },
)
"""Always offered, never an effect: asking for a person is always permitted."""


async def tool_caller(run: Run, task: Any) -> str:
    """Drive one task: ask the model, put what it proposes through the gates, tell it what came of it."""
    messages = [
        Message(role="system", text=run.agent.prompt_text()),
        Message(role="user", text=encode_payload(canonical(task)).decode()),
    ]
    invalid = 0
    while True:  # bounded by the run's limit on model calls
        reply = await run.model(messages, extra=(ESCALATE,))
        if not reply.calls:
            if reply.text.strip():
                return reply.text
            invalid = _count_invalid(run, invalid)
            messages += [
                Message(role="assistant", text=reply.text),
                Message(role="user", text="You answered nothing."),
            ]
            continue
        _escalate_if_asked(run, reply)
        answered = await run.propose(reply.calls)
        messages.append(Message(role="assistant", text=reply.text, calls=reply.calls))
        messages += [_told(call, answer) for call, answer in zip(reply.calls, answered, strict=True)]
        is_invalid = any(isinstance(answer.error, CallRefused) for answer in answered)
        invalid = _count_invalid(run, invalid) if is_invalid else 0


def _count_invalid(run: Run, invalid: int) -> int:
    if invalid + 1 >= INVALID_MAX:
        run.escalate(
            f"the model made {INVALID_MAX} unusable proposals in a row",
            code=ReasonCode.INVALID_CALL,
            question="What should be done for this request?",
        )
    return invalid + 1


def _escalate_if_asked(run: Run, reply: ModelReply) -> None:
    for call in reply.calls:
        if call.name == ESCALATE.name:
            try:
                said = parse_object(call.arguments)
            except Refused:
                said = {}
            kind = said.get("kind")
            run.escalate(
                str(said.get("reason") or "the agent asked for a person"),
                code=ReasonCode(kind) if kind in KINDS else ReasonCode.AMBIGUOUS_INPUT,
                question=str(said.get("question") or ""),
            )


def _told(call: ToolCall, answer: Answered) -> Message:
    if answer.error is None:
        content: dict[str, Any] = {"ok": True, "result": answer.shown}
    elif isinstance(answer.error, EffectUnknown):
        content = {"ok": False, "error": "the outcome is unknown: it may have happened; do not repeat it"}
    else:
        content = {"ok": False, "error": str(answer.error.args[0])}
    return Message(role="tool", call_id=call.id, tool=call.name, text=encode_payload(content).decode())
