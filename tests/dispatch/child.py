"""A worker in a process of its own, for tests that stop, kill and pause it: `python -m tests.dispatch.child`."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.engine.workshop import LEADS, Task, asks, make_agent

from answerable import EffectKey, Run, open_runtime, tool
from answerable.engine.dispatch.absurd import Absurd
from answerable.models.scripted import ScriptedModel, say
from answerable.observe.logs import begin_logs
from answerable.worker.loop import Worker

if TYPE_CHECKING:
    from contextlib import AbstractAsyncContextManager

    from answerable.engine.runtime import Runtime


class Paper:
    """A vendor that writes down, in a file that all processes share, what was asked of it."""

    def __init__(self, folder: Path) -> None:
        self.file = folder / "asked.txt"

    def write(self, what: str, key: str) -> None:
        with self.file.open("a") as file:
            file.write(f"{what} {key} {os.getpid()} {time.time()}\n")

    def lines(self, what: str = "") -> list[list[str]]:
        if not self.file.exists():
            return []
        return [line.split() for line in self.file.read_text().splitlines() if line.startswith(what)]


@tool(mode="native_key")
async def pay(name: str, *, key: EffectKey, paper: Paper) -> str:
    """Pay."""
    paper.write("pay", key)
    return name


@tool(mode="native_key", timeout_s=60)
async def pay_slowly(name: str, *, key: EffectKey, paper: Paper) -> str:
    """Pay, and wait for the answer."""
    paper.write("slow", key)
    await asyncio.sleep(float(name))
    paper.write("slept", key)
    return name


@tool(mode="native_key", timeout_s=60)
async def pay_busily(name: str, *, key: EffectKey, paper: Paper) -> str:
    """Pay, and keep the event loop busy all the while."""
    paper.write("busy", key)
    time.sleep(float(name))
    return name


@tool(mode="native_key")
async def refund(name: str, *, key: EffectKey, paper: Paper) -> str:
    """Give money back; a person is asked."""
    paper.write("refund", key)
    return name


async def program(run: Run, task: Task) -> str:
    """What the task's text says, word by word: `pay`, `refund`, `slow:1.5`, `busy:3`."""
    for number, word in enumerate(task.text.split()):
        what, _, seconds = word.partition(":")
        chosen = {"pay": pay, "refund": refund, "slow": pay_slowly, "busy": pay_busily}[what]
        await run.call(chosen, name=seconds or f"{task.id}-{number}")
    return "done"


def clerk(prompt: str = "Do it.") -> Any:
    """The agent; another prompt is another release."""
    tools = [pay, refund, pay_slowly, pay_busily]
    return make_agent(tools, program, policy=asks("refund"), prompt=prompt)


def runtime_at(
    url: str, folder: Path, *, prompt: str = "Do it.", **more: Any
) -> AbstractAsyncContextManager[Runtime]:
    """A runtime in real time, on a real journal."""
    return open_runtime(
        url,
        agents=[clerk(prompt)],
        approvers=LEADS,
        resources={"paper": Paper(folder)},
        models={"scripted:clerk": ScriptedModel("clerk", lambda *_: say("done"))},
        **more,
    )


async def main(url: str, folder: str, lease_s: str, prompt: str) -> None:
    async with runtime_at(url, Path(folder), prompt=prompt, is_worker=True) as runtime:
        begin_logs("json", runtime.owner)
        if url.startswith("postgres"):
            runtime.dispatcher = Absurd(runtime.store, url, runtime.owner, lease_s=int(lease_s))
        worker = Worker(runtime, concurrency=8)
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, worker.drain)
        await worker.work()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
