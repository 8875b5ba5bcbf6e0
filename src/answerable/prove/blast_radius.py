"""The blast radius of an agent: the worst that a hijacked model can do with nobody asked, bounded and shown.

`blast_radius(agent, bundle)` derives the bounds from the rules, the schemas, what is declared and the budgets, and then drives
the real gates to see how close to them it can come. What neither the one nor the other can say is said to be so.
"""

from __future__ import annotations

import time
from dataclasses import replace
from decimal import Decimal
from typing import TYPE_CHECKING

from answerable.engine.calls import REDECIDE_MAX
from answerable.kernel.money import from_micros
from answerable.prove.blast_bounds import Bounds
from answerable.prove.blast_classes import Leaving
from answerable.prove.blast_drive import Driver
from answerable.prove.blast_figures import PERIODS, Figure, Held, Limit, Radius, Witness
from answerable.prove.blast_keys import Twice
from answerable.prove.blast_limits import Bounded
from answerable.prove.blast_next import Goal, Search
from answerable.prove.blast_notes import assumptions, notes
from answerable.prove.blast_outlook import Outlook
from answerable.prove.blast_peaks import Question
from answerable.prove.blast_subject import Subject, subject_of
from answerable.prove.blast_values import Maker
from answerable.prove.place import places_of, rules_of
from answerable.prove.symbolic import symbolize
from answerable.prove.vocabulary import vocabulary_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from answerable.engine.agent import Agent
    from answerable.gates.policy import Bundle
    from answerable.prove.blast_figures import Measure, Period
    from answerable.prove.place import Place
    from answerable.prove.vocabulary import Vocabulary

WITNESS_S = 10.0
"""How long one witness is looked for."""
FACT_READS_MAX = 2 * REDECIDE_MAX
"""So often the facts of one call are read at most: it is decided again when a total moves, or when it waited for its turn."""
_COUNTED: tuple[Measure, ...] = ("records", "deletes", "recipients")


def blast_radius(
    agent: Agent,
    bundle: Bundle,
    *,
    tenant: str = "default",
    periods: Sequence[Period] = PERIODS,
    witness_s: float = WITNESS_S,
) -> Radius:
    """The blast radius of an agent under its rules.

    Raises `PolicyError` for a rule that has no exact form as a formula, and `ConfigError` where z3 is not installed.
    """
    began = time.monotonic()
    subject = subject_of(agent, bundle, tenant)
    offered = {tool.name for tool in subject.tools}
    places = [place for place in places_of(bundle) if place.agent == agent.name and place.name in offered]
    vocabulary = vocabulary_of(rules_of(places), places, copies=2)
    tools = [_bounded(subject, place, vocabulary) for place in places]
    search = _search(subject, tools, vocabulary)
    bounds = Bounds(subject, tools)
    driver = Driver(subject, search, witness_s)
    figures: list[Figure] = []
    for period in periods:
        for measure, unit in _lines(subject):
            figures.append(_driven(bounds.figure(measure, period, unit), tools, driver))
        figures.append(Leaving(subject, tools, driver).figure(period))
        figures.append(_spend(subject, period))
    held = [Held(tool=tool.spec.name, why=why, rules=rules) for tool in tools for why, rules in _held(tool)]
    return Radius(
        agent=agent.name,
        autonomy=agent.autonomy,
        digest=bundle.digest,
        budgets=_budgets(subject),
        figures=tuple(figures),
        held=tuple(held),
        notes=notes(subject, figures),
        assumptions=assumptions(subject, tools, bounds),
        seconds=time.monotonic() - began,
    )


def _bounded(subject: Subject, place: Place, vocabulary: Vocabulary) -> Bounded:
    return Bounded(Question(subject, symbolize(place, vocabulary)), Twice(subject, place, vocabulary))


def _lines(subject: Subject) -> list[tuple[Measure, str]]:
    """The figures that are asked for: money in each currency that some tool moves, and what is counted."""
    impacts = [tool.impact for tool in subject.tools if tool.impact is not None and tool.impact.money]
    currencies = sorted({impact.currency for impact in impacts}) or ["USD"]
    return [*(("money", currency) for currency in currencies), *((measure, "") for measure in _COUNTED)]


def _search(subject: Subject, tools: Sequence[Bounded], vocabulary: Vocabulary) -> Search:
    maker = Maker()
    sent = [tool for tool in tools if tool.is_sent()]
    return Search(
        maker=maker,
        outlooks={tool.spec.name: Outlook(tool.question, maker) for tool in sent},
        preparing=_preparing(subject, sent, vocabulary),
    )


def _preparing(subject: Subject, tools: Sequence[Bounded], vocabulary: Vocabulary) -> list[str]:
    """Tools whose calls can make others possible: they establish something, rules count them, or what they read is trusted."""
    reads = vocabulary.reads
    counted = reads.inside.get("history")
    run = reads.inside.get("run")
    found: dict[str, None] = {}
    for tool in tools:
        name = tool.spec.name
        establishes = any(name in each.tools for each in subject.sessions)
        is_counted = counted is not None and (counted.is_whole or name in counted.inside)
        is_trusted = tool.spec.is_result_trusted or any(node.is_trusted for node in tool.spec.gives.nodes())
        if establishes or is_counted or (is_trusted and "labels" in reads.inside):
            found.setdefault(name)
    if run is not None and (run.is_whole or "calls_before" in run.inside or "classes_read" in run.inside):
        found.update(dict.fromkeys(tool.spec.name for tool in tools if not tool.spec.is_write))
    return list(found)


def _driven(figure: Figure, tools: Sequence[Bounded], driver: Driver) -> Figure:
    """A figure with the best witness."""
    if figure.bound == 0:
        return replace(figure, witness=Witness(amount=Decimal(0)))
    per_call = {
        tool.spec.name: tool.per_call(figure.measure).amount if tool.spec.impact is not None else Decimal(0)
        for tool in tools
        if tool.spec.is_write and (figure.measure != "money" or _moves(tool, figure.unit))
    }
    if not any(most != 0 for most in per_call.values()):
        return replace(figure, witness=Witness(amount=Decimal(0)))
    return replace(
        figure,
        witness=driver.drive(figure, Goal(measure=figure.measure, unit=figure.unit, per_call=per_call)),
    )


def _moves(tool: Bounded, currency: str) -> bool:
    impact = tool.spec.impact
    return impact is not None and impact.money is not None and impact.currency == currency


def _spend(subject: Subject, period: Period) -> Figure:
    """What models and tools may cost. It is reserved before each call, so the budget is the bound, and nothing is driven."""
    limits = subject.limits if period == "run" else subject.limits_per_day
    name = "budget" if period == "run" else "budget_per_day"
    if "money" not in limits:
        missing = f'limit what a {period} may cost: `{name}=Budget(money="...")`'
        return Figure(measure="spend", period=period, unit="USD", bound=None, missing=(missing,))
    amount = from_micros(limits["money"])
    why = f"reserved before each call: at most {amount:,.2f} in a {period}"
    each = max(
        sum((subject.known[fact.tool].price_usd for fact in tool.facts), Decimal(0)) for tool in subject.tools
    )
    if each:
        if "tool_calls" not in limits:
            missing = f"limit the calls of a {period}, each of which may read facts that cost: `{name}=Budget(tool_calls=...)`"
            return Figure(measure="spend", period=period, unit="USD", bound=None, missing=(missing,))
        facts = each * limits["tool_calls"] * FACT_READS_MAX
        amount += facts
        why += f"; facts cost {facts:,.2f} more at most, which is counted and not reserved"
    limit = Limit(name=f"{name} `money`", amount=amount, why=why)
    return Figure(measure="spend", period=period, unit="USD", bound=amount, binding=(limit,))


def _held(tool: Bounded) -> list[tuple[str, tuple[str, ...]]]:
    return [] if tool.is_sent() else [tool.held_back()]


def _budgets(subject: Subject) -> dict[str, int | None]:
    per_day = {f"{unit}_per_day": limit for unit, limit in subject.limits_per_day.items()}
    wall_clock = None if subject.wall_clock_s is None else int(subject.wall_clock_s)
    return {**subject.limits, **per_day, "wall_clock_s": wall_clock}
