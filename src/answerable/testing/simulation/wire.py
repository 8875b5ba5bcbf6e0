"""What lies between a simulated process and the journal: time, and everything that can be lost in it."""

from __future__ import annotations

import asyncio
from bisect import bisect_right
from typing import TYPE_CHECKING

from answerable.journal.store import WorkerRow

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from answerable.journal.store import RunRow
    from answerable.kernel.entry import Entry
    from answerable.testing.simulation.loop import Process
    from answerable.testing.simulation.plan import Trouble
    from answerable.testing.simulation.world import World

HALT_NOTICED_S = 0.05
"""Within what time a store lets those who wait know that something changed."""


class Wire:
    """One process's way to the journal of its world."""

    def __init__(
        self, world: World, process: Process, now_us: Callable[[], int], *, is_fragile: bool
    ) -> None:
        self._world = world
        self._process = process
        self._is_fragile = is_fragile
        self.now_us = now_us

    def trouble(self, where: str, *, writes: bool) -> Trouble | None:
        """What happens to the next request."""
        if not self._is_fragile:
            return None
        fits = _can_happen_to_a_write if writes else _can_happen_to_a_read
        return self._world.trouble(where, fits)

    async def travel(self, arrive: Callable[[], None] | None, *, slow_s: float = 0.0) -> None:
        """To the journal, where `arrive` is called, and back. Who dies on the way is not waited for."""
        loop, dice = self._world.loop, self._world.dice
        back: asyncio.Future[None] = loop.create_future()
        outside = loop.outside

        def reply(error: BaseException | None) -> None:
            if back.done():
                return
            back.set_result(None) if error is None else back.set_exception(error)

        def there() -> None:
            error: BaseException | None = None
            try:
                if arrive is not None:
                    arrive()
            except Exception as raised:  # noqa: BLE001 - it is what the journal answers
                error = raised
            outside.call_later(dice.uniform(0.0001, 0.004), reply, error)

        outside.call_later(dice.uniform(0.0001, 0.004) + slow_s, there)
        await back

    def die(self, why: str) -> None:
        """The process dies here."""
        self._world.kill(self._process, why)

    def acknowledged(self, entries: Sequence[Entry]) -> None:
        """The process was told that these are durable."""
        self._world.acknowledged.extend((entry.stream, entry.seq, entry.hash) for entry in entries)

    def looked(self, stream: str) -> None:
        """The process looks for the last time before a send, for all that it knows."""
        self._world.watch.looked[self._process.name, stream] = self._world.loop.time()

    def version_before(self, seconds: float) -> int:
        """The journal's version that long ago."""
        return bisect_right(self._world.committed_at, self._world.loop.time() - seconds)

    async def changed(self) -> None:
        """Until something is committed."""
        await self._world.committed()

    async def notice(self) -> None:
        """How long it takes until one hears of it."""
        await asyncio.sleep(self._world.dice.uniform(0.0, HALT_NOTICED_S))

    def take_name(self, owner: str, releases: Sequence[str]) -> None:
        """The process owns runs under this name."""
        self._world.owners[owner] = self._process
        self._world.named[owner] = (self.now_us(), tuple(releases))

    def workers(self, running: Sequence[RunRow]) -> list[WorkerRow]:
        """Who lives, the first to start first."""
        return [
            WorkerRow(
                owner=owner,
                host="simulated",
                pid=number,
                version="",
                started=started,
                heartbeat_age_s=0.0,
                is_alive=True,
                runs=sum(row.owner == owner for row in running),
                releases=releases,
            )
            for number, (owner, (started, releases)) in enumerate(self._world.named.items())
            if self.is_alive(owner)
        ]

    def let_go(self, owner: str) -> None:
        """It does no more."""
        self._world.gone.add(owner)

    def is_alive(self, owner: str) -> bool:
        """Whether it still does, as far as others can tell."""
        return self._world.is_alive(owner)


def _can_happen_to_a_write(what: str) -> bool:
    return what != "stale"


def _can_happen_to_a_read(what: str) -> bool:
    return what in ("stale", "slow", "no answer")
