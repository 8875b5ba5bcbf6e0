"""What the gates are asked about: one proposed call, with everything known about it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from decimal import Decimal

    from pydantic import BaseModel

    from answerable.kernel.state import Tally
    from answerable.kernel.tool import ToolSpec

Autonomy = Literal["shadow", "propose", "capped", "full"]
Origin = Literal["none", "absent", "text", "field", "handle", "endorsed"]
"""Why a value is trusted; `none` where it is not, `absent` where there is no value."""
ORIGINS: tuple[Origin, ...] = ("none", "absent", "text", "field", "handle", "endorsed")
NOT_SOURCES = ("origin:", "class:", "address:")
"""How the parts of a label begin that are no names of sources."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Label:
    """Where an argument comes from.

    `sources` are those that vouch for it, or, where none does, everything that the run has read; `classes` the data
    classes that may be in it.
    """

    origin: Origin = "none"
    sources: tuple[str, ...] = ()
    classes: frozenset[str] = frozenset()
    has_unknown_address: bool = False
    """Whether an address of the web or of mail stands in it that nobody trusted has named."""

    @property
    def is_trusted(self) -> bool:
        """Whether there is a positive reason to believe it."""
        return self.origin != "none"

    def texts(self) -> tuple[str, ...]:
        """The label as an entry holds it."""
        verdict = "trusted" if self.is_trusted else "untrusted"
        return (
            verdict,
            *((f"origin:{self.origin}",) if self.is_trusted else ()),
            *(("address:unknown",) if self.has_unknown_address else ()),
            *(f"class:{each}" for each in sorted(self.classes)),
            *self.sources,
        )

    @classmethod
    def from_texts(cls, texts: Sequence[str]) -> Label:
        """The label behind `texts`. One that an older version wrote has neither origin nor classes."""
        origins: list[Origin] = [each for each in ORIGINS if f"origin:{each}" in texts]
        otherwise: Origin = "text" if texts[0] == "trusted" else "none"
        rest = [each for each in texts[1:] if not each.startswith(NOT_SOURCES)]
        return cls(
            origin=origins[0] if origins else otherwise,
            sources=tuple(rest),
            classes=frozenset(each[6:] for each in texts if each.startswith("class:")),
            has_unknown_address="address:unknown" in texts,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Established:
    """What an earlier call of the run established, and the tool that did."""

    by: str
    value: object


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
    classes_read: frozenset[str] = frozenset()
    """Data classes of everything that the run has read, less what was declassified."""
    has_read_untrusted: bool = True
    """Whether anything has been read that an outsider may have written; the task counts."""
    session: Mapping[str, Established] = field(default_factory=dict[str, Established])
    """By name; what has not been established is not there."""
    history: Mapping[str, Tally] = field(default_factory=dict[str, "Tally"])
    """By tool; one that was never called need not be there."""
    budget_left: Mapping[str, int] = field(default_factory=dict[str, int])
    """Unit → what is left before this call, money in micros; a unit without a limit is not there."""
    now_us: int = 0
    """UTC, microseconds since 1970."""
