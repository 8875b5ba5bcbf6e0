"""Whether a worker lives and may be given work, in words that an operator understands."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

from answerable.errors import JournalError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from answerable.journal.store import JournalStore

ROUND_S = 0.5
LATE_S = 5.0
"""What has not come round for so long is not well."""
JOURNAL_EVERY_S = 2.0


class Health:
    """What `/healthz` and `/readyz` say. `problems` names what is wrong with the dispatcher."""

    def __init__(self, store: JournalStore, problems: Callable[[], Sequence[str]]) -> None:
        self.is_draining = False
        self._store = store
        self._problems = problems
        self._came_round_at = time.monotonic()
        self._journal_at = 0.0
        self._journal_problem = "the journal was not asked yet"

    async def watch(self) -> None:
        """Come round, and ask the journal now and then, until cancelled."""
        asking: asyncio.Task[None] | None = None
        while True:
            self._came_round_at = time.monotonic()
            if asking is None or (asking.done() and time.monotonic() - self._journal_at > JOURNAL_EVERY_S):
                asking = asyncio.get_running_loop().create_task(self._ask_journal())
            await asyncio.sleep(ROUND_S)

    async def _ask_journal(self) -> None:
        try:
            async with asyncio.timeout(LATE_S):
                await self._store.halts()
            self._journal_problem = ""
        except (JournalError, TimeoutError) as error:
            self._journal_problem = f"the journal cannot be read: {type(error).__name__}"
        self._journal_at = time.monotonic()

    def alive(self) -> tuple[bool, list[str]]:
        """Whether the process is worth keeping, and why not."""
        late_s = time.monotonic() - self._came_round_at
        if late_s > LATE_S:
            return False, [f"the event loop has not come round for {late_s:.0f} s"]
        return True, []

    def ready(self) -> tuple[bool, list[str]]:
        """Whether it can take work now, and why not: the journal, what renews its claims, a drain."""
        reasons = list(self._problems())
        if self.is_draining:
            reasons.append("it is draining: it takes nothing new")
        if self._journal_problem:
            reasons.append(self._journal_problem)
        return not reasons, reasons
