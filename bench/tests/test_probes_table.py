"""The table of probes says what was seen: an effect too many is never a shade of no, and a gap is no answer."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import pytest

from bench.probes import __main__ as command
from bench.probes.cases import CASES, Case
from bench.probes.ours import answers
from bench.probes.seen import Did, Seen


@pytest.mark.parametrize(
    ("done_max", "did", "effects", "said"),
    [
        (0, "denied", 0, "denied"),
        (0, "refused at load", 0, "refused"),
        (0, "waits", 0, "waits"),
        (0, "failed", 0, "failed"),
        (0, "not applicable", 0, "-"),
        (0, "done", 1, "DONE"),
        (1, "done", 1, "held"),
        (1, "done", 2, "DONE"),
        (1, "denied", 0, "denied"),
    ],
)
def test_a_case_gets_one_word(done_max: int, did: Did, effects: int, said: str) -> None:
    """What counts is how often it happened, whatever was said about it."""
    assert command.verdict(Case("1a", "x", done_max), asdict(Seen(did, "", effects))) == said


def test_a_control_has_to_be_done() -> None:
    """A product that refuses everything holds every probe, and is of no use."""
    control = Case("0a", "x", done_max=1, is_control=True)

    assert command.verdict(control, asdict(Seen("done", "", 1))) == "done"
    assert command.verdict(control, asdict(Seen("denied", "no"))) == "NOT DONE (denied)"


def test_what_has_no_answer_is_not_counted_as_held() -> None:
    """Nor is a control."""
    seen = {case.id: asdict(Seen("denied", "no")) for case in CASES}
    seen["1a"], seen["3a"] = asdict(Seen("done", "paid", 1)), asdict(Seen("not applicable", "no such thing"))
    answered: dict[str, dict[str, Any]] = {"one": {"seen": seen}}
    controls = sum(case.is_control for case in CASES)

    assert command.slips(command.verdicts(answered), "one") == (1, len(CASES) - controls - 1)
    assert f"1 of {len(CASES) - controls - 1}" in command.table(answered).splitlines()[-1]


def test_each_case_is_asked_once_and_we_hold_them_all() -> None:
    """Ours needs no other environment, so it is asked here too: every answer, every time."""
    found = answers()
    seen = {name: asdict(one()) for name, one in found.items()}
    verdicts = command.verdicts({"ours": {"seen": seen}})

    assert len({case.id for case in CASES}) == len(CASES)
    assert set(found) == {case.id for case in CASES}
    assert {case.id: verdicts[case.id]["ours"] for case in CASES if case.is_control} == {
        "0a": "done",
        "0b": "done",
    }
    assert command.slips(verdicts, "ours") == (0, len(CASES) - 2)
    assert all(each["how"] for name, each in seen.items() if not name.startswith("0"))
