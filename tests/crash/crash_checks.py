"""What must hold once the last process has come to its end."""

from __future__ import annotations

import asyncio
import os
import sqlite3
from contextlib import closing
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tests.crash.crash_points import acknowledged, deaths, hashes
from tests.crash.crash_till import Till

from answerable.journal.doctor import examine
from answerable.journal.sqlite import SqliteJournal
from answerable.journal.verify import verify_database
from answerable.kernel.state import RunState, fold
from answerable.kernel.tool import WriteMode

if TYPE_CHECKING:
    from pathlib import Path

    from tests.crash.crash_child import Story

ONCE = frozenset(WriteMode) - {WriteMode.UPSERT, WriteMode.CONDITIONAL}
"""Modes in which an effect happens at most once; the till and the shop never break their word."""


@dataclass(kw_only=True)
class Found:
    """One story, after it was told."""

    seed: int
    deaths: list[str]
    runs: int = 0
    effects: int = 0
    unknown: int = 0
    lost: int = 0
    doubled: int = 0
    unsaid: int = 0
    problems: list[str] = field(default_factory=list)


@dataclass(frozen=True, kw_only=True)
class Effect:
    """One effect as the journal tells of it: `done`, `failed`, `unknown`, or `open` in a run that waits."""

    key: str
    tool: str
    mode: str
    state: str
    run: str


def check(story: Story, place: Path) -> Found:
    """Hold the journal against the shop and the till."""
    found = Found(seed=story.seed, deaths=deaths(place / "points"))
    asyncio.run(_check(found, story, place))
    return found


async def _check(found: Found, story: Story, place: Path) -> None:
    store = await SqliteJournal.open(place / "desk.db", entropy=os.urandom, clock=lambda: 0)
    try:
        kept = set()
        for stream in await store.streams():
            kept |= hashes(await store.entries(stream))
        lost = acknowledged(place / "points") - kept
        found.lost = len(lost)
        found.problems += [f"lost {entry}" for entry in sorted(lost)]
        states: dict[str, RunState] = {}
        for row in await store.runs():
            state = fold(await store.entries(f"run/{row.run}"), await store.entries(f"inbox/{row.run}"))
            states[row.run] = state
            if state.name == "waiting" and row.waiting_for and row.request:
                continue
            if state.name != "ended":
                found.problems.append(f"{row.run} is {state.name}")
        if len(states) != len(story.tickets) + len(story.chores):
            found.problems.append(f"{len(states)} runs")
        found.problems += [f"doctor: {each.message}" for each in await examine(store) if each.level == "bad"]
        for run, state in states.items():
            await _budget_is_settled(found, store, run, state)
    finally:
        await store.close()
    report = verify_database(place / "desk.db")
    if not report.is_ok:
        found.problems.append(report.to_text())
    found.runs = len(states)
    _effects(found, [effect for run, state in states.items() for effect in _told(run, state)], states, place)


async def _budget_is_settled(found: Found, store: SqliteJournal, run: str, state: RunState) -> None:
    reserved = {unit: both[0] for unit, both in (await store.budget(f"run:{run}")).items() if both[0]}
    if state.ended is not None and not state.unknown and reserved:
        found.problems.append(f"{run} has ended and still reserves {reserved}")
    if any(amount < 0 for amount in reserved.values()):
        found.problems.append(f"{run} reserves less than nothing: {reserved}")


def _told(run: str, state: RunState) -> list[Effect]:
    effects: list[Effect] = []
    for step in state.calls.values():
        if step.intent is not None:
            name = step.ended.state if step.ended is not None else "open"
            effects.append(
                Effect(
                    key=step.intent.effect, tool=step.intent.tool, mode=step.intent.mode, state=name, run=run
                )
            )
    return effects


def _effects(found: Found, effects: list[Effect], states: dict[str, RunState], place: Path) -> None:
    happened = _happened(place)
    found.effects = len(effects)
    known = {effect.key for effect in effects}
    found.problems += [f"{key} happened without an intent" for key in happened.keys() - known]
    for effect in effects:
        times = happened.get(effect.key, 0)
        state = states[effect.run]
        if times > 1 and effect.mode in ONCE:
            found.doubled += 1
            found.problems.append(f"{effect} happened {times} times")
        match effect.state:
            case "done" if effect.tool in COUNTED and times < 1:
                found.problems.append(f"{effect} did not happen")
            case "failed" if times:
                found.problems.append(f"{effect} happened")
            case "unknown" | "open":
                found.unknown += 1
                if effect.key not in (state.unknown if state.ended is None else state.ended.unknown):
                    found.unsaid += 1
                    found.problems.append(f"{effect} is not said to be unknown")
            case _:
                pass

    _letters(found, effects, place)


COUNTED = frozenset({"create_refund", "ring", "stamp", "move", "post", "issue", "put"})
"""Tools whose every doing is on record under the key of its effect."""


def _letters(found: Found, effects: list[Effect], place: Path) -> None:
    """Letters carry no key; what counts is how many there are."""
    with closing(sqlite3.connect(place / "shop.db")) as db:
        (letters,) = db.execute("SELECT count(*) FROM sent").fetchone()
        (most,) = db.execute(
            "SELECT coalesce(max(c), 0) FROM (SELECT count(*) c FROM sent GROUP BY ticket_id)"
        ).fetchone()
    states = [effect.state for effect in effects if effect.tool == "send_reply"]
    if not states.count("done") <= letters <= len(states) - states.count("failed") or most > 1:
        found.doubled += most > 1
        found.problems.append(f"{letters} letters, {states}")


def _happened(place: Path) -> dict[str, int]:
    """Effect key → how often it happened, by the records of the shop and the till."""
    times: dict[str, int] = {}
    with closing(sqlite3.connect(place / "shop.db")) as db:
        for (key,) in db.execute("SELECT reference FROM refund"):
            times[key] = times.get(key, 0) + 1
    for (_, key), count in Till(place, 0, lambda _: None).happened().items():
        times[key] = times.get(key, 0) + count
    return times
