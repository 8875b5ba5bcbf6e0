"""Driving one run: adopt it, call its code, and write how it ended. Starting and resuming are the same thing."""

from __future__ import annotations

import asyncio
from decimal import Decimal
from typing import TYPE_CHECKING, Any, cast

from answerable.engine import approvals, sending
from answerable.engine.deciding import NoFact, fact_arguments, read_fact
from answerable.engine.outcome import Outcome
from answerable.engine.packet import build_packet
from answerable.engine.signals import Escalated, Halted, Parked, Stopping
from answerable.errors import (
    AnswerableError,
    CallRefused,
    EffectUnknown,
    JournalError,
    ModelFailed,
    RunDiverged,
)
from answerable.gates.schema import canonical
from answerable.kernel import events
from answerable.kernel.decision import ReasonCode
from answerable.kernel.encoding import scrub
from answerable.kernel.money import from_micros
from answerable.kernel.tool import fields_of

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from pydantic import BaseModel

    from answerable.engine.agent import Agent
    from answerable.engine.context import Context
    from answerable.engine.recorder import Recorder

NO_ANSWER = "nothing further is done"


class Ending:
    """How a run's code came to its end, before it is written down."""

    def __init__(
        self,
        outcome: str,
        *,
        code: str | None = None,
        reason: str = "",
        rules: tuple[str, ...] = (),
        texts: dict[str, str] | None = None,
        question: str = "",
        answer: object = None,
        check: object = None,
    ) -> None:
        self.outcome = outcome
        self.code = code
        self.reason = reason
        self.rules = rules
        self.texts = texts or {}
        self.question = question
        self.answer = answer
        self.check = check


async def adopt(ctx: Context, owner: str, cause: str, *, release: str | None = None) -> None:
    """Become the run's owner; from here on nobody else can write to it.

    `release` is given where the run's code is called next: a run that was never begun is pinned to it.
    """
    recorder = ctx.recorder
    state = recorder.state
    now = ctx.ports.clock.now_us()
    await recorder.commit(
        events.RunAdopted(
            epoch=recorder.head.epoch + 1,
            owner=owner,
            cause=cause,
            limits=tuple(ctx.limits(now)),
            release=release if state.epoch == 0 and release != state.release else None,
        )
    )
    inbox = await recorder.store.entries(f"inbox/{recorder.run}")
    await approvals.take_in(ctx, inbox)


async def drive(ctx: Context, task: Any, program: Callable[[], Awaitable[object]]) -> Outcome:
    """Call the run's code until it ends or parks, and write how it ended.

    Returns the outcome, or where the run waits. Raises `JournalError` where the journal cannot be written: then
    the run is as open as the journal says, and another drive goes on from there.
    """
    try:
        ending = await _until_it_ends(ctx, task, program)
    except Parked:
        return outcome_of(ctx.recorder)
    except Stopping:
        await ctx.recorder.commit()
        return outcome_of(ctx.recorder)
    return await end(ctx, ending)


async def _until_it_ends(ctx: Context, task: Any, program: Callable[[], Awaitable[object]]) -> Ending:
    try:
        answer = await program()
        return await judge(ctx, task, answer)
    except (Parked, Stopping, JournalError):
        raise
    except asyncio.CancelledError:
        halted = await halt_in_force(ctx)
        if halted is None:
            raise
        return halted
    except BaseException as error:  # whatever it was, the run needs an ending that says so
        ending = ending_for(error)
        if ending is None:
            raise
        return ending


async def halt_in_force(ctx: Context) -> Ending | None:
    """The ending of a run that a halt has cancelled; None where it was cancelled for something else.

    Whoever cancels for a halt says for which. One that covers the whole run counts in any case.
    """
    halted = ctx.stopped_by or await ctx.halted()
    return None if halted is None else ending_for(halted)


def ending_for(error: BaseException) -> Ending | None:
    """The ending that an error of a run's code means; None where it is not about the run."""
    match error:
        case CallRefused(decision=decision):
            return Ending(
                "escalated",
                code=(decision.code or ReasonCode.POLICY_DENIED).value,
                reason=decision.reason or str(error.args[0]),
                rules=decision.rules,
                texts=decision.texts,
            )
        case EffectUnknown():
            return Ending("escalated", code=ReasonCode.EFFECT_UNKNOWN.value, reason=str(error.args[0]))
        case Escalated():
            return Ending(
                "escalated",
                code=str(error.code),
                reason=error.reason,
                rules=error.rules,
                question=error.question,
            )
        case Halted():
            return Ending(
                "halted",
                code=ReasonCode.HALTED.value,
                reason=f"a halt of `{error.scope}`: {error.reason}"
                if error.reason
                else f"a halt of `{error.scope}`",
                rules=(f"halt-{error.scope}",),
            )
        case ModelFailed():
            return Ending("failed", code=ReasonCode.MODEL_FAILURE.value, reason=str(error.args[0]))
        case RunDiverged():
            return Ending("failed", code=ReasonCode.DIVERGED.value, reason=str(error.args[0]))
        case AnswerableError():
            code = (
                ReasonCode.TOOL_FAILURE
                if type(error).__name__ in ("ToolFailed", "NotDone")
                else ReasonCode.INTERNAL
            )
            outcome = "escalated" if code is ReasonCode.TOOL_FAILURE else "failed"
            return Ending(outcome, code=code.value, reason=str(error.args[0]))
        case Exception():
            return Ending(
                "failed",
                code=ReasonCode.INTERNAL.value,
                reason=f"the agent's code raised {type(error).__name__}: {error}",
            )
        case _:
            return None


async def judge(ctx: Context, task: Any, answer: object) -> Ending:
    """Whether the work is done: by facts of the system of record, never by what the model said."""
    kept = canonical(answer) if answer is not None else None
    if ctx.recorder.state.unknown:
        return Ending(
            "escalated",
            code=ReasonCode.EFFECT_UNKNOWN.value,
            reason="the run came to its end with an effect that may or may not have happened",
            answer=kept,
        )
    check = ctx.agent.done
    if check is None:
        return Ending("unverified", answer=kept)
    facts: dict[str, Any] = {}
    refs: dict[str, str] = {}
    fields = fields_of(cast("BaseModel", task))
    try:
        for name, fact in check.facts.items():
            given = fact_arguments(fact.arguments, fields)
            facts[name], refs[name], _ = await read_fact(ctx, name, fact.tool, given, max_age_s=-1.0)
    except (NoFact, ValueError) as problem:
        return Ending(
            "escalated",
            code=ReasonCode.FACT_UNAVAILABLE.value,
            reason=f"the outcome cannot be checked: {problem}",
            answer=kept,
        )
    return judged(ctx.agent, task, answer, facts, refs)


def judged(agent: Agent, task: Any, answer: object, facts: dict[str, Any], refs: dict[str, str]) -> Ending:
    """The ending that an agent's done check gives over these facts. Pure: same facts, same ending."""
    assert agent.done is not None
    kept = canonical(answer) if answer is not None else None
    said = agent.done.function(task, **facts)
    evidence = {"is_done": said.is_done, "reason": said.reason, "facts": refs}
    if said.is_done:
        return Ending("succeeded", reason=said.reason, answer=kept, check=evidence)
    return Ending(
        "escalated",
        code=ReasonCode.NOT_DONE.value,
        reason=f"the work is not done: {said.reason}",
        rules=("done-check",),
        answer=kept,
        check=evidence,
    )


def answer_content(ending: Ending) -> dict[str, object]:
    """What is kept of an ending's words."""
    return {"answer": ending.answer, "reason": scrub(ending.reason)}


async def end(ctx: Context, ending: Ending) -> Outcome:
    """Write the ending, with its packet where a person takes over."""
    recorder = ctx.recorder
    reason = scrub(ending.reason)
    unknown = tuple(recorder.state.unknown)
    packet = None
    if ending.outcome in ("escalated", "failed", "halted", "abandoned"):
        await recorder.commit()  # the packet names the head that its resume token is bound to
        contents = await _contents(recorder)
        packet = recorder.seal(
            build_packet(
                run=recorder.run,
                agent=ctx.agent.name,
                owner=ctx.agent.owner,
                state=recorder.state,
                contents=contents,
                tools={name: tool.spec for name, tool in ctx.tools.items()},
                code=ending.code or ReasonCode.INTERNAL.value,
                reason=reason,
                rules=ending.rules,
                rule_texts=ending.texts,
                question=ending.question,
                now=ctx.ports.clock.now_us(),
                deadline=None,
                default=NO_ANSWER,
                journal=recorder.store.journal,
                head=recorder.head.hash,
            ),
            "packet",
        )
    await recorder.commit(
        events.RunEnded(
            outcome=ending.outcome,
            code=ending.code,
            rules=ending.rules,
            answer=recorder.seal(answer_content(ending), "answer"),
            check=recorder.seal(ending.check, "check") if ending.check is not None else None,
            packet=packet,
            unknown=unknown,
        )
    )
    return outcome_of(recorder, reason=reason, answer=ending.answer)


async def _contents(recorder: Recorder) -> dict[str, object]:
    refs: set[str] = set()
    state = recorder.state
    assert state.created is not None
    refs.add(state.created.task)
    for step in state.calls.values():
        refs.update(ref for ref in (step.decided.args, step.decided.why, *step.decided.facts.values()) if ref)
        if step.ended is not None and step.ended.result:
            refs.add(step.ended.result)
        refs.update(request.preview for request in step.requests)
    for model in state.models.values():
        refs.update(model.intent.added)
        if model.ended is not None and model.ended.reply:
            refs.add(model.ended.reply)
    found: dict[str, object] = {}
    for ref in refs:
        try:
            found[ref] = await recorder.content(ref)
        except JournalError:  # erased: the packet says what is missing
            continue
    return found


async def take_reports(ctx: Context, owner: str) -> None:
    """After a run has ended: settle its unknown effects of which somebody has said what became of them."""
    await adopt(ctx, owner, "recovery")
    state = ctx.recorder.state
    for effect, path in list(state.unknown.items()):
        if effect in state.reported:
            await sending.settle_reported(ctx, path, state.reported[effect])


async def told(recorder: Recorder) -> Outcome:
    """How a run stands, with its reason and answer where they are still there."""
    ended = recorder.state.ended
    if ended is None or ended.answer is None:
        return outcome_of(recorder)
    try:
        said: Any = await recorder.content(ended.answer)
    except JournalError:
        return outcome_of(recorder, reason="what was said of it has been erased")
    return outcome_of(recorder, reason=str(said.get("reason", "")), answer=said.get("answer"))


def outcome_of(recorder: Recorder, *, reason: str = "", answer: object = None) -> Outcome:
    """How the run stands now."""
    state = recorder.state
    ended = state.ended
    cost: Decimal | None = from_micros(state.spent.money) if state.spent.is_cost_known else None
    return Outcome(
        run=recorder.run,
        state=state.name,
        name=ended.outcome if ended is not None else None,  # pyright: ignore[reportArgumentType]
        code=ended.code if ended is not None else None,
        reason=reason,
        rules=ended.rules if ended is not None else (),
        answer=answer,
        unknown=tuple(state.unknown),
        cost_usd=cost,
        waiting_for=state.parked.waiting_for if state.parked is not None else None,
        request=state.parked.request if state.parked is not None else None,
    )
