"""Many runs in one object: what `demo --json` and `run --json` print; rates as in `spec/outcomes.md`."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime
from decimal import Decimal
from typing import TYPE_CHECKING

from answerable.kernel.money import from_micros, plain

if TYPE_CHECKING:
    from collections.abc import Sequence

    from answerable.journal.store import RunRow

OUTCOMES = ("succeeded", "unverified", "escalated", "failed", "halted", "abandoned")


def summarise(rows: Sequence[RunRow], seconds: float, journal: str) -> dict[str, object]:
    """Counts, rates and cost of `rows`. A rate is null while nothing ended, a cost where it is unknown."""
    ended = [row for row in rows if row.state == "ended"]
    counts = Counter(row.outcome for row in ended)
    return {
        "runs": len(rows),
        "outcomes": {name: counts[name] for name in OUTCOMES},
        "success_rate": _rate(counts["succeeded"], len(ended)),
        "escalation_rate": _rate(counts["escalated"], len(ended)),
        "cost_per_success": cost_per_success(rows),
        "approvals_waiting": sum(row.waiting_for == "approval" for row in rows),
        "journal": journal,
        "seconds": round(seconds, 3),
    }


def cost_per_success(rows: Sequence[RunRow]) -> str | None:
    """All that was spent, on every run, per success. None where nothing succeeded or a cost is unknown."""
    succeeded = sum(row.outcome == "succeeded" for row in rows)
    if not succeeded or not all(row.is_cost_known for row in rows):
        return None
    cost = from_micros(sum(row.cost for row in rows)) / succeeded
    return plain(cost.quantize(Decimal("0.000001")))


def row_json(row: RunRow) -> dict[str, object]:
    """One line of `runs --json`. Times are ISO 8601 in UTC; `cost` is in dollars, null where it is unknown."""
    return {
        "run": row.run,
        "agent": row.agent,
        "state": row.state,
        "outcome": row.outcome,
        "started": _iso(row.started),
        "steps": row.steps,
        "cost": plain(from_micros(row.cost)) if row.is_cost_known else None,
        "code": row.code,
        "waiting_for": row.waiting_for,
        "created": _iso(row.created),
        "ended": _iso(row.ended),
        "is_scripted": row.scripted,
    }


def _iso(micros: int | None) -> str | None:
    return (
        None
        if micros is None
        else datetime.fromtimestamp(micros / 1e6, UTC).isoformat(timespec="microseconds")
    )


def _rate(part: int, whole: int) -> float | None:
    return round(part / whole, 4) if whole else None
