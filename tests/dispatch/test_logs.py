"""Logs for operators: one line for each thing, and nothing that anybody wrote."""

from __future__ import annotations

import json
import logging
from typing import TYPE_CHECKING

import pytest

from answerable.observe.logs import about, begin_logs, name_agent, say, warn

if TYPE_CHECKING:
    from collections.abc import Generator


@pytest.fixture(autouse=True)
def as_before() -> Generator[None]:
    logger = logging.getLogger("answerable")
    kept = logger.handlers, logger.propagate, logger.level
    yield
    logger.handlers, logger.propagate = list(kept[0]), kept[1]
    logger.setLevel(kept[2])


def test_a_line_says_when_what_who_and_about_which_run(capsys: pytest.CaptureFixture[str]) -> None:
    """As JSON: every line can be read by itself."""
    begin_logs("json", "own_1")
    with about("run_1"):
        name_agent("run_1", "clerk")
        name_agent("run_2", "another")
        say("run_driven", state="ended", seconds=0.5)
    warn("lease_lost")
    first, second = (json.loads(line) for line in capsys.readouterr().err.splitlines())

    assert first.pop("time").endswith("+00:00")
    assert first == {
        "level": "info",
        "event": "run_driven",
        "worker": "own_1",
        "run": "run_1",
        "agent": "clerk",
        "state": "ended",
        "seconds": 0.5,
    }
    assert (second["level"], second["event"], "run" in second) == ("warning", "lease_lost", False)


def test_text_is_for_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    """Short, and what is wrong is marked."""
    begin_logs("text", "own_1")
    say("draining")
    warn("claim_failed", error="OperationalError")
    first, second = capsys.readouterr().err.splitlines()

    assert first.endswith(" draining")
    assert second.endswith(" warning: claim_failed error=OperationalError")


def test_who_asked_for_no_log_gets_none(capsys: pytest.CaptureFixture[str]) -> None:
    """A library says nothing by itself."""
    logging.getLogger("answerable").propagate = False
    warn("enqueue_failed")

    assert capsys.readouterr().err == ""
