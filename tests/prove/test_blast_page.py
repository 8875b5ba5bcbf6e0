"""`answerable blast-radius`: what is printed, and what other programs get."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from blast_desks import clean, desk, forbid, pay, radius, read_people, send_one, undeclared

from answerable import Budget
from answerable.cli.main import call
from answerable.prove.blast_words import reasons, shown, standing, what

DESK = str(Path(__file__).parents[2] / "examples" / "refund_desk")
PROJECT = """
[project]
name = "two"
module = "agents.py"
"""
AGENTS = """
from blast_desks import clean, desk, pay
first = desk([pay], name="first", policy={"r.cedar": '@id("p") @text("All.") permit (principal, action, resource);'})
second = desk([clean], name="second", policy={"r.cedar": '@id("p") @text("All.") permit (principal, action, resource);'})
"""


def printed(capsys: pytest.CaptureFixture[str], *arguments: str, code: int = 0) -> str:
    """What a command line prints."""
    assert call(["blast-radius", *arguments]) == code
    return capsys.readouterr().out


def test_the_page_says_how_far_why_and_on_what_it_rests(capsys: pytest.CaptureFixture[str]) -> None:
    text = " ".join(printed(capsys, DESK).split())

    for said in (
        "With nobody asked, a hijacked model can at most in a run in a UTC day",
        "move money, USD 1,000.00 5,000.00",
        "change records 20 **unbounded**",
        "delete records — —",
        "tell people outside — —",
        "let data leave — —",
        "spend on models and tools, USD 0.40 **unbounded**",
        "· refund-customer-day: at most 500.00 for one {customer.customer_id} in a UTC day;",
        "· if that went: 10,000.00 by refund-desk-day, then 10,000.00 by budget tool_calls; then nothing",
        "· shown: 2 × create_refund of 500.00, one before and one after midnight UTC",
        "· shown: 10 × create_refund of 500.00, in 10 runs",
        "· to bound it: limit the agent's calls in a day: budget_per_day=Budget(tool_calls=...)",
        "· send_reply: a person is asked first (send-needs-a-person)",
        "Assumed · the model is hijacked from its first word",
    ):
        assert said in text, said


def test_json_has_every_call_of_every_witness(capsys: pytest.CaptureFixture[str]) -> None:
    (agent,) = json.loads(printed(capsys, DESK, "--json"))["agents"]

    assert set(agent["per"]) == {"run", "day"}
    (money,) = [each for each in agent["per"]["run"] if each["measure"] == "money"]
    assert (money["bound"], money["is_unbounded"], money["is_confirmed"]) == ("1000", False, True)
    assert [each["name"] for each in money["binding"]] == ["`refund-customer-day`"]
    first, second = money["witness"]["calls"]
    assert first["arguments"]["amount_usd"] == second["arguments"]["amount_usd"] == "500"
    assert set(first["facts"]) == {"order", "customer"}
    assert first["permitted_by"] == ["may-refund"]
    (records,) = [each for each in agent["per"]["day"] if each["measure"] == "records"]
    assert (records["bound"], records["is_unbounded"]) == (None, True)
    assert agent["budgets"]["tool_calls"] == 20
    assert agent["not_without_a_person"][0]["rules"] == ["send-needs-a-person"]


def test_one_period_is_one_column(capsys: pytest.CaptureFixture[str]) -> None:
    text = printed(capsys, DESK, "--per", "day")

    assert "in a UTC day" in text
    assert "in a run" not in text.partition("Assumed")[0]
    (agent,) = json.loads(printed(capsys, DESK, "--per", "day", "--json"))["agents"]
    assert set(agent["per"]) == {"day"}


def test_agents_are_shown_one_after_the_other_or_one_alone(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    (tmp_path / "answerable.toml").write_text(PROJECT)
    (tmp_path / "agents.py").write_text(AGENTS)

    both = json.loads(printed(capsys, str(tmp_path), "--json"))["agents"]
    one = json.loads(printed(capsys, str(tmp_path), "--agent", "second", "--json"))["agents"]

    assert [each["agent"] for each in both] == ["first", "second"]
    assert [each["agent"] for each in one] == ["second"]


def test_what_is_not_there_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    assert call(["blast-radius", DESK, "--agent", "nobody"]) == 3
    assert "the project has no agent `nobody`" in capsys.readouterr().err
    assert call(["blast-radius", DESK, "--per", "week"]) == 2


def said(agent: Any, measure: Any, period: Any, unit: str = "") -> tuple[str, list[str]]:
    """A figure as the page has it."""
    found = radius(agent, period).figure(measure, period, unit)
    return standing(found), [*reasons(found), shown(found)]


def test_a_figure_that_was_not_reached_is_called_unconfirmed() -> None:
    first = forbid(
        "look-first", "pay", "context.history.read_people.last > context.history.pay.last", unless=True
    )

    cell, lines = said(desk([pay, read_people], first, budget=Budget(tool_calls=6)), "money", "run", "USD")

    assert cell == "6,000.00 (unconfirmed)"
    assert lines[-1] == "unconfirmed, 3,000.00 shown: 3 × `pay` of 1,000.00, after `read_people`"


def test_a_figure_that_nothing_reaches_says_so() -> None:
    """Two conditions that no run can meet, of which the bound sees only the one."""
    never = forbid(
        "never", "pay", "context.history.clean.done > 0 && context.history.clean.decided == 0", unless=True
    )

    cell, lines = said(desk([pay, clean], never), "money", "run", "USD")

    assert "unconfirmed" in cell
    assert lines[-1] == "unconfirmed: no call was found that the gates let through"


def test_what_is_unbounded_says_what_would_bound_it() -> None:
    cell, lines = said(desk([undeclared]), "records", "run")

    assert cell == "unbounded"
    assert lines[0].startswith("to bound it: declare `impact=Impact(...)` on `undeclared`")


def test_data_that_leaves_is_named() -> None:
    cell, lines = said(desk([send_one, read_people]), "classes", "run")

    assert cell == "internal, personal"
    assert lines[-1] == "shown: internal, personal: 2 × `send_one`, after `read_people`, in 2 runs"


def test_zero_is_a_dash_and_money_has_two_places() -> None:
    found = radius(desk([clean]), "run")

    assert standing(found.figure("recipients", "run")) == "—"
    assert what(found.figure("money", "run", "USD")) == "move money, USD"
    assert said(desk([pay], budget=Budget(tool_calls=1)), "money", "run", "USD")[0] == "1,000.00"
    assert (
        Decimal("0.5")
        == radius(desk([clean], budget=Budget(money="0.5")), "run").figure("spend", "run", "USD").bound
    )
