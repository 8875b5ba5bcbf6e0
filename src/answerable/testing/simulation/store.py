"""A simulated process's view of the shared journal: every request travels, and may be lost on the way."""

from __future__ import annotations

import asyncio
import inspect
from typing import TYPE_CHECKING, Any

from answerable.errors import JournalBusy, JournalError, JournalFull
from answerable.testing.simulation.ledger import inline, taken

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from pathlib import Path

    from answerable.journal.store import (
        Append,
        Custody,
        Due,
        Erased,
        Finding,
        Halt,
        Look,
        Notice,
        RunRow,
        WorkerRow,
    )
    from answerable.kernel.entry import Entry, Head
    from answerable.kernel.throttle import Ask, Limits, Report, Turn
    from answerable.testing.simulation.ledger import Answer, Ledger
    from answerable.testing.simulation.plan import Trouble
    from answerable.testing.simulation.wire import Wire

ANSWER_S = 10.0
"""How long an answer is waited for before what was asked is read back, or given up."""


class SimJournal:
    """A `JournalStore` over a shared `Ledger`, through a `Wire`.

    What a caller reads may be old where a replica may answer, but never older than what the same process has written or
    read before. The last look before a send is never old.
    """

    def __init__(self, ledger: Ledger, wire: Wire) -> None:
        self._ledger = ledger
        self._wire = wire
        self.journal = ledger.journal
        self.public_key = ledger.public_key
        self.tenant_key = ledger.tenant_key
        self.custody: Custody = ledger.custody
        self.halt_epoch = 0
        self._floor = len(ledger.log)
        """The version that this process knows of: no read goes behind it."""
        self._noticed = len(ledger.log)
        self._owner = ""

    @property
    def path(self) -> Path:
        """Where its file would be."""
        return self._ledger.path

    # Writing

    async def append(self, *appends: Append) -> tuple[Entry, ...]:
        """See `JournalStore.append`."""
        trouble = self._wire.trouble("journal", writes=True)
        work = asyncio.ensure_future(self._append(appends, trouble))
        work.add_done_callback(_heard)
        # As with the real writer: a cancelled caller waits for the answer, then is cancelled.
        try:
            return await asyncio.shield(work)
        except asyncio.CancelledError:
            if not work.done():
                await asyncio.wait([work])
            raise

    async def _append(self, appends: tuple[Append, ...], trouble: Trouble | None) -> tuple[Entry, ...]:
        what = trouble.what if trouble is not None else ""
        answers: list[Answer] = []

        def arrive() -> None:
            if what == "torn write":
                self._ledger.writer.tear(appends)
                self._wire.die("inside a transaction")
            elif what == "full disk":
                answers.append(JournalFull("the disk is full, says the simulation"))
            elif what != "lost request":
                answers.extend(self._ledger.commit(appends))

        await self._wire.travel(arrive, slow_s=trouble.for_s if what == "slow" and trouble else 0.0)
        if what in ("lost request", "lost reply", "no answer", "torn write"):
            await asyncio.sleep(ANSWER_S)
            await self._wire.travel(None)  # it is read back
            if not answers or what == "no answer":
                raise JournalBusy("the journal gave no answer, says the simulation")
        entries = taken(answers[0])
        self._floor = max(self._floor, len(self._ledger.log))
        self._wire.acknowledged(entries)
        return entries

    # Reading

    async def _read(self, ask: Callable[[], Any], old: Callable[[int], Any] | None = None) -> Any:
        """What the journal answers; where a replica may answer, `old` says what it was at a version."""
        trouble = self._wire.trouble("journal", writes=False)
        answers: list[Any] = []

        def arrive() -> None:
            version = len(self._ledger.log)
            if old is not None and trouble is not None and trouble.what == "stale":
                version = max(self._floor, self._wire.version_before(trouble.for_s))
                answers.append(old(version))
            else:
                answers.append(ask())
            self._floor = max(self._floor, version)

        slow_s = trouble.for_s if trouble is not None and trouble.what == "slow" else 0.0
        await self._wire.travel(arrive, slow_s=slow_s)
        if trouble is not None and trouble.what in ("lost request", "lost reply", "no answer"):
            await asyncio.sleep(ANSWER_S)
            raise JournalError("the journal gave no answer, says the simulation")
        return answers[0]

    async def entries(self, stream: str, *, after: int = 0) -> list[Entry]:
        """See `JournalStore.entries`."""
        return await self._read(
            lambda: inline(self._ledger.entries(stream, after=after)),
            lambda version: [
                entry for entry in self._ledger.log[:version] if entry.stream == stream and entry.seq > after
            ],
        )

    async def head(self, stream: str) -> Head:
        """See `JournalStore.head`."""
        return await self._read(lambda: inline(self._ledger.head(stream)))

    async def streams(self) -> list[str]:
        """See `JournalStore.streams`."""
        return await self._read(lambda: inline(self._ledger.streams()))

    async def entry_hash(self, stream: str, seq: int) -> str | None:
        """See `JournalStore.entry_hash`."""
        return await self._read(lambda: inline(self._ledger.entry_hash(stream, seq)))

    def now(self) -> int:
        """See `JournalStore.now`."""
        return self._wire.now_us()

    async def payloads(self, refs: Iterable[str]) -> dict[str, bytes | Erased]:
        """See `JournalStore.payloads`."""
        wanted = list(refs)
        return await self._read(lambda: inline(self._ledger.payloads(wanted)))

    async def subject(self, label: str) -> tuple[str, bytes]:
        """See `JournalStore.subject`."""
        return await self._read(lambda: inline(self._ledger.subject(label)))

    async def subject_key(self, ref: str) -> bytes | None:
        """See `JournalStore.subject_key`."""
        return await self._read(lambda: inline(self._ledger.subject_key(ref)))

    async def runs(self, *, states: Sequence[str] = (), run: str | None = None) -> list[RunRow]:
        """See `JournalStore.runs`."""
        return await self._read(lambda: inline(self._ledger.runs(states=states, run=run)))

    async def halts(self) -> tuple[int, tuple[Halt, ...]]:
        """See `JournalStore.halts`."""
        epoch, active = await self._read(
            lambda: inline(self._ledger.halts()),
            lambda version: self._ledger.as_of("halts", "", version, (0, ())),
        )
        self.halt_epoch = max(self.halt_epoch, epoch)
        return epoch, active

    async def look(self, stream: str) -> Look:
        """See `JournalStore.look`. Never old, and as slow as the journal is."""

        def ask() -> Look:
            self._wire.looked(stream)
            return inline(self._ledger.look(stream))

        return await self._read(ask)

    async def changed(self) -> None:
        """See `JournalStore.changed`."""
        while self._noticed >= len(self._ledger.log):
            await self._wire.changed()
        await self._wire.notice()
        self._noticed = self._floor = len(self._ledger.log)

    async def budget(self, budget: str) -> dict[str, tuple[int, int]]:
        """See `JournalStore.budget`."""
        return await self._read(
            lambda: inline(self._ledger.budget(budget)),
            lambda version: self._ledger.as_of("budget", budget, version, {}),
        )

    async def total(self, key: str) -> tuple[int, int]:
        """See `JournalStore.total`."""
        return await self._read(
            lambda: inline(self._ledger.total(key)),
            lambda version: self._ledger.as_of("total", key, version, (0, 0)),
        )

    async def claim(self, key: str) -> tuple[str, int, int] | None:
        """See `JournalStore.claim`."""
        return await self._read(lambda: inline(self._ledger.claim(key)))

    # Processes

    async def take_name(self, owner: str, releases: Sequence[str] = ()) -> None:
        """See `JournalStore.take_name`."""
        self._owner = owner
        self._wire.take_name(owner, releases)

    async def is_alive(self, owner: str) -> bool:
        """See `JournalStore.is_alive`."""
        return await self._read(lambda: self._wire.is_alive(owner))

    async def workers(self) -> list[WorkerRow]:
        """See `JournalStore.workers`."""
        return await self._read(lambda: self._wire.workers(inline(self._ledger.runs(states=("running",)))))

    async def due(
        self,
        now: int,
        limit: int,
        *,
        after: str | None = None,
        run: str | None = None,
        is_orphan: bool = False,
    ) -> list[Due]:
        """See `JournalStore.due`."""
        return await self._read(
            lambda: self._ledger.due_for(
                self._wire.is_alive, now, limit, after=after, run=run, is_orphan=is_orphan
            )
        )

    # Everything else

    async def open_runs(self, agent: str) -> int:
        """See `JournalStore.open_runs`."""
        return await self._read(lambda: inline(self._ledger.open_runs(agent)))

    async def take_turn(self, key: str, limits: Limits, ask: Ask) -> Turn:
        """See `JournalStore.take_turn`."""
        return await self._read(lambda: inline(self._ledger.take_turn(key, limits, ask)))

    async def tell_turn(self, key: str, limits: Limits, report: Report) -> None:
        """See `JournalStore.tell_turn`."""
        await self._read(lambda: inline(self._ledger.tell_turn(key, limits, report)))

    async def open_effects(self) -> list[str]:
        """See `JournalStore.open_effects`."""
        return await self._read(lambda: inline(self._ledger.open_effects()))

    async def payloads_before(self, retention: str, before: int) -> list[str]:
        """See `JournalStore.payloads_before`."""
        return await self._read(lambda: inline(self._ledger.payloads_before(retention, before)))

    async def destroy(self, refs: Sequence[str], now: int) -> None:
        """See `JournalStore.destroy`."""
        await self._read(lambda: inline(self._ledger.destroy(refs, now)))

    async def derived_tables(self) -> dict[str, dict[object, object]]:
        """See `JournalStore.derived_tables`."""
        return await self._read(lambda: inline(self._ledger.derived_tables()))

    async def findings(self) -> list[Finding]:
        """See `JournalStore.findings`."""
        return await self._read(lambda: inline(self._ledger.findings()))

    async def notices(self) -> list[Notice]:
        """See `JournalStore.notices`."""
        return await self._read(lambda: inline(self._ledger.notices()))

    async def take_notice(self, *, after: int = 0, for_s: float) -> Notice | None:
        """See `JournalStore.take_notice`."""
        return await self._read(lambda: inline(self._ledger.take_notice(after=after, for_s=for_s)))

    async def delivered(self, notice: int, *, is_done: bool) -> None:
        """See `JournalStore.delivered`."""
        await self._read(lambda: inline(self._ledger.delivered(notice, is_done=is_done)))

    async def close(self) -> None:
        """See `JournalStore.close`."""
        if self._owner:
            self._wire.let_go(self._owner)

    def __getattr__(self, name: str) -> Any:
        """What the real store can besides: asked in the same way, and never old."""
        found = getattr(self._ledger, name)
        if not inspect.iscoroutinefunction(found):
            return found

        async def ask(*args: Any, **kwargs: Any) -> Any:
            return await self._read(lambda: inline(found(*args, **kwargs)))

        return ask


def _heard(work: asyncio.Task[tuple[Entry, ...]]) -> None:
    """A caller that is cancelled twice asks for no answer any more."""
    if not work.cancelled():
        work.exception()
