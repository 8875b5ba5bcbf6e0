"""From a decision to an outcome: intents, sends, what comes of them, and what is done when nobody knows.

A lost reply is never a failure. What may follow one is decided by the write mode (`spec/effects.md`), and by nothing else.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING

from answerable.engine import throttling
from answerable.engine.call_events import call_ended, decided_event, seal_result, write_end
from answerable.engine.context import Context, settle
from answerable.engine.deciding import Proposal, recorded_facts
from answerable.engine.next import (
    CLOCKS_AGREE_S,
    SEND_WITHIN_S,
    is_key_honoured,
)
from answerable.engine.perform import Sent
from answerable.engine.signals import Halted, Stopping
from answerable.errors import (
    BudgetExceeded,
    ClaimHeld,
    GuardRefused,
    HaltInForce,
    TotalsMoved,
)
from answerable.gates.pipeline import admit
from answerable.kernel import events
from answerable.kernel.decision import Decision, ReasonCode, allow, deny
from answerable.kernel.ids import effect_key
from answerable.kernel.money import to_micros
from answerable.kernel.tool import RESENDABLE, WriteMode

if TYPE_CHECKING:
    from answerable.engine.throttling import Admission
    from answerable.gates.pipeline import Permit
    from answerable.kernel.tool import ToolSpec


async def read(ctx: Context, proposal: Proposal, turn: Admission) -> None:
    """Perform a read, with its retries; a crash before the outcome only means that it is read again.

    `turn` is that of the first attempt; the others take their own.
    """
    assert proposal.tool is not None
    assert proposal.arguments is not None
    retry = proposal.tool.spec.retry
    counted = _counted(ctx)
    attempt = 0
    while True:
        attempt += 1
        async with turn:
            sent = turn.refusal or await ctx.performer.read(proposal.tool, proposal.arguments)
            await turn.tell(sent)
        stop_if_cancelled(sent)
        result = seal_result(ctx, sent)
        is_last = sent.state == "done" or not sent.is_retryable or attempt >= retry.attempts
        settled = counted if is_last else ()
        ctx.recorder.note(call_ended(proposal, sent, "send", attempt=attempt, result=result, settled=settled))
        if is_last:
            break
        await ctx.ports.clock.sleep(_pause_s(retry.backoff_s, attempt, sent))
        turn = await throttling.take(ctx, proposal.tool.spec)
    if sent.state == "done" or proposal.tool.fallback is None:
        return
    instead = _fallback(proposal, sent)
    if instead.state == "done":
        result = seal_result(ctx, instead)
        ctx.recorder.note(call_ended(proposal, instead, "fallback", attempt=attempt, result=result))


def _counted(ctx: Context) -> tuple[events.Settle, ...]:
    """What a call without an intent takes of the budgets: one call, whatever came of it."""
    now = ctx.ports.clock.now_us()
    return tuple((budget, unit, 0, 1) for budget, unit, _ in ctx.limits(now) if unit == "tool_calls")


async def refuse(ctx: Context, proposal: Proposal, refusal: Sent) -> None:
    """Write that a call with no intent yet found no turn: it was permitted, and certainly not sent."""
    result = seal_result(ctx, refusal)
    ended = call_ended(proposal, refusal, "send", attempt=1, result=result, settled=_counted(ctx))
    await ctx.recorder.commit(ended)


def _fallback(proposal: Proposal, failed: Sent) -> Sent:
    assert proposal.tool is not None
    assert proposal.tool.fallback is not None
    assert proposal.arguments is not None
    try:
        value = proposal.tool.fallback(proposal.arguments)
        result = proposal.tool.spec.result.dump_python(value, mode="json", warnings="error")
        proposal.tool.spec.result.validate_python(value)
    except Exception:  # noqa: BLE001 - a broken fallback is no answer: the failure stands
        return failed
    return Sent(state="done", result=result)


async def intend(
    ctx: Context,
    proposal: Proposal,
    decision: Decision,
    decided: events.CallDecided,
    *,
    undoes: str | None,
    turn: Admission,
) -> None:
    """Write the intent of an effect; only once that is durable, send it. A guard that says no is the decision."""
    assert proposal.spec is not None
    assert proposal.args is not None
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
        halt_epoch=ctx.recorder.store.halt_epoch,
        send_by=send_by,
        reserve=ctx.reserve(now, ask),
        totals=tuple(
            (total.key, total.name, total.amount, total.seen_amount, total.seen_count)
            for total in proposal.totals
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
    await _perform(ctx, proposal, permit, turn, may_have_happened=False)


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
    await write_end(ctx, proposal, step.intent, sent, via="send")


async def _guarded(ctx: Context, proposal: Proposal, guard: GuardRefused, decision: Decision) -> None:
    """The transaction said no. A moved total is decided again; anything else is the decision now."""
    match guard:
        case TotalsMoved():
            raise guard
        case HaltInForce():
            raise await _halted(ctx, proposal.name)
        case BudgetExceeded():
            code, rule, gate = ReasonCode.BUDGET_EXHAUSTED, "budget-reserved", "budget"
        case ClaimHeld():
            code, rule, gate = ReasonCode.CLAIM_HELD, "claim", "repeat"
        case _:
            raise guard
    text = guard.args[0] if guard.args else ""
    refused = deny(gate, code, str(text), rules=(rule,), digest=decision.digest)
    ctx.recorder.note(decided_event(ctx, proposal, refused, frozenset()))


async def _halted(ctx: Context, tool: str) -> Halted:
    return await ctx.halted(tool) or Halted("all", "")  # it may have been lifted since it refused the intent


async def again(
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
    spec = proposal.spec
    try:
        if pause_s:
            await ctx.ports.clock.sleep(pause_s)
        turn = await throttling.take(
            ctx, spec, sends=throttling.sends_of(spec), in_doubt=spec.is_write and may_have_happened
        )
    except (asyncio.CancelledError, Halted):
        await _not_sent(ctx, proposal, may_have_happened=may_have_happened)
        raise
    except Stopping:
        if (
            not may_have_happened
        ):  # else the intent says that it is in doubt, and who resumes the run goes on with it
            await _not_sent(ctx, proposal, may_have_happened=False)
        raise
    async with turn:
        if turn.refusal is not None:
            is_unknown = spec.is_write and may_have_happened
            refusal = replace(turn.refusal, state="unknown") if is_unknown else turn.refusal
            await write_end(ctx, proposal, intent, refusal, via="send")
            return
        if turn.waited_s and may_have_happened and spec.mode in RESENDABLE:
            step = ctx.recorder.state.calls[str(proposal.path)]
            if not is_key_honoured(step, spec, ctx.ports.clock.now_us()):
                return  # it waited for too long: what comes next is asked again
        await _send_again(ctx, proposal, intent, turn, may_have_happened=may_have_happened)


async def _send_again(
    ctx: Context,
    proposal: Proposal,
    intent: events.CallIntended,
    turn: Admission,
    *,
    may_have_happened: bool,
) -> None:
    assert proposal.spec is not None
    send_by, send_by_ns = _send_by(ctx, proposal.spec)
    again = replace(
        intent,
        attempt=intent.attempt + 1,
        halt_epoch=ctx.recorder.store.halt_epoch,
        send_by=send_by,
        reserve=(),
    )
    try:
        entry = await ctx.recorder.commit(again)
    except HaltInForce:
        await _not_sent(ctx, proposal, may_have_happened=may_have_happened)
        raise await _halted(ctx, proposal.name) from None
    except asyncio.CancelledError:
        await _not_sent(ctx, proposal, may_have_happened=may_have_happened)
        raise
    assert entry is not None
    permit = admit(allow("recovery"), again, entry, send_by_ns=send_by_ns)
    await _perform(ctx, proposal, permit, turn, may_have_happened=may_have_happened)


async def _perform(
    ctx: Context, proposal: Proposal, permit: Permit, turn: Admission, *, may_have_happened: bool
) -> None:
    """Send, and write down what came of it; while the mode allows it, send again after a lost reply."""
    assert proposal.tool is not None
    assert proposal.arguments is not None
    assert proposal.spec is not None
    spec, intent = proposal.spec, permit.intent
    try:
        sent = await _write(ctx, proposal, permit)
    except Halted:
        await _not_sent(ctx, proposal, may_have_happened=may_have_happened)
        raise
    await turn.tell(sent)
    in_doubt = spec.is_write and (may_have_happened or sent.state == "unknown")
    pause_s = _pause_s(spec.retry.backoff_s, intent.attempt, sent)
    if _may_send_again(ctx, proposal, intent, sent, in_doubt=in_doubt, pause_s=pause_s):
        await again(ctx, proposal, intent, may_have_happened=in_doubt, pause_s=pause_s)
        return
    if in_doubt and sent.state == "failed":
        # This attempt did nothing. An earlier one may have, and a refusal now may be because of it.
        sent = replace(sent, state="unknown")
    if sent.state == "unknown" and proposal.tool.probe is not None and not sent.was_cancelled:
        # What was sent may still be on its way for as long as a send may take; only then is an answer final.
        begun = ctx.ports.clock.now_us() - sent.us
        not_before = begun + int((spec.timeout_s + spec.probe_lag_s) * 1e6)
        await probe(ctx, proposal, intent, not_before)
        return
    await write_end(ctx, proposal, intent, sent, via="send")
    stop_if_cancelled(sent)


async def _write(ctx: Context, proposal: Proposal, permit: Permit) -> Sent:
    """Draft, where the mode has a draft, and send. Without its draft nothing was sent; a second draft is harmless."""
    assert proposal.tool is not None
    assert proposal.arguments is not None
    assert proposal.spec is not None
    draft: object = None
    if proposal.spec.mode is WriteMode.DRAFT_THEN_COMMIT:
        drafted = await ctx.performer.draft(proposal.tool, proposal.arguments, permit.effect)
        if drafted.state != "done":
            return replace(drafted, state="failed", result=None)
        draft = drafted.result
    return await ctx.performer.write(
        permit,
        proposal.tool,
        proposal.arguments,
        look=ctx.recorder.look,
        covers=ctx.scopes(proposal.spec.name),
        plan=proposal.plan,
        draft=draft,
        facts=proposal.facts or await recorded_facts(ctx, proposal),
    )


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


async def probe(
    ctx: Context,
    proposal: Proposal,
    intent: events.CallIntended,
    not_before: int,
) -> None:
    """Ask the system of record what became of a send."""
    assert proposal.tool is not None
    assert proposal.arguments is not None
    assert proposal.spec is not None
    spec = proposal.spec
    wait_us = not_before - ctx.ports.clock.now_us()
    # Nothing is on its way for longer than this, whatever a clock that was set back says.
    longest_s = 2 * spec.timeout_s + SEND_WITHIN_S + spec.probe_lag_s + CLOCKS_AGREE_S
    if wait_us > 0:
        await ctx.ports.clock.sleep(min(wait_us / 1e6, longest_s))
    async with await throttling.take(ctx, spec, in_doubt=True) as turn:
        if turn.refusal is not None:
            sent = replace(turn.refusal, state="unknown")
        else:
            sent = await ctx.performer.probe(proposal.tool, proposal.arguments, intent.effect)
        await turn.tell(sent)
    may_repeat = spec.mode is not WriteMode.AT_MOST_ONCE and intent.attempt < spec.retry.attempts
    if sent.state == "failed" and not sent.was_cancelled and may_repeat:
        await again(ctx, proposal, intent, may_have_happened=False)
        return
    await write_end(ctx, proposal, intent, sent, via="probe")
    stop_if_cancelled(sent)


async def report(ctx: Context, proposal: Proposal, reported: events.EffectReported) -> None:
    """Write what somebody said of an effect whose run is still open: the run goes on with it."""
    step = ctx.recorder.state.calls[str(proposal.path)]
    assert step.intent is not None
    result = await ctx.recorder.content(reported.result) if reported.result else None
    sent = Sent(state=reported.state, result=result)
    via = "late" if reported.by == "late" else "person"
    await write_end(ctx, proposal, step.intent, sent, via=via)


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


def stop_if_cancelled(sent: Sent) -> None:
    """Go on with a cancellation that came during a send, now that the outcome is written. Raises `CancelledError`."""
    if sent.was_cancelled:
        raise asyncio.CancelledError


def _pause_s(backoff_s: float, attempt: int, sent: Sent) -> float:
    """How long to wait before the next attempt: what the other side asked for, within reason."""
    pause_s = sent.retry_after_s if sent.retry_after_s is not None else backoff_s * 2 ** (attempt - 1)
    return min(pause_s, 30.0)
