"""The life of one model call: budget reserved from a proven upper bound, intent, attempt, outcome.

An SDK's own retries are off: each attempt is an intent of its own, so that each that may have been billed is in
the journal. The ladder of an agent's models is climbed when one cannot be used.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from answerable.engine.context import settle
from answerable.engine.signals import Escalated, Stopping
from answerable.errors import BudgetExceeded, HaltInForce, ModelFailed, RunDiverged
from answerable.kernel import events
from answerable.kernel.decision import ReasonCode
from answerable.kernel.encoding import decode, encode_payload, sha256_hex
from answerable.kernel.money import to_micros
from answerable.models.port import Message, ModelReply, ModelRequest, ToolCall, ToolOffer, Usage

if TYPE_CHECKING:
    from collections.abc import Sequence

    from answerable.engine.context import Context
    from answerable.kernel.ids import StepPath
    from answerable.models.port import ModelPort

ATTEMPTS = 3
"""Attempts per model of the ladder."""
BACKOFF_S = 0.5


async def ask(
    ctx: Context,
    path: StepPath,
    messages: Sequence[Message],
    tools: Sequence[ToolOffer],
    *,
    output_schema: dict[str, Any] | None = None,
    tokens_max: int,
) -> ModelReply:
    """One model call, to its end.

    Raises `ModelFailed` when no model of the ladder gave a usable reply, and the engine's signals where a budget is
    exhausted, the run is halted or this process stops.
    """
    refs = [_sealed(ctx, message) for message in messages]
    offer = _offer(tools, output_schema)
    state = ctx.recorder.state
    step = state.models.get(str(path))
    if step is not None:
        _check_same(ctx, path, step.first, refs, offer)
    ctx.asked = refs
    if step is not None:
        if step.ended is not None and step.ended.state == "replied":
            assert step.ended.reply is not None
            return reply_from(await ctx.recorder.content(step.ended.reply), step.ended)
        if step.ended is not None and _went_on(ctx, path):
            raise ModelFailed("no model gave a usable reply", failure=step.ended.failure or "upstream")
    attempt = step.intent.attempt if step is not None else 0
    if step is not None and step.ended is None:
        _lost(ctx, step.intent)
    failed: ModelFailed | None = None
    for name in ctx.agent.models:
        port = ctx.model(name)
        for try_ in range(1, ATTEMPTS + 1):
            attempt += 1
            request = ModelRequest(
                model=name,
                messages=tuple(messages),
                tools=tuple(tools),
                output_schema=output_schema,
                tokens_max=tokens_max,
                attempt=attempt,
            )
            try:
                return await _attempt(ctx, path, port, request, refs, offer=offer)
            except ModelFailed as error:
                failed = error
                if not error.retryable or try_ == ATTEMPTS:
                    break
                pause = (
                    error.retry_after_s if error.retry_after_s is not None else BACKOFF_S * 2 ** (try_ - 1)
                )
                await ctx.ports.clock.sleep(min(pause, 30.0))
    assert failed is not None
    raise failed


def _sealed(ctx: Context, message: Message) -> str:
    """The ref of a message; a conversation that grows is not digested anew at each turn."""
    known = ctx.sealed.get(id(message))
    if known is None or known[0] is not message:
        known = ctx.sealed[id(message)] = (message, ctx.recorder.seal(message.to_json(), "message"))
    return known[1]


def _went_on(ctx: Context, path: StepPath) -> bool:
    """Whether the run took another step after this one: then its failure was final, and it lived with it."""
    state = ctx.recorder.state
    return any(
        int(other.partition(".")[0]) > path.turn for other in (*state.models, *state.calls, *state.values)
    )


async def _attempt(
    ctx: Context, path: StepPath, port: ModelPort, request: ModelRequest, refs: list[str], *, offer: str
) -> ModelReply:
    if ctx.is_stopping():
        raise Stopping
    now = ctx.ports.clock.now_us()
    within_s = min(request.timeout_s, _time_left_s(ctx, now))
    bound = _bound(ctx, port, request)
    kept = _common(ctx.recorder.state.messages, refs)
    intent = events.ModelIntended(
        path=str(path),
        attempt=request.attempt,
        model=request.model,
        kept=kept,
        added=tuple(refs[kept:]),
        offer=offer,
        reserve=ctx.reserve(now, bound),
    )
    try:
        await ctx.recorder.commit(intent)
    except BudgetExceeded as error:
        text = str(error.args[0])
        raise Escalated(ReasonCode.BUDGET_EXHAUSTED, text, rules=("budget-reserved",)) from None
    except HaltInForce as refused:
        raise await ctx.halted() or refused from None
    try:
        async with asyncio.timeout(within_s):
            reply = await port.request(request)
    except ModelFailed as error:
        _failed(ctx, intent, error.failure, is_billed=error.is_billed)
        raise
    except TimeoutError:
        _failed(ctx, intent, "timeout", is_billed=True)
        raise ModelFailed("the model did not answer in time", failure="timeout", retryable=True) from None
    except asyncio.CancelledError:
        _failed(ctx, intent, "cancelled", is_billed=True)
        raise
    except Exception as error:
        _failed(ctx, intent, "upstream", is_billed=True)
        raise ModelFailed(f"the model's adapter failed: {error}", retryable=False) from error
    cost = port.cost(request.model, reply.usage)
    micros = None if cost.usd is None else to_micros(cost.usd)
    spent = {"model_calls": 1, "tokens": reply.usage.total, "money": micros or 0}
    ended = events.ModelEnded(
        path=str(path),
        attempt=request.attempt,
        state="replied",
        reply=ctx.recorder.seal(_reply_json(reply), "message"),
        tokens_in=reply.usage.input,
        tokens_out=reply.usage.output,
        cost=micros,
        table=cost.table,
        scripted=reply.is_scripted,
        settle=settle(intent.reserve, spent),
    )
    ctx.recorder.note(ended)
    return reply_from(decode(encode_payload(_reply_json(reply))), ended)


def _time_left_s(ctx: Context, now: int) -> float:
    """How long the run may still be at work. Raises `Escalated` where its time is over."""
    limit = ctx.wall_clock_us()
    if limit is None:
        return float("inf")
    state = ctx.recorder.state
    active = state.spent.active_us + max(0, now - state.last_at)
    if active >= limit:
        raise Escalated(
            ReasonCode.BUDGET_EXHAUSTED,
            f"the run has been at work for {active / 1e6:.1f} s of {limit / 1e6:.1f} s",
            rules=("budget-wall-clock",),
        )
    return (limit - active) / 1e6


def _bound(ctx: Context, port: ModelPort, request: ModelRequest) -> dict[str, int]:
    """What the attempt can use at most. Under a money limit an unknown price is a no."""
    tokens_in = port.tokens_bound(request)
    cost = port.cost_bound(request.model, input_tokens=tokens_in, output_tokens=request.tokens_max)
    has_money_limit = any(unit == "money" for _, unit, _ in ctx.limits(ctx.ports.clock.now_us()))
    if cost.usd is None and has_money_limit:
        raise Escalated(
            ReasonCode.BUDGET_EXHAUSTED,
            f"the price of `{request.model}` is unknown, and the budget has a limit of money",
            rules=("budget-price-known",),
        )
    return {
        "model_calls": 1,
        "tokens": tokens_in + request.tokens_max,
        "money": to_micros(cost.usd) if cost.usd is not None else 0,
    }


def _failed(ctx: Context, intent: events.ModelIntended, failure: str, *, is_billed: bool) -> None:
    """An attempt without a reply. Where it may have been billed, all that was reserved counts as spent."""
    spent = {unit: amount for _, unit, amount, _ in intent.reserve} if is_billed else {"model_calls": 1}
    ctx.recorder.note(
        events.ModelEnded(
            path=intent.path,
            attempt=intent.attempt,
            state="failed",
            failure=failure,
            tokens_in=0,
            tokens_out=0,
            cost=0,
            table="reserved" if is_billed else "not billed",
            scripted=False,
            settle=settle(intent.reserve, spent),
        )
    )


def _lost(ctx: Context, intent: events.ModelIntended) -> None:
    """The process died between sending and hearing: the attempt is unknown, and counted at its bound."""
    spent = {unit: amount for _, unit, amount, _ in intent.reserve}
    ctx.recorder.note(
        events.ModelEnded(
            path=intent.path,
            attempt=intent.attempt,
            state="unknown",
            failure="lost",
            tokens_in=0,
            tokens_out=0,
            cost=0,
            table="reserved",
            scripted=False,
            settle=settle(intent.reserve, spent),
        )
    )


def _check_same(
    ctx: Context, path: StepPath, intent: events.ModelIntended, refs: list[str], offer: str
) -> None:
    """A driven run that is called again must ask the model what it asked before."""
    before = [*ctx.asked[: intent.kept], *intent.added]
    if before != refs or offer != intent.offer:
        what = "other tools" if offer != intent.offer else "other messages"
        raise RunDiverged(
            f"at step {path} the run sends {what} than its journal says",
            hint="the agent's code or prompt changed under an open run; run it with the release that began it",
        )


def _common(before: list[str], now: list[str]) -> int:
    kept = 0
    for one, other in zip(before, now, strict=False):
        if one != other:
            break
        kept += 1
    return kept


def _offer(tools: Sequence[ToolOffer], output_schema: dict[str, Any] | None) -> str:
    described = [[tool.name, tool.description, tool.parameters] for tool in tools]
    return sha256_hex(encode_payload([described, output_schema]))


def _reply_json(reply: ModelReply) -> dict[str, Any]:
    return {
        "text": reply.text,
        "calls": [{"id": call.id, "name": call.name, "arguments": call.arguments} for call in reply.calls],
        "model": reply.model,
        "finish_reason": reply.finish_reason,
        "cache_read": reply.usage.cache_read,
        "cache_write": reply.usage.cache_write,
    }


def reply_from(content: Any, ended: events.ModelEnded) -> ModelReply:
    """The reply as the journal holds it: what a run sees is the same on the first run and on every replay."""
    return ModelReply(
        text=content["text"],
        calls=tuple(ToolCall(**call) for call in content["calls"]),
        usage=Usage(
            input=ended.tokens_in,
            output=ended.tokens_out,
            cache_read=content["cache_read"],
            cache_write=content["cache_write"],
        ),
        model=content["model"],
        is_scripted=ended.scripted,
        finish_reason=content["finish_reason"],
    )
