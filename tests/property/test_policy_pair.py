"""Two bundles asked together answer like each by itself: evaluating their rules as one set changes nothing."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.property.test_policy_slices import (
    ASKING,
    CONDITIONS,
    LOOK,
    OPEN,
    PAY,
    QUIET,
    Look,
    assemble,
    requests,
    rule_parts,
)

from answerable.gates.policy.pair import Pair
from answerable.gates.request import PolicyRequest
from answerable.kernel.decision import Verdict

if TYPE_CHECKING:
    from answerable.gates.policy import Bundle
    from answerable.kernel.decision import Decision

bundles = st.lists(rule_parts, min_size=1, max_size=6)


def check(current: Bundle, candidate: Bundle, asked: list[PolicyRequest], discharged: frozenset[str]) -> None:
    """The same decisions, with their reasons, texts and people; asked once and again."""
    pair = Pair(current, candidate)
    for request in asked * 2:
        for granted in (frozenset[str](), discharged):
            said = pair.decide(request, granted)
            assert said.discharged == current.decide(request, granted)
            assert said.current == current.decide(request)
            assert said.candidate == candidate.decide(request)


@settings(max_examples=80, deadline=None, suppress_health_check=QUIET)
@given(
    ours=bundles,
    theirs=bundles,
    shared=bundles,
    is_open=st.tuples(st.booleans(), st.booleans()),
    asked=st.lists(requests(), min_size=1, max_size=6),
    discharged=st.frozensets(st.sampled_from([f"r{n}" for n in range(6)])),
)
def test_a_pair_decides_like_each_bundle_by_itself(
    *,
    ours: list[tuple[str, ...]],
    theirs: list[tuple[str, ...]],
    shared: list[tuple[str, ...]],
    is_open: tuple[bool, bool],
    asked: list[PolicyRequest],
    discharged: frozenset[str],
) -> None:
    """For any rules, some of them shared, any call and any approvals."""
    current, candidate = (
        assemble([*shared, *parts, OPEN] if has_all else [*shared, *parts])
        for parts, has_all in zip((ours, theirs), is_open, strict=True)
    )

    check(current, candidate, asked, discharged)


@pytest.mark.parametrize("condition", CONDITIONS)
@settings(max_examples=8, deadline=None, suppress_health_check=QUIET)
@given(asked=st.lists(requests(), min_size=4, max_size=8), decision=st.sampled_from(["", ASKING]))
def test_a_rule_that_one_of_them_has_counts_for_that_one_only(
    condition: str, asked: list[PolicyRequest], decision: str
) -> None:
    """Also where it errs: then it denies there, and there only."""
    more = assemble([OPEN, ("forbid", decision, "principal", "action", "resource", condition)])

    check(assemble([OPEN]), more, asked, frozenset({"r1"}))
    check(more, assemble([OPEN]), asked, frozenset({"r1"}))


def look(order: str = "A") -> PolicyRequest:
    """A harmless read."""
    return PolicyRequest(
        agent="desk",
        tenant="t1",
        on_behalf_of="",
        tool=LOOK,
        arguments=Look(order_id=order),
        autonomy="capped",
    )


def refuse_it(*_: object) -> Decision:
    """Stands in for `Bundle.decide` where it must not be needed."""
    raise AssertionError


@pytest.mark.parametrize("condition", ["", 'when { context.args.order_id == "A" }'])
def test_one_evaluation_is_enough_for_both(condition: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither bundle is asked by itself."""
    stop = ("forbid", ASKING, "principal", "action", "resource", condition)
    pair = Pair(assemble([OPEN]), assemble([OPEN, stop]))
    monkeypatch.setattr("answerable.gates.policy.bundle.Bundle.decide", refuse_it)

    said = pair.decide(look())

    assert (said.current.verdict, said.candidate.verdict) == (Verdict.ALLOW, Verdict.REQUIRE_APPROVAL)
    assert said.discharged is said.current


@pytest.mark.parametrize(
    "changes",
    [
        {"agent": "nobody"},
        {"labels": {"nonsense": None}},
        {"on_behalf_of": "\ud800"},
        {"tool": replace(LOOK, data_class="secret")},
        {"tool": replace(PAY, name="unknown")},
    ],
)
def test_what_cannot_be_asked_is_denied_by_both_in_their_own_words(changes: dict[str, Any]) -> None:
    """As each does by itself."""
    reads = ("forbid", "", "principal", "action", "resource", 'when { context.args.order_id == "B" }')
    current, candidate = assemble([OPEN, reads]), assemble([OPEN])
    request = replace(look(), **changes)

    said = Pair(current, candidate).decide(request)

    assert (said.current, said.candidate) == (current.decide(request), candidate.decide(request))
    assert said.current.verdict is Verdict.DENY


def test_it_is_known_whether_any_rule_looks_at_a_call() -> None:
    """Of either bundle, for this tool; of what no rules were loaded for, nothing is looked at."""
    reads = (
        "forbid",
        "",
        "principal",
        'action == Action::"look"',
        "resource",
        'when { context.args.order_id == "B" }',
    )
    pair = Pair(assemble([OPEN]), assemble([OPEN, reads]))

    assert pair.is_read(LOOK, "desk")
    assert not pair.is_read(PAY, "desk")
    assert not pair.is_read(LOOK, "nobody")
