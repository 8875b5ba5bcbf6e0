"""A policy document that nobody here wrote, as rules: what an oracle does asks exactly for the customer's yes.

The conversations are tau2-bench's retail domain; the rules are those of `examples/retail_policy`. The shop behind
them is made from the recording alone, and completed where it is silent; where the recording's database is beside
it, from that (see `retail_world`).
"""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from typing import TYPE_CHECKING

import pytest
from retail_measure import is_stopped, measure, table
from retail_world import DATABASE, load_conversations
from tau2_shop import RETAIL

from answerable.gates.schema import accept
from answerable.journal.verify import verify_database
from retail_policy.agent import desk

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.skipif(
    not RETAIL.is_file(), reason=f"no recorded retail workload at {RETAIL} (set ANSWERABLE_WORKLOADS)"
)
FAILED_UPSTREAM = {
    ("64", "delivered-only"),
    ("105", "gift-card-covers-the-difference"),
    ("105", "facts-complete"),
}
"""The oracle's writes that the recorded shop itself refused, and what refuses them here. What the second is about is not
in the recording, so without the database no fact can be read for it."""
CLASSES_MIN = 30


def test_the_tools_are_those_of_the_recording() -> None:
    """The same names, the same parameters, all of them required."""
    recorded = {each["function"]["name"]: each["function"]["parameters"] for each in _recorded()["tools"]}
    ours = {tool.name: tool.spec.parameters() for tool in desk.tools}

    assert set(ours) == set(recorded)
    for name, parameters in recorded.items():
        assert list(ours[name]["properties"]) == list(parameters["properties"]), name
        assert ours[name].get("required", []) == parameters.get("required", []), name


def test_every_recorded_call_is_a_valid_one() -> None:
    """The types and patterns of the example take every argument of every recorded call."""
    tools = {tool.name: tool.spec for tool in desk.tools}
    calls = [step for said in load_conversations() for step in said.steps]
    for step in calls:
        accept(tools[step["tool"]], step["args"])

    assert len(calls) == 550


@pytest.mark.parametrize(
    "source",
    [
        "recorded",
        pytest.param(
            "database",
            marks=pytest.mark.skipif(
                not DATABASE.is_file(), reason=f"no database of the recording at {DATABASE}"
            ),
        ),
    ],
)
def test_what_the_oracle_did_asks_the_customer_and_what_is_wrong_is_denied(
    source: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Every write that succeeded upstream asks for one yes of the customer; every wrong call is denied by its rule."""
    report = asyncio.run(measure(source, tmp_path))
    with capsys.disabled():
        print(table(report))
    writes = report.oracle_writes
    yes = [fate for _, fate in writes if fate.asked == ("customer-says-yes: customer x1",)]
    denied = {(said, rule) for said, fate in writes if fate.verdict == "denied" for rule in fate.rules}
    wrong = [fate for _, fate in report.of("wrong")]

    assert len(report.fates) == 114
    assert report.outcomes == Counter({"unverified": 114})
    assert len(writes) == 176
    assert len(yes) == 174
    assert all(fate.verdict == "done" for fate in yes)
    assert len(denied) == 2
    assert denied <= FAILED_UPSTREAM
    assert [fate for _, fate in report.of("oracle") if fate.verdict == "denied"] == [
        fate for _, fate in writes if fate.verdict == "denied"
    ]
    assert not [fate for fate in wrong if not is_stopped(fate)]
    assert len({fate.put.wrong for fate in wrong}) >= CLASSES_MIN
    assert verify_database(report.journal).findings == ()


def _recorded() -> dict[str, list[dict[str, dict[str, dict[str, list[str]]]]]]:
    read: dict[str, list[dict[str, dict[str, dict[str, list[str]]]]]] = json.loads(RETAIL.read_text("utf-8"))
    return read
