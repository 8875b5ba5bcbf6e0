"""What is asked besides the write itself: facts, probes and drafts."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

import pytest
from tests.engine.workshop import Vendor, make_agent, runtime_of

from answerable import EffectKey, Retry, Run, ToolFailed, fact, tool
from answerable.testing import FakeClock

if TYPE_CHECKING:
    from pathlib import Path


class Box:
    """A record with a version."""

    def __init__(self) -> None:
        self.version = 1
        self.seen: list[int] = []


@tool(effect="read")
async def get_version(*, box: object) -> int:
    """Read the version."""
    assert isinstance(box, Box)
    return box.version


@tool(effect="irreversible", mode="conditional", facts={"now": fact(get_version)})
async def put(text: str, *, facts: dict[str, Any], box: object) -> str:
    """Write over the version that was decided on."""
    assert isinstance(box, Box)
    box.seen.append(facts["now"])
    box.version += 1
    return text


async def find(arguments: Any, *, key: EffectKey, vendor: Vendor) -> str | None:
    return vendor.find(key)


@pytest.mark.parametrize("back_s", [0.0, 3600.0])
async def test_a_fact_of_no_age_is_read_again_whatever_the_clock_says(back_s: float, tmp_path: Path) -> None:
    clock, box = FakeClock(), Box()

    async def program(run: Run, task: Any) -> None:
        await run.call(put, text="a")
        clock.set_back(back_s)
        await run.call(put, text="b")

    agent = make_agent([put], program)
    async with runtime_of(tmp_path, agent, clock=clock, resources={"box": box}) as runtime:
        await runtime.run(agent, {"id": "1"})

    assert box.seen == [1, 2]


async def test_at_most_once_with_a_probe_is_never_sent_twice(tmp_path: Path) -> None:
    """The probe says that nothing was done; that is written down, and left to whoever proposed it."""

    @tool(mode="at_most_once", probe=find, retry=Retry(attempts=3, backoff_s=0.1))
    async def pay(*, key: EffectKey, vendor: object) -> str:
        """Pay."""
        assert isinstance(vendor, Vendor)
        return vendor.do(key)

    async def program(run: Run, task: Any) -> None:
        await run.call(pay)

    vendor = Vendor("lost request", honours_keys=False)
    agent = make_agent([pay], program)
    async with runtime_of(tmp_path, agent, vendor=vendor) as runtime:
        outcome = await runtime.run(agent, {"id": "1"})

    assert len(vendor.asked) == 1
    assert (outcome.name, outcome.code) == ("escalated", "tool_failure")


async def test_a_probe_in_a_decorator_gets_the_key(tmp_path: Path) -> None:
    def traced(function: Any) -> Any:
        @functools.wraps(function)
        async def inner(*args: Any, **kwargs: Any) -> Any:
            return await function(*args, **kwargs)

        return inner

    @tool(mode="probe_then_write", probe=traced(find))
    async def pay(*, key: EffectKey, vendor: object) -> str:
        """Pay."""
        assert isinstance(vendor, Vendor)
        return vendor.do(key)

    async def program(run: Run, task: Any) -> None:
        await run.call(pay)

    agent = make_agent([pay], program)
    async with runtime_of(tmp_path, agent, vendor=Vendor("lost reply")) as runtime:
        outcome = await runtime.run(agent, {"id": "1"})

    assert outcome.name == "unverified", outcome.reason


async def test_a_draft_whose_reply_is_lost_is_drafted_again(tmp_path: Path) -> None:
    """A second draft is harmless."""
    drafts: list[str] = []

    async def draft(arguments: Any, *, key: EffectKey) -> int:
        drafts.append(key)
        if len(drafts) == 1:
            raise ToolFailed("no answer", failure="timeout")
        return len(drafts)

    @tool(mode="draft_then_commit", probe=find, draft=draft, retry=Retry(attempts=3, backoff_s=0.1))
    async def pay(*, key: EffectKey, draft: int, vendor: object) -> str:
        """Pay."""
        assert isinstance(vendor, Vendor)
        assert draft
        return vendor.do(key)

    async def program(run: Run, task: Any) -> None:
        await run.call(pay)

    vendor = Vendor()
    agent = make_agent([pay], program)
    async with runtime_of(tmp_path, agent, vendor=vendor) as runtime:
        outcome = await runtime.run(agent, {"id": "1"})

    assert (outcome.name, len(drafts), len(vendor.done)) == ("unverified", 2, 1)
