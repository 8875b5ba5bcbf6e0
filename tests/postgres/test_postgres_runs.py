"""Whole runs on a server that is crashed, cut off and filled up under them: nothing is lost, nothing is sent twice."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest
from tests.engine.workshop import Task, make_agent
from tests.postgres_server import Server, database, execute, on, postgres_url

from answerable import EffectKey, Retry, Run, open_runtime, tool
from answerable.errors import AnswerableError
from answerable.journal.doctor import examine
from answerable.journal.postgres.statements import LEASE_S
from answerable.journal.verify import verify_postgres
from answerable.kernel.state import fold
from answerable.models.scripted import ScriptedModel, say

if TYPE_CHECKING:
    from collections.abc import Generator
    from pathlib import Path

    from answerable.engine.runtime import Runtime

__all__ = ["postgres_url"]
RUNS, STEPS = 12, 4


class Shop:
    """The outside. It honours no key: whatever is sent is done."""

    def __init__(self) -> None:
        self.done: list[tuple[str, str, str]] = []

    async def do(self, mode: str, what: str, key: str) -> str:
        """One request."""
        self.done.append((mode, what, key))
        await asyncio.sleep(0.01)
        return f"receipt {len(self.done)}"


async def find(arguments: Any, *, key: EffectKey, shop: Shop) -> str | None:
    return next((f"found {what}" for _, what, known in shop.done if known == key), None)


@tool(mode="probe_then_write", probe=find, timeout_s=2, retry=Retry(attempts=3, backoff_s=0.05))
async def book(what: str, *, key: EffectKey, shop: object) -> str:
    """Book it."""
    assert isinstance(shop, Shop)
    return await shop.do("probe", what, key)


@tool(mode="at_most_once")
async def mail(what: str, *, key: EffectKey, shop: object) -> str:
    """Write a letter."""
    assert isinstance(shop, Shop)
    return await shop.do("once", what, key)


async def program(run: Run, task: Task) -> None:
    for step in range(STEPS):
        await run.call(book, what=f"{task.id}-{step}")
        await run.call(mail, what=f"{task.id}-{step}")


@pytest.fixture
def own_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Generator[tuple[Server, str]]:
    """A server that this test may crash, and a database on it."""
    monkeypatch.setenv("ANSWERABLE_HOME", str(tmp_path / "home"))
    server = Server()
    try:
        with database(server.url) as url:
            yield server, url
    finally:
        server.close()


def runtime_on(url: str, shop: Shop) -> Any:
    agent = make_agent([book, mail], program)
    return open_runtime(
        url,
        agents=[agent],
        resources={"shop": shop},
        models={"scripted:clerk": ScriptedModel("clerk", lambda *_: say("done"))},
        durability="group",
    )


async def _drive_through(url: str, shop: Shop, trouble: Any) -> None:
    """Submit, drive while there is trouble, and drive on in new processes' places until all has ended."""
    runs: list[Any] = []
    while not runs:
        try:
            async with runtime_on(url, shop) as runtime:
                runs = await runtime.submit("clerk", [Task(id=f"t{number}") for number in range(RUNS)])
                driving = asyncio.ensure_future(runtime.drive_all(runs))
                await trouble(runtime)
                await driving
        except AnswerableError:
            continue
    # A process that could not say goodbye, as its server was gone, owns its runs until its lease has run out.
    deadline = time.monotonic() + LEASE_S + 20
    while time.monotonic() < deadline:
        try:
            async with runtime_on(url, shop) as runtime:
                outcomes = await runtime.drive_all(runs)
                if all(outcome.state == "ended" for outcome in outcomes):
                    return
        except AnswerableError:
            pass
        await asyncio.sleep(0.5)
    raise AssertionError("the runs did not come to an end")


async def _all_is_said(url: str, shop: Shop) -> None:
    twice = {
        what for what, count in Counter((mode, what) for mode, what, _ in shop.done).items() if count > 1
    }
    assert not twice, f"sent twice: {sorted(twice)}"
    async with runtime_on(url, shop) as runtime:
        assert not [each.message for each in await examine(runtime.store) if each.level == "bad"]
        intended, unknown, ended = set[str](), set[str](), set[str]()
        for row in await runtime.store.runs():
            state = fold(
                await runtime.store.entries(f"run/{row.run}"), await runtime.store.entries(f"inbox/{row.run}")
            )
            assert state.ended is not None
            unknown |= set(state.ended.unknown)
            for step in state.calls.values():
                assert step.intent is not None
                intended.add(step.intent.effect)
                if step.ended is not None and step.ended.state == "done":
                    ended.add(step.intent.effect)
        keys = {key for _, _, key in shop.done}
        assert keys <= intended, "sent without an intent"
        assert keys <= ended | unknown, "done, and nobody says so"


async def test_runs_outlive_a_server_that_is_crashed_and_started_again(
    own_server: tuple[Server, str],
) -> None:
    """Two crashes in the middle of everything; what was waiting for its commit is found out afterwards."""
    server, url = own_server
    shop = Shop()

    async def trouble(_: Runtime) -> None:
        for _ in range(2):
            await asyncio.sleep(0.25)
            await asyncio.to_thread(server.restart, "immediate")

    await _drive_through(url, shop, trouble)

    assert len(shop.done) > RUNS
    await _all_is_said(url, shop)
    assert verify_postgres(url).is_ok


async def test_runs_outlive_connections_that_are_cut_again_and_again(own_server: tuple[Server, str]) -> None:
    """Whatever was under way on them: the writer's commit, a look before a send, a read."""
    server, url = own_server
    shop = Shop()

    async def trouble(_: Runtime) -> None:
        for _ in range(12):
            await asyncio.sleep(0.05)
            await asyncio.to_thread(
                execute,
                on(server.url, "postgres"),
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name LIKE 'answerable%'",
            )

    await _drive_through(url, shop, trouble)

    assert len(shop.done) > RUNS
    await _all_is_said(url, shop)
