"""What must hold of a world once all has come to its end."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from answerable.journal.doctor import examine
from answerable.journal.verify import verify_database
from answerable.kernel.state import RunState, fold
from answerable.kernel.tool import PROBEABLE
from answerable.testing.simulation.ledger import inline

if TYPE_CHECKING:
    from answerable.kernel.tool import ToolSpec
    from answerable.testing.simulation.worker import Staged
    from answerable.testing.simulation.world import World

PAUSED = "by a pause in the send"
"""Its process was paused between its last look and a send: nothing can be promised of that moment."""
CLOCK = "by a clock that was set"
"""A deadline in the time of one process was compared with the clock of another."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Effect:
    """One effect as the journal tells of it: `done`, `failed`, `unknown`, or `open` in a run that waits."""

    key: str
    spec: ToolSpec
    state: str
    run: str

    def __str__(self) -> str:
        """Short."""
        return f"{self.spec.name} {self.key[:8]}"


def check(world: World, staged: Staged) -> None:
    """Hold the journal against the vendors, and against itself."""
    _journal(world)
    states = _states(world)
    effects = [effect for run, state in states.items() for effect in _told(staged, run, state)]
    world.seen.counts["runs"] = len(states)
    for run, state in states.items():
        _run(world, run, state)
    for effect in effects:
        _effect(world, effect, states[effect.run])
    known = {effect.key for effect in effects}
    for key in world.done:
        if isinstance(key, str) and key not in known:
            world.problem(f"{key[:8]} happened without an intent")
    for failure in world.loop.failures:
        world.problem(f"asyncio: {failure}")
    for what in staged.scene.invariants(world):
        world.problem(what)


def _journal(world: World) -> None:
    stored = {(entry.stream, entry.seq): entry.hash for entry in world.ledger.log}
    for stream in inline(world.ledger.streams()):
        for entry in inline(world.ledger.entries(stream)):
            if stored.pop((stream, entry.seq), "") != entry.hash:
                world.problem(f"{stream} {entry.seq} is not what was committed")
    kept = {(entry.stream, entry.seq, entry.hash) for entry in world.ledger.log}
    for place in stored:
        world.problem(f"{place} was committed and is gone")
    for acknowledged in world.acknowledged:
        if acknowledged not in kept:
            world.count("lost")
            world.problem(f"lost: {acknowledged} was acknowledged")
    for finding in inline(examine(world.ledger)):
        if finding.level == "bad":
            world.problem(f"doctor: {finding.message}")
    out = world.folder / "journal.db"
    world.ledger.export(out)
    report = verify_database(out)
    if not report.is_ok:
        world.problem(report.to_text())


def _states(world: World) -> dict[str, RunState]:
    read = world.ledger.entries
    states: dict[str, RunState] = {}
    for row in inline(world.ledger.runs()):
        try:
            states[row.run] = fold(inline(read(f"run/{row.run}")), inline(read(f"inbox/{row.run}")))
        except ValueError as illegal:
            world.problem(f"{row.run} cannot be read: {illegal}")
    return states


def _told(staged: Staged, run: str, state: RunState) -> list[Effect]:
    assert state.created is not None
    tools = staged.agents[state.created.agent].all_tools()
    return [
        Effect(
            key=step.intent.effect,
            spec=tools[step.intent.tool].spec,
            state=step.ended.state if step.ended is not None else "open",
            run=run,
        )
        for step in state.calls.values()
        if step.intent is not None and step.intent.mode != "read"
    ]


def _run(world: World, run: str, state: RunState) -> None:
    name = state.ended.outcome if state.ended is not None else state.name
    world.count(f"run {name}")
    if state.ended is None and not (state.parked is not None and state.parked.waiting_for):
        world.problem(f"{run} is {state.name}, and waits for nothing")
    budget = inline(world.ledger.budget(f"run:{run}"))
    reserved = {unit: both[0] for unit, both in budget.items() if both[0]}
    if state.ended is not None and not state.unknown and reserved:
        world.problem(f"{run} has ended and still reserves {reserved}")


def _effect(world: World, effect: Effect, state: RunState) -> None:
    times = world.done[effect.key]
    mode = effect.spec.mode.value if effect.spec.mode else "?"
    world.count(f"effect {effect.state}")
    if times > 1:
        _doubled(world, effect, times, mode)
    if effect.state in ("unknown", "open"):
        said = state.unknown if state.ended is None else (*state.ended.unknown, *state.unknown)
        if effect.key not in said or effect.run not in inline(world.ledger.open_effects()):
            world.problem(f"{effect} is {effect.state}, and nobody says so")
    elif effect.state == "done" and not times and effect.spec.name in world.counted:
        world.problem(f"{effect} is done, and did not happen")
    elif effect.state == "failed" and times:
        _denied(world, effect)


def _doubled(world: World, effect: Effect, times: int, mode: str) -> None:
    excuse = _excuse(world, effect)
    world.count(f"doubled {mode}")
    if excuse:
        world.count(f"doubled {mode} {excuse}")
    else:
        world.problem(f"{effect} ({mode}) happened {times} times")


def _denied(world: World, effect: Effect) -> None:
    excuse = _excuse(world, effect)
    if excuse:
        world.count(f"denied {excuse}")
    else:
        world.problem(f"{effect} ({effect.spec.mode}) happened, and the journal says that it did not")


def _excuse(world: World, effect: Effect) -> str:
    """Why a probe may have been answered too early. No mode with a key has an excuse."""
    if effect.spec.mode not in PROBEABLE:
        return ""
    if any(request.was_paused for request in world.watch.requests.get(effect.key, ())):
        return PAUSED
    return CLOCK if world.seen.counts["clock set"] else ""
