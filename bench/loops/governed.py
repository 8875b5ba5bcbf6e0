"""Governed calls of ours: attached runs whose calls pass every gate and are written to the journal.

One step is one `await run.call(...)`: schema, policy, repeats, budget, and for a write also its claim and
its intent; then the tool; then its outcome, all of it as entries of a chain with their content beside them.

`--mode keyed` is a write whose vendor takes our key: its intent waits for the disk before it is sent, and
its outcome rides with the next commit, since a crash would only mean sending it again under the same key.
`two_commits` is a write that can neither be repeated nor asked for: intent and outcome both wait. `read`
waits for neither, and what was read is written at most 10 ms later. In every mode the clock stops when
the runs have ended durably.

`--durability` is the journal's: `full`, `group` (runs share a commit) or `relaxed` (no power loss).
`--runs` so many runs at once take the steps in turn; the figures are then of throughput.
`--scope any` takes the tool out of the heads of all rules but the measured tool's own.
"""

import asyncio
from argparse import ArgumentParser, Namespace
from contextlib import AbstractAsyncContextManager
from typing import cast, get_args

from answerable import Agent, Runtime, open_runtime
from answerable.journal.store import Durability
from answerable.models.scripted import ScriptedModel
from bench import contract
from bench.contract import Order
from bench.desk import AGENT, CUSTOMER, MEASURED, Case, Mode, Scope, make_agent, proposal
from bench.meter import Meter
from bench.nobody import say_nothing

PACKAGES = ("answerable", "cedarpy", "pydantic")


def opened(
    journal: str, agent: Agent, durability: Durability, *, is_worker: bool = False
) -> AbstractAsyncContextManager[Runtime]:
    """Open a runtime for one agent."""
    models = {"scripted:bench": ScriptedModel("bench", say_nothing)}
    return open_runtime(journal, agents=[agent], models=models, durability=durability, is_worker=is_worker)


async def drive(runtime: Runtime, meter: Meter, mode: Mode, runs: int, steps: range, *, counts: bool) -> None:
    """Take the steps in so many runs at once; the clock starts when all of them have begun."""
    tool = MEASURED[mode]
    begun, go = 0, asyncio.Event()

    async def one(first: int) -> None:
        nonlocal begun
        async with runtime.start(AGENT, Case(customer=CUSTOMER)) as run:
            begun += 1
            if begun == runs:
                if counts:
                    meter.start()
                go.set()
            await go.wait()
            for number in steps[first::runs]:
                meter.tick()
                await run.call(tool, **proposal(number))

    async with asyncio.TaskGroup() as group:
        for first in range(runs):
            group.create_task(one(first))
    if counts:
        meter.finish()


async def run(
    asked: Order,
    meter: Meter,
    *,
    journal: str,
    mode: Mode,
    durability: Durability,
    runs: int,
    policies: int,
    scope: Scope,
) -> None:
    """Get warm, then take the steps that count."""
    async with opened(journal, make_agent(mode, policies, scope), durability) as runtime:
        warm = range(asked.warmup)
        await drive(runtime, meter, mode, min(runs, asked.warmup), warm, counts=False)
        await drive(runtime, meter, mode, runs, range(asked.warmup, asked.warmup + asked.steps), counts=True)


def parser() -> ArgumentParser:
    """Return the arguments of a governed subject."""
    arguments = contract.parser(__doc__)
    arguments.add_argument("--mode", choices=get_args(Mode), default="keyed")
    arguments.add_argument("--durability", choices=get_args(Durability), default="full")
    arguments.add_argument("--runs", type=int, default=1)
    arguments.add_argument("--policies", type=int, default=50)
    arguments.add_argument("--scope", choices=get_args(Scope), default="action")
    return arguments


def measure(
    subject: str, asked: Order, arguments: Namespace, journal: str, packages: tuple[str, ...] = PACKAGES
) -> None:
    """Measure one run, or several at once, on the journal at this address."""
    if not 1 <= arguments.runs <= asked.steps:
        raise SystemExit("at least one run, and at least one step for each")
    meter = contract.meter(asked)
    asyncio.run(
        run(
            asked,
            meter,
            journal=journal,
            mode=cast("Mode", arguments.mode),
            durability=cast("Durability", arguments.durability),
            runs=arguments.runs,
            policies=arguments.policies,
            scope=cast("Scope", arguments.scope),
        )
    )
    names = ("mode", "durability", "runs", "policies", "scope")
    options = {name: getattr(arguments, name) for name in names}
    contract.answer(subject, asked, meter, options=options, packages=packages)
