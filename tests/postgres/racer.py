"""A process that intends and settles as fast as it can, on one budget with others, until it is killed.

python -m tests.postgres.racer URL NUMBER LIMIT
"""

from __future__ import annotations

import asyncio
import itertools
import os
import sys

from tests.postgres.stores import opened

from answerable.errors import BudgetExceeded, HaltInForce, JournalError
from answerable.journal.store import Append
from answerable.testing.store_events import NOW, ended, intended, run_name, write_run

BUDGET = "agent:desk:day"
ASK, SPENT = 10, 4
TASKS = 8


async def _task(store, number: int, limit: int) -> None:
    run = run_name(number)
    head = (await write_run(store, run)).head

    async def append(*events) -> None:
        nonlocal head
        (entry,) = await store.append(
            Append(stream=f"run/{run}", events=events, expect=head, epoch=1, now=NOW)
        )
        head = entry.head

    for turn in itertools.count(1):
        path = f"{turn}.0"
        try:
            await append(intended(run, path=path, reserve=((BUDGET, "money", ASK, limit),)))
        except (BudgetExceeded, HaltInForce):
            await asyncio.sleep(0.005)
            continue
        await append(ended(path, run=run, settle=((BUDGET, "money", ASK, SPENT),)))


async def main(url: str, number: int, limit: int) -> None:
    async with opened(url, durability="group") as store:
        await store.take_name(f"own_{os.getpid()}")
        print("ready", flush=True)
        try:
            await asyncio.gather(*(_task(store, number * TASKS + each, limit) for each in range(TASKS)))
        except JournalError:
            return


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3])))
