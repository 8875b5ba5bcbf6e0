"""What the engine does when nobody knows whether a write happened: by its write mode, and by nothing else."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from tests.engine.workshop import Task, Vendor, healthy, make_agent, runtime_of, state_of

from answerable import (
    Arguments,
    Budget,
    EffectKey,
    EffectUnknown,
    NotDone,
    Retry,
    Run,
    ToolFailed,
    tool,
)
from answerable.testing import FakeClock, Fault, FaultyStore

if TYPE_CHECKING:
    from pathlib import Path

MODES = ("native_key", "upsert", "conditional", "probe_then_write", "draft_then_commit", "at_most_once")
THREE = Retry(attempts=3, backoff_s=0.1)


async def found(arguments: Arguments, *, key: EffectKey, vendor: Vendor) -> str | None:
    """Ask the vendor."""
    return vendor.find(key)


async def blind(arguments: Arguments, *, key: EffectKey, vendor: Vendor) -> str | None:
    """Ask a vendor that does not answer."""
    raise ToolFailed("no answer", failure="timeout")


async def drafted(arguments: Arguments, *, key: EffectKey) -> dict[str, str]:
    """A draft that looks nothing like the result."""
    return {"draft": key}


def pay_tool(mode: str, *, probe: Any = None, **more: Any):
    """`pay` in a mode."""
    if mode == "draft_then_commit":

        async def pay(
            amount: int, reason: str, *, key: EffectKey, vendor: Vendor, draft: dict[str, str]
        ) -> str:
            """Pay."""
            assert draft == {"draft": key}
            return vendor.do(key)

        more["draft"] = drafted
    else:

        async def pay(amount: int, reason: str, *, key: EffectKey, vendor: Vendor) -> str:  # type: ignore[misc]
            """Pay."""
            return vendor.do(key)

    if probe is None and mode in ("probe_then_write", "draft_then_commit"):
        probe = found
    return tool(mode=mode, probe=probe, retry=more.pop("retry", THREE), **more)(pay)


async def once(run: Run, task: Task) -> str:
    """Pay once."""
    return await run.call("pay", amount=5, reason="asked")


async def pay(folder: Path, vendor: Vendor, mode: str, **more: Any):
    """One run that pays once; its outcome and the state of the call."""
    agent = make_agent([pay_tool(mode, **more)], once)
    async with runtime_of(folder, agent, vendor=vendor) as runtime:
        outcome = await runtime.run(agent, Task())
        state = await state_of(runtime, outcome.run)
    await healthy(folder)
    ended = state.calls["1.0"].ended
    assert ended is not None
    return outcome, ended, state


@pytest.mark.parametrize("fault", ["lost request", "lost reply", "broken"])
@pytest.mark.parametrize("mode", MODES)
async def test_one_fault_never_doubles_an_effect_and_is_resolved_where_it_can_be(
    mode: str, fault: str, tmp_path: Path
) -> None:
    """A lost request and a lost reply look alike; both end in one effect, or are said to be unknown."""
    vendor = Vendor(fault, honours_keys=mode in ("native_key", "upsert", "conditional"))

    outcome, ended, _ = await pay(tmp_path, vendor, mode)

    if mode == "at_most_once":
        assert (ended.state, outcome.name, outcome.code) == ("unknown", "escalated", "effect_unknown")
        assert len(outcome.unknown) == 1
        assert len(vendor.asked) == 1
    else:
        assert (ended.state, outcome.name) == ("done", "unverified")
        assert len(vendor.done) == 1


@pytest.mark.parametrize("mode", MODES)
async def test_a_refusal_is_certain_and_lets_go_of_everything(mode: str, tmp_path: Path) -> None:
    """`NotDone` means that nothing happened: no unknown, no reservation, no claim."""
    outcome, ended, state = await pay(tmp_path, Vendor("refused"), mode)

    assert (ended.state, ended.failure, outcome.unknown) == ("failed", "permission", ())
    assert state.unknown == {}


@pytest.mark.parametrize("mode", MODES)
async def test_a_busy_vendor_is_asked_again_in_every_mode(mode: str, tmp_path: Path) -> None:
    """What certainly did not happen may be sent again, whatever the mode."""
    vendor = Vendor("busy", "busy")

    _, ended, _ = await pay(tmp_path, vendor, mode)

    assert (ended.state, ended.attempt, len(vendor.done)) == ("done", 3, 1)


@pytest.mark.parametrize("last", ["busy", "refused"])
@pytest.mark.parametrize("mode", ["native_key", "upsert", "conditional"])
async def test_a_refusal_after_a_lost_reply_proves_nothing(mode: str, last: str, tmp_path: Path) -> None:
    """The first attempt may have happened; that a later one was turned away does not undo it."""
    vendor = Vendor("lost reply", last, last)

    outcome, ended, _ = await pay(tmp_path, vendor, mode)

    assert len(vendor.done) == 1
    assert (ended.state, outcome.code) == ("unknown", "effect_unknown")


async def test_a_refusal_after_a_lost_reply_is_asked_for_where_that_is_possible(tmp_path: Path) -> None:
    """A tool with a probe finds out."""
    _, ended, _ = await pay(tmp_path, Vendor("lost reply", "refused"), "native_key", probe=found)

    assert (ended.state, ended.via) == ("done", "probe")


async def test_a_probe_that_does_not_answer_leaves_it_unknown(tmp_path: Path) -> None:
    """Not being able to ask is no answer."""
    vendor = Vendor("lost request", honours_keys=False)

    outcome, ended, _ = await pay(tmp_path, vendor, "probe_then_write", probe=blind)

    assert (ended.state, outcome.code, len(vendor.asked)) == ("unknown", "effect_unknown", 1)


async def test_a_probe_may_answer_in_another_form(tmp_path: Path) -> None:
    """A probe that only says yes means done; what the tool answered is not known, and that is said."""

    async def yes(arguments: Arguments, *, key: EffectKey, vendor: Vendor) -> bool | None:
        return True if vendor.find(key) else None

    outcome, ended, _ = await pay(tmp_path, Vendor("lost reply"), "probe_then_write", probe=yes)

    assert ended.state == "done"
    assert "done" in outcome.reason


async def test_a_probe_waits_until_nothing_can_be_on_its_way(tmp_path: Path) -> None:
    """Timeout and the vendor's lag go by before the answer counts."""
    clock, asked = FakeClock(), list[int]()

    async def late(arguments: Arguments, *, key: EffectKey, vendor: Vendor) -> str | None:
        asked.append(clock.now_us())
        return vendor.find(key)

    agent = make_agent([pay_tool("probe_then_write", probe=late, timeout_s=20.0, probe_lag_s=7.0)], once)
    begun = clock.now_us()
    async with runtime_of(tmp_path, agent, vendor=Vendor("lost reply"), clock=clock) as runtime:
        await runtime.run(agent, Task())

    assert [(at - begun) / 1e6 for at in asked] == pytest.approx([27.0], abs=0.1)


async def crash_after_intent(
    folder: Path, mode: str, clock: FakeClock, *, vendor: Vendor, **more: Any
) -> Any:
    """A run whose process dies after the vendor was asked and before the outcome is written. Its agent and id."""
    agent = make_agent([pay_tool(mode, **more)], once)

    def lose_outcome(appends: Any) -> Fault | None:
        kinds = {type(event).__name__ for append in appends for event in append.events}
        return Fault.LOST_REQUEST if "CallEnded" in kinds else None

    async with runtime_of(
        folder,
        agent,
        vendor=vendor,
        clock=clock,
        wrap_store=lambda store: FaultyStore(store, fault=lose_outcome),
    ) as runtime:
        (run,) = await runtime.submit(agent, [Task()])
        with pytest.raises(Exception, match="lost"):
            await runtime.drive(run)
    return agent, run


@pytest.mark.parametrize(("later_s", "again"), [(3000, 2), (3700, 1)])
async def test_a_key_is_used_only_while_the_vendor_honours_it(
    later_s: float, again: int, tmp_path: Path
) -> None:
    """Within `key_ttl_s` the same key is sent again; past it, it is unknown."""
    clock, vendor = FakeClock(), Vendor()
    agent, run = await crash_after_intent(tmp_path, "native_key", clock, vendor=vendor, key_ttl_s=3600.0)
    clock.advance(later_s)

    async with runtime_of(tmp_path, agent, vendor=vendor, clock=clock, seed=2) as runtime:
        outcome = await runtime.drive(run)

    assert len(vendor.asked) == again
    assert (outcome.code == "effect_unknown") is (again == 1)


async def test_later_attempts_do_not_prolong_a_key(tmp_path: Path) -> None:
    """The vendor counts from the first time it saw the key."""
    clock, vendor = FakeClock(), Vendor()
    agent, run = await crash_after_intent(tmp_path, "native_key", clock, vendor=vendor, key_ttl_s=3600.0)
    clock.advance(3000)

    def lose_outcome(appends: Any) -> Fault | None:
        kinds = {type(event).__name__ for append in appends for event in append.events}
        return Fault.LOST_REQUEST if "CallEnded" in kinds else None

    async with runtime_of(
        tmp_path,
        agent,
        vendor=vendor,
        clock=clock,
        seed=2,
        wrap_store=lambda s: FaultyStore(s, fault=lose_outcome),
    ) as runtime:
        with pytest.raises(Exception, match="lost"):
            await runtime.drive(run)
    assert len(vendor.asked) == 2
    clock.advance(3000)
    vendor.done.clear()  # the vendor has forgotten the key: sent again, it would pay again

    async with runtime_of(tmp_path, agent, vendor=vendor, clock=clock, seed=3) as runtime:
        outcome = await runtime.drive(run)

    assert (len(vendor.asked), outcome.code) == (2, "effect_unknown")


async def test_a_clock_that_went_backwards_does_not_prolong_a_probe(tmp_path: Path) -> None:
    """A probe is never waited for longer than anything can be on its way."""
    clock, vendor = FakeClock(), Vendor(honours_keys=False)
    agent, run = await crash_after_intent(tmp_path, "probe_then_write", clock, vendor=vendor, timeout_s=10.0)
    clock.set_back(86_400)
    before = clock.monotonic_ns()

    async with runtime_of(tmp_path, agent, vendor=vendor, clock=clock, seed=2) as runtime:
        outcome = await runtime.drive(run)

    assert (outcome.name, len(vendor.done)) == ("unverified", 1)
    assert (clock.monotonic_ns() - before) / 1e9 < 60


# A model that tries again


async def insist(run: Run, task: Task) -> list[str]:
    """Pay, and where that did not work, pay with another reason; what became of each."""
    said: list[str] = []
    for reason in ("broken teapot", "the customer is waiting", "please"):
        try:
            said.append(await run.call("pay", amount=5, reason=reason))
        except (ToolFailed, EffectUnknown) as error:
            said.append(type(error).__name__)
    return said


@pytest.mark.parametrize("keyed", [True, False])
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("faults", [["lost reply"], ["lost reply"] * 9])
async def test_another_reason_does_not_make_a_second_payment(
    faults: list[str], mode: str, keyed: bool, tmp_path: Path
) -> None:
    """After a lost reply the same refund with another reason is refused, in this run and in another."""
    vendor = Vendor(*faults, honours_keys=mode in ("native_key", "upsert", "conditional"))
    pay = pay_tool(mode, business_key="pay:{amount}" if keyed else None)
    agent = make_agent([pay], insist)
    async with runtime_of(tmp_path, agent, vendor=vendor) as runtime:
        first = await runtime.run(agent, Task(id="one"))
        second = await runtime.run(agent, Task(id="two")) if keyed else None
    await healthy(tmp_path)

    resolved = mode != "at_most_once" and not (
        len(faults) > 1 and mode in ("native_key", "upsert", "conditional")
    )
    if keyed:
        assert len(vendor.done) == 1
        assert second is not None
        assert (second.name, second.code) == ("escalated", "claim_held")
    elif not resolved:
        assert len(vendor.done) == 1  # while it is unknown, nothing of that tool is sent
    assert first.name == ("unverified" if resolved and not keyed else "escalated")


async def test_a_write_whose_answer_cannot_be_read_was_done(tmp_path: Path) -> None:
    """A result in another form than declared does not undo the write, and the run is told so."""

    @tool(mode="at_most_once")
    async def pay(amount: int, *, vendor: Vendor) -> int:
        """Pay."""
        vendor.do("x")
        return "not a number"  # type: ignore[return-value]

    async def program(run: Run, task: Task) -> None:
        with pytest.raises(ToolFailed, match="was done"):
            await run.call("pay", amount=1)

    agent = make_agent([pay], program)
    async with runtime_of(tmp_path, agent) as runtime:
        outcome = await runtime.run(agent, Task())
        state = await state_of(runtime, outcome.run)

    assert outcome.name == "unverified", outcome.reason
    assert state.calls["1.0"].ended is not None
    assert state.calls["1.0"].ended.state == "done"


async def test_a_paid_read_that_fails_is_no_unknown_effect(tmp_path: Path) -> None:
    """A read with a price has an intent, but nothing outside hangs on it."""

    @tool(effect="read", price_usd="0.01", retry=THREE)
    async def look_up(name: str, *, vendor: Vendor) -> str:
        """Look somebody up, for a cent."""
        return vendor.do(name)

    async def program(run: Run, task: Task) -> None:
        with pytest.raises(ToolFailed):
            await run.call("look_up", name="ana")

    agent = make_agent([look_up], program, budget=Budget(money="1.00"))
    async with runtime_of(tmp_path, agent, vendor=Vendor(*["broken"] * 3)) as runtime:
        outcome = await runtime.run(agent, Task())
        reserved = await runtime.store.budget(f"run:{outcome.run}")
    await healthy(tmp_path)

    assert (outcome.name, outcome.unknown) == ("unverified", ())
    assert reserved["money"][0] == 0


async def test_a_slow_draft_may_still_be_committed(tmp_path: Path) -> None:
    """The time that a draft takes is not taken from the send."""
    clock = FakeClock()

    async def slow_draft(arguments: Arguments, *, key: EffectKey) -> dict[str, str]:
        await clock.sleep(12)
        return {"draft": key}

    async def pay(amount: int, reason: str, *, key: EffectKey, vendor: Vendor, draft: dict[str, str]) -> str:
        """Pay."""
        return vendor.do(key)

    pay_slowly = tool(mode="draft_then_commit", probe=found, draft=slow_draft, retry=THREE)(pay)
    agent, vendor = make_agent([pay_slowly], once), Vendor()
    async with runtime_of(tmp_path, agent, vendor=vendor, clock=clock) as runtime:
        outcome = await runtime.run(agent, Task())

    assert (outcome.name, len(vendor.done), len(vendor.asked)) == ("unverified", 1, 1)


@pytest.mark.parametrize("fault", [Fault.LOST_REQUEST, Fault.LOST_REPLY, Fault.FULL_DISK])
@pytest.mark.parametrize("kind", ["CallIntended", "CallEnded", "RunEnded", "RunAdopted"])
@pytest.mark.parametrize("mode", MODES)
async def test_a_journal_that_fails_once_costs_no_effect_twice(
    mode: str, kind: str, fault: Fault, tmp_path: Path
) -> None:
    """Each append may fail with and without having been written; the next drive goes on from what is there."""
    vendor = Vendor(honours_keys=mode in ("native_key", "upsert", "conditional"))
    agent = make_agent([pay_tool(mode)], once)
    armed = [fault]

    def fail_once(appends: Any) -> Fault | None:
        kinds = {type(event).__name__ for append in appends for event in append.events}
        return armed.pop() if armed and kind in kinds else None

    async with runtime_of(
        tmp_path, agent, vendor=vendor, wrap_store=lambda store: FaultyStore(store, fault=fail_once)
    ) as runtime:
        (run,) = await runtime.submit(agent, [Task()])
        try:
            outcome = await runtime.drive(run)
        except Exception:
            outcome = await runtime.drive(run)
    await healthy(tmp_path)

    assert armed == []
    if outcome.unknown:
        assert (mode, outcome.code) == ("at_most_once", "effect_unknown")
    else:
        assert (outcome.name, len(vendor.done)) == ("unverified", 1)


async def test_a_person_says_what_became_of_an_unknown_effect(tmp_path: Path) -> None:
    """After the run has ended, a report settles the effect: claim and reservation are let go."""
    vendor = Vendor("lost request", honours_keys=False)
    agent = make_agent([pay_tool("at_most_once", business_key="pay:{amount}")], once)
    async with runtime_of(tmp_path, agent, vendor=vendor) as runtime:
        first = await runtime.run(agent, Task(id="one"))
        blocked = await runtime.run(agent, Task(id="two"))
        await runtime.report(first.run, first.unknown[0], "failed", by="lea")
        after = await runtime.drive(first.run)
        third = await runtime.run(agent, Task(id="three"))
        budget = await runtime.store.budget(f"run:{first.run}")
    await healthy(tmp_path)

    assert (blocked.code, third.name, len(vendor.done)) == ("claim_held", "unverified", 1)
    assert (after.state, after.name) == ("ended", "escalated")
    assert budget["tool_calls"] == (0, 1)


async def test_a_refusal_before_any_send_is_not_a_payment(tmp_path: Path) -> None:
    """`NotDone` raised while retrying is told with its own words."""

    async def program(run: Run, task: Task) -> str:
        try:
            await run.call("pay", amount=5, reason="x")
        except NotDone as error:
            return f"not done: {error.failure}"
        except ToolFailed as error:
            return f"failed: {error.failure}"
        return "paid"

    agent = make_agent([pay_tool("native_key")], program)
    async with runtime_of(tmp_path, agent, vendor=Vendor("refused")) as runtime:
        outcome = await runtime.run(agent, Task())

    assert outcome.answer in ("not done: permission", "failed: permission")
