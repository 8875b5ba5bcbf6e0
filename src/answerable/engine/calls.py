"""The life of one tool call: proposed, validated, decided, intended, performed, ended.

Every call takes this path, on the first try and after a crash alike: `next_action` says what comes next, this
module does it and writes it down.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from answerable.engine import approvals
from answerable.engine.agent import seconds
from answerable.engine.context import Context, settle
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
    is_key_honoured,
    next_action,
)
from answerable.engine.perform import Sent
from answerable.engine.signals import Halted, Stopping
from answerable.errors import (
    BudgetExceeded,
    CallRefused,
    ClaimHeld,
    EffectUnknown,
    GuardRefused,
    HaltInForce,
    RunDiverged,
    ToolFailed,
    TotalsMoved,
)
from answerable.gates.pipeline import admit
from answerable.kernel import events
from answerable.kernel.decision import Decision, ReasonCode, Verdict, allow, deny
from answerable.kernel.ids import StepPath, effect_key, request_id
from answerable.kernel.money import to_micros
from answerable.kernel.tool import RESENDABLE, WriteMode

if TYPE_CHECKING:
    from answerable.gates.pipeline import Permit
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
        if step is not None and (step.decided.tool, step.decided.args) != (_token(name), proposal.args):
            raise RunDiverged(
                f"at step {path} the run asks for `{name}`, but its journal says `{step.decided.tool}`"
                + (" with other arguments" if step.decided.tool == name else ""),
                hint="the agent's code changed under an open run; run it with the release that began it",
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
                await _report(ctx, proposal, reported)
            case Resend(intent):
                await _again(ctx, proposal, intent, may_have_happened=True)
            case Probe(intent, not_before):
                await _probe(ctx, proposal, intent, not_before)
            case GiveUp(intent):
                await _ended(ctx, proposal, intent, Sent(state="unknown", failure="timeout"), via="send")
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
        ctx.recorder.note(_decided(ctx, proposal, decision, frozenset()))
    raise CallRefused(f"`{proposal.name}`: {proposal.problem}", decision=decision, hint="correct the call")


async def _decide(ctx: Context, proposal: Proposal, discharged: frozenset[str], undoes: str | None) -> None:
    assert proposal.spec is not None
    spec = proposal.spec
    decision = await decide(ctx, proposal, discharged)
    decided = _decided(ctx, proposal, decision, discharged)
    match decision.verdict:
        case Verdict.DENY:
            ctx.recorder.note(decided)
        case Verdict.REQUIRE_APPROVAL:
            await _ask(ctx, proposal, decision, decided)
        case Verdict.ALLOW if not spec.is_write and spec.price_usd == 0:
            ctx.recorder.note(decided)
            await _read(ctx, proposal)
            if ctx.recorder.is_full:
                await ctx.recorder.commit()
        case Verdict.ALLOW if spec.is_write and ctx.autonomy(spec.name) == "shadow":
            ctx.recorder.note(decided)
            ctx.recorder.note(_call_ended(proposal, Sent(state="shadowed"), "send", attempt=1))
            await ctx.recorder.commit()
        case Verdict.ALLOW:
            await _intend_first(ctx, proposal, decision, decided, undoes)


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


async def _read(ctx: Context, proposal: Proposal) -> None:
    """Perform a read, with its retries; a crash before the outcome only means that it is read again."""
    assert proposal.tool is not None and proposal.arguments is not None
    retry = proposal.tool.spec.retry
    counted = tuple(
        (budget, unit, 0, 1)
        for budget, unit, _ in ctx.limits(ctx.ports.clock.now_us())
        if unit == "tool_calls"
    )
    for attempt in range(1, retry.attempts + 1):
        sent = await ctx.performer.read(proposal.tool, proposal.arguments)
        _stop_if_cancelled(sent)
        result = _seal_result(ctx, sent)
        is_last = sent.state == "done" or not sent.is_retryable or attempt == retry.attempts
        settled = counted if is_last else ()
        ctx.recorder.note(_call_ended(proposal, sent, "send", attempt=attempt, result=result, settled=settled))
        if is_last:
            break
        await ctx.ports.clock.sleep(_pause_s(retry.backoff_s, attempt, sent))
    if sent.state == "done" or proposal.tool.fallback is None:
        return
    instead = _fallback(proposal, sent)
    if instead.state == "done":
        result = _seal_result(ctx, instead)
        ctx.recorder.note(_call_ended(proposal, instead, "fallback", attempt=attempt, result=result))


def _fallback(proposal: Proposal, failed: Sent) -> Sent:
    assert proposal.tool is not None and proposal.tool.fallback is not None and proposal.arguments is not None
    try:
        value = proposal.tool.fallback(proposal.arguments)
        result = proposal.tool.spec.result.dump_python(value, mode="json", warnings="error")
        proposal.tool.spec.result.validate_python(value)
    except Exception:  # noqa: BLE001 - a broken fallback is no answer: the failure stands
        return failed
    return Sent(state="done", result=result)


async def _intend_first(
    ctx: Context, proposal: Proposal, decision: Decision, decided: events.CallDecided, undoes: str | None
) -> None:
    assert proposal.spec is not None and proposal.args is not None
    spec = proposal.spec
    now = ctx.ports.clock.now_us()
    send_by, send_by_ns = _send_by(ctx, spec)
    step = ctx.recorder.state.calls.get(str(proposal.path))
    ask = {"tool_calls": 1, "money": to_micros(spec.price_usd)}
    intent = events.CallIntended(
        path=str(proposal.path),
        effect=effect_key(ctx.recorder.run, proposal.path, spec.name, proposal.args),
        attempt=1 if step is None or step.intent is None else step.intent.attempt + 1,
        tool=spec.name,
        mode=spec.mode.value if spec.mode else "read",
        halt_epoch=ctx.recorder.store.halts()[0],
        send_by=send_by,
        reserve=ctx.reserve(now, ask),
        totals=tuple(
            (total.key, total.name, total.amount, total.seen_amount, total.seen_count) for total in proposal.totals
        ),
        claim=proposal.claim,
        undoes=undoes,
        undo=spec.undo,
    )
    try:
        entry = await ctx.recorder.commit(decided, intent)
    except GuardRefused as guard:
        await _guarded(ctx, proposal, guard, decision)
        return
    except asyncio.CancelledError:
        await _not_sent(ctx, proposal, may_have_happened=False)
        raise
    assert entry is not None
    permit = admit(decision, intent, entry, send_by_ns=send_by_ns)
    await _perform(ctx, proposal, permit, may_have_happened=False)


def _send_by(ctx: Context, spec: ToolSpec) -> tuple[int, int]:
    """Until when a send may begin, in UTC microseconds and on the monotonic clock. A draft has its time before that."""
    within_s = SEND_WITHIN_S + (spec.timeout_s if spec.mode is WriteMode.DRAFT_THEN_COMMIT else 0.0)
    return (
        ctx.ports.clock.now_us() + int(within_s * 1e6),
        ctx.ports.clock.monotonic_ns() + int(within_s * 1e9),
    )


async def _not_sent(ctx: Context, proposal: Proposal, *, may_have_happened: bool) -> None:
    """Something stopped us between an intent and its send: this attempt did nothing, and that is written down."""
    step = ctx.recorder.state.calls.get(str(proposal.path))
    if step is None or step.intent is None or step.ended is not None:
        return
    state = "unknown" if may_have_happened else "failed"
    sent = Sent(state=state, failure="halted", error="stopped before it was sent")
    await _ended(ctx, proposal, step.intent, sent, via="send")


async def _guarded(ctx: Context, proposal: Proposal, guard: GuardRefused, decision: Decision) -> None:
    """The transaction said no. A moved total is decided again; anything else is the decision now."""
    match guard:
        case TotalsMoved():
            raise guard
        case HaltInForce():
            raise _halted(ctx, proposal.name)
        case BudgetExceeded():
            code, rule, gate = ReasonCode.BUDGET_EXHAUSTED, "budget-reserved", "budget"
        case ClaimHeld():
            code, rule, gate = ReasonCode.CLAIM_HELD, "claim", "repeat"
        case _:
            raise guard
    text = guard.args[0] if guard.args else ""
    refused = deny(gate, code, str(text), rules=(rule,), digest=decision.digest)
    ctx.recorder.note(_decided(ctx, proposal, refused, frozenset()))


def _halted(ctx: Context, tool: str) -> Halted:
    for halt in ctx.recorder.store.halts()[1]:
        if halt.scope in ctx.scopes(tool):
            return Halted(halt.scope, halt.reason)
    return Halted("all", "")


async def _again(
    ctx: Context,
    proposal: Proposal,
    intent: events.CallIntended,
    *,
    may_have_happened: bool,
    pause_s: float = 0.0,
) -> None:
    """The next attempt of an effect, with the key that its intent holds.

    `may_have_happened` says whether an earlier attempt may have: then a refusal of this one proves nothing.
    """
    assert proposal.spec is not None
    try:
        if pause_s:
            await ctx.ports.clock.sleep(pause_s)
        send_by, send_by_ns = _send_by(ctx, proposal.spec)
        again = replace(
            intent,
            attempt=intent.attempt + 1,
            halt_epoch=ctx.recorder.store.halts()[0],
            send_by=send_by,
            reserve=(),
        )
        entry = await ctx.recorder.commit(again)
    except HaltInForce:
        await _not_sent(ctx, proposal, may_have_happened=may_have_happened)
        raise _halted(ctx, proposal.name) from None
    except asyncio.CancelledError:
        await _not_sent(ctx, proposal, may_have_happened=may_have_happened)
        raise
    assert entry is not None
    permit = admit(allow("recovery"), again, entry, send_by_ns=send_by_ns)
    await _perform(ctx, proposal, permit, may_have_happened=may_have_happened)


async def _perform(ctx: Context, proposal: Proposal, permit: Permit, *, may_have_happened: bool) -> None:
    """Send, and write down what came of it; while the mode allows it, send again after a lost reply."""
    assert proposal.tool is not None and proposal.arguments is not None and proposal.spec is not None
    spec, intent = proposal.spec, permit.intent
    draft: object = None
    if spec.mode is WriteMode.DRAFT_THEN_COMMIT:
        drafted = await ctx.performer.draft(proposal.tool, proposal.arguments, intent.effect)
        if drafted.state != "done":
            sent = Sent(state="failed", failure=drafted.failure, error=drafted.error, us=drafted.us)
            await _ended(ctx, proposal, intent, sent, via="send")
            _stop_if_cancelled(drafted)
            return
        draft = drafted.result
    try:
        sent = await ctx.performer.write(
            permit,
            proposal.tool,
            proposal.arguments,
            halts=ctx.recorder.store.halts,
            covers=ctx.scopes(spec.name),
            plan=proposal.plan,
            draft=draft,
        )
    except Halted:
        await _not_sent(ctx, proposal, may_have_happened=may_have_happened)
        raise
    in_doubt = spec.is_write and (may_have_happened or sent.state == "unknown")
    pause_s = _pause_s(spec.retry.backoff_s, intent.attempt, sent)
    if _may_send_again(ctx, proposal, intent, sent, in_doubt=in_doubt, pause_s=pause_s):
        await _again(ctx, proposal, intent, may_have_happened=in_doubt, pause_s=pause_s)
        return
    if in_doubt and sent.state == "failed":
        # This attempt did nothing. An earlier one may have, and a refusal now may be because of it.
        sent = replace(sent, state="unknown")
    if sent.state == "unknown" and proposal.tool.probe is not None and not sent.was_cancelled:
        # What was sent may still be on its way for as long as a send may take; only then is an answer final.
        begun = ctx.ports.clock.now_us() - sent.us
        not_before = begun + int((spec.timeout_s + spec.probe_lag_s) * 1e6)
        await _probe(ctx, proposal, intent, not_before)
        return
    await _ended(ctx, proposal, intent, sent, via="send")
    _stop_if_cancelled(sent)


def _may_send_again(
    ctx: Context,
    proposal: Proposal,
    intent: events.CallIntended,
    sent: Sent,
    *,
    in_doubt: bool,
    pause_s: float,
) -> bool:
    assert proposal.spec is not None
    spec = proposal.spec
    if not sent.is_retryable or intent.attempt >= spec.retry.attempts or ctx.is_stopping():
        return False
    if not in_doubt:
        return True
    step = ctx.recorder.state.calls[str(proposal.path)]
    then = ctx.ports.clock.now_us() + int(pause_s * 1e6)
    return spec.mode in RESENDABLE and is_key_honoured(step, spec, then)


async def _probe(
    ctx: Context,
    proposal: Proposal,
    intent: events.CallIntended,
    not_before: int,
) -> None:
    """Ask the system of record what became of a send."""
    assert proposal.tool is not None and proposal.arguments is not None and proposal.spec is not None
    spec = proposal.spec
    wait_us = not_before - ctx.ports.clock.now_us()
    # Nothing is on its way for longer than this, whatever a clock that was set back says.
    longest_s = 2 * spec.timeout_s + SEND_WITHIN_S + spec.probe_lag_s
    if wait_us > 0:
        await ctx.ports.clock.sleep(min(wait_us / 1e6, longest_s))
    sent = await ctx.performer.probe(proposal.tool, proposal.arguments, intent.effect)
    if sent.state == "failed" and not sent.was_cancelled and intent.attempt < spec.retry.attempts:
        await _again(ctx, proposal, intent, may_have_happened=False)
        return
    await _ended(ctx, proposal, intent, sent, via="probe")
    _stop_if_cancelled(sent)


async def _report(ctx: Context, proposal: Proposal, reported: events.EffectReported) -> None:
    step = ctx.recorder.state.calls[str(proposal.path)]
    assert step.intent is not None
    result = await ctx.recorder.content(reported.result) if reported.result else None
    sent = Sent(state=reported.state, result=result)
    via = "late" if reported.by == "late" else "person"
    await _ended(ctx, proposal, step.intent, sent, via=via)


async def settle_reported(ctx: Context, path: str, reported: events.EffectReported) -> None:
    """Write what somebody said of an effect that was unknown when its run ended. Nothing is done with the answer."""
    step = ctx.recorder.state.calls[path]
    assert step.intent is not None
    tool = ctx.tools.get(step.intent.tool)
    price = to_micros(tool.spec.price_usd) if tool is not None and reported.state == "done" else 0
    await ctx.recorder.commit(
        events.CallEnded(
            path=path,
            effect=step.intent.effect,
            attempt=step.intent.attempt,
            tool=step.intent.tool,
            state=reported.state,
            via="late" if reported.by == "late" else "person",
            result=reported.result,
            cost=0,
            us=0,
            settle=settle(step.reserved, {"tool_calls": 1, "money": price}),
        )
    )


async def _ended(
    ctx: Context,
    proposal: Proposal,
    intent: events.CallIntended,
    sent: Sent,
    *,
    via: str,
) -> None:
    """Write the outcome of an effect. It may ride along only where a crash would just mean sending again."""
    assert proposal.spec is not None
    reserved = ctx.recorder.state.calls[str(proposal.path)].reserved
    spent = {"tool_calls": 1, "money": to_micros(proposal.spec.price_usd) if sent.state == "done" else 0}
    ctx.recorder.note(
        _call_ended(
            proposal,
            sent,
            via,
            attempt=intent.attempt,
            effect=intent.effect,
            result=_seal_result(ctx, sent),
            settled=() if sent.state == "unknown" else settle(reserved, spent),
        )
    )
    if sent.state != "done" or proposal.spec.mode not in RESENDABLE:
        await ctx.recorder.commit()


def _call_ended(
    proposal: Proposal,
    sent: Sent,
    via: str,
    *,
    attempt: int,
    effect: str | None = None,
    result: str | None = None,
    settled: tuple[events.Settle, ...] = (),
) -> events.CallEnded:
    assert proposal.spec is not None
    cost = to_micros(proposal.spec.price_usd) if sent.state == "done" and via == "send" else 0
    return events.CallEnded(
        path=str(proposal.path),
        effect=effect,
        attempt=attempt,
        tool=proposal.name,
        state=sent.state,
        via=via,
        result=result,
        failure=sent.failure,
        cost=cost + proposal.facts_cost,
        us=sent.us,
        settle=settled,
    )


def _seal_result(ctx: Context, sent: Sent) -> str | None:
    if sent.state == "done" and sent.failure is None:
        return ctx.recorder.seal(sent.result, "result")
    if sent.error:
        return ctx.recorder.seal({"error": sent.error}, "result")
    return None


def _decided(ctx: Context, proposal: Proposal, decision: Decision, discharged: frozenset[str]) -> events.CallDecided:
    why = None
    if decision.verdict is not Verdict.ALLOW:
        why = ctx.recorder.seal(
            {"reason": decision.reason, "rules": decision.texts, "policy": ctx.policy.digest}, "decision"
        )
    return events.CallDecided(
        path=str(proposal.path),
        tool=proposal.name if proposal.spec is not None else _token(proposal.name),
        cls=proposal.spec.effect_class.value if proposal.spec is not None else "invalid",
        args=proposal.args,
        digest=proposal.digest,
        verdict=decision.verdict.value,
        gate=decision.gate,
        code=decision.code.value if decision.code else None,
        rules=decision.rules,
        policy=ctx.policy.digest,
        why=why,
        labels=proposal.label_texts(),
        facts=dict(proposal.fact_refs),
        totals={total.name: (total.seen_amount + total.amount, total.seen_count) for total in proposal.totals},
        discharged=tuple(sorted(discharged)),
    )


def _token(name: str) -> str:
    """A tool name that a model made up, in a form that an entry may hold."""
    return "".join(c if c.isascii() and (c.isalnum() or c in "_-.") else "?" for c in name)[:64] or "?"


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
        error = content.get("error", "") if isinstance(content, dict) else ""  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]
        raise ToolFailed(f"`{proposal.name}` failed: {error or ended.failure}", failure=ended.failure or "upstream")  # pyright: ignore[reportArgumentType]
    result = proposal.spec.result
    if ended.result is None:
        return Result(value=result.validate_python(None), ended=ended)
    return Result(value=result.validate_json(await ctx.recorder.body(ended.result)), ended=ended)


async def _refusal(ctx: Context, proposal: Proposal, decided: events.CallDecided, settled: str) -> CallRefused:
    why: Any = await ctx.recorder.content(decided.why) if decided.why else {}
    reason = str(why.get("reason", ""))
    code = ReasonCode(decided.code) if decided.code else ReasonCode.POLICY_DENIED
    if settled:
        code = ReasonCode.APPROVAL_DENIED if settled == "denied" else ReasonCode.APPROVAL_EXPIRED
        reason = f"{reason}: a person said no" if settled == "denied" else f"{reason}: nobody answered in time"
    decision = deny(
        decided.gate, code, reason, rules=decided.rules, texts=why.get("rules", {}), digest=decided.policy
    )
    return CallRefused(f"`{proposal.name}` was refused: {reason}", decision=decision)


def _stop_if_cancelled(sent: Sent) -> None:
    if sent.was_cancelled:
        raise asyncio.CancelledError


def _pause_s(backoff_s: float, attempt: int, sent: Sent) -> float:
    """How long to wait before the next attempt: what the other side asked for, within reason."""
    pause_s = sent.retry_after_s if sent.retry_after_s is not None else backoff_s * 2 ** (attempt - 1)
    return min(pause_s, 30.0)
