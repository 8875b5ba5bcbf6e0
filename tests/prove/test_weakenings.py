"""Somebody weakens the rules, in one of the ways in which rules are weakened: nothing of it goes unnoticed.

Each weakening is refused when it is read, or refuted by `prove` with a call that the real rules let through, or raises the
blast radius to the figure that was predicted here by hand. `diff` names the rule and what it newly lets through.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from answerable.errors import PolicyError
from answerable.project import Project, load_project, load_rules
from answerable.prove.blast_radius import blast_radius
from answerable.prove.diff import compare
from answerable.prove.invariants import prove
from answerable.prove.load import read_invariants

if TYPE_CHECKING:
    from collections.abc import Callable

    from answerable.engine.agent import Agent
    from answerable.gates.policy import Bundle
    from answerable.prove.blast_figures import Measure, Period

EXAMPLES = Path(__file__).parents[2] / "examples"
Change = "Callable[[str], str]"


def swap(old: str, new: str) -> Callable[[str], str]:
    """Replace every `old`; it has to be there."""

    def change(text: str) -> str:
        assert old in text, old
        return text.replace(old, new)

    return change


def without(rule: str) -> Callable[[str], str]:
    """Drop one rule."""

    def change(text: str) -> str:
        found = re.sub(
            rf'@id\("{rule}"\).*?^\S*(?:\}}|\));$', "", text, count=1, flags=re.DOTALL | re.MULTILINE
        )
        assert found != text, rule
        return found

    return change


def within(rule: str, old: str, new: str) -> Callable[[str], str]:
    """Replace something in one rule."""

    def change(text: str) -> str:
        start = text.index(f'@id("{rule}")')
        end = text.find("@id(", start + 4)
        end = len(text) if end < 0 else end
        assert old in text[start:end], (rule, old)
        return text[:start] + text[start:end].replace(old, new, 1) + text[end:]

    return change


@cache
def project_of(name: str) -> Project:
    """An example, read once."""
    return load_project(EXAMPLES / name)


def weakened(name: str, change: Callable[[str], str]) -> tuple[Agent, Bundle, Bundle]:
    """The agent, its rules as they ship, and as they are after the change. Raises `PolicyError` where it is refused."""
    project = project_of(name)
    (agent,) = project.agents.values()
    assert isinstance(agent.policy, Path)
    whole = {path.name: path.read_text("utf-8") for path in sorted(agent.policy.glob("*.cedar"))}
    changed, left = {}, 0
    for file, text in whole.items():
        try:
            changed[file] = change(text)
        except (AssertionError, ValueError):
            changed[file] = text
            left += 1
    assert left < len(whole), "nothing was changed"
    return agent, project.bundle(agent.name), load_rules(agent, changed)


REFUSED = {
    "a typo in an argument": (within("refund-large", "args.amount_usd", "args.amonut_usd"), "amonut_usd"),
    "a typo in a tool": (within("refund-cap", '"create_refund"', '"create_refnud"'), "create_refnud"),
    "a typo in a fact": (
        within("refund-own-order", "facts.customer.email", "facts.costumer.email"),
        "costumer",
    ),
    "a typo in a closed list": (within("refund-watched-customer", '"watched"', '"wached"'), "wached"),
    "a typo in the decision": (
        within("refund-cap", "require_approval", "require_aproval"),
        "require_aproval",
    ),
    "a typo in an annotation": (within("refund-cap", "@approvers", "@aprovers"), "aprovers"),
    "text in the place of money": (within("refund-cap", 'decimal("500.00")', '"500.00"'), "refund-cap"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_it_is_refused_when_it_is_read(name: str) -> None:
    change, said = REFUSED[name]
    with pytest.raises(PolicyError, match=re.escape(said)) as caught:
        weakened("refund_desk", change)
    assert re.search(r"\.cedar:\d+: rule `", str(caught.value)), "it says where"
    assert caught.value.hint, "it says what to do"


@dataclass(frozen=True, kw_only=True)
class Weakening:
    """One change, the rule that `diff` has to name, the invariant that it breaks, and the figures that it raises."""

    change: Callable[[str], str]
    rule: str
    breaks: str = ""
    raises: tuple[tuple[Measure, Period, str, Decimal | None], ...] = ()
    """Measure, period, unit, and the bound that was predicted; None is unbounded."""


BEFORE: dict[tuple[str, str, str], Decimal | None] = {
    ("money", "run", "USD"): Decimal(1000),  # 500 for one customer on each side of midnight
    ("money", "day", "USD"): Decimal(5000),  # the desk's own limit of a day
    ("recipients", "run", ""): Decimal(0),
    ("recipients", "day", ""): Decimal(0),
}
WEAKENINGS = {
    "both caps are raised tenfold": Weakening(
        change=swap('decimal("500.00")', 'decimal("5000.00")'),
        rule="refund-cap",
        breaks="large-orders-need-a-lead",
        raises=(("money", "run", "USD", Decimal(10000)),),
    ),
    "the customer's day is deleted": Weakening(
        change=without("refund-customer-day"),
        rule="refund-customer-day",
        raises=(
            ("money", "run", "USD", Decimal(10000)),
        ),  # 20 calls of 500; the desk's day on both sides of midnight
    ),
    "the desk's day is deleted": Weakening(
        change=without("refund-desk-day"), rule="refund-desk-day", raises=(("money", "day", "USD", None),)
    ),
    "the desk's day is doubled": Weakening(
        change=within("refund-desk-day", "5000.00", "10000.00"),
        rule="refund-desk-day",
        raises=(("money", "day", "USD", Decimal(10000)),),
    ),
    "messages need nobody": Weakening(
        change=without("send-needs-a-person"),
        rule="send-needs-a-person",
        breaks="nothing-sent-unread",
        raises=(("recipients", "run", "", Decimal(20)), ("recipients", "day", "", None)),
    ),
    "two people become one": Weakening(
        change=within("refund-large", '@count("2")', '@count("1")'),
        rule="refund-large",
        breaks="very-large-refunds-need-two-of-finance",
    ),
    "a bound that nothing reaches": Weakening(
        change=within("refund-large", 'decimal("5000.00")', 'decimal("50000.00")'),
        rule="refund-large",
        breaks="very-large-refunds-need-two-of-finance",
    ),
    "anybody may say yes": Weakening(
        change=within("cancel-needs-a-person", '"support-lead"', '"support-lead, trainee"'),
        rule="cancel-needs-a-person",
        breaks="taking-back-needs-a-lead",
    ),
    "a guard of the order's total is deleted": Weakening(
        change=without("refund-within-order"), rule="refund-within-order", breaks="never-more-than-paid"
    ),
    "and becomes or": Weakening(
        change=within("refund-paid-and-closed", "is_paid &&", "is_paid ||"),
        rule="refund-paid-and-closed",
        breaks="never-unpaid",
    ),
    "the customer is not compared": Weakening(
        change=within("refund-own-order", "context.args.customer_email == context.run.on_behalf_of &&", ""),
        rule="refund-own-order",
        breaks="only-own-money",
    ),
    "unless becomes when": Weakening(
        change=within("own-customer-only", "unless", "when"),
        rule="own-customer-only",
        breaks="own-record-only",
    ),
}


@pytest.mark.parametrize("name", WEAKENINGS)
def test_it_is_refuted_or_raises_the_blast_radius_as_predicted_and_diff_names_it(name: str) -> None:
    weakening = WEAKENINGS[name]
    agent, before, after = weakened("refund_desk", weakening.change)

    found = compare(before, after)
    assert weakening.rule in {each.id for each in found.rules}
    assert found.is_looser
    assert any(each.witness is not None for each in found.transitions)

    assert weakening.breaks or weakening.raises, "something has to notice it"
    assert isinstance(agent.policy, Path)
    proof = prove(after, load_rules(agent, read_invariants(agent.policy)))
    refuted = {each.invariant.id: each for each in proof.findings if each.status != "holds"}
    assert set(refuted) >= ({weakening.breaks} if weakening.breaks else set())
    assert all(each.counterexample is not None for each in refuted.values())
    assert bool(refuted) == bool(weakening.breaks)

    if weakening.raises:
        radius = blast_radius(agent, after)
        for measure, period, unit, bound in weakening.raises:
            assert radius.figure(measure, period, unit).bound == bound
            assert radius.figure(measure, period, unit).is_confirmed is (None if bound is None else True)


def test_the_figures_before_are_those_that_were_predicted() -> None:
    project = project_of("refund_desk")
    agent = project.agents["refund-desk"]
    radius = blast_radius(agent, project.bundle(agent.name))
    for (measure, period, unit), bound in BEFORE.items():
        assert radius.figure(measure, period, unit).bound == bound  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize("rule", ["payment-not-made-up", "order-not-made-up", "email-from-the-customer"])
def test_a_rule_about_origin_is_missed(rule: str) -> None:
    """Numbers that nobody named are let through to the customer's yes, or to nobody: the witness says so."""
    _, before, after = weakened("retail_policy", without(rule))
    found = compare(before, after)
    assert {each.id for each in found.rules} == {rule}
    assert found.transitions
    assert any(
        each.witness is not None and "trusted" in str(each.witness.described()) for each in found.transitions
    )


def test_a_larger_budget_is_a_larger_radius() -> None:
    project = project_of("refund_desk")
    agent = project.agents["refund-desk"]
    wider = replace(agent, budget=replace(agent.budget, tool_calls=40))
    figure = blast_radius(wider, project.bundle(agent.name)).figure("records", "run")
    assert (figure.bound, figure.is_confirmed) == (Decimal(40), True)
