"""A run belongs to the release that began it, which need not be the one that accepted it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
from tests.engine.workshop import Vendor, healthy, kinds_of, make_agent, runtime_of, state_of

from answerable import EffectKey, Run, tool
from answerable.engine.dispatch.port import Lease
from answerable.engine.dispatch.releases import release_of
from answerable.kernel.events import RunAdopted

if TYPE_CHECKING:
    from pathlib import Path

    from answerable.engine.runtime import Runtime


@tool(mode="native_key")
async def pay(order: str, *, key: EffectKey, vendor: Vendor) -> str:
    """Pay."""
    return vendor.do(key)


OTHER = "Do something else."


def clerk(prompt: str, begun_by: list[Runtime] | None = None) -> Any:
    """The agent in one release; with a runtime, its process goes down after the first payment."""

    async def program(run: Run, _task: Any) -> str:
        await run.call(pay, order="A")
        if begun_by is not None:
            begun_by[0].stop()
        await run.call(pay, order="B")
        return "done"

    return make_agent([pay], program, prompt=prompt)


async def adopted(runtime: Runtime, run: str) -> list[str | None]:
    """What each adoption says of the release."""
    entries = await runtime.store.entries(f"run/{run}")
    return [event.release for entry in entries for event in entry.events if isinstance(event, RunAdopted)]


def test_a_run_begun_by_another_release_than_accepted_it_goes_on_with_that_one(tmp_path: Path) -> None:
    """After a crash: neither does it wait for the release that accepted it, nor does that one take it over."""

    async def story() -> None:
        vendor = Vendor()
        accepting, begun_by = clerk("Do it."), list[Any]()
        beginning = clerk(OTHER, begun_by)
        async with runtime_of(tmp_path, accepting, vendor=vendor, seed=1) as runtime:
            (run,) = await runtime.submit(accepting, [{"id": "1"}])
            first = await release_of(runtime.store, run)
        async with runtime_of(tmp_path, beginning, vendor=vendor, seed=2) as runtime:
            begun_by.append(runtime)
            assert (await runtime.drive(run)).state == "running"
            pinned = await release_of(runtime.store, run)
        async with runtime_of(tmp_path, clerk("Do it."), vendor=vendor, seed=3) as runtime:
            before = await kinds_of(runtime, run)
            refused = await runtime.drive(run, lease=Lease(run=run, mark=""))
            assert (refused.state, refused.waiting_for) == ("running", "release")
            assert beginning.release()[:12] in refused.reason
            assert await kinds_of(runtime, run) == before
        async with runtime_of(tmp_path, clerk(OTHER), vendor=vendor, seed=4) as runtime:
            outcome = await runtime.drive(run, lease=Lease(run=run, mark=""))
            said, state = await adopted(runtime, run), await state_of(runtime, run)
        assert (outcome.name, outcome.reason) == ("unverified", "")
        assert said == [beginning.release(), None]
        assert state.release == beginning.release()
        assert (first, pinned) == (f"clerk@{accepting.release()}", f"clerk@{beginning.release()}")
        assert len(vendor.done) == len(set(vendor.done)) == 2
        await healthy(tmp_path)

    asyncio.run(story())


def test_a_run_parked_by_the_release_that_accepted_it_is_woken_by_the_one_that_began_it(
    tmp_path: Path,
) -> None:
    """Without a lease it is parked; it says for which release, and that one finds it ready."""

    async def story() -> None:
        begun_by = list[Any]()
        accepting, beginning = clerk("Do it."), clerk(OTHER, begun_by)
        async with runtime_of(tmp_path, accepting, seed=1) as runtime:
            (run,) = await runtime.submit(accepting, [{"id": "1"}])
        async with runtime_of(tmp_path, beginning, seed=2) as runtime:
            begun_by.append(runtime)
            await runtime.drive(run)
        async with runtime_of(tmp_path, clerk("Do it."), seed=3) as runtime:
            parked = await runtime.drive(run)
            again = await runtime.drive(run)
        async with runtime_of(tmp_path, clerk(OTHER), seed=4) as runtime:
            outcome = await runtime.drive(run)
            said = await adopted(runtime, run)
        assert [(one.state, one.waiting_for) for one in (parked, again)] == [("waiting", "release")] * 2
        assert beginning.release()[:12] in parked.reason
        assert outcome.name == "unverified"
        assert said == [beginning.release(), None, None]
        await healthy(tmp_path)

    asyncio.run(story())


@pytest.mark.parametrize("is_leased", [True, False])
def test_no_release_is_written_where_the_one_that_accepted_it_begins_it(
    tmp_path: Path, *, is_leased: bool
) -> None:
    """The release of its creation holds; a worker that has another one leaves it as it is."""

    async def story() -> None:
        agent = clerk("Do it.")
        async with runtime_of(tmp_path, agent, seed=1) as runtime:
            (run,) = await runtime.submit(agent, [{"id": "1"}])
        async with runtime_of(tmp_path, clerk(OTHER), seed=2) as runtime:
            refused = await runtime.drive(run, lease=Lease(run=run, mark=""))
            assert (refused.state, refused.waiting_for) == ("created", "release")
        async with runtime_of(tmp_path, agent, seed=3) as runtime:
            outcome = await runtime.drive(run, lease=Lease(run=run, mark="") if is_leased else None)
            said, state = await adopted(runtime, run), await state_of(runtime, run)
        assert (outcome.name, said, state.release) == ("unverified", [None], agent.release())
        await healthy(tmp_path)

    asyncio.run(story())
