"""The retail desk, whose rules ask who the customer is: what the confirmation by a person is worth, and what is left."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

from blast_desks import radius

import retail_policy
from retail_policy.agent import desk

FOLDER = Path(retail_policy.__file__).parent / "policy"


def rules(*, without: str = "") -> dict[str, str]:
    """The rules by file; one of them left out."""
    found = {path.name: path.read_text("utf-8") for path in sorted(FOLDER.glob("*.cedar"))}
    if not without:
        return found
    pattern = re.compile(rf'@id\("{without}"\).*?\n(\}}|\));\n', re.DOTALL)
    assert sum(len(pattern.findall(text)) for text in found.values()) == 1
    return {name: pattern.sub("", text) for name, text in found.items()}


def test_nothing_but_handing_over_is_done_without_a_person() -> None:
    found = radius(replace(desk, policy=rules()), "run")

    records = found.figure("records", "run")
    assert records.bound == 1
    assert [limit.name for limit in records.binding] == ["`hand-over-ends-it`"]
    assert records.is_confirmed
    assert len(found.held) == 7
    assert {each.rules for each in found.held} == {("customer-says-yes",)}


def test_without_the_confirmation_a_run_changes_what_its_calls_allow() -> None:
    """First somebody is found by an address that stands in the request; then every call is about an order named there."""
    found = radius(replace(desk, policy=rules(without="customer-says-yes")), "run").figure("records", "run")

    assert found.bound == 40
    assert found.is_confirmed
    assert found.witness is not None
    tools = [call.tool for call in found.witness.calls]
    assert tools[0] in ("find_user_id_by_email", "find_user_id_by_name_zip")
    assert "transfer_to_human_agents" not in tools[:-1], "after it nothing is let through"
