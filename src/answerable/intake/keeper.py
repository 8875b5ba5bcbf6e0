"""Keeping a schedule: each tick becomes one run, in as many processes as keep it.

There is no table of ticks: whether a tick was taken is whether its run is in the journal. Ticks are submitted in
order, and a process goes on to the next only when the last is there, so the ticks that were missed are those
after the last one that has a run. A schedule of which none has a run is new: it begins with its next tick.
"""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from answerable.errors import InputError, IntakeFull
from answerable.observe.logs import say, warn

if TYPE_CHECKING:
    from answerable.engine.intake import Intake
    from answerable.intake.doors import Schedule
    from answerable.kernel.ids import RunId

LOOK_BACK_TICKS = 2_000
"""So many ticks are looked at for the last one that has a run. Past that a schedule counts as new."""
_BREATHE_EVERY = 100


class Keeper:
    """One schedule, as one process keeps it."""

    def __init__(self, schedule: Schedule, intake: Intake) -> None:
        self.schedule = schedule
        self._intake = intake
        self._due: list[datetime] = []
        self._seen: datetime | None = None
        self._is_deferred = False

    async def look(self) -> tuple[list[RunId], float]:
        """Submit what is due: the runs, and the seconds until something can be.

        Raises `JournalError`: nothing is forgotten then. Where too many runs are open, what is due waits.
        """
        now = self._now()
        if self._seen is None:
            self._due = await self._missed(now)
            self._seen = now
        self._notice(now)
        runs: list[RunId] = []
        while self._due:
            try:
                runs += await self._submit(self._due[0])
            except IntakeFull:
                if not self._is_deferred:
                    warn("schedule_deferred", schedule=self.schedule.name, due=len(self._due))
                self._is_deferred = True
                break
            self._is_deferred = False
            self._due.pop(0)
        return runs, self._wait(now)

    def _now(self) -> datetime:
        return datetime.fromtimestamp(self._intake.ports.clock.now_us() / 1_000_000, UTC)

    def _wait(self, now: datetime) -> float:
        if self._due:
            return 1.0
        upcoming = self.schedule.ticks.after(now)
        # Never long: the clock may be set, and a machine may sleep.
        return 1.0 if upcoming is None else min(1.0, max(0.01, (upcoming - now).total_seconds()))

    def _notice(self, now: datetime) -> None:
        """Add the ticks that have come since the last look. Unless all count, a newer one takes an older one's place."""
        assert self._seen is not None
        while (tick := self.schedule.ticks.after(self._seen)) is not None and tick <= now:
            if self.schedule.catch_up != "all":
                latest = self.schedule.ticks.latest(now)
                tick = tick if latest is None else latest
                self._due = []
            self._due.append(tick)
            self._seen = tick

    async def _missed(self, now: datetime) -> list[datetime]:
        """The ticks that nobody took before this process began, oldest first."""
        if self.schedule.catch_up == "none":
            return []
        missed: list[datetime] = []
        tick = self.schedule.ticks.latest(now)
        for looked in range(LOOK_BACK_TICKS):
            if tick is None:
                return []
            if await self._intake.has_run(self.schedule.agent.name, self.schedule.source(tick)):
                return missed[::-1] if self.schedule.catch_up == "all" else missed[:1]
            missed.append(tick)
            tick = self.schedule.ticks.before(tick)
            if looked % _BREATHE_EVERY == 0:
                await asyncio.sleep(0)
        return []

    async def _submit(self, tick: datetime) -> list[RunId]:
        schedule = self.schedule
        try:
            accepted = await self._intake.accept(
                schedule.agent,
                [schedule.task_at(tick)],
                sources=[schedule.source(tick)],
                requested_by=f"schedule:{schedule.name}",
            )
        except InputError:  # it was a task when the schedule was read; waiting will not make it one again
            warn("tick_refused", schedule=schedule.name, tick=schedule.source(tick))
            return []
        runs = [one.run for one in accepted if one.is_new]
        for run in runs:
            say("tick_accepted", schedule=schedule.name, run=run)
        return runs
