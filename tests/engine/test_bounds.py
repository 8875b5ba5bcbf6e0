"""What bounds a run: batches, loops, retries, time at work, autonomy, and tools that misbehave."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
from tests.engine.errands import TOOLS, die_at, look, ring
from tests.engine.workshop import Task, Vendor, asks, healthy, key_of, make_agent, runtime_of, state_of

from answerable import Budget, Retry, Run, ToolFailed, tool
from answerable.testing import FakeClock

if TYPE_CHECKING:
    from pathlib import Path


async def test_a_batch_of_reads_runs_together_and_writes_in_order(tmp_path: Path) -> None:
    """Reads of a batch overlap; writes follow one another in the order of the batch."""
    at_work, most, order = 0, 0, list[str]()

    @tool(effect="read")
    async def slow_look(name: str) -> str:
        """Look, slowly."""
        nonlocal at_work, most
        at_work += 1
        most = max(most, at_work)
        await asyncio.sleep(0.02)
        at_work -= 1
        return name

    @tool(mode="upsert")
    async def note(name: str) -> str:
        """Write it down."""
        order.append(f"begin {name}")
        await asyncio.sleep(0.001)
        order.append(f"end {name}")
        return name

    async def program(run: Run, task: Task) -> list[str]:
        return await run.gather(
            [
                (note, {"name": "1"}),
                (slow_look, {"name": "2"}),
                (note, {"name": "3"}),
                (slow_look, {"name": "4"}),
                (slow_look, {"name": "5"}),
            ]
        )

    agent = make_agent([slow_look, note], program)
    async with runtime_of(tmp_path, agent) as runtime:
        outcome = await runtime.run(agent, Task())
    await healthy(tmp_path)

    assert outcome.answer == ["1", "2", "3", "4", "5"]
    assert (most, order) == (3, ["begin 1", "end 1", "begin 3", "end 3"])


async def test_a_batch_does_not_outrun_a_budget_of_calls(tmp_path: Path) -> None:
    """Of ten reads at once under a limit of four, four are made."""
    vendor = Vendor()

    async def program(run: Run, task: Task) -> None:
        await run.gather([(look, {"name": f"n{index}"}) for index in range(10)])

    agent = make_agent(TOOLS, program, budget=Budget(tool_calls=4))
    async with runtime_of(tmp_path, agent, vendor=vendor) as runtime:
        outcome = await runtime.run(agent, Task())

    assert (outcome.code, len(vendor.asked)) == ("budget_exhausted", 4)


async def test_a_loop_is_stopped(tmp_path: Path) -> None:
    """The same call with the same answer, again and again, ends with a person."""
    vendor = Vendor()

    async def program(run: Run, task: Task) -> None:
        while True:
            await run.call(look, name="ana")

    agent = make_agent(TOOLS, program)
    async with runtime_of(tmp_path, agent, vendor=vendor) as runtime:
        outcome = await runtime.run(agent, Task())

    assert (outcome.name, outcome.code, len(vendor.asked)) == ("escalated", "loop_detected", 2)


async def test_a_read_is_tried_again_and_then_falls_back(tmp_path: Path) -> None:
    """A failing read is tried as often as it says, waits as long as it is asked to, and falls back."""
    clock, tried = FakeClock(), list[int]()

    @tool(effect="read", retry=Retry(attempts=3, backoff_s=1.0), fallback=lambda arguments: "nobody knows")
    async def weather(place: str) -> str:
        """Ask for the weather."""
        tried.append(clock.now_us())
        raise ToolFailed("slow down", failure="rate_limited", retry_after_s=7.0)

    async def program(run: Run, task: Task) -> str:
        return await run.call(weather, place="Rome")

    agent = make_agent([weather], program)
    async with runtime_of(tmp_path, agent, clock=clock) as runtime:
        outcome = await runtime.run(agent, Task())
    await healthy(tmp_path)

    assert outcome.answer == "nobody knows"
    assert [(at - tried[0]) / 1e6 for at in tried] == pytest.approx([0, 7, 14], abs=0.1)


async def test_time_at_work_is_limited_and_time_of_waiting_is_not(tmp_path: Path) -> None:
    """Wall clock counts while the run is at work."""
    clock, vendor = FakeClock(), Vendor()

    async def program(run: Run, task: Task) -> None:
        for turn in range(20):
            await run.call(ring, name=f"n{turn}")
            await clock.sleep(10)

    agent = make_agent(
        TOOLS, program, policy=asks("ring", when='context.args.name == "n0"'), budget=Budget(wall_clock="60s")
    )
    async with runtime_of(tmp_path, agent, vendor=vendor, clock=clock) as runtime:
        waiting = await runtime.run(agent, Task())
        clock.advance(3600)
        await runtime.answer(waiting.run, "grant", approver="lea", private_key=key_of("lea"))
        outcome = await runtime.drive(waiting.run)

    assert (outcome.code, len(vendor.done)) == ("budget_exhausted", 6)


async def test_the_time_between_a_crash_and_its_recovery_is_no_work(tmp_path: Path) -> None:
    """A run whose process was down for an hour has not been at work for an hour."""
    clock, vendor = FakeClock(), Vendor()

    async def program(run: Run, task: Task) -> None:
        await run.call(ring, name="ana")
        await run.call(ring, name="ben")

    agent = make_agent(TOOLS, program, budget=Budget(wall_clock="60s"))
    async with runtime_of(
        tmp_path, agent, vendor=vendor, clock=clock, wrap_store=die_at("CallDecided", nth=2)
    ) as runtime:
        (run,) = await runtime.submit(agent, [Task()])
        with pytest.raises(Exception, match="lost"):
            await runtime.drive(run)
    clock.advance(3600)
    async with runtime_of(tmp_path, agent, vendor=vendor, clock=clock, seed=2) as runtime:
        outcome = await runtime.drive(run)

    assert (outcome.name, len(vendor.done)) == ("unverified", 2), outcome.reason


@pytest.mark.parametrize("autonomy", ["shadow", "propose"])
async def test_autonomy_decides_who_performs(autonomy: str, tmp_path: Path) -> None:
    """In shadow nothing is written and nobody is asked; an agent that may propose asks for each write."""
    vendor = Vendor()

    async def program(run: Run, task: Task) -> Any:
        await run.call(look, name="ana")
        return await run.call(ring, name="ana")

    agent = make_agent(TOOLS, program, autonomy=autonomy, policy=asks("ring"))
    async with runtime_of(tmp_path, agent, vendor=vendor) as runtime:
        outcome = await runtime.run(agent, Task())
        state = await state_of(runtime, outcome.run)
    await healthy(tmp_path)

    assert vendor.asked == ["look ana"]
    if autonomy == "shadow":
        assert (outcome.name, outcome.answer) == ("unverified", None), outcome.reason
        assert state.calls["2.0"].ended is not None
        assert state.calls["2.0"].ended.state == "shadowed"
    else:
        assert outcome.waiting_for == "approval"


@pytest.mark.parametrize("is_write", [True, False])
async def test_a_tool_that_cancels_itself_has_failed(is_write: bool, tmp_path: Path) -> None:
    """A cancellation that leaks out of a tool stops neither the run nor whoever drives it."""
    effect: dict[str, Any] = {"mode": "at_most_once"} if is_write else {"effect": "read"}

    @tool(**effect, retry=Retry(attempts=1))
    async def leak(name: str) -> str:
        """Let a cancellation out."""
        raise asyncio.CancelledError

    async def program(run: Run, task: Task) -> None:
        await run.call(leak, name="ana")

    agent = make_agent([leak], program)
    async with runtime_of(tmp_path, agent) as runtime:
        outcome = await runtime.run(agent, Task())

    assert (outcome.name, outcome.code) == ("escalated", "effect_unknown" if is_write else "tool_failure")
