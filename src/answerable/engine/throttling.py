"""Turns: what a tool's limits let through, and what they are told of it. Every request to a vendor takes one.

A turn is taken before the intent, so that waiting for it eats nothing of the send deadline. What finds none in time is
not sent, and that is certain.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Literal, Self

from answerable.engine.next import SEND_WITHIN_S
from answerable.engine.perform import Sent
from answerable.engine.signals import Stopping
from answerable.kernel.throttle import Ask, Limits, Report, Turn
from answerable.kernel.tool import WriteMode

if TYPE_CHECKING:
    from answerable.engine.context import Context
    from answerable.kernel.tool import ToolSpec

LOOK_EVERY_S = 0.2
"""How often somebody who waits for a turn looks whether there is still a reason to."""
COUNTED = ("timeout", "upstream", "rate_limited")
"""The failures that say something of the vendor; the others say something of the call."""


class Admission:
    """Leave to send. This one is of a tool without limits: nothing is asked, and nothing is told."""

    waited_s: float = 0.0
    refusal: Sent | None = None
    """What came of it where nothing may be sent."""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        return

    async def tell(self, sent: Sent) -> None:
        """Say what came of the request."""


FREE = Admission()


class _Refused(Admission):
    def __init__(self, refusal: Sent) -> None:
        self.refusal = refusal


class _Admitted(Admission):
    """A turn. A trial that ends without having been told of is let go, so that another call may make it."""

    def __init__(self, queue: _Queue, turn: Turn, waited_s: float) -> None:
        self.waited_s = waited_s
        self._queue = queue
        self._trial = turn.trial

    async def __aexit__(self, *_: object) -> None:
        if self._trial:
            await self._queue.tell(Report(result="unsent", trial=self._trial))

    async def tell(self, sent: Sent) -> None:
        """Say what came of the request."""
        trial, self._trial = self._trial, 0
        report = Report(result=_result(sent), trial=trial, retry_after_us=_retry_after_us(sent.retry_after_s))
        await self._queue.tell(report)


async def take(ctx: Context, spec: ToolSpec, *, sends: int = 1, in_doubt: bool = False) -> Admission:
    """A turn for `sends` requests of a tool, waited for in order; or the refusal, where there is none in time.

    What may have happened (`in_doubt`) waits for an open breaker, too: nobody gains from an effect that stays unknown.
    Raises `Halted` or `Stopping` where that ends the wait.
    """
    if not spec.is_limited:
        return FREE
    return await _Queue(ctx, spec).wait(sends=sends, in_doubt=in_doubt)


def sends_of(spec: ToolSpec) -> int:
    """How many requests one attempt of a write is: a draft is one of its own."""
    return 2 if spec.mode is WriteMode.DRAFT_THEN_COMMIT else 1


class _Queue:
    """One caller's place before a tool's limits."""

    def __init__(self, ctx: Context, spec: ToolSpec) -> None:
        self._ctx = ctx
        self._spec = spec
        self._key = f"{ctx.tenant}/{spec.name}"
        lease_s = sends_of(spec) * spec.timeout_s + SEND_WITHIN_S
        self._limits = Limits(rate=spec.rate, breaker=spec.breaker, lease_us=int(lease_s * 1e6))

    async def tell(self, report: Report) -> None:
        """Say what came of a turn, where that changes anything."""
        counts = report.result == "failed" and self._spec.breaker is not None
        if counts or report.trial or (report.retry_after_us and self._spec.rate is not None):
            await self._ctx.recorder.tell_turn(self._key, self._limits, report)

    async def wait(self, *, sends: int, in_doubt: bool) -> Admission:
        """See `take`. Bounded: each round waits, and patience does not grow."""
        clock = self._ctx.ports.clock
        begun = clock.monotonic_ns()
        patience_us = self._patience_us(in_doubt=in_doubt)
        held: Turn | None = None
        trial = 0
        try:
            while True:
                waited_us = (clock.monotonic_ns() - begun) // 1000
                ask = Ask(patience_us=max(0, patience_us - waited_us), sends=sends, held=held)
                turn = await self._ctx.recorder.take_turn(self._key, self._limits, ask)
                if turn.verdict == "go":
                    trial = 0
                    return _Admitted(self, turn, waited_us / 1e6)
                is_worth_it = in_doubt and turn.wait_us <= ask.patience_us
                if turn.verdict != "wait" and not is_worth_it:
                    return _Refused(self._refusal(turn))
                held = turn if turn.verdict == "wait" else None
                trial = turn.trial or trial
                await self._pause(turn.wait_us)
        finally:
            if trial:  # it will not be made by us
                await self.tell(Report(result="unsent", trial=trial))

    def _patience_us(self, *, in_doubt: bool) -> int:
        rate, breaker = self._spec.rate, self._spec.breaker
        wait_s = self._spec.timeout_s if rate is None or rate.wait_s is None else rate.wait_s
        us = int(wait_s * 1e6)
        if in_doubt and breaker is not None:
            us += int(breaker.pause_s * 1e6) + self._limits.lease_us
        return us

    async def _pause(self, wait_us: int) -> None:
        """Wait, for as long as there is a reason to. Raises `Halted` or `Stopping` where there is none any more."""
        clock = self._ctx.ports.clock
        until = clock.monotonic_ns() + wait_us * 1000
        while (left_ns := until - clock.monotonic_ns()) > 0:
            await clock.sleep(min(left_ns / 1e9 + 1e-6, LOOK_EVERY_S))
            if self._ctx.is_stopping():
                raise Stopping
            if left_ns > LOOK_EVERY_S * 1e9:
                halted = await self._ctx.halted(self._spec.name)
                if halted is not None:
                    raise halted

    def _refusal(self, turn: Turn) -> Sent:
        spec, after_s = self._spec, turn.wait_us / 1e6
        if turn.verdict == "circuit_open":
            error = (
                f"the breaker of `{spec.name}` is open after {spec.breaker}; nothing was sent;"
                f" it is tried again in {after_s:.3g} s"
            )
        else:
            error = (
                f"the limit of `{spec.name}` ({spec.rate}) has no turn in time; nothing was sent;"
                f" the next turn is in {after_s:.3g} s"
            )
        return Sent(state="failed", failure=turn.verdict, error=error, retry_after_s=after_s, was_sent=False)


def _result(sent: Sent) -> Literal["ok", "failed", "unsent"]:
    """What a request says of the vendor. An effect that nobody knows of is a failure; a refusal is an answer."""
    if sent.was_cancelled or not sent.was_sent:
        return "unsent"
    return "failed" if sent.state == "unknown" or sent.failure in COUNTED else "ok"


def _retry_after_us(after_s: float | None) -> int:
    """What a tool passed on of the vendor's wish; a tool may pass on anything."""
    if after_s is None or not 0 < after_s < math.inf:
        return 0
    return int(after_s * 1e6)
