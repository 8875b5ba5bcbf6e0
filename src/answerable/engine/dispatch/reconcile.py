"""Bringing what an engine knows in line with what the journal says is due.

An entry and a task are two writes to two systems. A process that dies between them leaves a run that nobody was told
of; the same goes for a timer that ran out, and for an owner that died. One look at the journal finds them all.
"""

from __future__ import annotations

import asyncio
import random
from typing import TYPE_CHECKING

from answerable.errors import JournalError
from answerable.observe.logs import say, warn

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from answerable.engine.dispatch.port import Dispatcher
    from answerable.journal.store import Due, JournalStore
    from answerable.kernel.ids import RunId

PAGE = 500
ORPHANS_EVERY_S = 0.5
FEW = 20
"""So many runs are asked for one by one; for more, everything that is due is read."""


async def wake(store: JournalStore, dispatcher: Dispatcher, *runs: RunId) -> None:
    """Tell workers that something changed for these runs. Never raises: what is not told is found by a reconciler."""
    try:
        if len(runs) > FEW:
            await wake_all(store, dispatcher)
            return
        due: list[Due] = []
        for run in runs:
            due += await store.due(store.now(), 1, run=run)
        if due:
            await dispatcher.enqueue(due)
    except JournalError as error:
        warn("wake_failed", error=type(error).__name__)


async def wake_all(
    store: JournalStore, dispatcher: Dispatcher, *, known: dict[str, str] | None = None
) -> int:
    """Hand everything that is due to workers, and return how much of it was new.

    `known` are the marks that were handed out before, and is brought up to date.
    """
    before = known or {}
    seen: dict[str, str] = {}
    after: str | None = None
    new = 0
    while page := await store.due(store.now(), PAGE, after=after):
        unknown = [due for due in page if before.get(due.run) != due.mark]
        if unknown:
            new += await dispatcher.enqueue(unknown)
        seen |= {due.run: due.mark for due in page}
        after = page[-1].run
        if len(page) < PAGE:
            break
    if known is not None:
        known.clear()
        known.update(seen)
    return new


class Reconciler:
    """Looks every few seconds, in one process at a time: the one for which `is_alone` says so."""

    def __init__(
        self,
        store: JournalStore,
        dispatcher: Dispatcher,
        is_alone: Callable[[], Awaitable[bool]],
        *,
        every_s: float = 2.0,
        forget_s: float = 300.0,
    ) -> None:
        self._store = store
        self._dispatcher = dispatcher
        self._is_alone = is_alone
        self._every_s = every_s
        self._forget_rounds = max(1, int(forget_s / every_s))
        self._known: dict[str, str] = {}
        self._rounds = 0
        self._is_ours = False

    async def run(self) -> None:
        """Look again and again, until cancelled."""
        while True:
            await self.look()
            await asyncio.sleep(self._every_s * random.uniform(0.8, 1.2))  # noqa: S311 - only so that not all look at once

    async def watch_orphans(self) -> None:
        """Look often for runs whose owner died, so that they wait for its lease and not for us; until cancelled."""
        known: dict[str, str] = {}
        while True:
            await asyncio.sleep(min(ORPHANS_EVERY_S, self._every_s))
            if not self._is_ours:
                known.clear()
                continue
            try:
                orphans = await self._store.due(self._store.now(), PAGE, is_orphan=True)
                new = [each for each in orphans if known.get(each.run) != each.mark]
                known = {each.run: each.mark for each in orphans}
                if new:
                    say("orphans", runs=await self._dispatcher.enqueue(new))
            except JournalError as error:
                warn("reconcile_failed", error=type(error).__name__)

    async def look(self) -> int:
        """One look, if it is ours to look. Returns how many runs were handed out that nobody had been told of."""
        try:
            self._is_ours = await self._is_alone()
            if not self._is_ours:
                self._known.clear()
                return 0
            # What was handed out once may be lost by the engine: now and then nothing is taken for known.
            self._rounds += 1
            if self._rounds % self._forget_rounds == 0:
                self._known.clear()
            new = await wake_all(self._store, self._dispatcher, known=self._known)
        except JournalError as error:
            warn("reconcile_failed", error=type(error).__name__)
            return 0
        if new:
            say("reconciled", runs=new)
        return new
