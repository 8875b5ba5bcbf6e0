"""Breakers of tools: what opens one, what is told of it, and what becomes of effects in doubt."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from tests.engine.site import Site, look_tool, pay_tool, tried
from tests.engine.workshop import PERMIT, Task, Vendor, healthy, make_agent, runtime_of, state_of

from answerable import Breaker, EffectKey, NotDone, Retry, Run, Tool, ToolFailed, tool
from answerable.replay import replay
from answerable.testing import FakeClock

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

STRICT = Breaker(failures=3, within_s=60, pause_s=30)


@pytest.mark.parametrize("make", [look_tool, pay_tool])
async def test_a_vendor_that_is_down_is_left_alone_and_tried_once_after_the_pause(
    make: Callable[..., Tool], tmp_path: Path
) -> None:
    """What reaches it is the failures that open the breaker, and one trial for each pause."""
    clock = FakeClock()
    site = Site(clock)
    limited = make(site, breaker=STRICT)

    async def program(run: Run, task: Task) -> list[str]:
        said = []
        site.is_down = True
        for turn in range(12):
            said.append(await tried(run, limited.name, name=f"n{turn}"))
            await clock.sleep(5)
        site.is_down = False
        await clock.sleep(30)
        said += [await tried(run, limited.name, name=f"m{turn}") for turn in range(3)]
        return said

    agent = make_agent([limited], program)
    async with runtime_of(tmp_path, agent, clock=clock) as runtime:
        outcome = await runtime.run(agent, Task())
        state = await state_of(runtime, outcome.run)
    await healthy(tmp_path)

    ended = [step.ended.failure if step.ended else None for step in state.calls.values()]
    assert ended[:3] == ["timeout"] * 3
    assert ended[3:8] == ["circuit_open"] * 5
    assert ended[8] == "timeout"
    assert ended[9:12] == ["circuit_open"] * 3
    assert ended[12:] == [None] * 3
    assert len(site.asked) == 3 + 1 + 3


async def test_an_open_breaker_is_said_to_the_run_the_packet_and_the_doctor(tmp_path: Path) -> None:
    """The class, when it is tried again, and in words."""
    from answerable.journal.doctor import examine

    clock = FakeClock()
    site = Site(clock)
    site.is_down = True
    pay = pay_tool(site, "at_most_once", breaker=Breaker(failures=1, pause_s=20))
    caught: list[ToolFailed] = []

    async def program(run: Run, task: Task) -> None:
        assert await tried(run, "pay", name="ana") == "unknown"
        try:
            await run.call(pay, name="ben")
        except ToolFailed as failed:
            caught.append(failed)
            raise

    agent = make_agent([pay], program)
    async with runtime_of(tmp_path, agent, clock=clock) as runtime:
        outcome = await runtime.run(agent, Task())
        state = await state_of(runtime, outcome.run)
        found = [finding for finding in await examine(runtime.store) if finding.name == "open-breaker"]
        replayed = await replay(runtime, outcome.run)
        assert state.ended is not None
        assert state.ended.packet is not None
        packet = (await runtime.store.payloads([state.ended.packet]))[state.ended.packet]
    await healthy(tmp_path)

    assert (replayed.is_equal, len(caught)) == (True, 2), replayed.difference
    assert (caught[0].failure, caught[0].retry_after_s) == ("circuit_open", pytest.approx(20, abs=0.5))
    assert (outcome.code, len(outcome.unknown), len(site.asked)) == ("tool_failure", 1, 1)
    assert "breaker of `pay` is open after 1 failures within 60 s; nothing was sent" in outcome.reason
    assert [finding.level for finding in found] == ["warn"]
    assert "default/pay" in found[0].message
    assert isinstance(packet, bytes)
    assert b'"failure":"circuit_open"' in packet


async def test_what_says_nothing_of_the_vendor_does_not_count(tmp_path: Path) -> None:
    """Denials, invalid calls, and calls that the vendor itself refuses."""
    clock = FakeClock()
    site = Site(clock)
    site.trouble = [NotDone("no", failure="permission")] * 3
    pay = pay_tool(site, breaker=Breaker(failures=1))
    policy = (
        PERMIT + '@id("not-bob")\n@text("Not Bob.")\nforbid (principal, action == Action::"pay", resource)'
    )
    policy += ' when { context.args.name == "bob" };\n'

    async def program(run: Run, task: Task) -> list[str]:
        said = [await tried(run, "pay", name=f"n{turn}") for turn in range(3)]
        said += [await tried(run, "pay", name="bob"), await tried(run, "pay", nobody="x")]
        return [*said, await tried(run, "pay", name="ana")]

    agent = make_agent([pay], program, policy=policy)
    async with runtime_of(tmp_path, agent, clock=clock) as runtime:
        outcome = await runtime.run(agent, Task())

    assert outcome.answer[:5] == ["permission"] * 3 + ["policy_denied", "invalid_call"]
    assert len(outcome.answer[5]) == 64
    assert len(site.asked) == 4


async def test_retries_take_turns_and_an_open_breaker_ends_them(tmp_path: Path) -> None:
    """Of ten attempts three are sent; the last word is that the breaker is open."""
    clock = FakeClock()
    site = Site(clock)
    site.trouble = [NotDone("busy", failure="upstream")] * 10
    pay = pay_tool(site, breaker=STRICT, rate="1/s", retry=Retry(attempts=10, backoff_s=0.01))

    async def program(run: Run, task: Task) -> str:
        return await tried(run, "pay", name="ana")

    agent = make_agent([pay], program)
    async with runtime_of(tmp_path, agent, clock=clock) as runtime:
        outcome = await runtime.run(agent, Task())
        state = await state_of(runtime, outcome.run)
    await healthy(tmp_path)

    ended = state.calls["1.0"].ended
    assert ended is not None
    assert (outcome.answer, ended.state, ended.attempt) == ("circuit_open", "failed", 3)
    assert site.asked == pytest.approx([0, 1, 2], abs=0.01)


async def test_a_read_that_finds_the_breaker_open_falls_back(tmp_path: Path) -> None:
    """Where it declares how."""
    clock = FakeClock()
    site = Site(clock)
    site.is_down = True
    look = look_tool(
        site, breaker=Breaker(failures=2), retry=Retry(attempts=5), fallback=lambda arguments: "nobody knows"
    )

    async def program(run: Run, task: Task) -> str:
        return await run.call(look, name="ana")

    agent = make_agent([look], program)
    async with runtime_of(tmp_path, agent, clock=clock) as runtime:
        outcome = await runtime.run(agent, Task())
    await healthy(tmp_path)

    assert (outcome.answer, len(site.asked)) == ("nobody knows", 2)


async def test_what_is_in_doubt_waits_for_the_breaker_and_is_resolved(tmp_path: Path) -> None:
    """A lost reply that opens the breaker is sent again as the trial, with its key: once done, and known."""
    clock = FakeClock()
    vendor = Vendor("lost reply")

    @tool(mode="native_key", breaker=Breaker(failures=1, pause_s=20), retry=Retry(attempts=2))
    async def pay(name: str, *, key: EffectKey, vendor: Vendor) -> str:
        """Pay."""
        return vendor.do(key)

    async def program(run: Run, task: Task) -> list[str]:
        return [await tried(run, "pay", name="ana"), await tried(run, "pay", name="ben")]

    agent = make_agent([pay], program)
    begun = clock.now_us()
    async with runtime_of(tmp_path, agent, vendor=vendor, clock=clock) as runtime:
        outcome = await runtime.run(agent, Task())
    await healthy(tmp_path)

    assert outcome.answer == ["receipt 1", "receipt 2"]
    assert (len(vendor.done), len(vendor.asked)) == (2, 3)
    assert clock.now_us() - begun >= 20_000_000


async def test_what_is_in_doubt_and_finds_no_end_of_it_is_unknown(tmp_path: Path) -> None:
    """A vendor that stays down: bounded, nothing is sent beside the trials, and it is said."""
    clock = FakeClock()
    site = Site(clock)
    site.is_down = True
    pay = pay_tool(site, breaker=Breaker(failures=1, pause_s=20), retry=Retry(attempts=3))

    async def program(run: Run, task: Task) -> str:
        return await tried(run, "pay", name="ana")

    agent = make_agent([pay], program)
    async with runtime_of(tmp_path, agent, clock=clock) as runtime:
        outcome = await runtime.run(agent, Task())
    await healthy(tmp_path)

    assert (outcome.code, len(outcome.unknown)) == ("effect_unknown", 1)
    assert site.asked == pytest.approx([0, 20, 40], abs=0.5)


async def test_a_probe_is_a_request_like_any_other(tmp_path: Path) -> None:
    """It takes a turn, waits for the breaker, and what it answers closes it."""
    clock = FakeClock()
    site = Site(clock)
    site.trouble = [ToolFailed("no answer", failure="timeout")]

    async def found(arguments: Any, *, key: EffectKey) -> str | None:
        return site.ask("found")

    pay = pay_tool(site, "probe_then_write", probe=found, breaker=Breaker(failures=1, pause_s=100))

    async def program(run: Run, task: Task) -> list[str]:
        return [await tried(run, "pay", name="ana"), (await tried(run, "pay", name="ben"))[:1] and "sent"]

    agent = make_agent([pay], program)
    async with runtime_of(tmp_path, agent, clock=clock) as runtime:
        outcome = await runtime.run(agent, Task())
    await healthy(tmp_path)

    assert outcome.answer == ["found", "sent"]
    assert len(site.asked) == 3
    assert site.asked[1] >= 100


async def test_a_trial_that_a_gate_or_guard_stops_is_made_by_another(tmp_path: Path) -> None:
    """A claim that is held refuses the intent; the next call is let through as the trial."""
    clock = FakeClock()
    site = Site(clock)
    pay = pay_tool(site, breaker=Breaker(failures=1, pause_s=20))

    async def program(run: Run, task: Task) -> list[str]:
        said = [await tried(run, "pay", name=task.who)]
        site.trouble = [NotDone("down", failure="upstream")]
        said.append(await tried(run, "pay", name="ben"))
        await clock.sleep(21)
        return said

    async def again(run: Run, task: Task) -> list[str]:
        return [await tried(run, "pay", name=task.who), (await tried(run, "pay", name="eve"))[:1] and "sent"]

    first = make_agent([pay], program)
    second = make_agent([pay], again, name="other", policy=PERMIT.replace("clerk", "other"))
    async with runtime_of(tmp_path, first, second, clock=clock) as runtime:
        await runtime.run(first, Task())
        outcome = await runtime.run(second, Task(id="second"))
    await healthy(tmp_path)

    assert outcome.answer == ["claim_held", "sent"]


async def test_a_replay_takes_no_turn(tmp_path: Path) -> None:
    """Code that asks for more than is recorded comes to the end of the tape, not to the vendor's limits."""
    clock = FakeClock()
    site = Site(clock)
    pay = pay_tool(site, rate="1/s")
    asks = ["ana"]

    async def program(run: Run, task: Task) -> None:
        for name in asks:
            await run.call(pay, name=name)

    agent = make_agent([pay], program)
    async with runtime_of(tmp_path, agent, clock=clock) as runtime:
        outcome = await runtime.run(agent, Task())
        before = runtime.store._throttle.states()  # type: ignore[attr-defined]
        asks.append("ben")
        replayed = await replay(runtime, outcome.run)

        assert runtime.store._throttle.states() == before  # type: ignore[attr-defined]
    assert not replayed.is_equal


async def test_nobody_but_the_engine_says_that_a_breaker_is_open(tmp_path: Path) -> None:
    """A tool that makes the class up has an ordinary failure of its vendor."""
    clock = FakeClock()
    site = Site(clock)
    site.trouble = [ToolFailed("open!", failure="circuit_open")]
    look = look_tool(site)

    async def program(run: Run, task: Task) -> str:
        return await tried(run, "look", name="ana")

    agent = make_agent([look], program)
    async with runtime_of(tmp_path, agent, clock=clock) as runtime:
        outcome = await runtime.run(agent, Task())

    assert outcome.answer == "upstream"
