"""Everything is halted while it runs, again and again: how long until the vendor receives its last request."""

from __future__ import annotations

import asyncio
import json
import subprocess
import time

from tests.soak.crew import Stage, percentile, stage
from tests.soak.storm import submit

WAVES = 25
RUNS = 150
LIMIT_S = 1.0
SETTLES_S = 2.5


async def _wave(on: Stage, number: int) -> tuple[float, float, int]:
    on.vendor("/forget")
    await submit([{"case": f"h{number}-{case}", "rounds": 40} for case in range(RUNS)])
    deadline = time.monotonic() + 30
    while len(on.vendor("/log")) < RUNS and time.monotonic() < deadline:
        await asyncio.sleep(0.05)
    begun = time.monotonic()
    halting = on.answerable(
        "halt",
        "--all",
        "--reason",
        f"wave {number}",
        "--json",
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    out, _ = await asyncio.to_thread(halting.communicate)
    said = json.loads(out)
    await asyncio.sleep(SETTLES_S)
    log = on.vendor("/log")
    last = max((one["at"] for one in log), default=begun)
    await asyncio.to_thread(
        on.answerable("resume", "all", stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL).wait
    )
    on.sql("UPDATE answerable.run SET state = state")  # the next wave begins on a quiet database
    return max(0.0, last - begun), float(said.get("last_send_s") or 0), len(log)


async def run(*, is_small: bool) -> list[str]:
    """Wave after wave. Returns what was wrong."""
    waves = WAVES // 5 if is_small else WAVES
    with stage(workers=3, concurrency=16) as on:
        on.vendor("/set", {"slow_s": [0.05, 0.9], "loses": 0.01})
        taken = [await _wave(on, number) for number in range(waves)]
        standing = on.standing()
    latest = [each[0] for each in taken]
    print(
        f"halt: {waves} halts of everything under load ({sum(each[2] for each in taken)} requests); from the command"
        f" to the last request that the vendor receives: median {percentile(latest, 0.5):.2f} s,"
        f" 99 % {percentile(latest, 0.99):.2f} s, most {max(latest):.2f} s; runs {standing}"
    )
    if percentile(latest, 0.99) > LIMIT_S:
        print(f"  WRONG: later than {LIMIT_S} s")
        return ["late"]
    return []
