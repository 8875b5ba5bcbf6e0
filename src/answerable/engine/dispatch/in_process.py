"""Work without an engine: each process asks the journal itself. Owners' names decide who has a run.

For one process, and for a few on one machine: several that see the same run try to take it, and the journal gives it
to one of them.
"""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from dataclasses import replace
from typing import TYPE_CHECKING

from answerable.engine.dispatch.port import Lease
from answerable.errors import JournalError
from answerable.kernel.ids import RunId
from answerable.observe.logs import warn

if TYPE_CHECKING:
    from collections.abc import Sequence

    from answerable.engine.dispatch.port import Drive, LetGo, Verdict
    from answerable.journal.store import Due, JournalStore

POLL_S = 0.25
"""How often the journal is asked. What another process wrote is seen after at most this."""
SHARE = 25
"""A look that takes long is taken less often: no more than one part in so many of the time goes into looking."""
PAGE = 200
REMEMBERED_MAX = 50_000


class InProcess:
    """See the module."""

    def __init__(self, store: JournalStore) -> None:
        self._store = store
        self._told = asyncio.Event()
        self._is_draining = False
        self._active: dict[str, asyncio.Task[None]] = {}
        self._looked_at: OrderedDict[str, str] = OrderedDict()
        """Run → the mark at which it was looked at without anything to do."""
        self._later: dict[str, tuple[float, Lease]] = {}
        """Run → when to come back to it."""
        self._problem = ""

    async def enqueue(self, due: Sequence[Due]) -> int:
        """See `Dispatcher.enqueue`. What is due is in the journal: it is only looked there at once."""
        self._told.set()
        return len(due)

    async def work(self, drive: Drive, let_go: LetGo, *, concurrency: int) -> None:
        """See `Dispatcher.work`. No lease is ever lost here: who is alive keeps what it has."""
        del let_go
        while not self._is_draining:
            self._told.clear()
            begun = time.monotonic()
            free = concurrency - len(self._active)
            for lease in await self._next(free) if free > 0 else ():
                self._active[lease.run] = asyncio.create_task(self._one(lease, drive))
            pause = max(POLL_S, (time.monotonic() - begun) * SHARE)
            try:
                async with asyncio.timeout(pause):
                    await self._told.wait()
            except TimeoutError:
                continue
        if self._active:
            await asyncio.wait(self._active.values())

    async def _next(self, free: int) -> list[Lease]:
        """What we said we would come back to, then the oldest runs that are due and that were not looked at just so."""
        now = time.monotonic()
        found = [lease for at, lease in self._later.values() if at <= now and lease.run not in self._active]
        after: str | None = None
        try:
            while len(found) < free:
                page = await self._store.due(self._store.now(), PAGE, after=after)
                found += [Lease(run=RunId(due.run), mark=due.mark) for due in page if self._is_new(due)]
                if len(page) < PAGE:
                    break
                after = page[-1].run
        except JournalError as error:
            self._problem = "the journal cannot be read"
            warn("look_failed", error=type(error).__name__)
            return []
        self._problem = ""
        return found[:free]

    def _is_new(self, due: Due) -> bool:
        """Whether a run that is due is neither being driven here nor put off, nor was looked at in this state."""
        put_off = self._later.get(due.run)
        known = self._looked_at.get(due.run) if put_off is None else put_off[1].mark
        return due.run not in self._active and known != due.mark

    async def _one(self, lease: Lease, drive: Drive) -> None:
        try:
            self._later.pop(lease.run, None)
            self._remember(lease, await drive(lease))
        finally:
            del self._active[lease.run]
            self._told.set()

    def _remember(self, lease: Lease, verdict: Verdict) -> None:
        """A run that we leave open is ours as long as we live: nobody else comes back to it."""
        if verdict.kind != "done":
            self._later[lease.run] = (
                time.monotonic() + verdict.delay_s,
                replace(lease, tries=lease.tries + 1),
            )
            return
        self._looked_at[lease.run] = lease.mark
        self._looked_at.move_to_end(lease.run)
        if len(self._looked_at) > REMEMBERED_MAX:
            self._looked_at.popitem(last=False)

    def drain(self) -> None:
        """See `Dispatcher.drain`."""
        self._is_draining = True
        self._told.set()

    def problems(self) -> list[str]:
        """See `Dispatcher.problems`."""
        return [self._problem] if self._problem else []

    async def close(self) -> None:
        """See `Dispatcher.close`. Nothing is held."""
