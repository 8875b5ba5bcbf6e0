"""Whether a target was met is decided here, so it is tested here; and that the rules are as many as was said."""

from collections.abc import Mapping

import pytest

from bench import lineup, targets
from bench.contract import Answer
from bench.desk import MEASURED, RULES_A_TOOL, Scope, make_agent
from bench.meter import Figures
from bench.summary import Spread


def answer(wall: float, cpu: float = 1.0) -> Answer:
    """A child's answer with these figures."""
    early, late = Figures(1, 10, 1, 100, None), Figures(1, 12, 1, 100, None)
    figures = Figures(wall, wall, cpu, 1, None)
    return Answer("ours", 1, {}, {}, figures, {50: early, 5000: late})


@pytest.mark.parametrize(
    ("measured", "limit", "said"),
    [
        (Spread(0.6, 0.5, 0.6), 0.6, "met"),
        (Spread(0.6, 0.5, 0.7), 0.6, "met, not in every round"),
        (Spread(0.61, 0.5, 0.7), 0.6, "missed"),
        (Spread(9, 9, 9), None, "no target"),
    ],
)
def test_a_target_is_met_or_missed(measured: Spread, limit: float | None, said: str) -> None:
    """What is over by a hair is missed."""
    assert said == targets.verdict(measured, limit)


def test_only_what_ran_is_judged() -> None:
    """A choice of subjects leaves out the targets that need another."""
    rounds = [{lineup.KEYED: answer(5), lineup.LANGGRAPH: answer(10)}]

    (row,) = targets.against_targets(targets.STEPS, rounds).rows

    assert row[2:] == ("0.50", "0.60", "met")


def test_on_postgres_one_peer_sets_the_target() -> None:
    """The others are printed for whoever asks."""
    rounds = [
        {
            lineup.POSTGRES_KEYED: answer(5),
            lineup.POSTGRES_DBOS: answer(10),
            lineup.POSTGRES_ABSURD: answer(4),
        }
    ]

    rows = targets.against_targets(targets.POSTGRES, rounds).rows

    assert [row[2:] for row in rows] == [("0.50", "0.40", "missed"), ("1.25", "none", "no target")]


def test_growth_is_judged_in_time_and_bytes() -> None:
    """Twelve against ten is more than a tenth."""
    table = targets.growth_against_target([{lineup.KEYED: answer(1)}])

    assert [row[-1] for row in table.rows] == ["missed", "met"]


@pytest.mark.parametrize("policies", [5, 50, 500])
@pytest.mark.parametrize("scope", ["action", "any"])
def test_there_are_exactly_so_many_rules(policies: int, scope: Scope) -> None:
    """A call of the measured tool is asked under its own rules, and under those that name no tool."""
    agent = make_agent("read", policies, scope)
    assert isinstance(agent.policy, Mapping)
    text = agent.policy["bench.cedar"]

    assert policies == text.count("@id(")
    assert min(policies, RULES_A_TOOL) == text.count(f'Action::"{MEASURED["read"].name}"')
