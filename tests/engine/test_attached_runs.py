"""Somebody else owns the loop; the gates, the journal and the end of the run are the same."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
from tests.engine.workshop import PERMIT, Task, Vendor, healthy, make_agent, runtime_of, state_of

from answerable import AnswerableError, CallRefused, EffectKey, Run, tool
from answerable.errors import InputError
from answerable.testing import Fault, FaultyStore

if TYPE_CHECKING:
    from pathlib import Path


@tool(mode="at_most_once")
async def ring(name: str, *, key: EffectKey, vendor: Vendor) -> str:
    """Ring."""
    return vendor.do(key)


NEVER = PERMIT + '@id("never")\n@text("No.")\nforbid (principal, action == Action::"ring", resource);'


async def ending_of(runtime: Any) -> tuple[str | None, str | None]:
    """Outcome and code of the only run."""
    (row,) = await runtime.store.runs()
    return row.outcome, row.code


async def test_leaving_the_block_ends_the_run(tmp_path: Path) -> None:
    """Calls are gated and journaled; the end is judged as for any run."""
    vendor, agent = Vendor(), make_agent([ring])
    async with runtime_of(tmp_path, agent, vendor=vendor) as runtime:
        async with runtime.start(agent, Task()) as run:
            answer = await run.call(ring, name="ana")
        ending = await ending_of(runtime)
    await healthy(tmp_path)

    assert (answer, ending) == ("receipt 1", ("unverified", None))


async def test_a_refusal_that_leaves_the_block_escalates(tmp_path: Path) -> None:
    """And one that the code lives with does not."""
    vendor, agent = Vendor(), make_agent([ring], policy=NEVER)
    async with runtime_of(tmp_path, agent, vendor=vendor) as runtime:
        with pytest.raises(CallRefused):
            async with runtime.start(agent, Task()) as run:
                await run.call(ring, name="ana")
        ending = await ending_of(runtime)
        async with runtime.start(agent, Task(id="two")) as run:
            with pytest.raises(CallRefused):
                await run.call(ring, name="ana")
        (second,) = await runtime.store.runs(run=run.id)

    assert (ending, second.outcome, vendor.asked) == (("escalated", "policy_denied"), "unverified", [])


async def test_an_unknown_effect_is_said_at_the_end(tmp_path: Path) -> None:
    """Code that goes on after a lost reply does not make it known."""
    agent = make_agent([ring])
    async with runtime_of(tmp_path, agent, vendor=Vendor("lost reply")) as runtime:
        async with runtime.start(agent, Task()) as run:
            with pytest.raises(AnswerableError):
                await run.call(ring, name="ana")
        ending = await ending_of(runtime)
    await healthy(tmp_path)

    assert ending == ("escalated", "effect_unknown")


async def test_asking_for_a_person_is_an_ordinary_error_outside(tmp_path: Path) -> None:
    """Signals of the engine do not leave the block."""
    agent = make_agent([ring])
    async with runtime_of(tmp_path, agent) as runtime:
        with pytest.raises(AnswerableError, match="too hard"):
            async with runtime.start(agent, Task()) as run:
                run.escalate("too hard for me")
        ending = await ending_of(runtime)

    assert ending == ("escalated", "user_requested")


async def test_a_crash_leaves_it_abandoned_with_its_unknowns(tmp_path: Path) -> None:
    """The owner's process died after a send: somebody else settles it, and lists what is unknown."""
    vendor, agent = Vendor(), make_agent([ring])

    def lose(appends: Any) -> Fault | None:
        kinds = {type(event).__name__ for append in appends for event in append.events}
        return Fault.LOST_REQUEST if {"CallEnded", "RunEnded"} & kinds else None

    async with runtime_of(
        tmp_path, agent, vendor=vendor, wrap_store=lambda store: FaultyStore(store, fault=lose)
    ) as runtime:
        with pytest.raises(Exception, match="lost"):
            async with runtime.start(agent, Task()) as run:
                await run.call(ring, name="ana")
    async with runtime_of(tmp_path, agent, vendor=vendor, seed=2) as runtime:
        (outcome,) = await runtime.drive_all()
    await healthy(tmp_path)

    assert (outcome.name, outcome.unknown) == ("abandoned", (vendor.asked[0],))
    assert len(vendor.asked) == 1


async def test_nobody_takes_an_attached_run_while_its_owner_lives(tmp_path: Path) -> None:
    """Not while it works, and not in the moment in which it begins."""
    vendor, agent = Vendor(), make_agent([ring])
    async with runtime_of(tmp_path, agent, vendor=vendor, seed=2) as other:

        class Eager(FaultyStore):
            async def append(self, *appends: Any) -> Any:
                entries = await super().append(*appends)
                kinds = {type(event).__name__ for append in appends for event in append.events}
                if "RunCreated" in kinds:
                    await other.drive_all()
                return entries

        async with runtime_of(tmp_path, agent, vendor=vendor, wrap_store=Eager) as runtime:
            async with runtime.start(agent, Task()) as run:
                await run.call(ring, name="ana")
                await other.drive_all()
                await runtime.drive_all()
            ending = await ending_of(runtime)
    await healthy(tmp_path)

    assert (ending, len(vendor.done)) == (("unverified", None), 1)


async def test_one_event_has_one_run(tmp_path: Path) -> None:
    """A task whose source event already has a run is not started a second time."""
    vendor, agent = Vendor(), make_agent([ring])
    async with runtime_of(tmp_path, agent, vendor=vendor) as runtime:
        async with runtime.start(agent, Task()) as run:
            await run.call(ring, name="ana")
            with pytest.raises(InputError, match="has a run already"):
                async with runtime.start(agent, Task()):
                    pass
        with pytest.raises(InputError, match="has a run already"):
            async with runtime.start(agent, Task()):
                pass
    await healthy(tmp_path)

    assert len(vendor.done) == 1


async def test_an_owner_that_is_cancelled_abandons_its_run(tmp_path: Path) -> None:
    """The run ends, what was being sent is unknown, and the cancellation goes on."""
    vendor = Vendor()

    @tool(mode="at_most_once")
    async def slow(name: str, *, key: EffectKey, vendor: Vendor) -> str:
        """Send, and wait long for the reply."""
        vendor.do(key)
        await asyncio.sleep(20)
        return ""

    agent = make_agent([slow])
    async with runtime_of(tmp_path, agent, vendor=vendor) as runtime:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.2), runtime.start(agent, Task()) as run:
                await run.call(slow, name="ana")
        (row,) = await runtime.store.runs()
        state = await state_of(runtime, row.run)
    await healthy(tmp_path)

    assert row.outcome == "abandoned"
    assert state.ended is not None
    assert state.ended.unknown == (vendor.asked[0],)


async def test_a_step_that_is_outstanding_when_the_block_is_left_comes_to_its_end(tmp_path: Path) -> None:
    """Nothing is sent after the run has ended."""
    vendor = Vendor()

    @tool(mode="at_most_once")
    async def brief(name: str, *, key: EffectKey, vendor: Vendor) -> str:
        """Take a moment."""
        await asyncio.sleep(0.05)
        return vendor.do(key)

    agent = make_agent([brief])
    kept: list[Run] = []
    async with runtime_of(tmp_path, agent, vendor=vendor) as runtime:
        async with runtime.start(agent, Task()) as run:
            kept.append(run)
            left = asyncio.ensure_future(run.call(brief, name="ana"))
            await asyncio.sleep(0.01)
        done = len(vendor.done)
        await left
        with pytest.raises(AnswerableError, match="the run is over"):
            await kept[0].call(brief, name="ben")
        ending = await ending_of(runtime)
    await healthy(tmp_path)

    assert (done, ending) == (1, ("unverified", None))


@pytest.mark.parametrize("scope", ["tool:stare", "tool:another"])
async def test_a_cancelled_owner_is_no_halt_of_something_else(scope: str, tmp_path: Path) -> None:
    """A halt is in force, and has nothing to do with this run: its owner left, so the run is abandoned."""
    vendor, begun = Vendor(), asyncio.Event()

    @tool(mode="at_most_once")
    async def hang(name: str, *, key: EffectKey, vendor: Vendor) -> str:
        """Ring, and wait long."""
        answer = vendor.do(key)
        begun.set()
        await asyncio.sleep(20)
        return answer

    agent = make_agent([hang, ring])
    async with runtime_of(tmp_path, agent, vendor=vendor) as runtime:

        async def own() -> None:
            async with runtime.start(agent, Task()) as run:
                await run.call(hang, name="ana")

        await runtime.halt(scope, by="ops", reason="a test")
        owner = asyncio.ensure_future(own())
        await begun.wait()
        owner.cancel()
        with pytest.raises(asyncio.CancelledError):
            await owner
        ending = await ending_of(runtime)
    await healthy(tmp_path)

    assert ending == ("abandoned", "internal")
