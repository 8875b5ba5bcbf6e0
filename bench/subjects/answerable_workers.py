"""Governed runs of ours that wait in a PostgreSQL journal, and one worker or more with their own settings.

A run makes six keyed writes, each as in `bench.loops.governed`; no model is asked. A worker is what the command
`answerable worker` starts: it claims runs through the queue in the same database, and keeps its claims.
"""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, closing
from dataclasses import replace

from answerable import Agent, Run, Runtime
from answerable.engine.runtime import OPEN
from answerable.worker.loop import Worker
from bench import contract
from bench.database import connect
from bench.desk import AGENT, CUSTOMER, Case, create_refund, make_agent, proposal
from bench.loops import governed
from bench.workers import CALLS_A_RUN, Crew, Share, Signals

CONCURRENCY, DURABILITY = 16, "group"
"""What the command takes when it is told nothing."""
POLICIES = 50
_OPEN = "SELECT count(*) FROM answerable.run WHERE state <> 'ended'"
_DONE = "SELECT count(*) FROM answerable.run WHERE outcome = 'unverified'"
_LOOK_AGAIN_S = 0.05
_WARM = 10**6
"""Orders of the warm-up begin here, a stretch for each worker."""


class Batch(Case):
    """What a run is given: the customer, and the first of its orders."""

    first: int


def agent_of(signals: Signals | None = None) -> Agent:
    """Return the agent, whose code makes the calls of one run."""

    async def six_calls(run: Run, task: Batch) -> None:
        for number in range(task.first, task.first + CALLS_A_RUN):
            if signals is not None:
                signals.tick()
            await run.call(create_refund, **proposal(number))

    return replace(make_agent("keyed", POLICIES, "action"), task=Batch, program=six_calls)


def batches(runs: int, first: int = 0) -> Sequence[Batch]:
    """Return the tasks of so many runs; no order is in two of them."""
    return [Batch(customer=CUSTOMER, first=first + number * CALLS_A_RUN) for number in range(runs)]


async def hand_over(runtime: Runtime, tasks: Sequence[Batch]) -> None:
    """Accept tasks durably and tell the workers."""
    await runtime.enqueue(await runtime.submit(AGENT, tasks))


async def enqueue(database: str, runs: int) -> None:
    """Accept the runs that count."""
    async with governed.opened(database, agent_of(), DURABILITY) as runtime:
        await hand_over(runtime, batches(runs))


def opened(share: Share, signals: Signals) -> AbstractAsyncContextManager[Runtime]:
    """Open the journal for a worker."""
    return governed.opened(share.database, agent_of(signals), DURABILITY, is_worker=True)


@asynccontextmanager
async def at_work(runtime: Runtime) -> AsyncGenerator[None]:
    """Let a worker work meanwhile."""
    worker = Worker(runtime, concurrency=CONCURRENCY)
    work = asyncio.create_task(worker.work())
    yield
    worker.drain()
    await work


async def drive(share: Share, signals: Signals) -> None:
    """Get warm with a worker of its own, and work with another."""
    async with opened(share, signals) as runtime, at_work(runtime):
        await hand_over(runtime, batches(share.warmup_runs, _WARM * (share.number + 1)))
        while await runtime.store.runs(states=OPEN):  # noqa: ASYNC110 - nobody tells when a run has ended
            await asyncio.sleep(_LOOK_AGAIN_S)
    async with opened(share, signals) as runtime:
        await asyncio.to_thread(signals.ready_and_go)
        async with at_work(runtime):
            await asyncio.to_thread(signals.wait_until_over)
            await asyncio.to_thread(signals.done)


def work(share: Share, signals: Signals) -> None:
    """Drive runs until none is left."""
    asyncio.run(drive(share, signals))


def main() -> None:
    """Measure a queue that is emptied."""
    parser = contract.parser(__doc__)
    parser.add_argument("--workers", type=int, default=1)
    arguments = parser.parse_args()
    asked = contract.order(arguments)
    crew = Crew(asked, work, arguments.workers)
    with closing(connect(asked.database)) as watcher:
        crew.measure(
            lambda runs: asyncio.run(enqueue(asked.database, runs)),
            lambda: watcher.execute(_OPEN).fetchone()[0],
        )
        warmup = crew.warmup_runs * arguments.workers
        crew.require(watcher.execute(_DONE).fetchone()[0] - warmup)
    options = {"workers": arguments.workers, "durability": DURABILITY, "concurrency": CONCURRENCY}
    packages = (*governed.PACKAGES, "absurd-sdk", "psycopg")
    contract.answer("answerable_workers", asked, crew, options=options, packages=packages)


if __name__ == "__main__":
    main()
