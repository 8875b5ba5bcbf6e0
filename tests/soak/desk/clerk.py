"""The agent of the long runs: a few calls in every write mode that matters, to a vendor on loopback."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

from answerable import Agent, Arguments, EffectKey, Retry, Run, tool
from answerable.models.scripted import ScriptedModel, say

from .client import ask

PORT = int(os.environ.get("SOAK_VENDOR_PORT", "0"))
RETRY = Retry(attempts=4, backoff_s=0.05)


class Task(Arguments):
    """One case: how many rounds of work it is, and whether a person is asked first."""

    case: str
    rounds: int = 1
    asks_first: bool = False


async def work(mode: str, case: str, step: str, key: str) -> str:
    """Have it done."""
    given = {"mode": mode, "case": case, "step": step, "key": key, "begun": time.monotonic()}
    return str((await ask(PORT, "/work", given))["receipt"])


async def find(arguments: Any, key: str) -> str | None:
    """Whether it was done."""
    del arguments
    return (await ask(PORT, "/find", {"key": key}))["receipt"]


@tool(effect="read", timeout_s=5, retry=RETRY)
async def look(case: str) -> int:
    """Look how things stand."""
    del case
    return int((await ask(PORT, "/look"))["balance"])


@tool(mode="native_key", timeout_s=5, retry=RETRY)
async def pay(case: str, step: str, *, key: EffectKey) -> str:
    """Pay: the vendor honours our key."""
    return await work("native_key", case, step, key)


@tool(mode="probe_then_write", timeout_s=2, probe=find, retry=RETRY)
async def book(case: str, step: str, *, key: EffectKey) -> str:
    """Book: the vendor can be asked whether it happened."""
    return await work("probe_then_write", case, step, key)


@tool(mode="at_most_once", timeout_s=5)
async def mail(case: str, step: str, *, key: EffectKey) -> str:
    """Send a letter: nobody can be asked."""
    return await work("at_most_once", case, step, key)


@tool(mode="native_key", timeout_s=5, retry=RETRY)
async def ask_first(case: str, *, key: EffectKey) -> str:
    """Pay, once a lead has said yes."""
    return await work("native_key", case, "asked", key)


async def program(run: Run, task: Task) -> str:
    """Look, pay, book and write, so many times; a letter of which nobody knows ends the case with a person."""
    if task.asks_first:
        return str(await run.call(ask_first, case=task.case))
    for step in range(task.rounds):
        await run.call(look, case=task.case)
        await run.call(pay, case=task.case, step=str(step))
        await run.call(book, case=task.case, step=str(step))
        if step == task.rounds - 1:
            await run.call(mail, case=task.case, step=str(step))
    return "done"


clerk = Agent(
    name="clerk",
    owner="tests",
    prompt="Work.",
    models=["scripted:clerk"],
    tools=[look, pay, book, mail, ask_first],
    policy=Path(__file__).parent / "policy",
    task=Task,
    source="{case}",
    program=program,
    approval_ttl="2h",
)


def models(directory: Path, seed: int) -> dict[str, Any]:
    """Nothing asks it."""
    del directory
    return {"scripted:clerk": ScriptedModel("clerk", lambda *_: say("done"), seed)}
