"""Probes on what is set up and then not connected: a limit that nobody counts, a switch that turns enforcement off."""

from __future__ import annotations

import inspect
from dataclasses import FrozenInstanceError, replace
from decimal import Decimal
from typing import TYPE_CHECKING, Annotated, Any

import pytest
from pydantic import Field
from tests.engine.workshop import Task, Vendor, make_agent, runtime_of
from tests.probes.probe_till import (
    CAPS,
    OPEN,
    TOOLS,
    Till,
    forbid,
    pay_cents,
    query,
    refund,
    refused_when_read,
    slipped,
    through,
)

from answerable import Budget, Run, Total, open_runtime, tool
from answerable.engine.agent import Agent
from answerable.errors import CallRefused, ConfigError
from answerable.kernel.ids import EffectKey
from answerable.models.port import Message, ModelReply
from answerable.project import bundle_of
from answerable.testing import FakeClock, ScriptedModel, say

if TYPE_CHECKING:
    from pathlib import Path

DAY_S = 86_400
Positive = Annotated[int, Field(gt=0)]


async def five(run: Run, task: Task) -> None:
    """Five small refunds."""
    for number in range(5):
        await run.call(refund, order_id=f"{task.id}-{number}", amount=Decimal(1))


async def spend(
    folder: Path, *, runs: int = 1, program: Any = five, model: Any = None, **more: Any
) -> tuple[Till, list[Any]]:
    """What was paid, and how each run ended."""
    till = Till()
    agent = make_agent(TOOLS, program, policy=CAPS, **more)
    models = {"scripted:clerk": ScriptedModel("clerk", model or (lambda *_: say("done")))}
    async with runtime_of(folder, agent, models=models, resources={"till": till}) as runtime:
        outcomes = [await runtime.run(agent, Task(id=f"t{number}")) for number in range(runs)]
    return till, outcomes


async def test_p24_every_limit_that_can_be_set_is_counted(tmp_path: Path) -> None:
    """Each unit, of the run and of the day: a limit of two stops the third, a limit of none stops the first."""
    for unit in ("budget", "budget_per_day"):
        for limit in (0, 2):
            folder = tmp_path / f"{unit}-{limit}"
            folder.mkdir()
            till, (outcome,) = await spend(folder, **{unit: Budget(tool_calls=limit)})

            assert (outcome.code, len(till.got)) == ("budget_exhausted", limit), unit


@pytest.mark.parametrize("unit", ["budget", "budget_per_day"])
@pytest.mark.parametrize(
    ("limit", "most"), [({"model_calls": 2}, 2), ({"tokens": 1}, 0), ({"model_calls": 0}, 0)]
)
async def test_p24_limits_on_models_are_counted_too(
    unit: str, limit: dict[str, Any], most: int, tmp_path: Path
) -> None:
    """The call that would pass the limit is not made: the model is not asked."""
    asked: list[int] = []

    def model(messages: tuple[Message, ...], *_: Any) -> ModelReply:
        asked.append(len(messages))
        return say("hm")

    async def talk(run: Run, task: Task) -> None:
        for _ in range(5):
            await run.model([Message(role="user", text="go on")])

    _, (outcome,) = await spend(tmp_path, program=talk, model=model, **{unit: Budget(**limit)})

    assert (outcome.code, len(asked)) == ("budget_exhausted", most)


async def test_p24_a_limit_of_the_day_holds_over_runs_and_ends_with_the_day(tmp_path: Path) -> None:
    """Two runs share it; at midnight UTC it begins anew, and not a moment before."""
    clock, till = FakeClock(autojump=False), Till()
    clock.advance((DAY_S - (clock.now_us() // 1_000_000) % DAY_S) % DAY_S)  # midnight

    async def one(run: Run, task: Task) -> None:
        await run.call(refund, order_id=task.id, amount=Decimal(1))

    agent = make_agent(TOOLS, one, policy=CAPS, budget_per_day=Budget(tool_calls=2))
    async with runtime_of(tmp_path, agent, clock=clock, resources={"till": till}) as runtime:
        codes: list[str | None] = []
        for number, wait_s in enumerate((0, 1, 1, DAY_S - 3, 1, 0, 0)):
            clock.advance(wait_s)
            codes.append((await runtime.run(agent, Task(id=f"t{number}"))).code)

    no = "budget_exhausted"
    assert codes == [None, None, no, no, None, None, no]
    assert len(till.got) == 4


@pytest.mark.parametrize(
    "limit",
    [
        {"tool_calls": float("nan")},
        {"tool_calls": float("inf")},
        {"tool_calls": 2.5},
        {"tool_calls": True},
        {"tool_calls": -1},
        {"tool_calls": "3"},
        {"tool_calls": None},
        {"tool_calls": 10**30},
        {"tokens": float("nan")},
        {"model_calls": -1},
        {"money": "NaN"},
        {"money": "Infinity"},
        {"money": "-1"},
        {"money": "a dollar"},
        {"money": "0,40"},
        {"wall_clock": "soon"},
        {"wall_clock": float("nan")},
        {"wall_clock": 0},
        {"wall_clock": ""},
    ],
    ids=str,
)
@pytest.mark.parametrize("unit", ["budget", "budget_per_day"])
async def test_p24_a_limit_that_is_none_is_refused(unit: str, limit: dict[str, Any], tmp_path: Path) -> None:
    """NaN is below no limit, and nothing is above it: such a budget would never be used up."""
    with pytest.raises(ConfigError):
        make_agent(TOOLS, five, policy=CAPS, **{unit: Budget(**limit)})


def test_p24_a_limit_that_would_not_be_counted_is_refused() -> None:
    """Time at work is counted by the run; a day's budget of it would be a limit that is built and not connected."""
    with pytest.raises(ConfigError, match="wall_clock"):
        make_agent(TOOLS, five, policy=CAPS, budget_per_day=Budget(wall_clock="2m"))


@pytest.mark.parametrize(
    "words",
    [{"tool_call": 3}, {"toolcalls": 3}, {"max_calls": 3}, {"budget": 3}, {"tokens_max": 3}, {"usd": "1"}],
    ids=str,
)
def test_p24_a_limit_under_another_name_is_refused(words: dict[str, Any]) -> None:
    """No unknown word is taken for a limit that then does not exist."""
    with pytest.raises(TypeError, match="unexpected keyword"):
        Budget(**words)
    with pytest.raises(TypeError, match="unexpected keyword"):
        make_agent(TOOLS, five, **{f"limit_{name}": value for name, value in words.items()})


async def test_p24_splitting_an_amount_over_calls_and_runs_gains_nothing(tmp_path: Path) -> None:
    """A cap on the total of a day sees every part of it."""

    @tool(mode="native_key", totals=(Total(name="paid", of="cents", per="day"),))
    async def pay_out(to: str, cents: Positive, *, key: EffectKey, till: Till) -> str:
        """Pay out."""
        return till.take("pay_out", (to, cents))

    rules = OPEN + forbid(
        "day", "pay_out", 'when { context.totals.paid.amount.greaterThan(decimal("500.00")) }'
    )
    came = await through(
        tmp_path,
        "model",
        {f"part {number}": ("pay_out", f'{{"to": "{number}", "cents": 200}}') for number in range(4)},
        policy=rules,
        tools=[pay_out],
    )

    assert [len(each.sent) for each in came.values()] == [1, 1, 0, 0]
    assert slipped({name: each for name, each in came.items() if not each.sent}) == {}
    assert came["part 3"].rules == ("day",)


def test_p31_there_is_no_switch_that_turns_the_rules_off() -> None:
    """Neither an argument of the runtime, nor an annotation, nor a level of autonomy performs what rules refuse."""
    words = {*inspect.signature(open_runtime).parameters, *inspect.signature(Agent).parameters}

    assert not {
        word
        for word in words
        if {"enforce", "enforcement", "log", "dry", "skip", "unsafe", "bypass"} & set(word.split("_"))
    }
    for mode in ("log_only", "log", "warn", "audit", "observe", "shadow", "off", "allow"):
        notes = f'@decision("{mode}")'
        assert "is unknown" in refused_when_read(
            OPEN + forbid("cap", "pay_cents", "when { context.args.cents > 5 }", notes)
        )


@pytest.mark.parametrize("autonomy", ["full", "capped", "propose", "shadow"])
async def test_p31_no_level_of_autonomy_performs_what_the_rules_refuse(autonomy: str, tmp_path: Path) -> None:
    """More autonomy means fewer questions, never fewer rules."""
    came = await through(
        tmp_path,
        "model",
        {"over the cap": (refund, '{"order_id": "o", "amount": 9999}')},
        autonomy=autonomy,
    )

    assert slipped(came) == {}
    assert came["over the cap"].rules == ("cap",)


@pytest.mark.parametrize("autonomy", ["shadwo", "Full", "FULL", "full ", "", "off", None, 1])
def test_p31_a_level_of_autonomy_that_is_none_is_refused(autonomy: Any) -> None:
    """A misspelt `shadow` does not become the freedom to act, and never gets into a journal."""
    with pytest.raises(ConfigError, match="no level of autonomy"):
        make_agent(TOOLS, policy=CAPS, autonomy=autonomy)
    with pytest.raises(ConfigError, match="no level of autonomy"):
        make_agent(TOOLS, policy=CAPS, autonomy_by_tool={"refund": autonomy})


async def test_p31_variables_of_the_environment_turn_nothing_off(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Words that other products read there mean nothing here."""
    for name in (
        "ENFORCE",
        "POLICY",
        "POLICY_MODE",
        "LOG_ONLY",
        "DISABLED",
        "DRY_RUN",
        "DEFAULT_ACTION",
        "DEBUG",
    ):
        for value in ("0", "off", "allow"):
            monkeypatch.setenv(f"ANSWERABLE_{name}", value)
    came = await through(tmp_path, "model", {"over the cap": (refund, '{"order_id": "o", "amount": 9999}')})

    assert slipped(came) == {}


async def test_p31_what_a_run_can_reach_does_not_loosen_its_rules(tmp_path: Path) -> None:
    """A run's own code, and whoever holds the agent, changes neither agent nor bundle while it runs."""
    heard: list[str] = []

    async def meddling(run: Run, task: Task) -> None:
        for change in ("policy", "autonomy", "budget", "tools"):
            with pytest.raises((FrozenInstanceError, AttributeError)):
                setattr(run.agent, change, None)
        run.agent.policy["rules.cedar"] = OPEN  # the mapping is its author's; what was loaded from it stays
        run.agent.tools.append(query)
        for name, given in (
            ("refund", {"order_id": "o", "amount": Decimal(9999)}),
            ("query", {"action": "drop", "table": "t"}),
        ):
            with pytest.raises(CallRefused) as refused:
                await run.call(name, **given)
            heard.append(refused.value.decision.gate)

    till = Till()
    agent = make_agent([refund, pay_cents], meddling, policy=OPEN + CAPS_OF_REFUND)
    async with runtime_of(tmp_path, agent, resources={"till": till}) as runtime:
        outcome = await runtime.run(agent, Task())

    assert (outcome.name, heard, till.got) == ("unverified", ["policy", "schema"], [])


CAPS_OF_REFUND = forbid("cap", "refund", 'when { context.args.amount.greaterThan(decimal("500.00")) }')


async def test_p31_rules_of_another_agent_or_of_other_tools_decide_nothing(tmp_path: Path) -> None:
    """A bundle that is handed to the runtime by hand and was not checked against these tools denies every call."""

    @tool(mode="native_key", name="refund")
    async def other_refund(order_id: str, amount: int, *, key: EffectKey, vendor: Vendor) -> str:
        """Pay back, by another model of its arguments."""
        return vendor.do(key)

    of_others = bundle_of(make_agent([other_refund], policy=OPEN))
    of_another = bundle_of(replace(make_agent([refund], policy=OPEN), name="somebody-else"))
    for number, bundle in enumerate((of_others, of_another)):
        folder = tmp_path / str(number)
        folder.mkdir()
        till = Till()

        async def program(run: Run, task: Task) -> None:
            await run.call(refund, order_id="o", amount=Decimal(1))

        agent = make_agent([refund], program, policy=OPEN)
        async with runtime_of(folder, agent, resources={"till": till}, bundles={"clerk": bundle}) as runtime:
            outcome = await runtime.run(agent, Task())

        assert (outcome.code, till.got) == ("policy_denied", [])
