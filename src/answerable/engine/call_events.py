"""What is written of one tool call: how it was decided, and how it ended."""

from __future__ import annotations

from answerable.engine.context import Context, settle
from answerable.engine.deciding import Proposal
from answerable.engine.perform import Sent
from answerable.kernel import events
from answerable.kernel.decision import Decision, Verdict
from answerable.kernel.money import to_micros
from answerable.kernel.tool import RESENDABLE


async def write_end(
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
        call_ended(
            proposal,
            sent,
            via,
            attempt=intent.attempt,
            effect=intent.effect,
            result=seal_result(ctx, sent),
            settled=() if sent.state == "unknown" else settle(reserved, spent),
        )
    )
    if sent.state != "done" or proposal.spec.mode not in RESENDABLE:
        await ctx.recorder.commit()


def call_ended(
    proposal: Proposal,
    sent: Sent,
    via: str,
    *,
    attempt: int,
    effect: str | None = None,
    result: str | None = None,
    settled: tuple[events.Settle, ...] = (),
) -> events.CallEnded:
    """The event that ends a call: what it cost and gave, and how that is known."""
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


def seal_result(ctx: Context, sent: Sent) -> str | None:
    """The ref of what a send gave: its result, or its error; None where it gave neither."""
    if sent.state == "done" and sent.failure is None:
        return ctx.recorder.seal(sent.result, "result")
    if sent.error:
        said: dict[str, object] = {"error": sent.error}
        if not sent.was_sent and sent.retry_after_s is not None:
            said["retry_after_s"] = sent.retry_after_s
        return ctx.recorder.seal(said, "result")
    return None


def decided_event(
    ctx: Context, proposal: Proposal, decision: Decision, discharged: frozenset[str]
) -> events.CallDecided:
    """The event that records a decision, with everything that it was made from."""
    why = None
    if decision.verdict is not Verdict.ALLOW:
        why = ctx.recorder.seal(
            {"reason": decision.reason, "rules": decision.texts, "policy": ctx.policy.digest}, "decision"
        )
    return events.CallDecided(
        path=str(proposal.path),
        tool=proposal.name if proposal.spec is not None else token(proposal.name),
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
        totals={
            total.name: (total.seen_amount + total.amount, total.seen_count) for total in proposal.totals
        },
        discharged=tuple(sorted(discharged)),
        now=proposal.request.now_us if proposal.request is not None else None,
        autonomy=proposal.request.autonomy if proposal.request is not None else None,
        left=dict(proposal.request.budget_left) if proposal.request is not None else None,
    )


def token(name: str) -> str:
    """A tool name that a model made up, in a form that an entry may hold."""
    return "".join(c if c.isascii() and (c.isalnum() or c in "_-.") else "?" for c in name)[:64] or "?"
