"""Back-pressure: past `max_open` nothing is accepted, and what is known already is still answered."""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.engine.errands import look, pay
from tests.engine.workshop import PERMIT, Task, asks, make_agent, runtime_of
from tests.intake.offices import intake_of, make_office

from answerable.errors import InputError, IntakeFull


def tickets(start: int, count: int) -> list[dict[str, str]]:
    """Tasks of their own events."""
    return [{"id": f"T-{number}"} for number in range(start, start + count)]


async def test_a_runtime_refuses_what_does_not_fit_and_takes_it_once_others_have_ended(
    tmp_path: Path,
) -> None:
    clerk = make_agent([look])
    async with runtime_of(tmp_path, clerk, max_open=3) as runtime:
        taken = await runtime.submit(clerk, tickets(0, 3))
        with pytest.raises(IntakeFull, match="`clerk` has 3 open runs, and 3 may be open: 1 more") as refused:
            await runtime.submit(clerk, tickets(3, 1))
        assert "max_open" in refused.value.hint
        assert await runtime.submit(clerk, tickets(0, 3)) == taken  # known: nothing new is asked for
        assert await runtime.intake.room("clerk") == 0

        await runtime.drive_all(taken[:2])
        assert await runtime.intake.room("clerk") == 2
        with pytest.raises(IntakeFull):
            await runtime.submit(clerk, tickets(3, 3))
        assert len(await runtime.store.runs()) == 3  # of a call that does not fit nothing is taken
        await runtime.submit(clerk, [*tickets(3, 2), *tickets(3, 2), *tickets(0, 1)])
        assert len(await runtime.store.runs()) == 5


async def test_each_agent_has_its_own_room(tmp_path: Path) -> None:
    clerk, other = (
        make_agent([look]),
        make_agent([look], name="other", policy=PERMIT.replace("clerk", "other")),
    )
    async with runtime_of(tmp_path, clerk, other, max_open=1) as runtime:
        await runtime.submit(clerk, tickets(0, 1))
        await runtime.submit(other, tickets(0, 1))
        assert [await runtime.store.open_runs(name) for name in ("clerk", "other", "nobody")] == [1, 1, 0]


async def test_without_a_limit_there_is_room_for_all(tmp_path: Path) -> None:
    clerk = make_agent([look])
    async with runtime_of(tmp_path, clerk) as runtime:
        assert await runtime.intake.room("clerk") is None
        assert len(await runtime.submit(clerk, tickets(0, 450))) == 450


async def test_what_waits_for_a_person_is_open(tmp_path: Path) -> None:
    """People are what there is least of: a pile of questions is a reason to take no more work."""

    async def asks_first(run: Any, task: Task) -> None:
        await run.call("pay", name=task.id)

    clerk = make_agent([pay], asks_first, asks("pay"))
    async with runtime_of(tmp_path, clerk, max_open=1) as runtime:
        assert (await runtime.run(clerk, {"id": "T-1"})).state == "waiting"
        with pytest.raises(IntakeFull):
            await runtime.submit(clerk, tickets(2, 1))


@settings(deadline=None, max_examples=15)
@given(st.lists(st.integers(1, 4), min_size=1, max_size=12), st.integers(1, 8))
def test_calls_at_once_never_go_past_the_limit(counts: list[int], limit: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(_at_once(Path(folder), counts, limit))


async def _at_once(folder: Path, counts: list[int], limit: int) -> None:
    make_office(folder, f"[intake]\nmax_open = {limit}\n")
    async with intake_of(folder) as (project, intake):
        desk, start = project.agents["desk"], 0
        calls = []
        for count in counts:
            calls.append(intake.accept(desk, tickets(start, count)))
            start += count
        said = await asyncio.gather(*calls, return_exceptions=True)
        assert {type(one) for one in said} <= {list, IntakeFull}
        taken = sum(len(one) for one in said if isinstance(one, list))
        assert taken == await intake.store.open_runs("desk") <= limit
        assert await intake.room("desk") == limit - taken  # nothing is held of what was refused


async def test_of_one_event_at_once_one_is_new(tmp_path: Path) -> None:
    async with intake_of(make_office(tmp_path)) as (project, intake):
        desk = project.agents["desk"]
        said = await asyncio.gather(
            *(intake.accept(desk, [*tickets(0, 2), *tickets(0, 1)]) for _ in range(10))
        )
        every = [one for call in said for one in call]
        assert sum(one.is_new for one in every) == len({one.run for one in every}) == 2


async def test_a_full_house_knows_an_event_that_comes_often_at_once(tmp_path: Path) -> None:
    """One room is enough for one event, however many bring it."""
    async with intake_of(make_office(tmp_path, "[intake]\nmax_open = 1\n")) as (project, intake):
        desk = project.agents["desk"]
        said = await asyncio.gather(*(intake.accept(desk, tickets(0, 1)) for _ in range(20)))
        assert sum(one.is_new for (one,) in said) == len({one.run for (one,) in said}) == 1
        assert await intake.room("desk") == 0


async def test_a_refusal_names_the_field_and_never_its_value(tmp_path: Path) -> None:
    async with intake_of(make_office(tmp_path)) as (project, intake):
        with pytest.raises(InputError, match="task 2 is not a `Ticket`: `count`") as refused:
            await intake.accept(project.agents["desk"], [{"id": "a"}, {"id": "b", "count": "4711"}])
        assert "4711" not in str(refused.value)
        with pytest.raises(InputError, match="as many sources"):
            await intake.accept(project.agents["desk"], tickets(0, 2), sources=["one"])


async def test_counting_reads_open_runs_only(tmp_path: Path) -> None:
    """However many have ended."""
    async with intake_of(make_office(tmp_path)) as (_, intake):
        plan = intake.store._db.execute(  # pyright: ignore[reportAttributeAccessIssue]
            "EXPLAIN QUERY PLAN SELECT count(*) FROM run WHERE state <> 'ended' AND agent = 'desk'"
        ).fetchall()
        assert "run_open" in str(plan)
