"""Rates of tools: who waits, who is not sent, what ends a wait, and what it costs who declares none."""

from __future__ import annotations

import asyncio
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import pytest
from tests.engine.errands import TOOLS
from tests.engine.site import Site, look_tool, pay_tool, tried
from tests.engine.workshop import (
    PERMIT,
    Task,
    Vendor,
    healthy,
    kinds_of,
    make_agent,
    runtime_of,
    state_of,
)

from answerable import EffectKey, NotDone, Rate, Retry, Run, Tool, ToolFailed, fact, tool
from answerable.engine.throttling import LOOK_EVERY_S
from answerable.testing import FakeClock, FaultyStore

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


# Rates


@pytest.mark.parametrize("make", [look_tool, pay_tool])
async def test_calls_wait_for_their_turn(make: Callable[..., Tool], tmp_path: Path) -> None:
    """Reads of a batch and writes one after the other: evenly, and all of them."""
    clock = FakeClock()
    site = Site(clock)
    limited = make(site, rate="10/s")

    async def program(run: Run, task: Task) -> None:
        await run.gather([(limited, {"name": f"n{index}"}) for index in range(6)])

    agent = make_agent([limited], program)
    async with runtime_of(tmp_path, agent, clock=clock) as runtime:
        outcome = await runtime.run(agent, Task())
    await healthy(tmp_path)

    assert outcome.name == "unverified", outcome.reason
    assert site.asked == pytest.approx([0, 0.1, 0.2, 0.3, 0.4, 0.5], abs=0.01)


@pytest.mark.parametrize("make", [look_tool, pay_tool])
async def test_what_finds_no_turn_in_time_is_not_sent_and_says_so(
    make: Callable[..., Tool], tmp_path: Path
) -> None:
    """It has failed for certain, without an intent, a claim or an unknown; the program may go another way."""
    clock = FakeClock()
    site = Site(clock)
    limited = make(site, rate=Rate(calls=1, per_s=60, wait_s=10))
    caught: list[ToolFailed] = []

    async def program(run: Run, task: Task) -> str:
        await run.call(limited, name="first")
        try:
            await run.call(limited, name="second")
        except ToolFailed as failed:
            caught.append(failed)
        return "went another way"

    agent = make_agent([limited], program)
    async with runtime_of(tmp_path, agent, clock=clock) as runtime:
        outcome = await runtime.run(agent, Task())
        state = await state_of(runtime, outcome.run)
    await healthy(tmp_path)

    step = state.calls["2.0"]
    assert (outcome.answer, outcome.unknown, site.asked) == ("went another way", (), [0])
    assert step.intent is None
    assert step.ended is not None
    assert (step.ended.state, step.ended.failure, step.ended.us) == ("failed", "rate_limited", 0)
    assert caught[0].failure == "rate_limited"
    assert caught[0].retry_after_s == pytest.approx(60, abs=1)
    assert "nothing was sent" in str(caught[0])


async def test_waiting_takes_nothing_of_the_send_deadline(tmp_path: Path) -> None:
    """A write that waited for longer than a send may be late is sent in time all the same."""
    clock = FakeClock()
    site = Site(clock)
    pay = pay_tool(site, "at_most_once", rate="1/20s")

    async def program(run: Run, task: Task) -> None:
        for turn in range(3):
            await run.call(pay, name=f"n{turn}")

    agent = make_agent([pay], program)
    async with runtime_of(tmp_path, agent, clock=clock) as runtime:
        outcome = await runtime.run(agent, Task())
    await healthy(tmp_path)

    assert (outcome.name, site.asked) == ("unverified", [0, 20, 40]), outcome.reason


async def test_what_waited_for_long_is_decided_again(tmp_path: Path) -> None:
    """A fact that changed meanwhile is seen before the intent is written."""
    clock = FakeClock()
    site = Site(clock)
    stock = [5]

    @tool(effect="read")
    async def in_stock() -> int:
        """How many are left."""
        return stock[0]

    @tool(mode="at_most_once", rate="1/20s", facts={"left": fact(in_stock)})
    async def ship(name: str) -> str:
        """Ship one."""
        stock[0] = 0
        return site.ask()

    policy = (
        PERMIT
        + '@id("sold-out")\n@text("None left.")\nforbid (principal, action == Action::"ship", resource)'
    )
    policy += " when { context.facts.left < 1 };\n"

    async def program(run: Run, task: Task) -> str:
        await run.call(ship, name="one")
        stock[0] = 1
        clock_task = asyncio.ensure_future(_later())
        said = await tried(run, "ship", name="two")
        await clock_task
        return said

    async def _later() -> None:
        await clock.sleep(10)
        stock[0] = 0

    agent = make_agent([ship, in_stock], program, policy=policy)
    async with runtime_of(tmp_path, agent, clock=clock) as runtime:
        outcome = await runtime.run(agent, Task())
    await healthy(tmp_path)

    assert (outcome.answer, len(site.asked)) == ("policy_denied", 1), outcome.reason


async def test_a_vendor_that_asks_for_silence_gets_it_from_every_run(tmp_path: Path) -> None:
    """`retry_after_s` of one call empties the bucket for all of them, those that wait already included."""
    clock = FakeClock()
    site = Site(clock)
    site.trouble = [NotDone("slow down", failure="rate_limited", retry_after_s=7)]
    look = look_tool(site, rate="10/s", retry=Retry(attempts=2))

    async def program(run: Run, task: Task) -> str:
        return await run.call(look, name=task.id)

    agent = make_agent([look], program)
    async with runtime_of(tmp_path, agent, clock=clock) as runtime:
        runs = await runtime.submit(agent, [Task(id=f"t{index}") for index in range(3)])
        outcomes = await runtime.drive_all(runs)

    assert {outcome.name for outcome in outcomes} == {"unverified"}
    assert len(site.asked) == 4
    assert site.asked[0] == 0
    assert min(site.asked[1:]) >= 7
    gaps = [later - earlier for earlier, later in pairwise(site.asked[1:])]
    assert min(gaps) >= 0.1 - 0.01


async def test_a_draft_and_its_commit_are_two_requests(tmp_path: Path) -> None:
    """Both have their turns before the intent is written."""
    clock = FakeClock()
    site = Site(clock)

    async def drafted(arguments: Any, *, key: EffectKey) -> str:
        return site.ask("draft")

    async def found(arguments: Any, *, key: EffectKey) -> str | None:
        return site.ask("found")

    @tool(mode="draft_then_commit", draft=drafted, probe=found, rate="1/s")
    async def mail(name: str, *, draft: str) -> str:
        """Send a message."""
        return site.ask(draft)

    async def program(run: Run, task: Task) -> None:
        await run.call(mail, name="one")
        await run.call(mail, name="two")

    agent = make_agent([mail], program)
    async with runtime_of(tmp_path, agent, clock=clock) as runtime:
        outcome = await runtime.run(agent, Task())

    assert outcome.name == "unverified", outcome.reason
    assert site.asked == [1, 1, 3, 3]


async def test_facts_take_turns_too_and_without_one_the_call_is_refused(tmp_path: Path) -> None:
    """A fact that cannot be had in time is a deny, never a guess."""
    clock = FakeClock()
    site = Site(clock)
    look = look_tool(site, rate=Rate(calls=1, per_s=60, wait_s=1))

    @tool(mode="at_most_once", facts={"seen": fact(look, name="{name}")})
    async def ring(name: str) -> None:
        """Ring."""

    async def program(run: Run, task: Task) -> list[str]:
        return [await tried(run, "ring", name="ana"), await tried(run, "ring", name="ben")]

    agent = make_agent([ring, look], program)
    async with runtime_of(tmp_path, agent, clock=clock) as runtime:
        outcome = await runtime.run(agent, Task())

    assert (outcome.answer, len(site.asked)) == (["None", "fact_unavailable"], 1)


# What ends a wait


async def _waiting(runtime: Any, clock: FakeClock, agent: Any) -> asyncio.Task[Any]:
    """A run that has made one call and waits for the turn of its second one."""
    driven = asyncio.ensure_future(runtime.run(agent, Task()))
    for _ in range(400):
        await asyncio.sleep(0.002)
        if clock._sleepers and any(not sleeper[2].done() for sleeper in clock._sleepers):
            break
    assert not driven.done()
    return driven


def _patient(site: Site, make: Callable[..., Tool]) -> Any:
    limited = make(site, rate="1/m", timeout_s=600.0)

    async def program(run: Run, task: Task) -> None:
        await run.call(limited, name="first")
        await run.call(limited, name="second")

    return make_agent([limited], program)


@pytest.mark.parametrize("make", [look_tool, pay_tool])
@pytest.mark.parametrize("scope", ["all", "tool"])
async def test_a_halt_ends_the_wait(make: Callable[..., Tool], scope: str, tmp_path: Path) -> None:
    """Of everything, or of the tool that is waited for; nothing was sent, and nothing is unknown."""
    clock = FakeClock(autojump=False)
    site = Site(clock)
    agent = _patient(site, make)
    async with runtime_of(tmp_path, agent, clock=clock) as runtime:
        driven = await _waiting(runtime, clock, agent)
        await runtime.halt(
            f"tool:{agent.tools[0].name}" if scope == "tool" else "all", by="dana", reason="stop"
        )
        for _ in range(5):
            clock.advance(LOOK_EVERY_S + 0.01)
            await asyncio.sleep(0.01)
        outcome = await asyncio.wait_for(driven, 5)
    await healthy(tmp_path)

    assert (outcome.name, outcome.unknown, len(site.asked)) == ("halted", (), 1)


async def test_stopping_ends_the_wait_and_another_process_goes_on(tmp_path: Path) -> None:
    """The run stays open; who resumes it takes the turn."""
    clock = FakeClock(autojump=False)
    site = Site(clock)
    agent = _patient(site, pay_tool)
    async with runtime_of(tmp_path, agent, clock=clock) as runtime:
        driven = await _waiting(runtime, clock, agent)
        runtime.stop()
        clock.advance(LOOK_EVERY_S + 0.01)
        stopped = await asyncio.wait_for(driven, 5)
    assert (stopped.state, len(site.asked)) == ("running", 1)

    clock.advance(120)  # the turn that it held is lost: the next one is a minute later
    async with runtime_of(tmp_path, agent, clock=clock, seed=2) as runtime:
        outcome = await runtime.drive(stopped.run)
    await healthy(tmp_path)

    assert (outcome.name, len(site.asked)) == ("unverified", 2), outcome.reason


async def test_agents_of_one_tenant_share_a_tool_and_its_limits(tmp_path: Path) -> None:
    """The vendor does not care which agent it was."""
    clock = FakeClock()
    site = Site(clock)
    look = look_tool(site, rate="1/s")

    async def program(run: Run, task: Task) -> None:
        await run.call(look, name=task.id)

    agents = [
        make_agent([look], program, name=name, policy=PERMIT.replace("clerk", name))
        for name in ("one", "two")
    ]
    async with runtime_of(tmp_path, *agents, clock=clock) as runtime:
        await asyncio.gather(*(runtime.run(agent, Task(id=agent.name)) for agent in agents))

    assert sorted(site.asked) == [0, 1]


# What it costs who declares nothing


class NoTurns(FaultyStore):
    """A store that must not be asked for turns."""

    async def take_turn(self, *_: Any) -> Any:
        raise AssertionError

    tell_turn = take_turn


async def test_tools_without_limits_ask_nobody(tmp_path: Path) -> None:
    """No question, no file."""
    vendor = Vendor("busy", "lost reply")

    async def program(run: Run, task: Task) -> None:
        await run.call("look", name="ana")
        await run.call("pay", name="ana")

    agent = make_agent(TOOLS, program)
    async with runtime_of(tmp_path, agent, vendor=vendor, wrap_store=NoTurns) as runtime:
        outcome = await runtime.run(agent, Task())
        kinds = await kinds_of(runtime, outcome.run)

    assert (outcome.name, kinds.count("CallIntended")) == ("unverified", 3), outcome.reason
    assert not (tmp_path / "journal.db.limits").exists()
