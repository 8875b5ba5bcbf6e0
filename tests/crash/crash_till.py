"""An agent with a tool of every write mode, over a till that loses requests and replies.

The till is a file of lines; a line is what happened. A tool is right when its lines and its journal agree.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
from collections import Counter
from typing import TYPE_CHECKING, Literal

from answerable import (
    Agent,
    Arguments,
    Budget,
    EffectKey,
    EffectUnknown,
    NotDone,
    Retry,
    Run,
    Tool,
    ToolFailed,
    tool,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

FAULTS = ("lost request", "lost reply", "unavailable", "", "", "", "", "")


class Till:
    """What the tools work on. Where it honours keys, the same key again changes nothing."""

    def __init__(self, directory: Path, seed: int, point: Callable[[str], None]) -> None:
        self._path = directory / "till"
        self._asked = directory / "till.asked"
        self._seed = seed
        self._point = point

    def work(self, what: str, key: str, *, honours_keys: bool, version: int | None = None) -> str:
        """One request: the fault that is due, if any, around one line."""
        fault = self._fault(key)
        self._point(f"before {what}")
        if fault == "lost request":
            raise ToolFailed("no answer", failure="timeout")
        if fault == "unavailable":
            raise NotDone("too busy", failure="upstream")
        with self._open() as file:
            lines = file.read().splitlines()
            is_known = honours_keys and f"{what} {key}" in lines
            if version is not None and sum(line.startswith(f"{what} ") for line in lines) != version:
                raise NotDone("the record has moved on", failure="schema")
            if not is_known:
                file.write(f"{what} {key}\n")
        self._point(f"after {what}")
        if fault == "lost reply":
            raise ToolFailed("no answer", failure="timeout")
        return key

    def has(self, what: str, key: str) -> str | None:
        """Whether a line is there."""
        self._point(f"asked for {what}")
        return key if f"{what} {key}" in self.lines() else None

    def count(self, what: str) -> int:
        """How many lines of this kind there are."""
        return sum(line.startswith(f"{what} ") for line in self.lines())

    def lines(self) -> list[str]:
        """Everything that happened."""
        return self._path.read_text().splitlines() if self._path.exists() else []

    def happened(self) -> Counter[tuple[str, str]]:
        """(what, key) → how often."""
        return Counter((what, key) for what, _, key in (line.partition(" ") for line in self.lines()))

    def _open(self):
        file = os.fdopen(os.open(self._path, os.O_CREAT | os.O_APPEND | os.O_RDWR, 0o600), "r+")
        fcntl.flock(file, fcntl.LOCK_EX)
        return file

    def _fault(self, key: str) -> str:
        with self._asked.open("a+") as file:
            file.seek(0)
            before = file.read().splitlines().count(key)
            file.write(f"{key}\n")
        digest = hashlib.sha256(f"{self._seed} {key} {before}".encode()).digest()
        return FAULTS[digest[0] % len(FAULTS)]


RETRY = Retry(attempts=3, backoff_s=0.1)


async def _has_posted(arguments: Arguments, *, key: EffectKey, till: Till) -> str | None:
    return till.has("post", key)


async def _has_issued(arguments: Arguments, *, key: EffectKey, till: Till) -> str | None:
    return till.has("issue", key)


async def _draft(arguments: Arguments, *, key: EffectKey, till: Till) -> str:
    return f"draft of {key}"


@tool(effect="read", retry=RETRY)
async def look(what: str, *, till: Till) -> int:
    """Count what happened."""
    return till.count(what)


@tool(mode="at_most_once", business_key="ring:{task}", retry=RETRY)
async def ring(task: str, *, key: EffectKey, till: Till) -> str:
    """Ring the bell. It cannot be asked for, and not be rung back."""
    return till.work("ring", key, honours_keys=False)


@tool(mode="native_key", retry=RETRY)
async def stamp(task: str, *, key: EffectKey, till: Till) -> str:
    """Stamp a card; the till honours keys."""
    return till.work("stamp", key, honours_keys=True)


@tool(mode="upsert", retry=RETRY)
def put(task: str, *, key: EffectKey, till: Till) -> str:
    """Put the drawer in its place, however often."""
    return till.work("put", key, honours_keys=True)


@tool(mode="conditional", retry=RETRY)
def move(task: str, version: int, *, key: EffectKey, till: Till) -> str:
    """Move the drawer, if nobody else has."""
    return till.work(f"move-{task}", key, honours_keys=False, version=version)


@tool(mode="probe_then_write", probe=_has_posted, retry=RETRY)
def post(task: str, *, key: EffectKey, till: Till) -> str:
    """Post a letter; whether it was posted can be asked."""
    return till.work("post", key, honours_keys=False)


@tool(mode="draft_then_commit", draft=_draft, probe=_has_issued, retry=RETRY)
async def issue(task: str, *, key: EffectKey, draft: str, till: Till) -> str:
    """Issue what was drafted."""
    assert draft == f"draft of {key}"
    return till.work("issue", key, honours_keys=False)


TOOLS: dict[str, Tool] = {each.name: each for each in (ring, stamp, put, move, post, issue)}
POLICY = """
@id("may-do-everything")
@text("The till agent may use all of its tools.")
permit (principal == Agent::"till", action, resource);
"""


class Chore(Arguments):
    """What the till agent is given: tools to use, in order."""

    id: str
    steps: list[Literal["ring", "stamp", "put", "move", "post", "issue"]]


async def chores(run: Run, task: Chore) -> str:
    """Use each tool once, and go on whatever comes of it."""
    await run.now()
    seen = await run.gather([("look", {"what": "ring"}), ("look", {"what": "stamp"})])
    for index, step in enumerate(task.steps):
        arguments: dict[str, object] = {"task": f"{task.id}-{index}"}
        if step == "move":
            arguments["version"] = 0
        try:
            await run.call(step, **arguments)
        except (ToolFailed, EffectUnknown):
            await run.uuid()
    return f"{await run.random():.3f} {seen}"


till_agent = Agent(
    name="till",
    owner="tests",
    prompt="none",
    models=["scripted:till"],
    tools=[look, ring, stamp, put, move, post, issue],
    policy={"till.cedar": POLICY},
    task=Chore,
    source="{id}",
    budget=Budget(tool_calls=40),
    budget_per_day=Budget(tool_calls=10_000),
    program=chores,
)
