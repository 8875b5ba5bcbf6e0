"""The derived tables, computed from the entries alone: what `doctor` compares the stored ones with.

Deliberately not the code that keeps them up to date (`sqlite/project.py`): this one has no order between streams, no
guards and no SQL, so a mistake in one of them shows as a difference.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from answerable.kernel.events import (
    CallEnded,
    CallIntended,
    HaltLifted,
    HaltRaised,
    ModelEnded,
    ModelIntended,
    RunAdopted,
    RunCreated,
    RunEnded,
    RunParked,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

    from answerable.kernel.entry import Entry


@dataclass(slots=True)
class Effect:
    """One effect, by its intent and its last outcome."""

    intent: CallIntended
    run: str
    state: str = "started"
    is_undone: bool = False


@dataclass(slots=True)
class Derived:
    """Every derived table, key → row."""

    heads: dict[str, tuple[int, str, int, int]] = field(default_factory=dict[str, tuple[int, str, int, int]])
    runs: dict[str, tuple[object, ...]] = field(default_factory=dict[str, tuple[object, ...]])
    budgets: dict[tuple[str, str], tuple[int, int]] = field(
        default_factory=dict[tuple[str, str], tuple[int, int]]
    )
    totals: dict[str, tuple[int, int]] = field(default_factory=dict[str, tuple[int, int]])
    claims: dict[str, tuple[str, int, int]] = field(default_factory=dict[str, tuple[str, int, int]])
    halts: dict[str, tuple[int, bool]] = field(default_factory=dict[str, tuple[int, bool]])


def derive(entries: Iterable[Entry]) -> Derived:
    """The derived tables behind entries, which may come in any order of streams but in order within each."""
    derived = Derived()
    effects: dict[str, Effect] = {}
    for entry in entries:
        derived.heads[entry.stream] = (entry.seq, entry.hash, entry.epoch, entry.time)
        run = entry.stream.partition("/")[2]
        for event in entry.events:
            match event:
                case RunCreated() | RunAdopted() | RunParked() | RunEnded():
                    _run(derived, run, event)
                case ModelIntended():
                    _reserve(derived, event.reserve)
                case ModelEnded():
                    _settle(derived, event.settle)
                case CallIntended():
                    _reserve(derived, event.reserve)
                    effects.setdefault(event.effect, Effect(intent=event, run=run)).state = "started"
                case CallEnded():
                    _settle(derived, event.settle)
                    if event.effect is not None and event.effect in effects:
                        effects[event.effect].state = event.state
                case HaltRaised() | HaltLifted():
                    derived.halts[event.scope] = (event.epoch, isinstance(event, HaltRaised))
                case _:
                    continue
    for effect in effects.values():
        undone = effect.intent.undoes
        if undone is not None and effect.state == "done" and undone in effects:
            effects[undone].is_undone = True
    for effect in effects.values():
        _holds(derived, effect)
    return derived


def _run(derived: Derived, run: str, event: RunCreated | RunAdopted | RunParked | RunEnded) -> None:
    agent, state, outcome, epoch = derived.runs.get(run, ("", "", None, 0))
    match event:
        case RunCreated():
            agent, state = event.agent, "created"
        case RunAdopted():
            epoch = event.epoch
            state = state if state == "ended" else "running"
        case RunParked():
            state = "waiting"
        case RunEnded():
            state, outcome = "ended", event.outcome
    derived.runs[run] = (agent, state, outcome, epoch)


def _reserve(derived: Derived, reserve: tuple[tuple[str, str, int, int], ...]) -> None:
    for budget, unit, amount, _ in reserve:
        reserved, spent = derived.budgets.get((budget, unit), (0, 0))
        derived.budgets[budget, unit] = (reserved + amount, spent)


def _settle(derived: Derived, settle: tuple[tuple[str, str, int, int], ...]) -> None:
    for budget, unit, was_reserved, is_spent in settle:
        reserved, spent = derived.budgets.get((budget, unit), (0, 0))
        derived.budgets[budget, unit] = (reserved - was_reserved, spent + is_spent)


def _holds(derived: Derived, effect: Effect) -> None:
    """What one effect still holds of totals and of its claim."""
    counts = effect.state != "failed" and not effect.is_undone
    for key, _, amount, _, _ in effect.intent.totals:
        total, count = derived.totals.get(key, (0, 0))
        derived.totals[key] = (total + amount, count + 1) if counts else (total, count)
    claim = effect.intent.claim
    if claim is None or effect.state == "failed":
        return
    key, rule = claim["key"], claim["rule"]
    state, amount, count = derived.claims.get(key, ("done", 0, 0))
    if effect.state in ("started", "unknown"):
        derived.claims[key] = (effect.state, amount, count)
    elif rule != "default" and not (effect.is_undone and rule != "once"):
        derived.claims[key] = (state, amount + claim["amount"], count + 1)
