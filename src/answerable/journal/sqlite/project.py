"""What each event does to the derived tables, with the guards that may refuse it.

Everything here runs inside the transaction of the entry. A guard that raises takes the entry with it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import orjson

from answerable.errors import BudgetExceeded, ClaimHeld, HaltInForce, TotalsMoved
from answerable.kernel.events import (
    ApprovalRequested,
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
    import sqlite3
    from collections.abc import Callable

    from answerable.kernel.entry import Entry
    from answerable.kernel.events import Event, Reserve, Settle

TOLD = frozenset({"escalated", "failed"})
"""Outcomes that a person must hear of."""


def project(db: sqlite3.Connection, entry: Entry) -> None:
    """Bring the derived tables up to date with `entry`.

    Raises `HaltInForce`, `BudgetExceeded`, `ClaimHeld` or `TotalsMoved`; the caller rolls back.
    """
    for event in entry.events:
        act = _ACTIONS.get(type(event))
        if act is not None:
            act(db, event, entry)


def _run_of(entry: Entry) -> str:
    return entry.stream.partition("/")[2]


def _created(db: sqlite3.Connection, event: RunCreated, entry: Entry) -> None:
    db.execute(
        "INSERT INTO run (run, agent, tenant, kind, state, created, steps, cost, is_cost_known, epoch, subject,"
        " scripted) VALUES (?, ?, ?, ?, 'created', ?, 0, 0, 1, 0, ?, 0)",
        (_run_of(entry), event.agent, event.tenant, event.kind, entry.time, event.subject),
    )


def _adopted(db: sqlite3.Connection, event: RunAdopted, entry: Entry) -> None:
    db.execute(
        "UPDATE run SET state = CASE WHEN outcome IS NULL THEN 'running' ELSE state END, owner = ?, epoch = ?,"
        " started = coalesce(started, ?), waiting_for = NULL, request = NULL, wake_at = NULL WHERE run = ?",
        (event.owner, event.epoch, entry.time, _run_of(entry)),
    )


def _model_intended(db: sqlite3.Connection, event: ModelIntended, entry: Entry) -> None:
    _refuse_if_halted(db, entry, None)
    _reserve(db, event.reserve)


def _model_ended(db: sqlite3.Connection, event: ModelEnded, entry: Entry) -> None:
    _settle(db, event.settle)
    db.execute(
        "UPDATE run SET steps = steps + 1, cost = cost + ?, is_cost_known = is_cost_known AND ?,"
        " scripted = scripted OR ? WHERE run = ?",
        (_model_cost(event), event.cost is not None, event.scripted, _run_of(entry)),
    )


def _model_cost(event: ModelEnded) -> int:
    """What a reply cost; an attempt whose reply was lost counts as what was reserved for it."""
    for budget, unit, _, spent in event.settle:
        if unit == "money" and budget.startswith("run:"):
            return spent
    return event.cost or 0


def _call_intended(db: sqlite3.Connection, event: CallIntended, entry: Entry) -> None:
    run = _run_of(entry)
    _refuse_if_halted(db, entry, event.tool)
    _reserve(db, event.reserve)
    claim = event.claim or {}
    if event.attempt > 1:
        db.execute("UPDATE effect SET state = 'started' WHERE effect = ?", (event.effect,))
        db.execute(
            "UPDATE claim SET state = 'started' WHERE key = ? AND effect = ?",
            (claim.get("key"), event.effect),
        )
        return
    for key, _name, amount, seen_amount, seen_count in event.totals:
        _move_total(db, key, amount, seen_amount, seen_count)
    if claim:
        _take(db, claim, run, event.effect)
    db.execute(
        "INSERT INTO effect VALUES (?, ?, ?, ?, 'started', ?, ?, ?, ?, ?)",
        (
            event.effect,
            run,
            event.path,
            event.tool,
            claim.get("key"),
            claim.get("rule"),
            claim.get("amount", 0),
            orjson.dumps([[key, amount] for key, _, amount, _, _ in event.totals]).decode(),
            event.undoes,
        ),
    )


def _call_ended(db: sqlite3.Connection, event: CallEnded, entry: Entry) -> None:
    _settle(db, event.settle)
    db.execute(
        "UPDATE run SET steps = steps + 1, cost = cost + ? WHERE run = ?", (event.cost, _run_of(entry))
    )
    if event.effect is None:
        return
    row = db.execute(
        "SELECT claim, rule, amount, totals, undoes FROM effect WHERE effect = ?", (event.effect,)
    ).fetchone()
    if row is None:
        return
    claim, rule, amount, totals, undoes = row
    if event.state == "unknown":
        db.execute("UPDATE effect SET state = 'unknown' WHERE effect = ?", (event.effect,))
        db.execute("UPDATE claim SET state = 'unknown' WHERE key = ? AND effect = ?", (claim, event.effect))
        return
    if event.state == "failed":
        _lower_totals(db, totals)
        _let_go(db, claim, event.effect)
        db.execute("DELETE FROM effect WHERE effect = ?", (event.effect,))
        return
    db.execute("UPDATE effect SET state = 'done' WHERE effect = ?", (event.effect,))
    if rule == "default":
        db.execute("DELETE FROM claim WHERE key = ? AND effect = ?", (claim, event.effect))
    elif claim is not None:
        db.execute(
            "UPDATE claim SET state = 'done', amount = amount + ?, count = count + 1 WHERE key = ? AND effect = ?",
            (amount, claim, event.effect),
        )
    if undoes is not None:
        _undone(db, undoes)


def _undone(db: sqlite3.Connection, effect: str) -> None:
    """An undo was done: the effect it undoes lets go of what it held."""
    row = db.execute(
        "SELECT claim, rule, amount, totals, state FROM effect WHERE effect = ?", (effect,)
    ).fetchone()
    if row is None or row[4] != "done":
        return
    claim, rule, amount, totals, _ = row
    _lower_totals(db, totals)
    if rule in ("until_compensated", "up_to"):
        db.execute("UPDATE claim SET amount = amount - ?, count = count - 1 WHERE key = ?", (amount, claim))
        db.execute("DELETE FROM claim WHERE key = ? AND count <= 0 AND state = 'done'", (claim,))
    db.execute("DELETE FROM effect WHERE effect = ?", (effect,))


def _parked(db: sqlite3.Connection, event: RunParked, entry: Entry) -> None:
    db.execute(
        "UPDATE run SET state = 'waiting', waiting_for = ?, request = ?, wake_at = ? WHERE run = ?",
        (event.waiting_for, event.request, event.wake_at, _run_of(entry)),
    )


def _asked(db: sqlite3.Connection, _event: ApprovalRequested, entry: Entry) -> None:
    _notify(db, entry, "approval")


def _ended(db: sqlite3.Connection, event: RunEnded, entry: Entry) -> None:
    db.execute(
        "UPDATE run SET state = 'ended', outcome = ?, code = ?, ended = ?, waiting_for = NULL, request = NULL,"
        " wake_at = NULL WHERE run = ?",
        (event.outcome, event.code, entry.time, _run_of(entry)),
    )
    if event.outcome in TOLD:
        _notify(db, entry, event.outcome)


def _notify(db: sqlite3.Connection, entry: Entry, kind: str) -> None:
    db.execute("INSERT INTO notice (run, kind, created) VALUES (?, ?, ?)", (_run_of(entry), kind, entry.time))


def _halt(db: sqlite3.Connection, event: HaltRaised | HaltLifted, entry: Entry) -> None:
    db.execute(
        "INSERT INTO halt VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (scope) DO UPDATE SET epoch = excluded.epoch,"
        " is_active = excluded.is_active, by = excluded.by, reason = excluded.reason, since = excluded.since",
        (event.scope, event.epoch, isinstance(event, HaltRaised), event.by, event.reason, entry.time),
    )


def _refuse_if_halted(db: sqlite3.Connection, entry: Entry, tool: str | None) -> None:
    active = [row[0] for row in db.execute("SELECT scope FROM halt WHERE is_active")]
    if not active:
        return
    run = _run_of(entry)
    agent = db.execute("SELECT agent FROM run WHERE run = ?", (run,)).fetchone()[0]
    covering = {"all", f"run:{run}", f"agent:{agent}", f"tool:{tool}"}.intersection(active)
    if covering:
        scope = min(covering)
        raise HaltInForce(f"a halt of `{scope}` is in force", hint=f"`answerable resume {scope}` lifts it")


def _reserve(db: sqlite3.Connection, reserve: tuple[Reserve, ...]) -> None:
    for budget, unit, amount, limit in reserve:
        done = (
            amount <= limit
            and db.execute(
                "INSERT INTO budget VALUES (?, ?, ?, 0) ON CONFLICT (id, unit) DO UPDATE SET"
                " reserved = reserved + excluded.reserved WHERE spent + reserved + excluded.reserved <= ?",
                (budget, unit, amount, limit),
            ).rowcount
        )
        if not done:
            raise BudgetExceeded(
                f"{amount} {unit} do not fit the budget `{budget}` of {limit}",
                hint="raise the limit, or let a person finish the work",
            )


def _settle(db: sqlite3.Connection, settle: tuple[Settle, ...]) -> None:
    for budget, unit, reserved, spent in settle:
        db.execute(
            "INSERT INTO budget VALUES (?, ?, 0, ?) ON CONFLICT (id, unit) DO UPDATE SET"
            " reserved = reserved - ?, spent = spent + excluded.spent",
            (budget, unit, spent, reserved),
        )


def _move_total(db: sqlite3.Connection, key: str, amount: int, seen_amount: int, seen_count: int) -> None:
    if seen_count == 0 and seen_amount == 0:
        moved = db.execute(
            "INSERT INTO total VALUES (?, ?, 1) ON CONFLICT (key) DO UPDATE SET amount = excluded.amount, count = 1"
            " WHERE amount = 0 AND count = 0",
            (key, amount),
        ).rowcount
    else:
        moved = db.execute(
            "UPDATE total SET amount = amount + ?, count = count + 1 WHERE key = ? AND amount = ? AND count = ?",
            (amount, key, seen_amount, seen_count),
        ).rowcount
    if not moved:
        raise TotalsMoved("a total changed after it was decided on", hint="the gates decide again")


def _lower_totals(db: sqlite3.Connection, totals: str) -> None:
    for key, amount in orjson.loads(totals):
        db.execute("UPDATE total SET amount = amount - ?, count = count - 1 WHERE key = ?", (amount, key))


def _take(db: sqlite3.Connection, claim: dict[str, Any], run: str, effect: str) -> None:
    key, rule, amount, cap = claim["key"], claim["rule"], claim["amount"], claim["cap"]
    held = db.execute("SELECT state, run, amount, cap FROM claim WHERE key = ?", (key,)).fetchone()
    if held is None:
        if rule == "up_to" and amount > cap:
            raise ClaimHeld("the amount is over what this target can take", hint="a person must look")
        db.execute("INSERT INTO claim VALUES (?, ?, 'started', ?, ?, 0, 0, ?)", (key, rule, run, effect, cap))
        return
    state, holder, taken, known_cap = held
    if state != "done":
        raise ClaimHeld(
            f"the same target is held by {holder}, whose effect is {state}",
            hint=f"`answerable show {holder}` says what is known of it",
        )
    if rule != "up_to":
        raise ClaimHeld(f"this was done already by {holder}", hint=f"see `answerable show {holder}`")
    smallest = min(cap, known_cap)
    if taken + amount > smallest:
        raise ClaimHeld(
            f"{taken} of {smallest} micro-units are used on this target; {amount} more do not fit",
            hint=f"`answerable show {holder}` says what was done",
        )
    db.execute(
        "UPDATE claim SET state = 'started', run = ?, effect = ?, cap = ? WHERE key = ?",
        (run, effect, smallest, key),
    )


def _let_go(db: sqlite3.Connection, claim: str | None, effect: str) -> None:
    if claim is None:
        return
    db.execute("DELETE FROM claim WHERE key = ? AND effect = ? AND count = 0", (claim, effect))
    db.execute("UPDATE claim SET state = 'done' WHERE key = ? AND effect = ?", (claim, effect))


_ACTIONS: dict[type[Event], Callable[[Any, Any, Entry], None]] = {
    RunCreated: _created,
    RunAdopted: _adopted,
    ModelIntended: _model_intended,
    ModelEnded: _model_ended,
    CallIntended: _call_intended,
    CallEnded: _call_ended,
    ApprovalRequested: _asked,
    RunParked: _parked,
    RunEnded: _ended,
    HaltRaised: _halt,
    HaltLifted: _halt,
}
