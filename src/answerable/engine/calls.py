"""The life of one tool call: proposed, validated, decided, intended, performed, ended.

Every call takes this path, on the first try and after a crash alike: `next_action` says what comes next, this
module does it and writes it down.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from answerable.engine import approvals, throttling
from answerable.engine.agent import seconds
from answerable.engine.call_events import call_ended, decided_event, token, write_end
from answerable.engine.context import Context
from answerable.engine.deciding import Proposal, decide, propose
from answerable.engine.next import (
    SEND_WITHIN_S,
    Await,
    Decide,
    Finish,
    GiveUp,
    Probe,
    Refuse,
    Report,
    Resend,
    Void,
    next_action,
)
from answerable.engine.perform import Sent
from answerable.engine.sending import again, intend, probe, read, refuse, report
from answerable.engine.signals import Stopping
from answerable.errors import (
    CallRefused,
    EffectUnknown,
    FailureClass,
    RunDiverged,
    ToolFailed,
    TotalsMoved,
)
from answerable.kernel import events
from answerable.kernel.decision import Decision, ReasonCode, Verdict, deny
from answerable.kernel.ids import StepPath, request_id

if TYPE_CHECKING:
    from answerable.engine.throttling import Admission
    from answerable.kernel.tool import ToolSpec

REDECIDE_MAX = 8
"""How often a call is decided again because a total moved under it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What a call gave: the validated value, and the event that says so."""

    value: Any
    ended: events.CallEnded


async def call(
    ctx: Context,
    path: StepPath,
    name: str,
    raw: Any,
    *,
    undoes: str | None = None,
    offered: frozenset[str] | None = None,
) -> Result:
    """Drive one call to its end. `offered` are the tools that a model was shown; None where code calls.

    Raises `CallRefused` where a gate says no, `EffectUnknown` where nobody knows, `ToolFailed` where it certainly
    did not happen, and the engine's signals where the run parks, is halted or stops.
    """
    proposal = await propose(ctx, path, name, raw, offered)
    refused = 0
    while True:
        if ctx.is_stopping():
            raise Stopping
        state = ctx.recorder.state
        step = state.calls.get(str(path))
        if step is not None and (step.decided.tool, step.decided.args) != (token(name), proposal.args):
            raise RunDiverged(
                f"at step {path} the run asks for `{name}`, but its journal says `{step.decided.tool}`"
                + (" with other arguments" if step.decided.tool == name else ""),
            )
        if proposal.spec is None:
            await _refuse_invalid(ctx, proposal, is_new=step is None)
        assert proposal.spec is not None
        effect = step.intent.effect if step is not None and step.intent is not None else ""
        action = next_action(
            step,
            proposal.spec,
            digest=proposal.digest,
            now=max(ctx.ports.clock.now_us(), state.last_at),  # a clock that was set back decides nothing
            reported=state.reported.get(effect),
        )
        match action:
            case Finish(ended):
                return await _finish(ctx, proposal, ended)
            case Refuse(decided, settled):
                raise await _refusal(ctx, proposal, decided, settled)
            case Await(request):
                await approvals.wait(ctx, proposal.path, request)
            case Void(request):
                voided = events.ApprovalSettled(path=str(path), request=request.request, state="voided")
                await ctx.recorder.commit(voided)
            case Report(reported):
                await report(ctx, proposal, reported)
            case Resend(intent):
                await again(ctx, proposal, intent, may_have_happened=True)
            case Probe(intent, not_before):
                await probe(ctx, proposal, intent, not_before)
            case GiveUp(intent):
                await write_end(ctx, proposal, intent, Sent(state="unknown", failure="timeout"), via="send")
            case Decide(discharged):
                try:
                    await _decide(ctx, proposal, discharged, undoes)
                except TotalsMoved:
                    refused += 1
                    if refused >= REDECIDE_MAX:
                        raise


async def _refuse_invalid(ctx: Context, proposal: Proposal, *, is_new: bool) -> None:
    decision = deny("schema", ReasonCode.INVALID_CALL, proposal.problem, rules=("schema",))
    if is_new:
        ctx.recorder.note(decided_event(ctx, proposal, decision, frozenset()))
    raise CallRefused(f"`{proposal.name}`: {proposal.problem}", decision=decision, hint="correct the call")


async def _decide(ctx: Context, proposal: Proposal, discharged: frozenset[str], undoes: str | None) -> None:
    assert proposal.spec is not None
    spec = proposal.spec
    decision = await decide(ctx, proposal, discharged)
    if not (spec.is_limited and _is_sent(ctx, spec, decision)):
        await _act(ctx, proposal, decision, discharged, undoes=undoes, turn=throttling.FREE)
        return
    async with await throttling.take(ctx, spec, sends=throttling.sends_of(spec)) as turn:
        if turn.waited_s > SEND_WITHIN_S:  # what it was decided on may be another by now
            decision = await decide(ctx, proposal, discharged)
        await _act(ctx, proposal, decision, discharged, undoes=undoes, turn=turn)


def _is_sent(ctx: Context, spec: ToolSpec, decision: Decision) -> bool:
    is_shadow = spec.is_write and ctx.autonomy(spec.name) == "shadow"
    return decision.verdict is Verdict.ALLOW and not is_shadow


async def _act(
    ctx: Context,
    proposal: Proposal,
    decision: Decision,
    discharged: frozenset[str],
    *,
    undoes: str | None,
    turn: Admission,
) -> None:
    assert proposal.spec is not None
    spec = proposal.spec
    decided = decided_event(ctx, proposal, decision, discharged)
    match decision.verdict:
        case Verdict.DENY:
            ctx.recorder.note(decided)
        case Verdict.REQUIRE_APPROVAL:
            await _ask(ctx, proposal, decision, decided)
        case Verdict.ALLOW if not spec.is_write and spec.price_usd == 0:
            ctx.recorder.note(decided)
            await read(ctx, proposal, turn)
            if ctx.recorder.is_full:
                await ctx.recorder.commit()
        case Verdict.ALLOW if turn.refusal is not None:
            ctx.recorder.note(decided)
            await refuse(ctx, proposal, turn.refusal)
        case Verdict.ALLOW if spec.is_write and ctx.autonomy(spec.name) == "shadow":
            ctx.recorder.note(decided)
            ctx.recorder.note(call_ended(proposal, Sent(state="shadowed"), "send", attempt=1))
            await ctx.recorder.commit()
        case Verdict.ALLOW:
            await intend(ctx, proposal, decision, decided, undoes=undoes, turn=turn)


async def _ask(ctx: Context, proposal: Proposal, decision: Decision, decided: events.CallDecided) -> None:
    step = ctx.recorder.state.calls.get(str(proposal.path))
    round_ = len(step.requests) + 1 if step is not None else 1
    preview = {
        "tool": proposal.name,
        "arguments": proposal.canonical,
        "plan": proposal.plan,
        "reason": decision.reason,
        "rules": decision.texts,
    }
    request = events.ApprovalRequested(
        path=str(proposal.path),
        request=request_id(ctx.recorder.run, proposal.path, round_),
        digest=proposal.digest,
        needs=tuple((need.rule, need.roles, need.count) for need in decision.needs),
        expires=ctx.ports.clock.now_us() + int(seconds(ctx.agent.approval_ttl) * 1e6),
        preview=ctx.recorder.seal(preview, "approval"),
    )
    await ctx.recorder.commit(decided, request)


async def _finish(ctx: Context, proposal: Proposal, ended: events.CallEnded) -> Result:
    assert proposal.spec is not None
    if ended.state == "shadowed":
        return Result(value=None, ended=ended)
    if ended.state == "unknown":
        raise EffectUnknown(
            f"`{proposal.name}` may have happened; nobody knows",
            hint=f"look at the system itself, then `answerable show {ctx.recorder.run}`",
        )
    if ended.state == "done" and ended.failure is not None:
        raise ToolFailed(
            f"`{proposal.name}` was done, but what it answered cannot be read; do not repeat it",
            failure="schema",
        )
    if ended.state == "failed":
        content: Any = await ctx.recorder.content(ended.result) if ended.result else None
        said = cast("dict[str, Any]", content) if isinstance(content, dict) else {}
        # Only the known classes are ever written; see `perform`.
        failure = cast("FailureClass", ended.failure or "upstream")
        raise ToolFailed(
            f"`{proposal.name}` failed: {said.get('error') or ended.failure}",
            failure=failure,
            retry_after_s=said.get("retry_after_s"),
        )
    result = proposal.spec.result
    if ended.result is None:
        return Result(value=result.validate_python(None), ended=ended)
    return Result(value=result.validate_json(await ctx.recorder.body(ended.result)), ended=ended)


async def _refusal(
    ctx: Context, proposal: Proposal, decided: events.CallDecided, settled: str
) -> CallRefused:
    why: Any = await ctx.recorder.content(decided.why) if decided.why else {}
    reason = str(why.get("reason", ""))
    code = ReasonCode(decided.code) if decided.code else ReasonCode.POLICY_DENIED
    if settled:
        code = ReasonCode.APPROVAL_DENIED if settled == "denied" else ReasonCode.APPROVAL_EXPIRED
        reason = (
            f"{reason}: a person said no" if settled == "denied" else f"{reason}: nobody answered in time"
        )
    decision = deny(
        decided.gate, code, reason, rules=decided.rules, texts=why.get("rules", {}), digest=decided.policy
    )
    return CallRefused(f"`{proposal.name}` was refused: {reason}", decision=decision)
