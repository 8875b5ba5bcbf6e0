"""The budget gate: what is left, before anything is reserved. The reservation itself is guarded in the store."""

from __future__ import annotations

from typing import TYPE_CHECKING

from answerable.kernel.decision import Decision, ReasonCode, allow, deny

if TYPE_CHECKING:
    from collections.abc import Mapping

GATE = "budget"


def check(
    limits: Mapping[str, int],
    spent: Mapping[str, int],
    *,
    ask: Mapping[str, int],
    wall_clock_us: int | None,
    active_us: int,
) -> Decision:
    """Whether `ask` fits what is left. Amounts are in journal units; wall clock is time at work."""
    for unit, amount in ask.items():
        limit = limits.get(unit)
        if limit is not None and spent.get(unit, 0) + amount > limit:
            return deny(
                GATE,
                ReasonCode.BUDGET_EXHAUSTED,
                f"{spent.get(unit, 0)} of {limit} {unit} are spent and {amount} more are asked for",
                rules=(f"budget-{unit.replace('_', '-')}",),
            )
    if wall_clock_us is not None and active_us >= wall_clock_us:
        return deny(
            GATE,
            ReasonCode.BUDGET_EXHAUSTED,
            f"the run has been at work for {active_us / 1e6:.1f} s of {wall_clock_us / 1e6:.1f} s",
            rules=("budget-wall-clock",),
        )
    return allow(GATE)
