"""Names, and the keys that the vectors give."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from answerable.kernel import ids
from answerable.kernel.encoding import encode_payload, keyed_digest

VECTORS: dict[str, Any] = json.loads(
    (Path(__file__).parents[3] / "spec/vectors/effects.json").read_text("utf-8")
)
SUBJECT_KEY, TENANT_KEY = bytes.fromhex(VECTORS["subject_key"]), bytes.fromhex(VECTORS["tenant_key"])


@pytest.mark.parametrize("vector", VECTORS["effects"])
def test_the_key_of_an_effect_is_the_one_of_the_specification(vector: dict[str, Any]) -> None:
    """From the arguments to their bytes, to their ref, to the key."""
    content = encode_payload(vector["arguments"])
    assert content.decode() == vector["canonical"]
    ref = keyed_digest(SUBJECT_KEY, "answerable/payload/v1", content)
    assert ref == vector["args_ref"]
    path = ids.StepPath.parse(vector["path"])
    assert str(path) == vector["path"]
    assert ids.effect_key(vector["run"], path, vector["tool"], ref) == vector["effect"]


@pytest.mark.parametrize("vector", VECTORS["children"])
def test_a_child_run_has_the_id_of_the_specification(vector: dict[str, Any]) -> None:
    """The same parent, step and index: the same child."""
    path = ids.StepPath.parse(vector["path"])
    assert ids.child_run_id(vector["parent"], path, vector["index"]) == vector["run"]


@pytest.mark.parametrize("vector", VECTORS["sources"])
def test_a_source_event_has_the_run_of_the_specification(vector: dict[str, Any]) -> None:
    """The same ticket cannot start two runs."""
    assert ids.run_id_from_source(vector["tenant"], vector["agent"], vector["event"]) == vector["run"]


@pytest.mark.parametrize("vector", VECTORS["claims"])
def test_a_claim_has_the_key_of_the_specification(vector: dict[str, Any]) -> None:
    """Two runs that would do the same hold the same claim."""
    assert ids.claim_key(TENANT_KEY, vector["tenant"], vector["tool"], vector["target"]) == vector["claim"]


@pytest.mark.parametrize("vector", VECTORS["totals"])
def test_a_total_has_the_key_of_the_specification(vector: dict[str, Any]) -> None:
    """One per name, target and period."""
    assert ids.total_key(TENANT_KEY, vector["name"], vector["target"], vector["period"]) == vector["total"]


@pytest.mark.parametrize(
    "text", ["", "1", "1.", ".1", "1.2.3", "01.0", "1.00", "-1.0", "1.-1", " 1.0", "1.0\n", "１.０", "1_0.0"]
)
def test_a_path_has_one_spelling(text: str) -> None:
    """Anything else than TURN.INDEX is refused, also what Python would read as an integer."""
    with pytest.raises(ValueError, match="no path"):
        ids.StepPath.parse(text)


def test_every_request_for_approval_has_its_own_id() -> None:
    """A round, a path or a run more makes another request, so an old answer never fits."""
    run, other = ids.RunId("run_a"), ids.RunId("run_b")
    found = {
        ids.request_id(name, path, round_)
        for name in (run, other)
        for path in (ids.StepPath(1, 0), ids.StepPath(1, 1), ids.StepPath(11, 0))
        for round_ in (1, 2)
    }
    assert len(found) == 12
    assert all(name.startswith("apr_") and len(name) == 30 for name in found)


def test_streams_are_named_after_what_they_belong_to() -> None:
    """Four kinds of stream."""
    run = ids.RunId("run_a")
    assert ids.run_stream(run) == "run/run_a"
    assert ids.inbox_stream(run) == "inbox/run_a"
    assert ids.tenant_stream("default") == "tenant/default"
    assert ids.agent_stream("desk") == "agent/desk"


def test_content_is_named_as_the_specification_says() -> None:
    """By the key of its subject and its bytes; the vectors hold the name of each effect's arguments."""
    for vector in VECTORS["effects"]:
        assert ids.payload_ref(SUBJECT_KEY, encode_payload(vector["arguments"])) == vector["args_ref"]


def test_a_day_is_a_day_in_utc() -> None:
    """The last microsecond before midnight is still that day."""
    midnight = 1_779_840_000_000_000

    assert [ids.utc_day(midnight - 1), ids.utc_day(midnight)] == ["2026-05-26", "2026-05-27"]
