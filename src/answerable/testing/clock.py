"""Virtual time: it stands still until somebody moves it, or until everybody sleeps."""

from __future__ import annotations

import asyncio
import heapq
from datetime import UTC, datetime
from itertools import count

START = datetime(2026, 9, 3, 9, 0, tzinfo=UTC)
"""When a `FakeClock` begins, unless it is told otherwise: a Thursday morning."""

TURNS = 4
"""How many turns of the event loop those who are awake have, before time jumps."""


class FakeClock:
    """A clock for tests. `sleep` takes no real time.

    With `autojump`, time jumps to the end of the earliest sleep once everybody who is awake has had a few turns of
    the event loop; without it, only `advance` moves time. Wall time can be set back, as happens to real machines;
    monotonic time never goes back. Timeouts of tools are real time and are not affected.
    """

    def __init__(self, start: datetime | None = None, *, autojump: bool = True) -> None:
        self._wall_us = int((start or START).timestamp() * 1e6)
        self._monotonic_us = 0
        self._is_jumping = autojump
        self._sleepers: list[tuple[int, int, asyncio.Future[None]]] = []
        self._order = count()
        self._next_jump: asyncio.Handle | None = None

    def now_us(self) -> int:
        """UTC in microseconds since 1970."""
        return self._wall_us

    def monotonic_ns(self) -> int:
        """Nanoseconds since the clock was made."""
        return self._monotonic_us * 1000

    async def sleep(self, seconds: float) -> None:
        """Wait for `seconds` of virtual time."""
        if seconds <= 0:
            await asyncio.sleep(0)
            return
        loop = asyncio.get_running_loop()
        woken: asyncio.Future[None] = loop.create_future()
        heapq.heappush(self._sleepers, (self._monotonic_us + int(seconds * 1e6), next(self._order), woken))
        self._jump_soon(loop)
        await woken

    def advance(self, seconds: float) -> None:
        """Let `seconds` go by, and wake everybody whose sleep is over."""
        self._move_to(self._monotonic_us + int(seconds * 1e6))

    def set_back(self, seconds: float) -> None:
        """Correct the wall clock backwards; nobody's sleep gets longer."""
        self._wall_us -= int(seconds * 1e6)

    def _jump_soon(self, loop: asyncio.AbstractEventLoop) -> None:
        if self._is_jumping and self._next_jump is None:
            self._next_jump = loop.call_soon(self._jump, TURNS)

    def _jump(self, turns: int) -> None:
        if turns:
            self._next_jump = asyncio.get_running_loop().call_soon(self._jump, turns - 1)
            return
        self._next_jump = None
        self._forget_cancelled()
        if self._sleepers:
            self._move_to(max(self._monotonic_us, self._sleepers[0][0]))
            if self._sleepers:
                self._jump_soon(asyncio.get_running_loop())

    def _move_to(self, monotonic_us: int) -> None:
        self._wall_us += monotonic_us - self._monotonic_us
        self._monotonic_us = monotonic_us
        while self._sleepers and self._sleepers[0][0] <= monotonic_us:
            woken = heapq.heappop(self._sleepers)[2]
            if not woken.done():
                woken.set_result(None)

    def _forget_cancelled(self) -> None:
        while self._sleepers and self._sleepers[0][2].done():
            heapq.heappop(self._sleepers)
