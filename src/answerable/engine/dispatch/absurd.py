"""Handing out runs through absurd, a queue in PostgreSQL: many workers, and one that dies is replaced within its lease.

absurd knows no LISTEN: we tell workers of new tasks ourselves, and they look by themselves twice a second. There is
one claimer in a process, on its event loop: a loop that is too busy to drive takes nothing. What keeps the claims is a
thread apart from it (`heart`).
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from typing import TYPE_CHECKING, Any

import psycopg

from answerable.engine.dispatch import absurd_queue as queue
from answerable.engine.dispatch.heart import Heart
from answerable.engine.dispatch.port import Lease
from answerable.engine.dispatch.reconcile import Reconciler
from answerable.kernel.ids import RunId
from answerable.observe.logs import about, say, warn

if TYPE_CHECKING:
    from collections.abc import Sequence

    from answerable.engine.dispatch.port import Drive, LetGo, Verdict
    from answerable.journal.store import Due, JournalStore

LEASE_S = 15
POLL_S = 0.5
"""How often an idle worker looks by itself: what ran out elsewhere is taken over after the lease and this."""
CLAIMS_MAX = 64
TIMEOUT_S = 5.0
TRY_AGAIN_S = 1.0
SPAWNED_AT_ONCE = 500
FORGET_EVERY_S = 60.0
FORGETS_MAX = 50


class Absurd:
    """See the module. Connects when it is first used; `prepare` is for workers, who set the queue up."""

    def __init__(
        self, store: JournalStore, url: str, owner: str, *, lease_s: int = LEASE_S, reconcile_s: float = 2.0
    ) -> None:
        self._store = store
        self._url = url
        self._owner = owner
        self._lease_s = lease_s
        self._reconcile_s = reconcile_s
        self._pen: psycopg.AsyncConnection[Any] | None = None
        self._turn = asyncio.Lock()
        self._told = asyncio.Event()
        self._is_draining = False
        self._active: dict[str, tuple[Lease, asyncio.Task[None]]] = {}
        self._heart: Heart | None = None
        self._sole: psycopg.AsyncConnection[Any] | None = None
        self._is_sole = False
        self._forgot_at = 0.0
        self._problem = ""

    # Telling workers

    async def enqueue(self, due: Sequence[Due]) -> int:
        """See `Dispatcher.enqueue`. Where no worker was ever started nobody is told: the first one finds everything."""
        new = 0
        try:
            if self._heart is None and not (await self._ask(queue.IS_THERE))[0][0]:
                return 0
            for lane in queue.LANES:
                ours = [each for each in due if each.is_begun is (lane is queue.BEGUN)]
                for start in range(0, len(ours), SPAWNED_AT_ONCE):
                    part = ours[start : start + SPAWNED_AT_ONCE]
                    asked = ([each.run for each in part], [each.mark for each in part])
                    new += (await self._ask(lane.spawn, asked))[0][0]
            if new:
                await self._ask(queue.TELL)
        except psycopg.Error as error:  # what nobody was told of is in the journal, and found there
            warn("enqueue_failed", error=type(error).__name__, runs=len(due))
        return new

    async def _ask(self, sql: str, values: Sequence[object] = ()) -> list[tuple[Any, ...]]:
        """One statement, in turn. A connection that turns out to be dead is replaced once."""
        async with self._turn:
            for attempt in (1, 2):
                if self._pen is None or self._pen.closed:
                    self._pen = await queue.dial_async(self._url, "tasks", TIMEOUT_S)
                try:
                    cursor = await self._pen.execute(sql.encode(), values)
                    return await cursor.fetchall()
                except psycopg.OperationalError:
                    await self._pen.close()
                    if attempt == 2:  # noqa: PLR2004
                        raise
        raise AssertionError

    # Working

    async def work(self, drive: Drive, let_go: LetGo, *, concurrency: int) -> None:
        """See `Dispatcher.work`."""
        await asyncio.to_thread(queue.prepare, self._url, self._store.custody.name)
        loop = asyncio.get_running_loop()

        def lost(task: str) -> None:
            with contextlib.suppress(RuntimeError):  # the loop is closed: nothing is driven any more
                loop.call_soon_threadsafe(self._lost, task, let_go)

        with contextlib.suppress(psycopg.Error):
            for lane in queue.LANES:
                await self._ask(lane.awaken)
        self._heart = heart = Heart(self._url, self._lease_s, lost)
        heart.begin()
        reconciler = Reconciler(self._store, self, self._may_reconcile, every_s=self._reconcile_s)
        others = [
            loop.create_task(self._listen()),
            loop.create_task(reconciler.run()),
            loop.create_task(reconciler.watch_orphans()),
        ]
        try:
            while not self._is_draining:
                heart.loop_at = time.monotonic()
                heart.drop_expired()
                self._told.clear()
                if not await self._take_some(drive, concurrency):
                    with contextlib.suppress(TimeoutError):
                        async with asyncio.timeout(TRY_AGAIN_S if self._problem else POLL_S):
                            await self._told.wait()
            while self._active:
                heart.loop_at = time.monotonic()
                await asyncio.wait([task for _, task in self._active.values()], timeout=POLL_S)
        finally:
            for other in others:
                other.cancel()
            await asyncio.wait(others)
            await asyncio.to_thread(heart.close)

    async def _take_some(self, drive: Drive, concurrency: int) -> bool:
        """Claim what is there, first what was begun already; whether there may be more that we could take.

        For what was begun there is some room beyond `concurrency`: it has waited for a lease to run out, or for a person.
        """
        room = {queue.BEGUN: max(2, concurrency // 4), queue.NEW: 0}
        is_more = False
        for lane in queue.LANES:
            free = concurrency + room[lane] - len(self._active)
            is_more = await self._take(lane, drive, free) or is_more
        return is_more

    async def _take(self, lane: queue.Lane, drive: Drive, free: int) -> bool:
        if free <= 0:
            return False
        wanted = min(free, CLAIMS_MAX)
        asked_at = time.monotonic()
        try:
            rows = await self._ask(lane.claim, (self._owner, self._lease_s, wanted))
        except psycopg.Error as error:
            self._problem = "the queue in the database cannot be reached"
            warn("claim_failed", error=type(error).__name__)
            return False
        self._problem = ""
        assert self._heart is not None
        for task, tries, run, mark, before in rows:
            lease = Lease(
                run=RunId(run), mark=mark, task=task, tries=tries, instead_of=frozenset(before or ())
            )
            self._heart.hold(task, lane, asked_at)
            self._active[task] = (lease, asyncio.create_task(self._one(lane, lease, drive)))
        return len(rows) == wanted

    async def _one(self, lane: queue.Lane, lease: Lease, drive: Drive) -> None:
        assert self._heart is not None
        try:
            # Two tasks for one run may come to us; the second waits for the first, and looks at what it came to.
            while ahead := self._ahead_of(lease):
                await asyncio.wait(ahead)
            verdict = await drive(lease)
            if self._heart.holds(lease.task):
                await self._finish(lane, lease, verdict)
        except psycopg.Error as error:  # the lease runs out, and the task is handed out again
            warn("finish_failed", error=type(error).__name__, run=lease.run)
        finally:
            self._heart.let_go(lease.task)
            del self._active[lease.task]
            self._told.set()

    def _ahead_of(self, lease: Lease) -> list[asyncio.Task[None]]:
        """Who was begun on the same run before us, and is not done."""
        ahead: list[asyncio.Task[None]] = []
        for other, task in self._active.values():
            if other is lease:
                break
            if other.run == lease.run:
                ahead.append(task)
        return ahead

    async def _finish(self, lane: queue.Lane, lease: Lease, verdict: Verdict) -> None:
        try:
            if verdict.kind == "done":
                await self._ask(lane.complete, (lease.task,))
            elif verdict.kind == "later":
                await self._ask(lane.put_back, (lease.task, verdict.delay_s))
            else:
                await self._ask(lane.give_back, (lease.task, verdict.delay_s))
                if not verdict.delay_s:
                    await self._ask(queue.TELL)
        except psycopg.Error as error:
            if error.sqlstate not in queue.FAILED:
                raise
            # Somebody has it since: what we did is in the journal, or was refused there.

    def _lost(self, task: str, let_go: LetGo) -> None:
        held = self._active.get(task)
        if held is not None:
            with about(held[0].run):
                warn("lease_lost")
            let_go(held[0].run)

    async def _listen(self) -> None:
        while True:
            try:
                db = await queue.dial_async(self._url, "listener", TIMEOUT_S)
                async with db:
                    await db.execute(queue.LISTEN.encode())
                    self._told.set()
                    async for _ in db.notifies():
                        self._told.set()
            except (psycopg.Error, OSError) as error:  # until then it is looked twice a second anyway
                warn("listen_failed", error=type(error).__name__)
            await asyncio.sleep(TRY_AGAIN_S)

    async def _may_reconcile(self) -> bool:
        """Whether we are the one process that reconciles: a lock says so, for as long as its connection lives."""
        try:
            if self._sole is None or self._sole.closed:
                self._is_sole = False
                self._sole = await queue.dial_async(
                    self._url, "reconciler", TIMEOUT_S, silent_ms=queue.SILENT_MS
                )
            if not self._is_sole:
                row = await (await self._sole.execute(queue.RECONCILE.encode())).fetchone()
                self._is_sole = row is not None and row[0]
                if self._is_sole:
                    say("reconciling")
            if time.monotonic() - self._forgot_at > FORGET_EVERY_S and self._is_sole:
                self._forgot_at = time.monotonic()
                await self._forget(self._sole)
            else:
                await self._sole.execute(b"SELECT 1")
        except psycopg.Error as error:
            warn("reconcile_failed", error=type(error).__name__)
            if self._sole is not None:
                await self._sole.close()
            self._is_sole = False
        return self._is_sole

    async def _forget(self, db: psycopg.AsyncConnection[Any]) -> None:
        """Remove what was done a while ago, some at a time."""
        for lane in queue.LANES:
            for _ in range(FORGETS_MAX):
                row = await (await db.execute(lane.forget.encode())).fetchone()
                if row is None or row[0] < queue.FORGOTTEN_AT_ONCE:
                    break

    def drain(self) -> None:
        """See `Dispatcher.drain`."""
        self._is_draining = True
        self._told.set()

    def problems(self) -> list[str]:
        """See `Dispatcher.problems`."""
        stale = self._heart is not None and not self._heart.is_fresh
        return [
            *([self._problem] if self._problem else []),
            *(["the heartbeat of what is claimed is late"] if stale else []),
        ]

    async def close(self) -> None:
        """See `Dispatcher.close`."""
        for db in (self._pen, self._sole):
            if db is not None:
                await db.close()
