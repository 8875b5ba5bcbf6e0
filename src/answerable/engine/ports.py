"""Time, ids and chance, as one argument. Nothing else in the package looks at a clock or rolls dice."""

from __future__ import annotations

import asyncio
import os
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable


class Clock(Protocol):
    """A clock: wall time for the journal, monotonic time for deadlines."""

    def now_us(self) -> int:
        """UTC in microseconds since 1970."""
        ...

    def monotonic_ns(self) -> int:
        """Nanoseconds that never go backwards."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Wait."""
        ...


@dataclass(frozen=True, slots=True)
class SystemClock:
    """The clock of this machine."""

    def now_us(self) -> int:
        """See `Clock.now_us`."""
        return time.time_ns() // 1000

    def monotonic_ns(self) -> int:
        """See `Clock.monotonic_ns`."""
        return time.monotonic_ns()

    async def sleep(self, seconds: float) -> None:
        """See `Clock.sleep`."""
        await asyncio.sleep(seconds)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ports:
    """What the engine needs of the world besides the journal, models and tools."""

    clock: Clock
    entropy: Callable[[int], bytes]


def system_ports() -> Ports:
    """The ports of a real process."""
    return Ports(clock=SystemClock(), entropy=os.urandom)
