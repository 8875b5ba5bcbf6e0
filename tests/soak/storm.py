"""Three workers, a thousand runs; one is killed every few seconds, and one is paused past its lease and woken."""

from __future__ import annotations

import asyncio
import random
import signal
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from tests.soak.crew import DESK, Stage, percentile, stage

from answerable.engine.ports import system_ports
from answerable.journal.doctor import examine
from answerable.kernel.events import RunAdopted
from answerable.kernel.ids import inbox_stream, run_stream
from answerable.kernel.state import fold
from answerable.project import load_project, open_project, open_store

if TYPE_CHECKING:
    from answerable.kernel.entry import Entry

RUNS, ROUNDS = 1000, 3
STORM_S = 60.0
KILL_EVERY_S = 4.0
PAUSE_S = 20.0
"""Longer than the lease."""
LEASE_S = 15.0
KEYED = "native_key"


@dataclass
class Losses:
    """Which owners died, or were paused, and when (microseconds of UTC)."""

    at: dict[str, int] = field(default_factory=dict)
    kills: int = 0
    pauses: int = 0


async def submit(cases: list[dict[str, Any]]) -> list[str]:
    """Accept cases and leave them to the workers."""
    async with open_project(load_project(DESK)) as runtime:
        runs = await runtime.submit("clerk", cases, requested_by="soak")
        await runtime.enqueue(runs)
    return [str(run) for run in runs]


def _owner(on: Stage, pid: int) -> str:
    rows = on.sql(f"SELECT owner FROM answerable.worker WHERE pid = {pid} ORDER BY started DESC LIMIT 1")
    return rows[0][0] if rows else ""


def _hurt(on: Stage, losses: Losses, dice: random.Random) -> None:
    worker = dice.choice(on.workers)
    owner = _owner(on, worker.pid)
    on.kill(worker)
    losses.at[owner] = time.time_ns() // 1000
    losses.kills += 1
    on.hire()


async def storm(on: Stage, seconds: float, dice: random.Random) -> Losses:
    """Kill and pause for a while. The paused one is not one of those that are killed."""
    losses = Losses()
    until = time.monotonic() + seconds
    await asyncio.sleep(KILL_EVERY_S)
    paused = on.workers.pop()
    losses.at[_owner(on, paused.pid)] = time.time_ns() // 1000
    paused.send_signal(signal.SIGSTOP)
    losses.pauses += 1
    woken_at = time.monotonic() + PAUSE_S
    is_paused = True
    while time.monotonic() < until:
        _hurt(on, losses, dice)
        await asyncio.sleep(KILL_EVERY_S * dice.uniform(0.5, 1.5))
        if is_paused and time.monotonic() > woken_at:
            paused.send_signal(signal.SIGCONT)
            is_paused = False
    if is_paused:
        await asyncio.sleep(max(0.0, woken_at - time.monotonic()))
        paused.send_signal(signal.SIGCONT)
    on.workers.append(paused)
    return losses


async def until_quiet(on: Stage, seconds: float) -> dict[str, int]:
    """Wait until every run has ended or waits."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        standing = on.standing()
        if not standing.get("created") and not standing.get("running"):
            break
        await asyncio.sleep(0.5)
    return on.standing()


@dataclass
class Found:
    """What the journal and the vendor say together."""

    runs: int = 0
    outcomes: Counter[str] = field(default_factory=Counter)
    sends: int = 0
    unknown: int = 0
    without_intent: int = 0
    twice: Counter[str] = field(default_factory=Counter)
    unsaid: int = 0
    missing: int = 0
    take_over_s: list[float] = field(default_factory=list)
    window_ms: list[float] = field(default_factory=list)
    doctor: list[str] = field(default_factory=list)


async def compare(on: Stage, accepted: list[str], losses: Losses) -> Found:
    """Hold the vendor's book against the journal."""
    found = Found()
    ports = system_ports()
    store = await open_store(on.url, ports=ports)
    try:
        intents: dict[str, tuple[str, str]] = {}
        done: set[str] = set()
        unknown: set[str] = set()
        for run in accepted:
            entries = await store.entries(run_stream(run))
            found.missing += not entries
            state = fold(entries, await store.entries(inbox_stream(run)))
            found.runs += 1
            found.outcomes[state.ended.outcome if state.ended else state.name] += 1
            unknown |= set(state.unknown)
            _take_overs(entries, losses, found)
            for step in state.calls.values():
                if step.intent is not None:
                    intents[step.intent.effect] = (run, step.intent.mode)
                    if step.ended is not None and step.ended.state == "done":
                        done.add(step.intent.effect)
        found.unknown = len(unknown)
        log = on.vendor("/log")
        found.sends = len(log)
        happened = Counter((one["mode"], one["case"], one["step"]) for one in log if one["is_done"])
        for (mode, _, _), count in happened.items():
            found.twice[mode] += count > 1
        for one in log:
            found.without_intent += one["key"] not in intents
            found.unsaid += one["key"] not in done and one["key"] not in unknown
            found.window_ms.append((one["at"] - one["begun"]) * 1000)
        found.doctor = [each.message for each in await examine(store) if each.level == "bad"]
    finally:
        await store.close()
    return found


def _take_overs(entries: list[Entry], losses: Losses, found: Found) -> None:
    owner = ""
    for entry in entries:
        for event in entry.events:
            if isinstance(event, RunAdopted):
                lost_at = losses.at.get(owner)
                if event.cause == "recovery" and lost_at is not None and event.owner != owner:
                    found.take_over_s.append((entry.time - lost_at) / 1e6)
                owner = event.owner


async def run(*, is_small: bool) -> list[str]:
    """The storm, and what came of it. Returns what was wrong."""
    runs = RUNS // 10 if is_small else RUNS
    with stage(workers=3, concurrency=16) as on:
        on.vendor("/set", {"slow_s": [0.05, 0.9], "loses": 0.01})
        accepted = await submit([{"case": f"c{number}", "rounds": ROUNDS} for number in range(runs)])
        begun = time.monotonic()
        losses = await storm(on, STORM_S / (4 if is_small else 1), random.Random(11))
        left = on.standing()
        standing = await until_quiet(on, 300)
        took = time.monotonic() - begun
        found = await compare(on, accepted, losses)
    wrong = [
        f"{count} {what}"
        for what, count in (
            ("accepted runs are not in the journal", found.missing),
            ("sends have no intent", found.without_intent),
            ("keyed effects happened twice", found.twice[KEYED]),
            ("letters went out twice", found.twice["at_most_once"]),
            ("effects happened of which nobody knows that nobody knows", found.unsaid),
            ("runs are still open", standing.get("running", 0) + standing.get("created", 0)),
        )
        if count
    ] + found.doctor
    late = [each for each in found.take_over_s if each > LEASE_S + 1]
    print(
        f"storm: {found.runs} runs, {found.sends} requests, {losses.kills} kills, {losses.pauses} pause of {PAUSE_S:.0f} s,"
        f" {took:.0f} s ({sum(left.get(each, 0) for each in ('running', 'created'))} open when the storm ended)\n"
        f"  outcomes {dict(found.outcomes)}; unknown and said {found.unknown}\n"
        f"  lost {found.missing}; without intent {found.without_intent}; keyed twice {found.twice[KEYED]};"
        f" probed twice {found.twice['probe_then_write']}; at most once, twice {found.twice['at_most_once']};"
        f" unsaid {found.unsaid}\n"
        f"  take-over of {len(found.take_over_s)} runs: median {percentile(found.take_over_s, 0.5):.1f} s,"
        f" most {percentile(found.take_over_s, 1):.1f} s; later than the lease and a second: {len(late)}\n"
        f"  from the call to the vendor: median {percentile(found.window_ms, 0.5):.1f} ms,"
        f" 99 % {percentile(found.window_ms, 0.99):.1f} ms, most {percentile(found.window_ms, 1):.1f} ms"
    )
    for each in wrong:
        print(f"  WRONG: {each}")
    return wrong
