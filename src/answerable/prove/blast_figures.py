"""The figures of a blast radius: what is bounded by what, and what was driven to show it.

Every figure is an interval. The *bound* is derived, and no run can do more; the *witness* is a list of calls that the real
gates let through. Where the two are far apart, the truth is somewhere between, and that is said.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Literal

from answerable.kernel.money import plain

if TYPE_CHECKING:
    from collections.abc import Mapping

Period = Literal["run", "day"]
PERIODS: tuple[Period, ...] = ("run", "day")
Measure = Literal["money", "records", "deletes", "recipients", "classes", "spend"]
CONFIRMED_FROM = Decimal("0.9")
"""A witness of this share of the bound confirms it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limit:
    """Something that bounds a figure: what it is called, how far it lets things go, and why."""

    name: str
    amount: Decimal
    why: str

    def to_json(self) -> dict[str, Any]:
        """As JSON."""
        return {"name": self.name, "amount": plain(self.amount), "why": self.why}


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One call of a witness, as the gates let it through with nobody asked."""

    run: int
    """Which run of the witness, from 1."""
    tool: str
    arguments: Mapping[str, Any]
    at: str
    """When, in UTC."""
    amount: Decimal
    """How much it adds to the figure; 0 for a call that only prepares another."""
    facts: Mapping[str, Any]
    """What the facts were answered."""
    rules: tuple[str, ...]
    """The permits that let it through."""

    def to_json(self) -> dict[str, Any]:
        """As JSON."""
        return {
            "run": self.run,
            "at": self.at,
            "tool": self.tool,
            "arguments": dict(self.arguments),
            "facts": dict(self.facts),
            "amount": plain(self.amount),
            "permitted_by": list(self.rules),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Witness:
    """Calls that were driven through the real gates, and what they come to."""

    amount: Decimal
    calls: tuple[Call, ...] = ()
    on_behalf_of: tuple[str, ...] = ()
    """For whom each run of it acts."""
    classes: tuple[str, ...] = ()
    """For data that leaves: what was seen to leave."""
    is_cut_short: bool = False
    """Whether the search stopped for time or length, and not because nothing more was let through."""

    @property
    def runs(self) -> int:
        """How many runs it took."""
        return len({call.run for call in self.calls})

    def to_json(self) -> dict[str, Any]:
        """As JSON, with every call in full."""
        found: dict[str, Any] = {"amount": plain(self.amount), "runs": self.runs}
        if self.classes:
            found["classes"] = list(self.classes)
        return found | {
            "on_behalf_of": list(self.on_behalf_of),
            "is_cut_short": self.is_cut_short,
            "calls": [call.to_json() for call in self.calls],
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """One line of the radius. `bound` is None where nothing bounds it; `missing` then says what would."""

    measure: Measure
    period: Period
    unit: str = ""
    """The currency, for money."""
    bound: Decimal | None
    binding: tuple[Limit, ...] = ()
    """What binds it: one limit, or one for each tool that contributes."""
    next: tuple[Limit, ...] = ()
    """What would bind it if that went, smallest first."""
    is_open_then: bool = False
    """Whether nothing would bind it if those went too."""
    missing: tuple[str, ...] = ()
    classes: tuple[str, ...] = ()
    """For data that leaves: the classes that nothing keeps in."""
    witness: Witness | None = None
    """None where there is nothing to drive: what is spent on models is reserved before each call."""

    @property
    def is_confirmed(self) -> bool | None:
        """Whether the witness comes close to the bound; None where there is no bound, or no witness."""
        if self.witness is None or self.bound is None:
            return None
        if self.measure == "classes":
            return set(self.witness.classes) >= set(self.classes)
        return self.witness.amount >= self.bound * CONFIRMED_FROM

    def to_json(self) -> dict[str, Any]:
        """As JSON."""
        found: dict[str, Any] = {
            "measure": self.measure,
            "unit": self.unit or None,
            "bound": None if self.bound is None else plain(self.bound),
            "is_unbounded": self.bound is None,
            "binding": [each.to_json() for each in self.binding],
            "next": [each.to_json() for each in self.next],
            "is_unbounded_then": self.is_open_then,
            "missing": list(self.missing),
            "is_confirmed": self.is_confirmed,
            "witness": None if self.witness is None else self.witness.to_json(),
        }
        if self.measure == "classes":
            found["classes"] = list(self.classes)
        return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """A tool that the model cannot use with nobody asked, and what stands before it."""

    tool: str
    why: str
    rules: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """As JSON."""
        return {"tool": self.tool, "why": self.why, "rules": list(self.rules)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Radius:
    """The blast radius of one agent."""

    agent: str
    autonomy: str
    digest: str
    budgets: Mapping[str, int | None]
    figures: tuple[Figure, ...]
    held: tuple[Held, ...]
    notes: tuple[str, ...]
    """What is particular here."""
    assumptions: tuple[str, ...]
    """What all of it rests on."""
    seconds: float

    def figure(self, measure: Measure, period: Period, unit: str = "") -> Figure:
        """One figure. Raises `KeyError` where there is none."""
        for each in self.figures:
            if (each.measure, each.period, each.unit) == (measure, period, unit):
                return each
        raise KeyError((measure, period, unit))

    def to_json(self) -> dict[str, Any]:
        """As JSON: `per` has the figures of a run and of a UTC day."""
        return {
            "agent": self.agent,
            "autonomy": self.autonomy,
            "policy": self.digest,
            "per": {
                period: [each.to_json() for each in self.figures if each.period == period]
                for period in PERIODS
                if any(each.period == period for each in self.figures)
            },
            "budgets": dict(self.budgets),
            "not_without_a_person": [each.to_json() for each in self.held],
            "notes": list(self.notes),
            "assumptions": list(self.assumptions),
            "seconds": round(self.seconds, 2),
        }
