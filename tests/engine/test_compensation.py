"""Taking an effect back is an effect: the same gates, a key of its own, and what it undoes lets go."""

from __future__ import annotations

import asyncio
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any

import pytest
from pydantic import Field
from workshop import Vendor, healthy, make_agent, runtime_of, state_of

from answerable import CallRefused, EffectKey, Impact, Run, Total, tool

Amount = Annotated[Decimal, Field(gt=0, le=1000)]


@tool(mode="native_key")
async def take_back(order: str, *, key: EffectKey, vendor: object) -> str:
    """Take a payment back."""
    assert isinstance(vendor, Vendor)
    return vendor.do(key)


@tool(
    mode="native_key",
    business_key="pay:{order}",
    cardinality="until_compensated",
    undo=take_back,
    impact=Impact(money="amount"),
    totals=(Total(name="order", of="amount", by="{order}"),),
)
async def pay(order: str, amount: Amount, *, key: EffectKey, vendor: object) -> str:
    """Pay for an order."""
    assert isinstance(vendor, Vendor)
    return vendor.do(key)


async def paid_effect(run: Run) -> str:
    """The key of the payment that the run made."""
    state = await state_of_run(run)
    (step,) = [
        step for step in state.calls.values() if step.decided.tool == "pay" and step.intent is not None
    ]
    assert step.intent is not None
    return step.intent.effect


async def state_of_run(run: Run) -> Any:
    return run._ctx.recorder.state  # the test looks where an operator's tool would read the journal


def test_a_payment_that_was_taken_back_can_be_made_again(tmp_path: Path) -> None:
    """Until then the claim holds, in this run and in any other; afterwards claim and total have let go."""
    vendor = Vendor()

    async def program(run: Run, task: Any) -> str:
        await run.call(pay, order="A", amount=Decimal(5))
        if task.text == "undo":
            await run.compensate(await paid_effect(run), take_back, order="A")
            return "undone"
        return "paid"

    async def story() -> None:
        agent = make_agent([pay, take_back], program)
        async with runtime_of(tmp_path, agent, vendor=vendor) as runtime:
            first = await runtime.run(agent, {"id": "1", "text": "undo"})
            again = await runtime.run(agent, {"id": "2"})
            third = await runtime.run(agent, {"id": "3"})

            assert [first.name, again.name, third.name] == ["unverified", "unverified", "escalated"]
            assert third.code == "claim_held"
            intents = [step.intent for step in (await state_of(runtime, first.run)).calls.values()]
            assert [intent.undo for intent in intents if intent] == ["take_back", None]
            assert intents[1] is not None
            assert intents[0] is not None
            assert intents[1].undoes == intents[0].effect
            decided = (await state_of(runtime, again.run)).calls["1.0"].decided
            assert decided.totals == {"order": (5_000_000, 0)}
        await healthy(tmp_path)

    asyncio.run(story())
    assert len(vendor.done) == 3
    assert len(set(vendor.done)) == 3


def test_an_undo_passes_the_gates_like_everything_else(tmp_path: Path) -> None:
    """A rule that forbids it forbids it; the claim stays."""
    policy = """
@id("may-pay")
@text("The agent may pay.")
permit (principal == Agent::"clerk", action == Action::"pay", resource);
"""

    async def program(run: Run, _task: Any) -> str:
        await run.call(pay, order="A", amount=Decimal(5))
        with pytest.raises(CallRefused):
            await run.compensate(await paid_effect(run), take_back, order="A")
        return "not undone"

    async def story() -> None:
        agent = make_agent([pay, take_back], program, policy)
        async with runtime_of(tmp_path, agent) as runtime:
            assert (await runtime.run(agent, {"id": "1"})).name == "unverified"
            assert (await runtime.run(agent, {"id": "2"})).code == "claim_held"
        await healthy(tmp_path)

    asyncio.run(story())


def test_a_run_waits_for_the_release_that_it_began_with(tmp_path: Path) -> None:
    """Another prompt is another release: the run is not driven with it, says so, and goes on once its own is back."""
    open_runtimes: list[Any] = []

    async def stops(run: Run, _task: Any) -> str:
        await run.call(pay, order="A", amount=Decimal(5))
        open_runtimes[0].stop()  # as a signal does: nothing new is begun, the run stays open
        await run.call(pay, order="B", amount=Decimal(5))
        return "never"

    async def goes_on(run: Run, _task: Any) -> str:
        await run.call(pay, order="A", amount=Decimal(5))
        return "done"

    async def story() -> None:
        vendor = Vendor()
        agent = make_agent([pay, take_back], stops)
        async with runtime_of(tmp_path, agent, vendor=vendor, seed=1) as runtime:
            open_runtimes.append(runtime)
            assert (await runtime.run(agent, {"id": "1"})).state == "running"
        other = make_agent([pay, take_back], goes_on, prompt="Do something else.")
        async with runtime_of(tmp_path, other, vendor=vendor, seed=2) as runtime:
            (outcome,) = await runtime.drive_all()
            assert (outcome.state, outcome.waiting_for, outcome.name) == ("waiting", "release", None)
            assert "release" in outcome.reason
            (outcome,) = await runtime.drive_all()  # looking again changes nothing
            (row,) = await runtime.store.runs()
            assert (row.state, row.waiting_for) == ("waiting", "release")
        own = make_agent([pay, take_back], goes_on)
        async with runtime_of(tmp_path, own, vendor=vendor, seed=3) as runtime:
            (outcome,) = await runtime.drive_all()
            assert outcome.name == "unverified"
        assert len(set(vendor.done)) == 1
        await healthy(tmp_path)

    asyncio.run(story())
