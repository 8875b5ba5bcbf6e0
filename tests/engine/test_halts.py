"""An operator stops a run, a tool, an agent or everything; and what was being done is said."""

from __future__ import annotations

import asyncio
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest
from tests.engine.workshop import Task, Vendor, asks, healthy, key_of, make_agent, runtime_of, state_of

from answerable import EffectKey, Retry, Run, tool
from answerable.errors import JournalError, RunHalted
from answerable.testing import FaultyStore

if TYPE_CHECKING:
    from pathlib import Path


@tool(mode="at_most_once", retry=Retry(attempts=1))
async def slow(name: str, *, key: EffectKey, vendor: Vendor) -> str:
    """Send, and wait long for the reply."""
    answer = vendor.do(key)
    await asyncio.sleep(20)
    return answer


@tool(effect="read")
async def stare(name: str, *, vendor: Vendor) -> str:
    """Look for long."""
    vendor.asked.append("stare")
    await asyncio.sleep(20)
    return name


@tool(mode="native_key")
async def pay(name: str, *, key: EffectKey, vendor: Vendor) -> str:
    """Pay."""
    return vendor.do(key)


async def send_slowly(run: Run, task: Task) -> str:
    """One slow write."""
    return await run.call(slow, name="ana")


async def until(what: Any) -> None:
    """Wait until something holds."""
    for _ in range(500):
        if what():
            return
        await asyncio.sleep(0.005)
    raise AssertionError("it never came to that")


SCOPES = ["all", "agent:clerk", "tool:slow", "run"]


@pytest.mark.parametrize("elsewhere", [False, True])
@pytest.mark.parametrize("scope", SCOPES)
async def test_a_halt_interrupts_what_is_being_sent_and_it_is_unknown(
    scope: str, elsewhere: bool, tmp_path: Path
) -> None:
    """Within a second, from this process or another; the write that was on its way is listed."""
    vendor, agent = Vendor(), make_agent([slow], send_slowly)
    async with (
        runtime_of(tmp_path, agent, vendor=vendor) as ours,
        runtime_of(tmp_path, agent, vendor=vendor, seed=2) as theirs,
    ):
        (run,) = await ours.submit(agent, [Task()])
        drive = asyncio.ensure_future(ours.drive(run))
        await until(lambda: vendor.asked)
        begun = time.monotonic()
        scope = f"run:{run}" if scope == "run" else scope
        report = await (theirs if elsewhere else ours).halt(scope, by="ops", reason="a test")
        outcome = await drive
        took = time.monotonic() - begun
    await healthy(tmp_path)

    assert took < 1
    assert (outcome.name, outcome.code) == ("halted", "halted")
    assert outcome.unknown == (vendor.asked[0],)
    assert [each.effect for each in report.in_flight] == vendor.asked
    assert report.processes == 2


async def test_a_read_is_interrupted_and_nothing_is_unknown(tmp_path: Path) -> None:
    """Nothing outside hangs on a read."""
    vendor = Vendor()

    async def program(run: Run, task: Task) -> None:
        await run.gather([(stare, {"name": "a"}), (stare, {"name": "b"})])

    agent = make_agent([stare], program)
    async with runtime_of(tmp_path, agent, vendor=vendor) as runtime:
        (run,) = await runtime.submit(agent, [Task()])
        drive = asyncio.ensure_future(runtime.drive(run))
        await until(lambda: len(vendor.asked) == 2)
        await runtime.halt("all", by="ops", reason="a test")
        outcome = await asyncio.wait_for(drive, 1)
    await healthy(tmp_path)

    assert (outcome.name, outcome.unknown) == ("halted", ())


async def test_another_tool_another_agent_another_run_go_on(tmp_path: Path) -> None:
    """A halt stops what it names, and nothing else."""
    vendor = Vendor()

    async def program(run: Run, task: Task) -> str:
        return await run.call(pay, name=task.id)

    agent = make_agent([pay, slow], program)
    async with runtime_of(tmp_path, agent, vendor=vendor) as runtime:
        for scope in ("tool:slow", "agent:another", "run:run_aaaaaaaaaaaaaaaaaaaaaaaaaa"):
            await runtime.halt(scope, by="ops", reason="a test")
        outcome = await runtime.run(agent, Task())

    assert outcome.name == "unverified"


@pytest.mark.parametrize("scope", ["all", "agent:clerk"])
async def test_nothing_begins_under_a_halt_and_everything_once_it_is_lifted(
    scope: str, tmp_path: Path
) -> None:
    """Runs that have not begun stay as they are."""
    vendor = Vendor()

    async def program(run: Run, task: Task) -> str:
        return await run.call(pay, name=task.id)

    agent = make_agent([pay], program)
    async with runtime_of(tmp_path, agent, vendor=vendor) as runtime:
        await runtime.halt(scope, by="ops", reason="a test")
        runs = await runtime.submit(agent, [Task(id="one"), Task(id="two")])
        before = await runtime.drive_all()
        await runtime.lift(scope, by="ops", reason="over")
        after = await runtime.drive_all(runs)
    await healthy(tmp_path)

    assert {outcome.state for outcome in before} == {"created"}
    assert {outcome.name for outcome in after} == {"unverified"}


@pytest.mark.parametrize("scope", ["all", "agent:clerk", "tool:pay", "run"])
async def test_a_waiting_run_is_not_woken_under_a_halt(scope: str, tmp_path: Path) -> None:
    """The yes is there; the run goes on once the halt is lifted."""
    vendor = Vendor()

    async def program(run: Run, task: Task) -> str:
        return await run.call(pay, name="ana")

    agent = make_agent([pay], program, policy=asks("pay"))
    async with runtime_of(tmp_path, agent, vendor=vendor) as runtime:
        waiting = await runtime.run(agent, Task())
        scope = f"run:{waiting.run}" if scope == "run" else scope
        await runtime.halt(scope, by="ops", reason="a test")
        await runtime.answer(waiting.run, "grant", approver="lea", private_key=key_of("lea"))
        halted = await runtime.drive(waiting.run)
        asked = list(vendor.asked)
        await runtime.lift(scope, by="ops", reason="over")
        outcome = await runtime.drive(waiting.run)
    await healthy(tmp_path)

    assert (halted.state, asked) == ("waiting", [])
    assert (outcome.name, len(vendor.done)) == ("unverified", 1)


async def test_a_halt_between_the_intent_and_the_send_sends_nothing(tmp_path: Path) -> None:
    """Looked at last: what was not sent is not unknown, and keeps no claim and no money."""
    vendor = Vendor()

    class HaltInBetween(FaultyStore):
        is_armed = True

        async def append(self, *appends: Any) -> Any:
            entries = await super().append(*appends)
            kinds = {type(event).__name__ for append in appends for event in append.events}
            if "CallIntended" in kinds and self.is_armed:
                self.is_armed = False
                await runtime.halt("tool:ring", by="ops", reason="a test")
            return entries

    @tool(mode="at_most_once", business_key="ring:{name}")
    async def ring(name: str, *, key: EffectKey, vendor: Vendor) -> str:
        """Ring."""
        return vendor.do(key)

    async def program(run: Run, task: Task) -> str:
        return await run.call(ring, name="ana")

    agent = make_agent([ring], program)
    async with runtime_of(tmp_path, agent, vendor=vendor, wrap_store=HaltInBetween) as runtime:
        first = await runtime.run(agent, Task(id="one"))
        reserved = await runtime.store.budget(f"run:{first.run}")
        await runtime.lift("tool:ring", by="ops", reason="over")
        second = await runtime.run(agent, Task(id="two"))
    await healthy(tmp_path)

    assert (first.name, first.unknown) == ("halted", ())
    assert reserved["tool_calls"][0] == 0
    assert (second.name, len(vendor.done)) == ("unverified", 1)


@pytest.mark.parametrize("at", ["RunAdopted", "CallIntended", "RunEnded"])
async def test_a_halt_while_an_entry_is_written_leaves_no_false_doubt(at: str, tmp_path: Path) -> None:
    """A run that is cancelled in the middle of a commit knows what was written."""
    vendor, writing = Vendor(), asyncio.Event()

    class Slow(FaultyStore):
        async def append(self, *appends: Any) -> Any:
            kinds = {type(event).__name__ for append in appends for event in append.events}
            work = asyncio.ensure_future(super().append(*appends))
            if at in kinds and not writing.is_set():
                writing.set()
                try:
                    await asyncio.sleep(0.1)
                except asyncio.CancelledError:
                    await asyncio.wait([work])
                    raise
            return await work

    @tool(mode="at_most_once")
    async def ring(name: str, *, key: EffectKey, vendor: Vendor) -> str:
        """Ring."""
        return vendor.do(key)

    async def program(run: Run, task: Task) -> str:
        return await run.call(ring, name="ana")

    agent = make_agent([ring], program)
    async with runtime_of(tmp_path, agent, vendor=vendor, wrap_store=Slow) as runtime:
        (run,) = await runtime.submit(agent, [Task()])
        drive = asyncio.ensure_future(runtime.drive_all([run]))
        await writing.wait()
        await runtime.halt("all", by="ops", reason="a test")
        (outcome,) = await drive
    await healthy(tmp_path)

    assert (outcome.state, outcome.unknown) == ("ended", ())
    assert outcome.name == ("unverified" if at == "RunEnded" else "halted")
    assert len(vendor.asked) == (1 if at == "RunEnded" else 0)


async def test_a_halt_in_the_pause_of_a_retry_is_certain(tmp_path: Path) -> None:
    """The vendor was too busy and said so; a halt while waiting to try again makes nothing unknown."""
    from answerable.testing import FakeClock

    vendor, clock = Vendor(*["busy"] * 3), FakeClock(autojump=False)

    @tool(mode="at_most_once", retry=Retry(attempts=3, backoff_s=5))
    async def ring(name: str, *, key: EffectKey, vendor: Vendor) -> str:
        """Ring."""
        return vendor.do(key)

    async def program(run: Run, task: Task) -> str:
        return await run.call(ring, name="ana")

    agent = make_agent([ring], program)
    async with runtime_of(tmp_path, agent, vendor=vendor, clock=clock) as runtime:
        (run,) = await runtime.submit(agent, [Task()])
        drive = asyncio.ensure_future(runtime.drive(run))
        await until(lambda: vendor.asked)
        await asyncio.sleep(0.05)
        await runtime.halt("all", by="ops", reason="a test")
        outcome = await drive
    await healthy(tmp_path)

    assert (outcome.name, outcome.unknown, len(vendor.asked)) == ("halted", (), 1)


async def test_an_attached_run_is_halted_and_its_owner_hears_of_it(tmp_path: Path) -> None:
    """The owner gets an ordinary error, and is not cancelled itself."""
    vendor, agent = Vendor(), make_agent([slow], send_slowly)
    async with runtime_of(tmp_path, agent, vendor=vendor) as runtime:

        async def own() -> str:
            try:
                async with runtime.start(agent, Task()) as run:
                    await run.call(slow, name="ana")
            except RunHalted as halted:
                async with asyncio.timeout(1):
                    await asyncio.sleep(0)
                return str(halted)
            return ""

        owner = asyncio.ensure_future(own())
        await until(lambda: vendor.asked)
        await runtime.halt("tool:slow", by="ops", reason="a test")
        said = await asyncio.wait_for(owner, 2)
        (row,) = await runtime.store.runs()
        state = await state_of(runtime, row.run)
    await healthy(tmp_path)

    assert "halted" in said
    assert row.outcome == "halted"
    assert state.ended is not None
    assert state.ended.unknown == (vendor.asked[0],)


async def test_a_journal_that_fails_once_does_not_blind_the_watch(tmp_path: Path) -> None:
    """Halts are looked for again after the journal could not be read."""
    vendor, agent = Vendor(), make_agent([slow], send_slowly)

    class Blinking(FaultyStore):
        blinks = 3

        async def changed(self) -> None:
            if vendor.asked and self.blinks:
                self.blinks -= 1
                raise JournalError("the journal cannot be read, says the test")
            await self.inside.changed()

    async with (
        runtime_of(tmp_path, agent, vendor=vendor, wrap_store=Blinking) as ours,
        runtime_of(tmp_path, agent, vendor=vendor, seed=2) as theirs,
    ):
        (run,) = await ours.submit(agent, [Task()])
        drive = asyncio.ensure_future(ours.drive(run))
        await until(lambda: vendor.asked)
        await theirs.halt("all", by="ops", reason="a test")
        outcome = await asyncio.wait_for(drive, 2)

    assert outcome.name == "halted"


# Synchronous tools


async def test_a_thread_that_is_given_up_makes_its_write_unknown(tmp_path: Path) -> None:
    """A thread cannot be stopped: what it does later is done, so the effect is unknown from the timeout on."""
    vendor, go = Vendor(), threading.Event()

    @tool(mode="at_most_once", timeout_s=0.1, retry=Retry(attempts=3))
    def stuck(name: str, *, key: EffectKey, vendor: Vendor) -> str:
        """Hang, then do it after all."""
        go.wait(5)
        return vendor.do(key)

    async def program(run: Run, task: Task) -> str:
        return await run.call(stuck, name="ana")

    agent = make_agent([stuck], program)
    async with runtime_of(tmp_path, agent, vendor=vendor) as runtime:
        outcome = await runtime.run(agent, Task())
        asked = list(vendor.asked)
        go.set()
        await until(lambda: vendor.done)
    await healthy(tmp_path)

    assert (outcome.code, len(outcome.unknown), asked) == ("effect_unknown", 1, [])


async def test_a_slot_stays_taken_until_its_thread_returns(tmp_path: Path) -> None:
    """A call for which no thread is free never begins: that is certain, and it may be tried again."""
    vendor, go = Vendor(), threading.Event()

    @tool(mode="at_most_once", timeout_s=0.1, retry=Retry(attempts=1))
    def stuck(name: str, *, key: EffectKey, vendor: Vendor) -> str:
        """Hang, then do it after all."""
        vendor.asked.append(name)
        go.wait(5)
        return name

    async def program(run: Run, task: Task) -> str:
        return await run.call(stuck, name=task.id)

    agent = make_agent([stuck], program)
    async with runtime_of(tmp_path, agent, vendor=vendor, sync_workers=1) as runtime:
        first = await runtime.run(agent, Task(id="one"))
        second = await runtime.run(agent, Task(id="two"))
        go.set()
        await asyncio.sleep(0.05)
    await healthy(tmp_path)

    assert (first.code, len(first.unknown)) == ("effect_unknown", 1)
    assert (second.code, second.unknown) == ("tool_failure", ())
    assert vendor.asked == ["one"]


async def test_a_function_that_hides_a_coroutine_is_awaited(tmp_path: Path) -> None:
    """What looks synchronous and answers with something to await is awaited, and only then done."""
    vendor = Vendor()

    async def really(key: str, vendor: Vendor) -> str:
        return vendor.do(key)

    @tool(mode="native_key")
    def pay_hidden(name: str, *, key: EffectKey, vendor: Vendor) -> str:
        """Pay."""
        return really(key, vendor)  # type: ignore[return-value]

    async def program(run: Run, task: Task) -> str:
        return await run.call(pay_hidden, name="ana")

    agent = make_agent([pay_hidden], program)
    async with runtime_of(tmp_path, agent, vendor=vendor) as runtime:
        outcome = await runtime.run(agent, Task())

    assert (outcome.answer, len(vendor.done)) == ("receipt 1", 1)
