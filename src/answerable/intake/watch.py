"""Watching queues and keeping schedules until told to stop; what fails is tried again, and said."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from answerable.engine.runtime import Runtime
from answerable.errors import JournalError
from answerable.intake.keeper import Keeper
from answerable.intake.queue import QueueWatcher
from answerable.intake.rows import QueueUnreachable
from answerable.observe.logs import say, warn

if TYPE_CHECKING:
    from answerable.engine.intake import Intake
    from answerable.intake.doors import Doors
    from answerable.kernel.ids import RunId

RETRY_S_MAX = 30.0
OnAccepted = Callable[[list["RunId"]], Awaitable[None]]
"""Is told of runs that are in the journal, so that somebody drives them; perhaps twice, perhaps never."""


async def run_doors(
    runtime: Runtime | Intake, doors: Doors, stop: asyncio.Event, *, on_accepted: OnAccepted | None = None
) -> None:
    """Watch the queues and keep the schedules of a project until `stop` is set.

    Any number of processes may do so at once. `on_accepted` is a hint to whoever drives runs: a crash may come
    before it, so open runs must be looked for as well. Raises `ConfigError` for a queue that is none.
    """
    intake = runtime.intake if isinstance(runtime, Runtime) else runtime
    async with asyncio.TaskGroup() as group:
        for queue in doors.queues:
            group.create_task(_watch(QueueWatcher(queue, intake), stop, on_accepted))
        for schedule in doors.schedules:
            group.create_task(_keep(Keeper(schedule, intake), stop, on_accepted))


async def tell(on_accepted: OnAccepted | None, runs: list[RunId]) -> None:
    """Say which runs have come. That nobody could be told is no reason to refuse what is accepted already."""
    if on_accepted is None or not runs:
        return
    try:
        await on_accepted(runs)
    except Exception as error:  # noqa: BLE001 - whatever it is, the runs are in the journal
        warn("nobody_could_be_told", runs=len(runs), error=type(error).__name__)


async def _watch(watcher: QueueWatcher, stop: asyncio.Event, on_accepted: OnAccepted | None) -> None:
    pause = watcher.queue.look_every_s
    try:
        while not stop.is_set():
            try:
                runs, is_more = await watcher.look()
            except (QueueUnreachable, JournalError) as error:
                reason = str(error.args[0]) if isinstance(error, QueueUnreachable) else ""
                warn("queue_failed", queue=watcher.queue.name, error=type(error).__name__, reason=reason)
                await watcher.close()
                pause = min(RETRY_S_MAX, max(pause, 0.5) * 2)
            else:
                pause = watcher.queue.look_every_s
                if runs:
                    say("rows_accepted", queue=watcher.queue.name, runs=len(runs))
                await tell(on_accepted, runs)
                if is_more:
                    continue
            await _wait(stop, pause)
    finally:
        await watcher.close()


async def _keep(keeper: Keeper, stop: asyncio.Event, on_accepted: OnAccepted | None) -> None:
    while not stop.is_set():
        try:
            runs, pause = await keeper.look()
        except JournalError as error:
            warn("schedule_failed", schedule=keeper.schedule.name, error=type(error).__name__)
            runs, pause = [], 1.0
        await tell(on_accepted, runs)
        await _wait(stop, pause)


async def _wait(stop: asyncio.Event, seconds: float) -> None:
    try:
        async with asyncio.timeout(seconds):
            await stop.wait()
    except TimeoutError:
        return
