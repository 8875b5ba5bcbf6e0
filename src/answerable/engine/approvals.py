"""Waiting for people, and taking in what they said."""

from __future__ import annotations

from typing import TYPE_CHECKING

from answerable.engine.signals import Halted, Parked, Stopping
from answerable.gates.approval import Answer, Approver, answer
from answerable.kernel.events import (
    ApprovalGiven,
    ApprovalRequested,
    ApprovalSettled,
    InboxFolded,
    RunParked,
)
from answerable.kernel.ids import StepPath, inbox_stream

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from answerable.engine.context import Context
    from answerable.kernel.entry import Entry

LOOK_EVERY_S = 0.2
"""How often an attached run, which cannot park, looks for an answer."""


async def wait(ctx: Context, path: StepPath, request: ApprovalRequested) -> None:
    """Settle `request` if people have answered or its time is over; else park, or wait where that cannot be.

    Raises `Parked` for a driven run: it then holds no thread, process, claim or money.
    """
    while True:
        inbox = await ctx.recorder.store.entries(inbox_stream(ctx.recorder.run))
        stands = look(
            request,
            inbox,
            ctx.approvers,
            journal=ctx.recorder.store.journal,
            run=ctx.recorder.run,
            requester=ctx.person.requested_by,
            now=ctx.ports.clock.now_us(),
        )
        if stands.state != "open":
            await take_in(ctx, inbox)
            settled = ApprovalSettled(
                path=str(path), request=request.request, state=stands.state, inbox=stands.inbox
            )
            await ctx.recorder.commit(settled)
            return
        if ctx.can_park:
            await ctx.recorder.commit(
                RunParked(waiting_for="approval", request=request.request, wake_at=request.expires)
            )
            raise Parked
        if ctx.is_stopping():
            raise Stopping
        for halt in ctx.recorder.store.halts()[1]:
            if halt.scope in ctx.scopes():
                raise Halted(halt.scope, halt.reason)
        await ctx.ports.clock.sleep(LOOK_EVERY_S)


async def take_in(ctx: Context, inbox: Sequence[Entry]) -> None:
    """Fold what is new in the inbox into the run."""
    if inbox and inbox[-1].seq > ctx.recorder.state.inbox_seq:
        ctx.recorder.inbox = list(inbox)
        await ctx.recorder.commit(InboxFolded(seq=inbox[-1].seq, hash=inbox[-1].hash))


def look(
    request: ApprovalRequested,
    inbox: Sequence[Entry],
    approvers: Mapping[str, Approver],
    *,
    journal: str,
    run: str,
    requester: str,
    now: int,
) -> Answer:
    """Where a request stands, by what is in the inbox. Pure."""
    given = [
        (entry.seq, said, entry.time)
        for entry in inbox
        for said in entry.events
        if isinstance(said, ApprovalGiven) and said.request == request.request
    ]
    return answer(request, given, approvers, journal=journal, run=run, requester=requester, now=now)
