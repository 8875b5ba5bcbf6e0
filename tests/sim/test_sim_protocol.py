"""Every interleaving of the protocol's steps, at a size at which all of them can be visited."""

from __future__ import annotations

import pytest
from tests.sim.protocol import Rules, explore

MODES = ("native_key", "at_most_once", "probe_then_write")


@pytest.mark.parametrize("mode", MODES)
def test_no_interleaving_breaks_a_promise(mode: str) -> None:
    """With pauses and kills at every point, lost requests, and a halt at any time."""
    found = explore(Rules(mode=mode))

    print(f"\n{mode}: {found.states} states, {found.steps} steps, {found.appends} kinds of append")
    assert found.wrong == {}
    assert found.states > 1000


@pytest.mark.parametrize("mode", MODES)
def test_an_answer_that_cannot_be_read_back_breaks_no_promise(mode: str) -> None:
    """Who takes what was written for not written is refused, and reads again."""
    assert explore(Rules(mode=mode, reads_back=False, kills=0)).wrong == {}


@pytest.mark.parametrize(
    ("wrong", "rules"),
    [
        ("done twice", Rules(mode="probe_then_write", waits_for_probe=False)),
        ("a look that should have said no", Rules(looks=False)),
        ("sent without an intent", Rules(intends_first=False)),
        ("a look that should have said no", Rules(is_fenced=False)),
    ],
    ids=["probe that does not wait", "no look", "intent after the send", "no fence"],
)
def test_a_mistake_shows_in_some_interleaving(wrong: str, rules: Rules) -> None:
    """The search is not blind."""
    assert wrong in explore(rules, until=wrong).wrong
