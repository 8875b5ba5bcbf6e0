"""A driven run is called again from the top, and must ask for what it asked before."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
from tests.engine.errands import TOOLS, die_at, look, pay, peek, ring
from tests.engine.workshop import (
    Task,
    Vendor,
    asks,
    changed,
    healthy,
    key_of,
    kinds_of,
    make_agent,
    runtime_of,
    state_of,
)

from answerable import EffectKey, Run, tool
from answerable.models.port import Message, ModelReply, ToolCall
from answerable.testing import FaultyStore, ScriptedModel, call, say, use

if TYPE_CHECKING:
    from pathlib import Path


async def die(
    folder: Path, program: Any, kind: str, *, nth: int = 1, vendor: Vendor | None = None, **more: Any
):
    """Drive a run until its process dies; the agent and the run."""
    agent = make_agent(TOOLS, program, **more)
    async with runtime_of(folder, agent, vendor=vendor, wrap_store=die_at(kind, nth=nth)) as runtime:
        (run,) = await runtime.submit(agent, [Task()])
        with pytest.raises(Exception, match="lost"):
            await runtime.drive(run)
    return agent, run


async def test_answers_are_read_back_and_not_asked_for_again(tmp_path: Path) -> None:
    """What is in the journal is not done twice: time, chance, reads and writes come out the same."""
    vendor, seen = Vendor(), list[list[Any]]()

    async def program(run: Run, task: Task) -> None:
        seen.append([])
        for step in (run.now, run.random, run.uuid, run.random):
            seen[-1].append(await step())
        seen[-1].append(await run.call(look, name="ana"))
        seen[-1].append(await run.call(pay, name="ana"))
        seen[-1] += await run.gather(
            [(look, {"name": "ben"}), (peek, {"name": "ben"}), (pay, {"name": "ben"})]
        )

    agent, run = await die(tmp_path, program, "RunEnded", vendor=vendor)
    asked = list(vendor.asked)
    async with runtime_of(tmp_path, agent, vendor=vendor, seed="another") as runtime:
        outcome = await runtime.drive(run)
    await healthy(tmp_path)

    assert outcome.name == "unverified", outcome.reason
    assert seen[0] == seen[1]
    assert seen[0][1] != seen[0][3]
    assert vendor.asked[: len(asked)] == asked
    assert [each for each in vendor.asked[len(asked) :] if each.startswith(("look", "peek"))] == []
    assert len(vendor.done) == 2


async def test_a_run_that_has_ended_is_only_reported(tmp_path: Path) -> None:
    """Driving it again calls nothing and writes nothing, and says the same."""
    vendor = Vendor()

    async def program(run: Run, task: Task) -> str:
        return await run.call(pay, name="ana")

    agent = make_agent(TOOLS, program)
    async with runtime_of(tmp_path, agent, vendor=vendor) as runtime:
        first = await runtime.run(agent, Task())
        before = await runtime.store.head(f"run/{first.run}")
        again = await runtime.drive(first.run)
        same_event = await runtime.run(agent, Task())
        after = await runtime.store.head(f"run/{first.run}")

    assert (first, again, same_event) == (first, first, first)
    assert (before, len(vendor.asked)) == (after, 1)


async def before_change(run: Run, task: Task) -> None:
    """What the runs of the next test did before they died."""
    await run.random()
    await run.call(look, name="ana")
    await run.call(peek, name="ana")
    await run.call(pay, name="ana")


async def other_arguments(run: Run, task: Task) -> None:
    await run.random()
    await run.call(look, name="ben")


async def other_order(run: Run, task: Task) -> None:
    await run.random()
    await run.call(peek, name="ana")


async def other_kind(run: Run, task: Task) -> None:
    await run.call(look, name="ana")


async def other_value(run: Run, task: Task) -> None:
    await run.uuid()


async def fewer_steps(run: Run, task: Task) -> None:
    await run.random()
    await run.call(look, name="ana")


async def model_instead(run: Run, task: Task) -> None:
    await run.model([Message(role="user", text="what now?")])


@pytest.mark.parametrize(
    ("program", "difference"),
    [
        (other_arguments, "asks for `look`, but its journal says `look` with other arguments"),
        (other_order, "asks for `peek`, but its journal says `look`"),
        (other_kind, "makes a call step, but its journal says a value step"),
        (other_value, "asks for `uuid`, but its journal says `random`"),
        (fewer_steps, "ended after 2 steps, but its journal holds 4"),
        (model_instead, "makes a model step, but its journal says a value step"),
    ],
)
async def test_changed_code_is_found_and_the_difference_said(
    program: Any, difference: str, tmp_path: Path
) -> None:
    """A run whose code asks for something else than its journal says ends as diverged, and does nothing."""
    vendor = Vendor()
    agent, run = await die(tmp_path, before_change, "RunEnded", vendor=vendor)
    asked = list(vendor.asked)

    async with runtime_of(tmp_path, changed(agent, program), vendor=vendor, seed=2) as runtime:
        outcome = await runtime.drive(run)
    await healthy(tmp_path)

    assert (outcome.name, outcome.code) == ("failed", "diverged")
    assert difference in outcome.reason
    assert vendor.asked == asked


@pytest.mark.parametrize("retried", [False, True])
async def test_other_words_to_the_model_are_found(retried: bool, tmp_path: Path) -> None:
    """What a model was asked is compared too, also where its first attempt failed."""
    from answerable import ModelFailed

    words = ["first"]
    failures = [ModelFailed("busy", retryable=True)] if retried else []

    def reply(*_: Any) -> ModelReply:
        if failures:
            raise failures.pop()
        return say("yes")

    async def program(run: Run, task: Task) -> None:
        await run.model([Message(role="system", text="be kind"), Message(role="user", text=words[0])])
        await run.call(pay, name="ana")

    models = {"scripted:clerk": ScriptedModel("clerk", reply)}
    agent = make_agent(TOOLS, program)
    async with runtime_of(tmp_path, agent, models=models, wrap_store=die_at("RunEnded")) as runtime:
        (run,) = await runtime.submit(agent, [Task()])
        with pytest.raises(Exception, match="lost"):
            await runtime.drive(run)
    words[0] = "second"
    async with runtime_of(tmp_path, agent, models=models, seed=2) as runtime:
        outcome = await runtime.drive(run)

    assert (outcome.name, outcome.code) == ("failed", "diverged")
    assert "other messages" in outcome.reason


async def test_a_second_outstanding_call_is_refused_and_the_first_still_ends(tmp_path: Path) -> None:
    """Two calls at once are a mistake in the code; what was begun comes to its end before the run does."""
    vendor = Vendor()

    @tool(mode="at_most_once")
    async def slow(name: str, *, key: EffectKey, vendor: Vendor) -> str:
        """Take a moment."""
        await asyncio.sleep(0.05)
        return vendor.do(key)

    async def program(run: Run, task: Task) -> None:
        await asyncio.gather(run.call(slow, name="ana"), run.call(slow, name="ben"))

    agent = make_agent([slow], program)
    async with runtime_of(tmp_path, agent, vendor=vendor) as runtime:
        outcome = await runtime.run(agent, Task())
        kinds = await kinds_of(runtime, outcome.run)
    await healthy(tmp_path)

    assert (outcome.name, outcome.code, outcome.unknown) == ("failed", "internal", ())
    assert "one call outstanding" in outcome.reason
    assert (len(vendor.done), kinds[-1]) == (1, "RunEnded")


async def test_a_step_after_the_end_is_refused(tmp_path: Path) -> None:
    """A handle that was kept, or a task that was left behind, can do nothing once the run is over."""
    vendor, kept = Vendor(), list[Any]()

    async def program(run: Run, task: Task) -> None:
        async def later() -> None:
            await asyncio.sleep(0.02)
            await run.call(pay, name="late")

        kept.extend([run, asyncio.ensure_future(later())])

    agent = make_agent(TOOLS, program)
    async with runtime_of(tmp_path, agent, vendor=vendor) as runtime:
        outcome = await runtime.run(agent, Task())
        with pytest.raises(Exception, match="the run is over"):
            await kept[0].call(pay, name="later still")
        with pytest.raises(Exception, match="the run is over"):
            await kept[1]
        kinds = await kinds_of(runtime, outcome.run)

    assert (vendor.asked, kinds[-1]) == ([], "RunEnded")


async def test_arguments_by_position_are_refused(tmp_path: Path) -> None:
    """Rules are about names."""

    async def program(run: Run, task: Task) -> None:
        await run.call(pay, "ana")

    agent, vendor = make_agent(TOOLS, program), Vendor()
    async with runtime_of(tmp_path, agent, vendor=vendor) as runtime:
        outcome = await runtime.run(agent, Task())

    assert (outcome.name, vendor.asked) == ("failed", [])
    assert "by position" in outcome.reason


async def test_code_that_raises_fails_the_run_and_not_the_batch(tmp_path: Path) -> None:
    """Whatever a run's code raises, the run ends and says it, and others go on."""

    async def program(run: Run, task: Task) -> str:
        if task.id == "bad":
            raise ZeroDivisionError("oh")
        return await run.call(pay, name=task.id)

    agent = make_agent(TOOLS, program)
    async with runtime_of(tmp_path, agent) as runtime:
        runs = await runtime.submit(agent, [Task(id="one"), Task(id="bad"), Task(id="two")])
        outcomes = await runtime.drive_all(runs)
    await healthy(tmp_path)

    assert [outcome.name for outcome in outcomes] == ["unverified", "failed", "unverified"]
    assert "ZeroDivisionError" in outcomes[1].reason


async def test_a_run_that_cannot_be_driven_does_not_stop_the_others(tmp_path: Path) -> None:
    """One run of an agent that is gone: the others are driven, and the error names it."""

    async def program(run: Run, task: Task) -> str:
        return await run.call(pay, name=task.id)

    agent, gone = make_agent(TOOLS, program), make_agent(TOOLS, program, name="gone", policy=POLICY_OF_GONE)
    async with runtime_of(tmp_path, agent, gone) as runtime:
        await runtime.submit(gone, [Task(id="zero")])
        runs = await runtime.submit(agent, [Task(id="one"), Task(id="two")])
    async with runtime_of(tmp_path, agent, seed=2) as runtime:
        with pytest.raises(Exception, match="does not know the agent `gone`"):
            await runtime.drive_all(concurrency=1)
        rows = {row.run: row.state for row in await runtime.store.runs()}

    assert [rows[run] for run in runs] == ["ended", "ended"]


POLICY_OF_GONE = """
@id("may")
@text("All of it.")
permit (principal == Agent::"gone", action, resource);
"""


async def test_what_happened_just_before_a_flush_is_not_forgotten(tmp_path: Path) -> None:
    """Events that are noted while others are being written are written too."""

    class SlowStore(FaultyStore):
        async def append(self, *appends: Any) -> Any:
            await asyncio.sleep(0.03)
            return await super().append(*appends)

    async def program(run: Run, task: Task) -> None:
        for turn in range(8):
            await run.random()
            await run.call(look, name=f"n{turn}")
            await asyncio.sleep(0.015)

    agent = make_agent(TOOLS, program)
    async with runtime_of(tmp_path, agent, wrap_store=SlowStore) as runtime:
        outcome = await runtime.run(agent, Task())
        state = await state_of(runtime, outcome.run)
    await healthy(tmp_path)

    assert len(state.values) == 8
    assert [step.ended.state for step in state.calls.values() if step.ended] == ["done"] * 8


@pytest.mark.parametrize("name", ["send e-mail", "Look", "look ", "ｌｏｏｋ", "", "x" * 300])
async def test_a_tool_that_is_not_there_is_invalid_before_and_after_a_crash(
    name: str, tmp_path: Path
) -> None:
    """A model may make up any name; the run goes on the same way when it is called again."""

    def program(messages: tuple[Message, ...], *_: Any) -> ModelReply:
        if any(message.role == "tool" for message in messages):
            return say("I give up")
        return use(ToolCall(id="", name=name, arguments='{"name": "ana"}'))

    models = {"scripted:clerk": ScriptedModel("clerk", program)}
    agent = make_agent(TOOLS)
    async with runtime_of(tmp_path, agent, models=models, wrap_store=die_at("RunEnded")) as runtime:
        (run,) = await runtime.submit(agent, [Task()])
        with pytest.raises(Exception, match="lost"):
            await runtime.drive(run)
    async with runtime_of(tmp_path, agent, models=models, seed=2) as runtime:
        outcome = await runtime.drive(run)
    await healthy(tmp_path)

    assert (outcome.name, outcome.answer) == ("unverified", "I give up"), outcome.reason


async def test_a_model_is_not_asked_again_for_what_it_answered(tmp_path: Path) -> None:
    """After a crash the replies of the model come from the journal."""
    replies: list[int] = []

    def program(messages: tuple[Message, ...], *_: Any) -> ModelReply:
        replies.append(len(messages))
        turns = sum(message.role == "tool" for message in messages)
        return say("done") if turns == 3 else use(call("pay", name=f"n{turns}"))

    vendor, models = Vendor(), {"scripted:clerk": ScriptedModel("clerk", program)}
    agent = make_agent(TOOLS)
    async with runtime_of(
        tmp_path, agent, vendor=vendor, models=models, wrap_store=die_at("RunEnded")
    ) as runtime:
        (run,) = await runtime.submit(agent, [Task()])
        with pytest.raises(Exception, match="lost"):
            await runtime.drive(run)
    first, replies[:] = list(replies), []
    async with runtime_of(tmp_path, agent, vendor=vendor, models=models, seed=2) as runtime:
        outcome = await runtime.drive(run)
    await healthy(tmp_path)

    assert (outcome.name, len(vendor.done)) == ("unverified", 3), outcome.reason
    assert len(first) == 4
    assert len(replies) <= 1  # only the reply that had not been written may be asked for again


async def test_two_processes_do_not_drive_one_run_at_once(tmp_path: Path) -> None:
    """The second sees that the first is alive and leaves it alone."""
    vendor = Vendor()

    async def program(run: Run, task: Task) -> str:
        await run.random()
        await asyncio.sleep(0.1)
        return await run.call(ring, name="ana")

    agent = make_agent(TOOLS, program)
    async with (
        runtime_of(tmp_path, agent, vendor=vendor) as one,
        runtime_of(tmp_path, agent, vendor=vendor, seed=2) as two,
    ):
        (run,) = await one.submit(agent, [Task()])
        outcomes = await asyncio.gather(one.drive(run), two.drive(run), one.drive(run))
    await healthy(tmp_path)

    assert [outcome.state for outcome in outcomes].count("ended") == 1
    assert len(vendor.asked) == 1


async def test_two_processes_that_wake_one_run_wake_it_once(tmp_path: Path) -> None:
    """Both see the answer; one of them performs."""
    vendor = Vendor()

    async def program(run: Run, task: Task) -> str:
        return await run.call(ring, name="ana")

    agent = make_agent(TOOLS, program, policy=asks("ring"))
    async with (
        runtime_of(tmp_path, agent, vendor=vendor) as one,
        runtime_of(tmp_path, agent, vendor=vendor, seed=2) as two,
    ):
        waiting = await one.run(agent, Task())
        await two.answer(waiting.run, "grant", approver="lea", private_key=key_of("lea"))
        await asyncio.gather(*(each.drive(waiting.run) for each in (one, two, one, two)))
        outcome = await two.drive(waiting.run)
    await healthy(tmp_path)

    assert (outcome.name, len(vendor.asked)) == ("unverified", 1)


async def test_replay_of_a_finished_run_calls_nothing(tmp_path: Path) -> None:
    """A finished run is told again from its journal, without the model and without a tool."""
    vendor = Vendor()

    async def program(run: Run, task: Task) -> str:
        await run.now()
        await run.call(look, name="ana")
        return await run.call(pay, name="ana")

    agent = make_agent(TOOLS, program)
    async with runtime_of(tmp_path, agent, vendor=vendor) as runtime:
        outcome = await runtime.run(agent, Task())
        asked = list(vendor.asked)
        first = [entry.body for entry in await runtime.store.entries(f"run/{outcome.run}")]
    async with runtime_of(tmp_path, agent, vendor=vendor, seed=2) as runtime:
        await runtime.drive(outcome.run)
        again = [entry.body for entry in await runtime.store.entries(f"run/{outcome.run}")]

    assert (first, vendor.asked) == (again, asked)


async def test_the_same_test_makes_the_same_journal(tmp_path: Path) -> None:
    """With virtual time and fixed chance a run is the same, byte for byte."""

    async def program(run: Run, task: Task) -> str:
        await run.uuid()
        await run.call(look, name="ana")
        return await run.call(pay, name="ana")

    bodies: list[list[str]] = []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        agent = make_agent(TOOLS, program)
        async with runtime_of(tmp_path / name, agent) as runtime:
            outcome = await runtime.run(agent, Task())
            bodies.append([entry.body for entry in await runtime.store.entries(f"run/{outcome.run}")])

    assert bodies[0] == bodies[1]
