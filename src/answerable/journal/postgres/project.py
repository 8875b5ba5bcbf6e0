"""What each event does to the derived rows, with the guards that may refuse it. Pure.

A guard that raises takes its append with it. The rules are those of `spec/journal.md` section 6 and of
`spec/effects.md`, and so the same as in any other store.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

import orjson

from answerable.errors import BudgetExceeded, ClaimHeld, HaltInForce, TotalsMoved
from answerable.journal.postgres import escrow
from answerable.journal.postgres.escrow import NOTHING, PARENT, SHARED
from answerable.journal.postgres.rows import (
    BUDGET,
    CLAIM,
    EFFECT,
    HALT,
    RUN,
    TOTAL,
    Claim,
    Effect,
    HaltRow,
    Run,
    Share,
    Total,
)
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
    from collections.abc import Callable

    from answerable.journal.postgres.rows import Key, Table
    from answerable.kernel.entry import Entry
    from answerable.kernel.events import Event, Reserve, Settle

TOLD = frozenset({"escalated", "failed"})
"""Outcomes that a person must hear of."""


class ParentNeeded(Exception):
    """A share of a budget does not suffice: the batch must be read again, with the parents and everybody's shares."""


class Rows(Protocol):
    """What this module needs of a ledger."""

    me: str
    is_wide: bool
    alive: frozenset[str]

    def get(self, table: Table, key: Key) -> Any:
        """The row as it is now, or None."""
        ...

    def put(self, table: Table, key: Key, row: Any) -> None:
        """Change a row, make it, or with None remove it."""
        ...

    def all(self, table: Table) -> dict[Key, Any]:
        """Every row of a table that was read or made."""
        ...

    def tell(self, run: str, kind: str, at: int) -> None:
        """A person must be told."""
        ...

    def agent_of(self, run: str) -> str | None:
        """Whose run it is."""
        ...


def project(rows: Rows, entry: Entry) -> None:
    """Bring the derived rows up to date with `entry`.

    Raises `HaltInForce`, `BudgetExceeded`, `ClaimHeld` or `TotalsMoved`; or `ParentNeeded`.
    """
    for event in entry.events:
        act = _ACTIONS.get(type(event))
        if act is not None:
            act(rows, event, entry)


def _run_of(entry: Entry) -> str:
    return entry.stream.partition("/")[2]


# The list of runs


def _created(rows: Rows, event: RunCreated, entry: Entry) -> None:
    rows.put(
        RUN,
        _run_of(entry),
        Run(
            agent=event.agent,
            tenant=event.tenant,
            kind=event.kind,
            state="created",
            outcome=None,
            code=None,
            created=entry.time,
            started=None,
            ended=None,
            steps=0,
            cost=0,
            is_cost_known=True,
            owner=None,
            epoch=0,
            waiting_for=None,
            request=None,
            wake_at=None,
            subject=event.subject,
            scripted=False,
        ),
    )


def _change_run(rows: Rows, entry: Entry, change: Callable[[Run], Run]) -> None:
    run: Run | None = rows.get(RUN, _run_of(entry))
    if run is not None:
        rows.put(RUN, _run_of(entry), change(run))


def _adopted(rows: Rows, event: RunAdopted, entry: Entry) -> None:
    _change_run(
        rows,
        entry,
        lambda run: run._replace(
            state="running" if run.outcome is None else run.state,
            owner=event.owner,
            epoch=event.epoch,
            started=entry.time if run.started is None else run.started,
            waiting_for=None,
            request=None,
            wake_at=None,
        ),
    )


def _parked(rows: Rows, event: RunParked, entry: Entry) -> None:
    _change_run(
        rows,
        entry,
        lambda run: run._replace(
            state="waiting", waiting_for=event.waiting_for, request=event.request, wake_at=event.wake_at
        ),
    )


def _asked(rows: Rows, _event: ApprovalRequested, entry: Entry) -> None:
    rows.tell(_run_of(entry), "approval", entry.time)


def _ended(rows: Rows, event: RunEnded, entry: Entry) -> None:
    _change_run(
        rows,
        entry,
        lambda run: run._replace(
            state="ended",
            outcome=event.outcome,
            code=event.code,
            ended=entry.time,
            waiting_for=None,
            request=None,
            wake_at=None,
        ),
    )
    if event.outcome in TOLD:
        rows.tell(_run_of(entry), event.outcome, entry.time)


# Calls


def _model_intended(rows: Rows, event: ModelIntended, entry: Entry) -> None:
    _refuse_if_halted(rows, entry, None)
    _reserve(rows, event.reserve)


def _model_ended(rows: Rows, event: ModelEnded, entry: Entry) -> None:
    _settle(rows, event.settle)
    _change_run(
        rows,
        entry,
        lambda run: run._replace(
            steps=run.steps + 1,
            cost=run.cost + _model_cost(event),
            is_cost_known=run.is_cost_known and event.cost is not None,
            scripted=run.scripted or event.scripted,
        ),
    )


def _model_cost(event: ModelEnded) -> int:
    """What a reply cost; an attempt whose reply was lost counts as what was reserved for it."""
    for budget, unit, _, spent in event.settle:
        if unit == "money" and budget.startswith("run:"):
            return spent
    return event.cost or 0


def _call_intended(rows: Rows, event: CallIntended, entry: Entry) -> None:
    run = _run_of(entry)
    _refuse_if_halted(rows, entry, event.tool)
    _reserve(rows, event.reserve)
    claim = event.claim or {}
    known: Effect | None = rows.get(EFFECT, event.effect)
    if event.attempt > 1:
        if known is not None:
            rows.put(EFFECT, event.effect, known._replace(state="started"))
        _mark_claim(rows, claim.get("key"), event.effect, "started")
        return
    for key, _name, amount, seen_amount, seen_count in event.totals:
        _move_total(rows, key, amount, seen_amount, seen_count)
    if claim:
        _take(rows, claim, run, event.effect)
    rows.put(
        EFFECT,
        event.effect,
        Effect(
            run=run,
            path=event.path,
            tool=event.tool,
            state="started",
            claim=claim.get("key"),
            rule=claim.get("rule"),
            amount=claim.get("amount", 0),
            totals=orjson.dumps([[key, amount] for key, _, amount, _, _ in event.totals]).decode(),
            undoes=event.undoes,
        ),
    )


def _call_ended(rows: Rows, event: CallEnded, entry: Entry) -> None:
    _settle(rows, event.settle)
    _change_run(rows, entry, lambda run: run._replace(steps=run.steps + 1, cost=run.cost + event.cost))
    effect: Effect | None = None if event.effect is None else rows.get(EFFECT, event.effect)
    if effect is None or event.effect is None:
        return
    if event.state == "unknown":
        rows.put(EFFECT, event.effect, effect._replace(state="unknown"))
        _mark_claim(rows, effect.claim, event.effect, "unknown")
        return
    if event.state == "failed":
        _lower_totals(rows, effect)
        _let_go(rows, effect.claim, event.effect)
        rows.put(EFFECT, event.effect, None)
        return
    rows.put(EFFECT, event.effect, effect._replace(state="done"))
    held = _held(rows, effect.claim, event.effect)
    if held is not None:
        done = held._replace(state="done", amount=held.amount + effect.amount, count=held.count + 1)
        rows.put(CLAIM, effect.claim, None if effect.rule == "default" else done)
    if effect.undoes is not None:
        _undone(rows, effect.undoes)


def _undone(rows: Rows, name: str) -> None:
    """An undo was done: the effect it undoes lets go of what it held."""
    effect: Effect | None = rows.get(EFFECT, name)
    if effect is None or effect.state != "done":
        return
    _lower_totals(rows, effect)
    claim: Claim | None = None if effect.claim is None else rows.get(CLAIM, effect.claim)
    if claim is not None and effect.rule in ("until_compensated", "up_to"):
        left = claim._replace(amount=claim.amount - effect.amount, count=claim.count - 1)
        rows.put(CLAIM, effect.claim, None if left.count <= 0 and left.state == "done" else left)
    rows.put(EFFECT, name, None)


# Halts


def _halt(rows: Rows, event: HaltRaised | HaltLifted, entry: Entry) -> None:
    rows.put(
        HALT,
        event.scope,
        HaltRow(event.epoch, isinstance(event, HaltRaised), event.by, event.reason, entry.time),
    )


def _refuse_if_halted(rows: Rows, entry: Entry, tool: str | None) -> None:
    active = [scope for scope, halt in rows.all(HALT).items() if halt.is_active]
    if not active:
        return
    run = _run_of(entry)
    covering = {"all", f"run:{run}", f"agent:{rows.agent_of(run)}", f"tool:{tool}"}.intersection(active)
    if covering:
        scope = min(covering)
        raise HaltInForce(f"a halt of `{scope}` is in force", hint=f"`answerable resume {scope}` lifts it")


# Budgets


def _reserve(rows: Rows, reserve: tuple[Reserve, ...]) -> None:
    for budget, unit, amount, limit in reserve:
        if budget.startswith(SHARED):
            is_done = _reserve_shared(rows, budget, unit, amount, limit)
        else:
            own: Share = rows.get(BUDGET, (budget, PARENT, unit)) or NOTHING
            is_done = own.used + amount <= limit and amount <= limit
            if is_done:
                rows.put(BUDGET, (budget, PARENT, unit), own._replace(reserved=own.reserved + amount))
        if not is_done:
            raise BudgetExceeded(
                f"{amount} {unit} do not fit the budget `{budget}` of {limit}",
                hint="raise the limit, or let a person finish the work",
            )


def _reserve_shared(rows: Rows, budget: str, unit: str, amount: int, limit: int) -> bool:
    name = (budget, rows.me, unit)
    alone = escrow.reserve_alone(rows.get(BUDGET, name) or NOTHING, amount, limit)
    if alone is not None:
        rows.put(BUDGET, name, alone)
        return True
    after = escrow.reserve(_shares(rows, budget, unit), rows.me, amount, limit)
    if after is None:
        return False
    _put_shares(rows, budget, unit, after)
    return True


def _settle(rows: Rows, settle: tuple[Settle, ...]) -> None:
    for budget, unit, reserved, spent in settle:
        is_shared = budget.startswith(SHARED)
        name = (budget, rows.me if is_shared else PARENT, unit)
        own: Share = rows.get(BUDGET, name) or NOTHING
        if not is_shared:
            settled = own._replace(reserved=own.reserved - reserved, spent=own.spent + spent)
        else:
            settled = escrow.settle_alone(own, reserved, spent)
        if settled is not None:
            rows.put(BUDGET, name, settled)
        else:
            _put_shares(
                rows, budget, unit, escrow.settle(_shares(rows, budget, unit), rows.me, reserved, spent)
            )


def _shares(rows: Rows, budget: str, unit: str) -> dict[str, Share]:
    """Every share of a budget, those of processes that are gone merged into the parent."""
    if not rows.is_wide:
        raise ParentNeeded
    shares = {key[1]: share for key, share in rows.all(BUDGET).items() if (key[0], key[2]) == (budget, unit)}
    return escrow.merged(shares, set(shares) - rows.alive - {PARENT, rows.me})


def _put_shares(rows: Rows, budget: str, unit: str, after: dict[str, Share]) -> None:
    known = {key[1] for key in rows.all(BUDGET) if (key[0], key[2]) == (budget, unit)}
    for holder in known | set(after):
        rows.put(BUDGET, (budget, holder, unit), after.get(holder))


# Totals and claims


def _move_total(rows: Rows, key: str, amount: int, seen_amount: int, seen_count: int) -> None:
    now: Total = rows.get(TOTAL, key) or Total(0, 0)
    if now != (seen_amount, seen_count):
        raise TotalsMoved("a total changed after it was decided on", hint="the gates decide again")
    rows.put(TOTAL, key, Total(now.amount + amount, now.count + 1))


def _lower_totals(rows: Rows, effect: Effect) -> None:
    for key, amount in orjson.loads(effect.totals):
        now: Total | None = rows.get(TOTAL, key)
        if now is not None:
            rows.put(TOTAL, key, Total(now.amount - amount, now.count - 1))


def _take(rows: Rows, claim: dict[str, Any], run: str, effect: str) -> None:
    key, rule, amount, cap = claim["key"], claim["rule"], claim["amount"], claim["cap"]
    held: Claim | None = rows.get(CLAIM, key)
    if held is None:
        if rule == "up_to" and amount > cap:
            raise ClaimHeld("the amount is over what this target can take", hint="a person must look")
        rows.put(CLAIM, key, Claim(rule, "started", run, effect, 0, 0, cap))
        return
    if held.state != "done":
        raise ClaimHeld(
            f"the same target is held by {held.run}, whose effect is {held.state}",
            hint=f"`answerable show {held.run}` says what is known of it",
        )
    if rule != "up_to":
        raise ClaimHeld(f"this was done already by {held.run}", hint=f"see `answerable show {held.run}`")
    smallest = min(cap, held.cap)
    if held.amount + amount > smallest:
        raise ClaimHeld(
            f"{held.amount} of {smallest} micro-units are used on this target; {amount} more do not fit",
            hint=f"`answerable show {held.run}` says what was done",
        )
    rows.put(CLAIM, key, held._replace(state="started", run=run, effect=effect, cap=smallest))


def _held(rows: Rows, key: str | None, effect: str) -> Claim | None:
    """The claim, if it is this effect that holds it."""
    claim: Claim | None = None if key is None else rows.get(CLAIM, key)
    return claim if claim is not None and claim.effect == effect else None


def _mark_claim(rows: Rows, key: str | None, effect: str, state: str) -> None:
    held = _held(rows, key, effect)
    if held is not None:
        rows.put(CLAIM, key, held._replace(state=state))


def _let_go(rows: Rows, key: str | None, effect: str) -> None:
    held = _held(rows, key, effect)
    if held is not None:
        rows.put(CLAIM, key, None if held.count == 0 else held._replace(state="done"))


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
