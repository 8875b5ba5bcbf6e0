"""What comes next for a call: every combination of what the journal can say, and any order of it."""

from __future__ import annotations

from dataclasses import replace
from itertools import product
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, TypeAdapter

from answerable.engine.next import (
    Await,
    Decide,
    Finish,
    GiveUp,
    Probe,
    Refuse,
    Report,
    Resend,
    Void,
    next_action,
)
from answerable.kernel.events import (
    ApprovalRequested,
    ApprovalSettled,
    CallDecided,
    CallEnded,
    CallIntended,
    EffectReported,
)
from answerable.kernel.state import CallStep
from answerable.kernel.tool import EffectClass, ToolSpec, WriteMode

D, OTHER = "d" * 64, "e" * 64
SECOND = 1_000_000
BEGUN = 1000 * SECOND
SEND_BY = BEGUN + 5 * SECOND
MODES = ["read", *(mode.value for mode in WriteMode)]


class NoArguments(BaseModel):
    """Nothing."""


SPEC = ToolSpec(
    name="pay", description="d", effect_class=EffectClass.WRITE, mode=WriteMode.UPSERT, arguments=NoArguments,
    result=TypeAdapter(str), timeout_s=30, probe_lag_s=5,
)  # fmt: skip
REPORTED = EffectReported(effect="e1", state="done", by="ann")


def decided(verdict: str) -> CallDecided:
    """What the gates said."""
    return CallDecided(
        path="1.0",
        tool="pay",
        cls="write",
        digest=D,
        verdict=verdict,
        gate="policy",
        policy=D,
        labels={},
        facts={},
        totals={},
    )


def request(number: int = 1, digest: str = D, rule: str = "over-cap") -> ApprovalRequested:
    """A question to people."""
    return ApprovalRequested(
        path="1.0",
        request=f"apr_{number}",
        digest=digest,
        needs=((rule, ("lead",), 1),),
        expires=9,
        preview=D,
    )


def intent(mode: str) -> CallIntended:
    """Something that may have been sent."""
    return CallIntended(
        path="1.0", effect="e1", attempt=1, tool="pay", mode=mode, halt_epoch=0, send_by=SEND_BY
    )


def ended(state: str) -> CallEnded:
    """What came of it."""
    return CallEnded(path="1.0", attempt=1, tool="pay", state=state, via="send", cost=0, us=1, effect="e1")


def settled(state: str, *requests: ApprovalRequested) -> dict[str, ApprovalSettled]:
    """All of them with the same end."""
    return {each.request: ApprovalSettled(path="1.0", request=each.request, state=state) for each in requests}


def after(
    step: CallStep | None, spec: ToolSpec = SPEC, *, now: int = 0, reported: EffectReported | None = None
) -> Any:
    """The next action for today's proposal."""
    return next_action(step, spec, digest=D, now=now, reported=reported)


ASKING = decided("require_approval")
STEPS: dict[str, CallStep | None] = {
    "new": None,
    "denied": CallStep(decided=decided("deny")),
    "allowed": CallStep(decided=decided("allow")),
    "asked": CallStep(decided=ASKING, requests=[request()]),
    **{
        answer: CallStep(decided=ASKING, requests=[request()], settled=settled(answer, request()))
        for answer in ("granted", "denied by a person", "expired", "voided")
    },
    "asking without a question": CallStep(decided=ASKING),
    "in doubt": CallStep(decided=decided("allow"), intent=intent("upsert")),
    **{
        f"ended {state}": CallStep(decided=decided("allow"), ended=ended(state))
        for state in ("done", "failed", "unknown", "shadowed")
    },
}
STEPS["denied by a person"] = CallStep(
    decided=ASKING, requests=[request()], settled=settled("denied", request())
)
EXPECTED: dict[str, Any] = {
    "new": Decide(frozenset()),
    "denied": Refuse(decided("deny")),
    "allowed": Decide(frozenset()),
    "asked": Await(request()),
    "granted": Decide(frozenset({"over-cap"})),
    "denied by a person": Refuse(ASKING, "denied"),
    "expired": Refuse(ASKING, "expired"),
    "voided": Decide(frozenset()),
    "asking without a question": Decide(frozenset()),
    **{f"ended {state}": Finish(ended(state)) for state in ("done", "failed", "unknown", "shadowed")},
}


def in_doubt(mode: str, *, has_probe: bool) -> Any:
    """What is promised for each write mode, within the life of a key (`spec/effects.md`, section 2)."""
    match mode:
        case "read" | "native_key" | "upsert" | "conditional":
            return Resend(intent(mode))
        case "probe_then_write" | "draft_then_commit":
            return Probe(intent(mode), SEND_BY + 39 * SECOND)
        case _:
            return Probe(intent(mode), SEND_BY + 39 * SECOND) if has_probe else GiveUp(intent(mode))


@pytest.mark.parametrize(
    ("name", "mode", "reported", "has_probe"), list(product(STEPS, MODES, (None, REPORTED), (False, True)))
)
def test_every_combination_has_one_answer(
    name: str, mode: str, reported: EffectReported | None, has_probe: bool
) -> None:
    """A total table: what was recorded, write mode, what somebody said, and whether one can ask."""
    spec, step = replace(SPEC, has_probe=has_probe), STEPS[name]
    if step is not None and (name == "in doubt" or name.startswith("ended")):
        step = replace(step, intent=intent(mode))
    expected = in_doubt(mode, has_probe=has_probe) if name == "in doubt" else EXPECTED[name]
    if reported is not None and name in ("in doubt", "ended unknown"):
        expected = Report(reported)
    assert after(step, spec, reported=reported) == expected


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("has_probe", [False, True])
def test_past_the_life_of_a_key_nothing_is_sent_again_unseen(mode: str, has_probe: bool) -> None:
    """It is asked for, or said to be unknown; a read is always read again."""
    spec = replace(SPEC, key_ttl_s=60.0, has_probe=has_probe)
    step = CallStep(decided=decided("allow"), intent=intent(mode), intended_at=BEGUN)
    assert after(step, spec, now=BEGUN + 55 * SECOND - 1) == in_doubt(mode, has_probe=has_probe)
    late = after(step, spec, now=BEGUN + 55 * SECOND)
    if mode == "read":
        assert isinstance(late, Resend)
    else:
        is_asked = has_probe or mode in ("probe_then_write", "draft_then_commit")
        assert isinstance(late, Probe if is_asked else GiveUp)


def test_later_attempts_do_not_prolong_the_life_of_a_key() -> None:
    """The vendor counts from the first time that it saw it."""
    again = replace(intent("native_key"), attempt=2, send_by=SEND_BY + 50 * SECOND)
    step = CallStep(decided=decided("allow"), intent=again, intended_at=BEGUN)
    assert isinstance(after(step, replace(SPEC, key_ttl_s=60.0), now=BEGUN + 59 * SECOND), GiveUp)


def test_the_mode_that_was_recorded_counts_and_not_that_of_today() -> None:
    """A tool that became `upsert` since does not make an old send repeatable."""
    step = CallStep(decided=decided("allow"), intent=intent("at_most_once"))
    assert isinstance(after(step, replace(SPEC, mode=WriteMode.UPSERT)), GiveUp)


def test_an_approval_of_another_proposal_discharges_nothing() -> None:
    """A changed plan asks anew."""
    stale = request(digest=OTHER)
    step = CallStep(decided=ASKING, requests=[stale], settled=settled("granted", stale))
    assert after(step) == Decide(frozenset())


def test_a_question_about_another_proposal_is_void() -> None:
    """What would be sent now is not what people were shown: they are asked anew, and a late yes counts for nothing."""
    stale = request(digest=OTHER)
    assert after(CallStep(decided=ASKING, requests=[stale])) == Void(stale)
    voided = CallStep(decided=ASKING, requests=[stale], settled=settled("voided", stale))
    assert after(voided) == Decide(frozenset())


def test_approvals_of_several_rounds_add_up_and_the_last_round_decides() -> None:
    """A rule that was not there before asks again; a no in the last round ends it."""
    first, second = request(1, rule="a"), request(2, rule="b")
    both = CallStep(decided=ASKING, requests=[first, second], settled=settled("granted", first, second))
    assert after(both) == Decide(frozenset({"a", "b"}))
    waiting = CallStep(decided=ASKING, requests=[first, second], settled=settled("granted", first))
    assert after(waiting) == Await(second)
    refused = CallStep(
        decided=ASKING,
        requests=[first, second],
        settled={**settled("granted", first), **settled("denied", second)},
    )
    assert after(refused) == Refuse(ASKING, "denied")
    assert after(
        CallStep(decided=decided("allow"), requests=[first], settled=settled("granted", first))
    ) == Decide(frozenset({"a"}))


REQUESTS = st.builds(request, st.integers(1, 3), st.sampled_from([D, OTHER]), st.sampled_from(["a", "b"]))
SETTLED = st.sampled_from(["", "granted", "denied", "expired", "voided"])


@st.composite
def steps(draw: st.DrawFn) -> CallStep:
    """Whatever a journal could say of a call."""
    requests = draw(st.lists(REQUESTS, max_size=3, unique_by=lambda each: each.request))
    states = {each.request: draw(SETTLED) for each in requests}
    return CallStep(
        decided=decided(draw(st.sampled_from(["allow", "deny", "require_approval"]))),
        requests=requests,
        settled={
            name: ApprovalSettled(path="1.0", request=name, state=state)
            for name, state in states.items()
            if state
        },
        intent=draw(st.sampled_from([None, *map(intent, MODES)])),
        intended_at=BEGUN,
        ended=draw(st.sampled_from([None, *map(ended, ("done", "failed", "unknown", "shadowed"))])),
    )


@given(
    steps(),
    st.booleans(),
    st.sampled_from([None, 0.0, 60.0]),
    st.integers(0, 2 * SEND_BY),
    st.sampled_from([None, REPORTED]),
)
@settings(deadline=None)
def test_what_must_hold_in_any_state(
    step: CallStep, has_probe: bool, ttl: float | None, now: int, reported: Any
) -> None:
    """Never sent again unless its mode allows it; never decided again once intended; never discharged by another's yes."""
    action = after(step, replace(SPEC, has_probe=has_probe, key_ttl_s=ttl), now=now, reported=reported)
    match action:
        case Resend(sent):
            assert sent.mode in ("read", "native_key", "upsert", "conditional")
            assert step.ended is None
            assert reported is None
            assert sent.mode == "read" or ttl is None or now + 5 * SECOND < BEGUN + ttl * SECOND
        case Probe(sent, not_before):
            assert sent.mode != "read"
            assert not_before >= SEND_BY + 39 * SECOND
        case GiveUp(sent):
            assert sent.mode != "read"
            assert not has_probe
        case Decide(discharged):
            assert step.intent is None
            assert step.ended is None
            granted = {
                r.needs[0][0]
                for r in step.requests
                if r.digest == D and getattr(step.settled.get(r.request), "state", "") == "granted"
            }
            assert discharged == granted
        case Report(said):
            assert said is reported
            assert step.ended is None or step.ended.state == "unknown"
        case Refuse():
            assert step.intent is None
        case Await(asked):
            assert asked.request not in step.settled
            assert asked.digest == D
        case Void(asked):
            assert asked.request not in step.settled
            assert asked.digest != D
        case Finish(end):
            assert end is step.ended
