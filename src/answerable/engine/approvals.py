"""Waiting for people, and taking in what they said."""

from __future__ import annotations

from typing import TYPE_CHECKING

from answerable.engine.signals import Parked, Stopping
from answerable.gates.approval import Answer, answer
from answerable.kernel.events import (
    ApprovalGiven,
    ApprovalRequested,
    ApprovalSettled,
    InboxFolded,
    RunParked,
)
from answerable.kernel.ids import StepPath, inbox_stream

if TYPE_CHECKING:
    from collections.abc import Sequence

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
        stands = look(ctx, request, inbox)
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
        halted = await ctx.halted()
        if halted is not None:
            raise halted
        await ctx.ports.clock.sleep(LOOK_EVERY_S)


async def take_in(ctx: Context, inbox: Sequence[Entry]) -> None:
    """Fold what is new in the inbox into the run."""
    if inbox and inbox[-1].seq > ctx.recorder.state.inbox_seq:
        ctx.recorder.inbox = list(inbox)
        await ctx.recorder.commit(InboxFolded(seq=inbox[-1].seq, hash=inbox[-1].hash))


def look(ctx: Context, request: ApprovalRequested, inbox: Sequence[Entry]) -> Answer:
    """Where a request stands now, by what is in the inbox. Looking costs no entry."""
    given = [
        (entry.seq, said, entry.time)
        for entry in inbox
        for said in entry.events
        if isinstance(said, ApprovalGiven) and said.request == request.request
    ]
    return answer(
        request,
        given,
        ctx.approvers,
        journal=ctx.recorder.store.journal,
        run=ctx.recorder.run,
        requester=ctx.person.requested_by,
        now=ctx.ports.clock.now_us(),
    )
