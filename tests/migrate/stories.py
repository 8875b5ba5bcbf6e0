"""A journal with something of everything in it, and the two addresses that it may have."""

from __future__ import annotations

from contextlib import asynccontextmanager, closing
from typing import TYPE_CHECKING, Any

from tests.engine.workshop import LEADS, PERMIT, Task, Vendor, make_agent

from answerable import Agent, Budget, EffectKey, Run, open_runtime, tool
from answerable.journal import copy_stores, heads
from answerable.journal.copy_ports import TRUTH
from answerable.journal.store import Append
from answerable.kernel import events
from answerable.kernel.ids import tenant_stream
from answerable.project import open_store
from answerable.testing import FakeClock, ScriptedModel, fake_ports, say

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator
    from pathlib import Path

    from answerable.engine.runtime import Runtime
    from answerable.journal.copy import Copied
    from answerable.journal.store import JournalStore

LARGE = "a long letter " * 90_000
"""More than a row of a SQLite journal holds."""
POLICY = f"""{PERMIT}
@id("needs-a-person")
@text("A person says yes to anything large.")
@decision("require_approval")
@approvers("lead")
forbid (principal, action == Action::"pay", resource) when {{ context.args.amount > 500 }};
"""


@tool(mode="native_key", business_key="pay:{who}")
async def pay(who: str, amount: int, *, key: EffectKey, vendor: Vendor) -> str:
    """Pay somebody, once."""
    return vendor.do(key)


@tool(mode="at_most_once")
async def send(who: str, text: str, *, key: EffectKey, vendor: Vendor) -> str:
    """Send a letter; nobody can say whether it came."""
    return vendor.do(key)


async def program(run: Run, task: Task) -> str:
    """What the task's text says."""
    if task.text.startswith("send"):
        return await run.call("send", who=task.who, text=task.text)
    return await run.call("pay", who=task.who, amount=int(task.text or "7"))


def agent_of() -> Agent:
    """The agent `clerk`, with a budget that all of its runs share."""
    return make_agent(
        [pay, send],
        program,
        policy=POLICY,
        budget=Budget(tool_calls=9),
        budget_per_day=Budget(tool_calls=500),
    )


@asynccontextmanager
async def runtime_at(
    url: str, vendor: Vendor, *, seed: int | str = 0, clock: FakeClock | None = None
) -> AsyncGenerator[Runtime]:
    """A runtime on a journal of either kind, with virtual time."""
    models = {"scripted:clerk": ScriptedModel("clerk", lambda *_: say("done"))}
    async with open_runtime(
        url,
        agents=[agent_of()],
        approvers=LEADS,
        resources={"vendor": vendor},
        models=models,
        ports=fake_ports(seed, clock=clock),
    ) as runtime:
        yield runtime


async def write_story(url: str, vendor: Vendor | None = None) -> dict[str, str]:
    """Runs that are done, waiting, in doubt and not begun; a halt, a large content and an erased one. Name → run."""
    vendor = vendor or Vendor()
    runs: dict[str, str] = {}
    async with runtime_at(url, vendor) as runtime:
        store = runtime.store
        for name, text in (("done", "7"), ("again", "8"), ("waiting", "700"), ("large", f"send {LARGE}")):
            runs[name] = (await runtime.run("clerk", Task(id=name, who=name, text=text))).run
        vendor.faults.append("lost reply")
        runs["unknown"] = (await runtime.run("clerk", Task(id="unknown", who="ute", text="send it"))).run
        runs["created"] = (await runtime.submit("clerk", [Task(id="created", who="cleo")]))[0]
        for event in (
            events.HaltRaised(scope="agent:other", epoch=1, by="tests", reason="a test"),
            events.HaltLifted(scope="agent:other", epoch=2, by="tests", reason="a test"),
        ):
            await store.append(
                Append(
                    stream=tenant_stream("default"), events=(event,), expect=None, epoch=0, now=store.now()
                )
            )
        answers = await store.payloads_before("answer", store.now() + 10**15)
        await store.destroy(sorted(answers)[:1], store.now())
    return runs


async def export(url: str) -> Path:
    """Export a head, as `audit head` does."""
    store = await opened(url)
    try:
        await heads.export_head(store, store.custody.head)
    finally:
        await store.close()
    return store.custody.head


async def opened(url: str, **more: Any) -> JournalStore:
    """A journal that is there."""
    return await open_store(url, must_exist=True, **more)


def truth_of(url: str) -> dict[str, list[tuple[Any, ...]]]:
    """Every row that is not derived, as it is copied."""
    with closing(copy_stores.open_source(url)) as source:
        source.begin(alone=False)
        return {table: list(source.truth(table)) for table in TRUTH}


async def derived_of(url: str) -> dict[str, Any]:
    """What the store itself says of its derived tables and its runs."""
    store = await opened(url)
    try:
        tables = await store.derived_tables()
        tables["total"] = {key: row for key, row in tables["total"].items() if row != (0, 0)}
        return {**tables, "runs": await store.runs(), "notices": await store.notices()}
    finally:
        await store.close()


def moved(source: str, target: str) -> Copied:
    """Move a journal, without a word."""
    return copy_stores.migrate(source, target, progress=lambda *_: None)


def backed_up(source: str, target: str) -> Copied:
    """Take a backup, without a word."""
    return copy_stores.backup(source, target, progress=lambda *_: None, now=1)
