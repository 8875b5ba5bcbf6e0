"""What people say to a run: a signed yes or no, or what became of an effect that was unknown."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from answerable.errors import ApprovalError, ConfigError
from answerable.gates.approval import refusal, statement
from answerable.journal.store import Append, Payload
from answerable.kernel import events
from answerable.kernel.encoding import encode_payload
from answerable.kernel.ids import inbox_stream

if TYPE_CHECKING:
    from answerable.engine.context import Context
    from answerable.engine.recorder import Recorder


async def answer(
    ctx: Context, verdict: str, *, approver: str, private_key: bytes, note: str
) -> events.ApprovalGiven:
    """Answer the request that the run of `ctx` waits for, signed with the approver's key (32 raw Ed25519 bytes).

    Raises `ApprovalError` for an answer that could not count; nothing is recorded then.
    """
    recorder = ctx.recorder
    run, store = recorder.run, recorder.store
    asked = [
        request
        for step in recorder.state.calls.values()
        for request in step.requests
        if request.request not in step.settled
    ]
    if not asked or recorder.state.ended is not None:
        raise ApprovalError(f"`{run}` waits for no approval", hint="`answerable runs` lists those that do")
    request = asked[-1]
    nonce = ctx.ports.entropy(16).hex()
    rules = tuple(sorted(rule for rule, _, _ in request.needs))
    signed = statement(
        journal=store.journal,
        run=run,
        request=request.request,
        digest=request.digest,
        verdict=verdict,
        approver=approver,
        rules=rules,
        expires=request.expires,
        nonce=nonce,
    )
    key = Ed25519PrivateKey.from_private_bytes(private_key)
    given = events.ApprovalGiven(
        request=request.request,
        verdict=verdict,
        approver=approver,
        digest=request.digest,
        rules=rules,
        expires=request.expires,
        nonce=nonce,
        signature=base64.b64encode(key.sign(signed)).decode(),
        note=recorder.seal(note, "note") if note else None,
    )
    now = ctx.ports.clock.now_us()
    why_not = refusal(
        given,
        request,
        ctx.approvers,
        journal=store.journal,
        run=run,
        requester=ctx.person.requested_by,
        now=now,
    )
    if why_not:
        raise ApprovalError(f"the answer cannot count: {why_not}", hint="nothing was recorded")
    payloads = ()
    if note:
        body = encode_payload(note)
        ref = recorder.seal(note, "note")
        payloads = (Payload(ref, recorder.subject, "note", body),)
    await store.append(
        Append(stream=inbox_stream(run), events=(given,), expect=None, epoch=0, now=now, payloads=payloads)
    )
    return given


async def report(recorder: Recorder, effect: str, state: str, *, by: str) -> None:
    """Say what became of an unknown effect: `done` or `failed`, after having looked."""
    run = recorder.run
    if effect not in recorder.state.unknown:
        raise ConfigError(f"`{effect}` is not an unknown effect of `{run}`", hint=f"`answerable show {run}`")
    if state not in ("done", "failed"):
        raise ConfigError(f"`{state}` is no answer", hint="`done` or `failed`")
    said = events.EffectReported(effect=effect, state=state, by=by)
    await recorder.store.append(
        Append(
            stream=inbox_stream(run), events=(said,), expect=None, epoch=0, now=recorder.ports.clock.now_us()
        )
    )
