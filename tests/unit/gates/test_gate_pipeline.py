"""The gates in their order, budget, autonomy, and the permit that nobody can forge by normal means."""

from __future__ import annotations

import copy
import pickle
from dataclasses import dataclass, replace
from itertools import product
from typing import Any

import pytest
from pydantic import BaseModel, TypeAdapter

from answerable.gates import autonomy, budget
from answerable.gates.pipeline import Permit, Situation, admit, decide
from answerable.gates.request import PolicyRequest
from answerable.kernel.decision import ApproverNeed, Decision, ReasonCode, Verdict, allow, deny
from answerable.kernel.entry import EMPTY, Entry, make_entry
from answerable.kernel.events import CallIntended
from answerable.kernel.state import CallRecord
from answerable.kernel.tool import EffectClass, Impact, ToolSpec, Total, WriteMode


class NoArguments(BaseModel):
    """Nothing."""


READ = ToolSpec(
    name="look",
    description="d",
    effect_class=EffectClass.READ,
    arguments=NoArguments,
    result=TypeAdapter(str),
)
WRITE = replace(READ, name="pay", effect_class=EffectClass.WRITE, mode=WriteMode.UPSERT)
MONEY = replace(WRITE, impact=Impact(money="amount"))
ASK = Decision(
    verdict=Verdict.REQUIRE_APPROVAL,
    gate="policy",
    code=ReasonCode.APPROVAL_REQUIRED,
    reason="700 is over 500",
    rules=("over-cap",),
    texts={"over-cap": "Ask above 500"},
    needs=(ApproverNeed(rule="over-cap", roles=("lead",)),),
    digest="bundle",
)
NO = deny("policy", ReasonCode.POLICY_DENIED, "never", rules=("no-refunds",), digest="bundle")
YES = allow("policy", rules=("refunds",), digest="bundle")


@dataclass
class FixedPolicy:
    """Rules that always say the same, and remember what they were told of approvals."""

    says: Decision
    digest: str = "bundle"
    heard: frozenset[str] | None = None

    def decide(self, request: PolicyRequest, discharged: frozenset[str] = frozenset()) -> Decision:
        """The same, whatever the call."""
        del request
        self.heard = discharged
        return self.says


def asked(spec: ToolSpec = WRITE, level: Any = "full", says: Decision = YES, **changes: Any) -> Decision:
    """What all gates together say."""
    situation = Situation(
        history=(),
        args="a",
        unknown_tools=frozenset(),
        is_done=False,
        limits={},
        spent={},
        ask={"tool_calls": 1},
        wall_clock_us=None,
        active_us=0,
        discharged=frozenset(),
    )
    request = PolicyRequest(
        agent="desk", tenant="t", on_behalf_of="", tool=spec, arguments=NoArguments(), autonomy=level
    )
    return decide(request, replace(situation, **changes), FixedPolicy(says))


OVER: dict[str, Any] = {"limits": {"tool_calls": 0}}
LOOP: dict[str, Any] = {"history": (CallRecord(tool="pay", args="a", cls="write", state="done", result="r"),)}


def test_a_call_that_every_gate_lets_through_is_allowed_by_the_policy() -> None:
    """The rules that allowed it are the ones that are written down."""
    assert asked() == YES


def test_the_first_no_stands_and_a_no_beats_every_wish_for_a_person() -> None:
    """Policy, then repeat, then budget, then autonomy."""
    uncapped = {"spec": MONEY, "level": "capped"}
    assert asked(says=NO, **OVER, **LOOP) == NO
    assert asked(says=ASK, **OVER, **LOOP).code is ReasonCode.REPEATED_EFFECT
    assert asked(says=ASK, **OVER).code is ReasonCode.BUDGET_EXHAUSTED
    assert asked(says=ASK, **uncapped).code is ReasonCode.AUTONOMY


def test_every_wish_for_a_person_is_kept() -> None:
    """An approver of one does not stand in for the other."""
    both = asked(level="propose", says=ASK)
    assert both.verdict is Verdict.REQUIRE_APPROVAL
    assert both.rules == (autonomy.PROPOSE_RULE, "over-cap")
    assert {need.rule for need in both.needs} == {"over-cap", autonomy.PROPOSE_RULE}
    assert set(both.texts) == {"over-cap", autonomy.PROPOSE_RULE}
    assert both.digest == "bundle"
    assert both.reason == "700 is over 500; the agent may only propose `pay`"


def test_what_was_discharged_is_told_to_the_policy_and_to_autonomy() -> None:
    """A person's yes counts for the rules that asked, and for no others."""
    policy = FixedPolicy(YES)
    request = PolicyRequest(
        agent="a", tenant="t", on_behalf_of="", tool=WRITE, arguments=NoArguments(), autonomy="propose"
    )
    situation = Situation(
        history=(),
        args="a",
        unknown_tools=frozenset(),
        is_done=False,
        limits={},
        spent={},
        ask={},
        wall_clock_us=None,
        active_us=0,
        discharged=frozenset({autonomy.PROPOSE_RULE}),
    )
    assert decide(request, situation, policy) == YES
    assert policy.heard == {autonomy.PROPOSE_RULE}
    assert (
        decide(request, replace(situation, discharged=frozenset({"other"})), policy).verdict
        is Verdict.REQUIRE_APPROVAL
    )


def test_in_shadow_nobody_is_asked_about_a_write_that_nobody_performs() -> None:
    """It says who would have been; a no stays a no, and a read, which is performed, still asks."""
    shadow = asked(level="shadow", says=ASK)
    assert (shadow.verdict, shadow.needs, shadow.code) == (Verdict.ALLOW, (), ReasonCode.APPROVAL_REQUIRED)
    assert (shadow.rules, shadow.texts) == (ASK.rules, ASK.texts)
    assert asked(level="shadow", says=NO) == NO
    assert asked(READ, "shadow", ASK).verdict is Verdict.REQUIRE_APPROVAL


LEVELS = ("shadow", "propose", "capped", "full", "fulll", "")


@pytest.mark.parametrize(("level", "spec"), list(product(LEVELS, (READ, WRITE, MONEY))))
def test_autonomy_is_a_total_table(level: Any, spec: ToolSpec) -> None:
    """Every level and kind of tool; an unknown level is a no."""
    expected = Verdict.ALLOW
    if spec.is_write and level == "propose":
        expected = Verdict.REQUIRE_APPROVAL
    if spec.is_write and (level not in LEVELS[:4] or (level == "capped" and spec is MONEY)):
        expected = Verdict.DENY
    decision = autonomy.check(spec, level, discharged=frozenset())
    assert decision.verdict is expected
    assert (decision.needs != ()) is (expected is Verdict.REQUIRE_APPROVAL)


@pytest.mark.parametrize(
    "cap", [{"totals": (Total(name="n", of="amount"),)}, {"business_key": "refund:{order}"}]
)
def test_money_that_counts_against_something_is_capped(cap: dict[str, Any]) -> None:
    """A total or a business key will do."""
    assert autonomy.check(replace(MONEY, **cap), "capped", discharged=frozenset()).verdict is Verdict.ALLOW


@pytest.mark.parametrize(
    ("limits", "spent", "ask", "rule"),
    [
        ({}, {}, {"tool_calls": 1}, ""),
        ({"tool_calls": 1}, {}, {"tool_calls": 1}, ""),
        ({"tool_calls": 1}, {"tool_calls": 1}, {"tool_calls": 1}, "budget-tool-calls"),
        ({"tool_calls": 0}, {}, {"tool_calls": 1}, "budget-tool-calls"),
        ({"tool_calls": 5, "money": 10}, {"money": 4}, {"tool_calls": 1, "money": 7}, "budget-money"),
        ({"tool_calls": 5, "money": 10}, {"money": 4}, {"tool_calls": 1, "money": 6}, ""),
        (
            {"tool_calls_per_day": 9},
            {"tool_calls_per_day": 9},
            {"tool_calls_per_day": 1},
            "budget-tool-calls-per-day",
        ),
        ({"money": 10}, {"money": 11}, {"tool_calls": 1}, ""),
        ({"money": 10}, {"money": 11}, {}, ""),
    ],
)
def test_what_is_asked_for_must_fit_what_is_left(limits: Any, spent: Any, ask: Any, rule: str) -> None:
    """To the last unit, and not one more."""
    decision = budget.check(limits, spent, ask=ask, wall_clock_us=None, active_us=0)
    assert decision.rules == ((rule,) if rule else ())
    assert (decision.verdict is Verdict.DENY) is bool(rule)


@pytest.mark.parametrize(
    ("active", "verdict"), [(0, Verdict.ALLOW), (99, Verdict.ALLOW), (100, Verdict.DENY), (101, Verdict.DENY)]
)
def test_time_at_work_runs_out(active: int, verdict: Verdict) -> None:
    """The limit itself is already too long."""
    decision = budget.check({}, {}, ask={}, wall_clock_us=100, active_us=active)
    assert decision.verdict is verdict


INTENT = CallIntended(
    path="1.0", effect="e" * 64, attempt=1, tool="pay", mode="upsert", halt_epoch=3, send_by=9
)


def committed(intent: CallIntended = INTENT) -> Entry:
    """An entry that holds the intent."""
    return make_entry("run/run_x", EMPTY, 1, 0, [intent])


def test_a_permit_names_its_effect_and_the_entry_behind_it() -> None:
    """What `perform` needs to know."""
    permit = admit(YES, INTENT, committed(), send_by_ns=77)
    assert (permit.effect, permit.halt_epoch, permit.intent) == (INTENT.effect, 3, INTENT)
    assert (permit.stream, permit.seq, permit.send_by_ns) == ("run/run_x", 1, 77)


@pytest.mark.parametrize("decision", [ASK, NO])
def test_there_is_no_permit_without_a_yes(decision: Decision) -> None:
    """Nor for something that waits for one."""
    with pytest.raises(ValueError, match="no permit"):
        admit(decision, INTENT, committed(), send_by_ns=1)


def test_there_is_no_permit_for_an_intent_that_is_not_in_the_journal() -> None:
    """Intent before effect."""
    for other in (replace(INTENT, attempt=2), replace(INTENT, effect="f" * 64), replace(INTENT, send_by=10)):
        with pytest.raises(ValueError, match="not in the journal"):
            admit(YES, other, committed(), send_by_ns=1)


def test_a_permit_cannot_be_forged_by_normal_means() -> None:
    """Not made, not changed, not copied, not stored, not inherited."""
    permit = admit(YES, INTENT, committed(), send_by_ns=1)
    forged: Any = Permit
    for attempt in (
        lambda: forged(None, INTENT, committed(), 1),
        lambda: forged(object(), INTENT, committed(), 1),
        lambda: setattr(permit, "send_by_ns", 2**63),
        lambda: setattr(permit, "intent", replace(INTENT, effect="f" * 64)),
        lambda: setattr(permit, "effect", "f" * 64),
        lambda: setattr(permit, "new", 1),
        lambda: delattr(permit, "intent"),
        lambda: copy.copy(permit),
        lambda: copy.deepcopy(permit),
        lambda: pickle.dumps(permit),
        lambda: type("Mine", (Permit,), {}),
    ):
        with pytest.raises((TypeError, AttributeError)):
            attempt()
    assert permit.send_by_ns == 1
