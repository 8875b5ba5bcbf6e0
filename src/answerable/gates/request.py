"""What the gates are asked about: one proposed call, with everything known about it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Mapping
    from decimal import Decimal

    from pydantic import BaseModel

    from answerable.kernel.tool import ToolSpec

Autonomy = Literal["shadow", "propose", "capped", "full"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Label:
    """Where a value may come from. Coarse on purpose: the join of all that the model had read."""

    is_trusted: bool
    sources: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class TotalValue:
    """A running total: `amount` with this call, `count` of calls before it."""

    amount: Decimal
    count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyRequest:
    """One call as policy sees it. `arguments` are validated; `facts` are results of fact reads."""

    agent: str
    tenant: str
    on_behalf_of: str
    """The user for whom the agent acts; empty where nobody is named."""
    tool: ToolSpec
    arguments: BaseModel
    labels: Mapping[str, Label] = field(default_factory=dict[str, Label])
    """Per top-level argument."""
    facts: Mapping[str, object] = field(default_factory=dict[str, object])
    """By name; each a validated result of the fact's tool."""
    totals: Mapping[str, TotalValue] = field(default_factory=dict[str, TotalValue])
    autonomy: Autonomy = "capped"
    calls_before: int = 0
    """Tool calls that this run has made so far."""
    now_us: int = 0
    """UTC, microseconds since 1970."""
