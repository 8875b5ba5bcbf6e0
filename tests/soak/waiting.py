"""Ten thousand runs wait for a person; each wakes on its own approval, given in another process."""

from __future__ import annotations

import asyncio
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING

from tests.engine.workshop import key_of
from tests.soak.crew import DESK, Stage, percentile, stage
from tests.soak.storm import submit, until_quiet

from answerable.kernel.ids import RunId
from answerable.project import load_project, open_project

if TYPE_CHECKING:
    from answerable.engine.runtime import Runtime

RUNS = 10_000
IDLE_S = 10.0
SAMPLED = 50
TICKS = os.sysconf("SC_CLK_TCK")


def _status(pid: int) -> tuple[int, int, float]:
    """Threads, resident MiB and CPU seconds of a process."""
    lines = dict(
        line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines() if ":" in line
    )
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (
        int(lines["Threads"]),
        int(lines["VmRSS"].split()[0]) // 1024,
        (int(fields[11]) + int(fields[12])) / TICKS,
    )


def _transactions(on: Stage) -> int:
    return int(
        on.sql("SELECT xact_commit + xact_rollback FROM pg_stat_database WHERE datname = current_database()")[
            0
        ][0]
    )


async def _idle(on: Stage, seconds: float) -> tuple[float, float]:
    """Transactions a second, and CPU seconds a second of the worker, while nothing happens."""
    pid = on.workers[0].pid
    before, cpu = _transactions(on), _status(pid)[2]
    await asyncio.sleep(seconds)
    return (_transactions(on) - before) / seconds, (_status(pid)[2] - cpu) / seconds


async def _approve(runtime: Runtime, run: str, on: Stage, *, is_timed: bool) -> float:
    """Say yes to one; how long until it has ended, where that is asked for."""
    begun = time.monotonic()
    await runtime.answer(RunId(run), "grant", approver="lea", private_key=key_of("lea"))
    while is_timed:
        if on.sql(f"SELECT state FROM answerable.run WHERE run = '{run}'")[0][0] == "ended":
            break
        await asyncio.sleep(0.01)
    return time.monotonic() - begun


async def run(*, is_small: bool) -> list[str]:
    """Let them wait, look at what that costs, and wake each. Returns what was wrong."""
    count = RUNS // 10 if is_small else RUNS
    with stage(workers=1, concurrency=32) as on:
        on.vendor("/set", {"slow_s": [0.0, 0.0], "loses": 0.0})
        await asyncio.sleep(2)
        threads_before, before_mib, _ = _status(on.workers[0].pid)
        quiet_rate, _ = await _idle(on, IDLE_S)
        begun = time.monotonic()
        runs = await submit([{"case": f"w{number}", "asks_first": True} for number in range(count)])
        standing = await until_quiet(on, 900)
        parked_s = time.monotonic() - begun
        await asyncio.sleep(3)
        threads, mib, _ = _status(on.workers[0].pid)
        rate, cpu = await _idle(on, IDLE_S)
        async with open_project(load_project(DESK)) as runtime:
            wakes = [await _approve(runtime, each, on, is_timed=True) for each in runs[:SAMPLED]]
            begun = time.monotonic()
            for each in runs[SAMPLED:]:
                await _approve(runtime, each, on, is_timed=False)
            answered_s = time.monotonic() - begun
        ended = await until_quiet(on, 900)
        deadline = time.monotonic() + 900
        while ended.get("waiting") and time.monotonic() < deadline:
            await asyncio.sleep(1)
            ended = on.standing()
        woken_s = time.monotonic() - begun
        done = len({one["case"] for one in on.vendor("/log") if one["is_done"]})
    print(
        f"waiting: {standing.get('waiting', 0)} runs wait, parked in {parked_s:.0f} s; the worker has {threads} threads"
        f" ({threads_before} before) and {mib} MiB ({before_mib} before); idle {rate:.1f} transactions a second"
        f" ({quiet_rate:.1f} with nothing waiting), {cpu * 100:.1f} % of a core\n"
        f"  approval to end: median {percentile(wakes, 0.5) * 1000:.0f} ms, most {percentile(wakes, 1) * 1000:.0f} ms;"
        f" all answered in {answered_s:.0f} s and woken in {woken_s:.0f} s; ended {ended.get('ended', 0)}, done at the vendor {done}"
    )
    wrong = []
    if standing.get("waiting") != count or ended.get("ended") != count or done != count:
        wrong.append("not every run waited, woke and was done")
    if threads > threads_before + 4:
        wrong.append("threads grew with what waits")
    for each in wrong:
        print(f"  WRONG: {each}")
    return wrong
