"""How a run stands when the engine lets go of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from decimal import Decimal

OutcomeName = Literal["succeeded", "unverified", "escalated", "failed", "halted", "abandoned"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What a caller learns. `name` is None while the run waits for a person or a timer.

    `reason` is one sentence; `code` and `rules` say the same for programs. `cost_usd` is None where a price is
    unknown.
    """

    run: str
    state: str
    name: OutcomeName | None
    code: str | None = None
    reason: str = ""
    rules: tuple[str, ...] = ()
    answer: object = None
    unknown: tuple[str, ...] = ()
    cost_usd: Decimal | None = None
    waiting_for: str | None = None
    request: str | None = None
