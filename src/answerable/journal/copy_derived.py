"""The derived tables in full, rebuilt from entries that pass by stream after stream.

What one stream causes is known at its end. What several streams cause together (budgets that runs share, totals,
claims, an undo of another run's effect) is added up in a scratch database without a name, which SQLite keeps in
a file of its own once it is large: a journal of millions of entries needs no more memory than one of a thousand.
"""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import orjson

from answerable.journal.copy_ports import DERIVED
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
    from collections.abc import Iterator

    from answerable.journal.copy_ports import Row
    from answerable.kernel.entry import Entry
    from answerable.kernel.events import Event

_SCRATCH: Final = """
CREATE TABLE head (stream, seq, hash, epoch, time);
CREATE TABLE run (run, agent, tenant, kind, state, outcome, code, created, started, ended, steps, cost,
    is_cost_known, owner, epoch, waiting_for, request, wake_at, subject, scripted);
CREATE TABLE budget (id, unit, reserved, spent);
CREATE TABLE effect (effect PRIMARY KEY, run, path, tool, state, claim, rule, amount, totals, undoes, cap, time)
    WITHOUT ROWID;
CREATE TABLE undone (effect PRIMARY KEY) WITHOUT ROWID;
CREATE TABLE halt (scope PRIMARY KEY, epoch, is_active, by, reason, since);
"""
_SETTLE: Final = """
INSERT OR IGNORE INTO undone SELECT undoes FROM effect WHERE state = 'done' AND undoes IS NOT NULL;
CREATE INDEX effect_claim ON effect (claim) WHERE claim IS NOT NULL;
"""
_HOLDS: Final = "state <> 'failed' AND effect NOT IN (SELECT effect FROM undone)"
_HOLDS_CLAIM: Final = (
    "claim IS NOT NULL AND (state IN ('started', 'unknown') OR state = 'done' AND rule <> 'default'"
    " AND (rule = 'once' OR effect NOT IN (SELECT effect FROM undone)))"
)
# Of the effects behind a claim the one that is not done holds it, otherwise the last. The smallest cap seen counts.
_CLAIMS: Final = f"""
SELECT held.claim, rule, state, run, effect, amount, count,
       (SELECT min(cap) FROM effect AS seen WHERE seen.claim = held.claim)
FROM (SELECT claim, rule, state, run, effect, sum(CASE state WHEN 'done' THEN amount ELSE 0 END) OVER same AS amount,
             sum(state = 'done') OVER same AS count,
             row_number() OVER (PARTITION BY claim ORDER BY state = 'done', time DESC, effect) AS place
      FROM effect WHERE {_HOLDS_CLAIM} WINDOW same AS (PARTITION BY claim)) AS held
WHERE place = 1 ORDER BY held.claim
"""
_ROWS: Final = {
    "head": f"SELECT {', '.join(DERIVED['head'])} FROM head ORDER BY stream",
    "run": f"SELECT {', '.join(DERIVED['run'])} FROM run ORDER BY run",
    "budget": "SELECT id, unit, sum(reserved), sum(spent) FROM budget GROUP BY id, unit ORDER BY id, unit",
    "claim": _CLAIMS,
    "total": "SELECT json_extract(value, '$[0]') AS key, sum(json_extract(value, '$[1]')), count(*)"
    f" FROM effect, json_each(totals) WHERE {_HOLDS} GROUP BY 1 ORDER BY 1",
    "effect": f"SELECT {', '.join(DERIVED['effect'])} FROM effect WHERE state <> 'failed'"
    " AND NOT (state = 'done' AND effect IN (SELECT effect FROM undone)) ORDER BY effect",
    "halt": f"SELECT {', '.join(DERIVED['halt'])} FROM halt ORDER BY scope",
}


@dataclass(slots=True)
class _Stream:
    """What one stream has come to so far."""

    last: Entry
    run: dict[str, Any] | None = None
    budgets: dict[tuple[str, str], list[int]] = field(default_factory=dict[tuple[str, str], list[int]])
    effects: dict[str, dict[str, Any]] = field(default_factory=dict[str, dict[str, Any]])


class Rebuilt:
    """Takes every entry, stream by stream and in order; then gives the derived rows. Close it."""

    def __init__(self) -> None:
        self._db = sqlite3.connect("", isolation_level=None, check_same_thread=False)
        self._db.executescript(f"PRAGMA synchronous = OFF; PRAGMA journal_mode = OFF; {_SCRATCH} BEGIN")
        self._now: _Stream | None = None

    def take(self, entry: Entry) -> None:
        """The next entry."""
        now = self._now
        if now is None or now.last.stream != entry.stream:
            self._end_stream()
            now = self._now = _Stream(entry)
        now.last = entry
        for event in entry.events:
            _take(now, event, entry)
            if isinstance(event, HaltRaised | HaltLifted):
                values = (event.scope, event.epoch, isinstance(event, HaltRaised), event.by, event.reason)
                self._db.execute(
                    "INSERT OR REPLACE INTO halt VALUES (?, ?, ?, ?, ?, ?)", (*values, entry.time)
                )

    def finish(self) -> None:
        """There are no more entries."""
        self._end_stream()
        self._db.executescript(_SETTLE)

    def rows(self, table: str) -> Iterator[Row]:
        """The rows of a derived table, sorted by key."""
        return iter(self._db.execute(_ROWS[table]))

    def linked(self) -> frozenset[str]:
        """The streams of runs of which one undoes an effect of another: they can only be understood together."""
        pairs = self._db.execute(
            "SELECT later.run, undone.run FROM effect AS later JOIN effect AS undone ON later.undoes = undone.effect"
            " WHERE later.run <> undone.run"
        )
        return frozenset(f"run/{run}" for pair in pairs for run in pair)

    def close(self) -> None:
        """Let the scratch database go."""
        self._db.close()

    def _end_stream(self) -> None:
        now = self._now
        if now is None:
            return
        head = now.last.head
        values = (now.last.stream, head.seq, head.hash, head.epoch, head.time)
        self._db.execute("INSERT INTO head VALUES (?, ?, ?, ?, ?)", values)
        if now.run is not None:
            marks = ", ".join("?" * len(DERIVED["run"]))
            self._db.execute(f"INSERT INTO run VALUES ({marks})", [now.run[name] for name in DERIVED["run"]])
        self._db.executemany(
            "INSERT INTO budget VALUES (?, ?, ?, ?)", [(*key, *row) for key, row in now.budgets.items()]
        )
        self._db.executemany(
            "INSERT OR REPLACE INTO effect VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            [(name, *row.values()) for name, row in now.effects.items()],
        )


def _take(now: _Stream, event: Event, entry: Entry) -> None:
    match event:
        case RunCreated() | RunAdopted() | RunParked() | RunEnded():
            _take_run(now, event, entry)
        case ModelIntended():
            _move(now, [(budget, unit, amount, 0) for budget, unit, amount, _ in event.reserve])
        case ModelEnded():
            _settle(now, event)
            if now.run is not None:
                now.run["steps"] += 1
                now.run["cost"] += _model_cost(event)
                now.run["is_cost_known"] &= event.cost is not None
                now.run["scripted"] |= event.scripted
        case CallIntended():
            _move(now, [(budget, unit, amount, 0) for budget, unit, amount, _ in event.reserve])
            _intend(now, event, entry)
        case CallEnded():
            _settle(now, event)
            if now.run is not None:
                now.run["steps"] += 1
                now.run["cost"] += event.cost
            if event.effect is not None and event.effect in now.effects:
                now.effects[event.effect]["state"] = event.state
        case _:
            return


def _take_run(now: _Stream, event: RunCreated | RunAdopted | RunParked | RunEnded, entry: Entry) -> None:
    if isinstance(event, RunCreated):
        now.run = dict.fromkeys(DERIVED["run"])
        now.run |= {"run": entry.stream.partition("/")[2], "agent": event.agent, "tenant": event.tenant}
        now.run |= {"kind": event.kind, "subject": event.subject, "state": "created", "created": entry.time}
        now.run |= {"steps": 0, "cost": 0, "is_cost_known": True, "epoch": 0, "scripted": False}
        return
    run = now.run
    if run is None:
        return
    waits: dict[str, Any] = {"waiting_for": None, "request": None, "wake_at": None}
    match event:
        case RunAdopted():
            run |= {**waits, "owner": event.owner, "epoch": event.epoch}
            run["started"] = entry.time if run["started"] is None else run["started"]
            run["state"] = "running" if run["outcome"] is None else run["state"]
        case RunParked():
            run |= {"waiting_for": event.waiting_for, "request": event.request, "wake_at": event.wake_at}
            run["state"] = "waiting"
        case RunEnded():
            run |= {**waits, "state": "ended", "outcome": event.outcome, "code": event.code}
            run["ended"] = entry.time


def _intend(now: _Stream, event: CallIntended, entry: Entry) -> None:
    known = now.effects.get(event.effect)
    if known is not None:
        known["state"] = "started"
        return
    claim = event.claim or {}
    # In the order of the scratch table's columns.
    now.effects[event.effect] = {
        "run": entry.stream.partition("/")[2],
        "path": event.path,
        "tool": event.tool,
        "state": "started",
        "claim": claim.get("key"),
        "rule": claim.get("rule"),
        "amount": claim.get("amount", 0),
        "totals": orjson.dumps([[key, amount] for key, _, amount, _, _ in event.totals]).decode(),
        "undoes": event.undoes,
        "cap": claim.get("cap", 0),
        "time": entry.time,
    }


def _settle(now: _Stream, event: ModelEnded | CallEnded) -> None:
    _move(now, [(budget, unit, -reserved, spent) for budget, unit, reserved, spent in event.settle])


def _move(now: _Stream, moves: list[tuple[str, str, int, int]]) -> None:
    for budget, unit, reserved, spent in moves:
        row = now.budgets.setdefault((budget, unit), [0, 0])
        row[0] += reserved
        row[1] += spent


def _model_cost(event: ModelEnded) -> int:
    """What a reply cost; an attempt whose reply was lost counts as what was reserved for it."""
    for budget, unit, _, spent in event.settle:
        if unit == "money" and budget.startswith("run:"):
            return spent
    return event.cost or 0
