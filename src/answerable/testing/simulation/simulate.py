"""Worlds, one for each seed: begun, troubled, healed, driven to their end, and checked."""

from __future__ import annotations

import asyncio
import random
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from answerable.testing.simulation.checks import check
from answerable.testing.simulation.ledger import inline
from answerable.testing.simulation.loop import NeverEnds, NothingToDo
from answerable.testing.simulation.people import People
from answerable.testing.simulation.plan import Size, Trouble, draw, told
from answerable.testing.simulation.worker import Staged, Worker
from answerable.testing.simulation.world import START_US, World

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Sequence

BEGIN_AGAIN_S = 3.0
QUIET_S = 5.0
END_S = 4 * 3600.0
"""Everything must have come to its end, or wait for somebody, so long after things got well again."""
TRACE_LINES = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What happened in the world of one seed."""

    seed: int
    troubles: tuple[Trouble, ...]
    problems: tuple[str, ...]
    counts: Counter[str]
    digest: str
    virtual_s: float
    late_max_s: float
    """The longest that a send came after a halt or a new owner, its process not having been paused in between."""
    window_max_s: float
    """The same where it was paused between its last look and the send."""
    trace: tuple[str, ...] = field(repr=False)
    entries: tuple[str, ...] = field(repr=False)
    """Hashes of all entries in the order in which they were committed: the journal in short."""

    def to_text(self, lines: int = TRACE_LINES) -> str:
        """What somebody needs who looks for the reason."""
        return "\n".join(
            (
                f"seed {self.seed}: {len(self.problems)} problems",
                *(f"  {problem}" for problem in self.problems[:20]),
                "plan:",
                told(self.troubles),
                f"the last {lines} lines of the trace:",
                *self.trace[-lines:],
            )
        )


def play(
    staged: Staged, seed: int, *, size: Size | None = None, troubles: Sequence[Trouble] | None = None
) -> Told:
    """Play the world of one seed. `troubles` stand in the place of those that the seed draws."""
    size = size or Size()
    planned = draw(seed, size) if troubles is None else list(troubles)
    with tempfile.TemporaryDirectory(prefix="answerable-sim-") as folder:
        world = World(seed, planned, size, Path(folder))
        try:
            _play(world, staged)
            return Told(
                seed=seed,
                troubles=tuple(planned),
                problems=tuple(world.seen.problems),
                counts=_counts(world),
                digest=world.digest(),
                virtual_s=world.loop.time(),
                late_max_s=world.watch.late_max_s,
                window_max_s=world.watch.late_paused_max_s,
                trace=tuple(world.seen.trace),
                entries=tuple(entry.hash for entry in world.ledger.log),
            )
        finally:
            world.loop.close()
            world.ledger.dispose()


def _play(world: World, staged: Staged) -> None:
    world.counted = frozenset(staged.scene.counted)
    world.resources.update(staged.scene.resources(world))
    tasks = staged.scene.tasks(random.Random(f"tasks {world.seed}"))  # noqa: S311 - it shall come out the same
    at_once = {agent: given[: (len(given) + 1) // 2] for agent, given in tasks.items()}
    workers = [Worker(world, staged, number, at_once) for number in range(world.size.workers)]
    people = world.people = People(world, staged, tasks)
    try:
        world.loop.run_until_complete(_until_all_is_over(world, workers, people))
    except NothingToDo:
        world.problem("everybody waits for something that never comes")
    except NeverEnds:
        world.problem(f"somebody goes round in circles: {_open(world)}")
    check(world, staged)


async def _until_all_is_over(world: World, workers: list[Worker], people: People) -> None:
    people.begin()
    for worker in workers:
        worker.begin()
        await asyncio.sleep(world.dice.uniform(0.0, 0.5))
    while world.loop.time() < world.size.trouble_s and not world.seen.problems:
        await asyncio.sleep(BEGIN_AGAIN_S)
        _begin_again(workers)
    _heal(world, workers)
    await people.lift_all()
    by_s = world.loop.time() + END_S
    quiet = 0
    while quiet < 2:  # noqa: PLR2004 - twice in a row
        await asyncio.sleep(QUIET_S)
        _begin_again(workers)
        quiet = quiet + 1 if is_quiet(world) else 0
        if world.is_broken:
            return
        if world.loop.time() > by_s:
            world.problem(f"not all has come to its end in {END_S / 3600:g} hours: {_open(world)}")
            return
    if world.seed % 2:  # in the other worlds what is unknown stays so, and must be listed
        await asyncio.sleep(world.settled_s())
        await people.report()


def _begin_again(workers: list[Worker]) -> None:
    for worker in workers:
        if worker.process is None or worker.process.is_dead:
            worker.begin()


def _heal(world: World, workers: list[Worker]) -> None:
    """From now on nothing goes wrong, and who stood still goes on."""
    world.say("world", "nothing goes wrong from here on")
    world.healthy_from = world.loop.time()
    world.plan.end()
    for worker in workers:
        if worker.process is not None:
            worker.process.at_step.clear()
            world.wake(worker.process)


def is_quiet(world: World) -> bool:
    """Whether every run has ended, or waits for something that is not due."""
    now = START_US + int(world.loop.time() * 1e6)
    return all(
        row.state == "waiting" and (row.wake_at is None or row.wake_at > now)
        for row in inline(world.ledger.runs(states=("created", "running", "waiting")))
    )


def _open(world: World) -> str:
    rows = inline(world.ledger.runs(states=("created", "running", "waiting")))
    return ", ".join(f"{row.run} is {row.state}" for row in rows)


def _counts(world: World) -> Counter[str]:
    counts = world.seen.counts
    counts["sends"] = world.watch.sends
    counts["sends after a pause"] = world.watch.late_paused
    return counts
