"""Watching for halts: what is being awaited in a run that a new halt covers is cancelled, in every process."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from answerable.engine.signals import Halted
from answerable.errors import JournalError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from answerable.engine.context import Context
    from answerable.journal.store import Halt, JournalStore

LOOK_AGAIN_S = 0.05


@dataclass(slots=True, kw_only=True)
class Active:
    """A run that this process is driving."""

    task: asyncio.Task[Any]
    ctx: Context


class HaltWatcher:
    """Looks for halts, and tells the runs that are `active` which one it was that cancelled them."""

    def __init__(self, store: JournalStore, active: Mapping[str, Active]) -> None:
        self._store = store
        self._active = active
        self._seen_epoch = 0
        self._task: asyncio.Task[None] | None = None

    async def begin(self) -> None:
        """Start looking. Halts that are there already are met by whoever begins something."""
        self._seen_epoch = (await self._store.halts())[0]
        self._task = asyncio.get_running_loop().create_task(self._watch())

    async def close(self) -> None:
        """Stop looking."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task

    async def _watch(self) -> None:
        while True:
            try:
                await self._store.changed()
                await self.look()
            except (
                JournalError
            ):  # one that cannot be read now is looked at again: nobody else looks for halts
                await asyncio.sleep(LOOK_AGAIN_S)

    async def look(self) -> None:
        """Cancel what is being awaited in runs that a new halt covers."""
        epoch, halts = await self._store.halts()
        if epoch == self._seen_epoch:
            return
        self._seen_epoch = epoch
        for one in list(self._active.values()):
            halt = _covering(one.ctx, halts)
            if halt is not None and one.task is not asyncio.current_task():
                one.ctx.stopped_by = Halted(halt.scope, halt.reason)
                one.task.cancel()


def _covering(ctx: Context, halts: tuple[Halt, ...]) -> Halt | None:
    """A halt of the run, or of a tool that is in flight in it."""
    state = ctx.recorder.state
    covers = ctx.scopes() | {f"tool:{state.calls[path].decided.tool}" for path in state.unknown.values()}
    return next((halt for halt in halts if halt.scope in covers), None)
