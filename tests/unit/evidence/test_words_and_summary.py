"""Small things that everything shown is made of."""

from __future__ import annotations

from typing import Any

import pytest

from answerable.evidence.summary import row_json, summarise
from answerable.evidence.words import brief, dollars, in_line, lasting, listed, sentence, visible, when
from answerable.journal.store import Erased, RunRow


def row(outcome: str | None = None, state: str = "ended", **given: Any) -> RunRow:
    values: dict[str, Any] = {
        "run": "run_a",
        "agent": "desk",
        "tenant": "default",
        "kind": "driven",
        "code": None,
        "created": 1,
        "started": 2,
        "ended": 3,
        "steps": 4,
        "cost": 1_000_000,
        "is_cost_known": True,
        "owner": None,
        "epoch": 1,
        "waiting_for": None,
        "request": None,
        "wake_at": None,
        "subject": "sub_a",
        "scripted": False,
        **given,
    }
    return RunRow(outcome=outcome, state=state, **values)


def test_a_summary_follows_the_rules_of_outcomes() -> None:
    rows = [
        row("succeeded"),
        row("escalated"),
        row("escalated"),
        row("failed"),
        row(None, "waiting", waiting_for="approval"),
    ]
    said = summarise(rows, 1.23456, "sqlite:///x.db")
    assert said["runs"] == 5
    assert said["outcomes"] == {
        "succeeded": 1,
        "unverified": 0,
        "escalated": 2,
        "failed": 1,
        "halted": 0,
        "abandoned": 0,
    }
    assert (said["success_rate"], said["escalation_rate"]) == (0.25, 0.5)
    assert said["cost_per_success"] == "5", "the cost of all runs, ended or not"
    assert (said["approvals_waiting"], said["seconds"]) == (1, 1.235)


def test_rates_are_null_before_anything_ended_and_so_is_a_cost_without_success() -> None:
    said = summarise([row(None, "running")], 0, "j")
    assert said["success_rate"] is said["escalation_rate"] is said["cost_per_success"] is None


def test_one_unknown_price_makes_the_cost_unknown() -> None:
    said = summarise([row("succeeded"), row("failed", is_cost_known=False)], 0, "j")
    assert said["cost_per_success"] is None


def test_a_row_has_the_members_that_others_rely_on() -> None:
    assert {"run", "agent", "state", "outcome", "started", "steps", "cost"} <= set(row_json(row("succeeded")))
    assert row_json(row("succeeded", is_cost_known=False))["cost"] is None


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain", "plain"),
        ("é 漢 🙂", "é 漢 🙂"),
        ("\x1b[31m", "<U+001B>[31m"),
        ("a\u202eb\u200bc", "a<U+202E>b<U+200B>c"),
        ("two\nlines", "two\nlines"),
        ("\r", "<U+000D>"),
    ],
)
def test_what_controls_a_terminal_is_shown_not_sent(text: str, shown: str) -> None:
    assert visible(text) == shown


def test_a_line_is_one_line_and_can_be_shortened() -> None:
    assert in_line("a\n  b\tc") == "a b c"
    assert in_line("abcdef", 4) == "abc…"
    assert sentence("it is so") == "It is so."
    assert sentence("Is it?") == "Is it?"


def test_content_in_brief() -> None:
    assert brief({"a": 1, "b": "two words", "c": None, "d": [1, 2]}) == "a 1, b “two words”, d [1,2]"
    assert brief(Erased("x")) == "[erased]"


def test_amounts_moments_and_durations() -> None:
    assert [dollars(n) for n in (0, 1_500_000, 15)] == ["$0.00", "$1.50", "$0.000015"]
    assert when(1_767_225_600_000_000) == "2026-01-01 00:00:00 UTC"
    assert [lasting(n) for n in (5_000, 1_500_000, 600_000_000, 9_000_000_000)] == [
        "5 ms",
        "1.5 s",
        "10 min",
        "2 h 30 min",
    ]
    assert [listed(n) for n in ([], ["a"], ["a", "b"], ["a", "b", "c"])] == ["", "a", "a and b", "a, b and c"]
