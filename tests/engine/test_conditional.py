"""A conditional write passes the version that was decided on to the vendor, also when it is sent again."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from pydantic import BaseModel
from workshop import Vendor, healthy, make_agent, runtime_of

from answerable import NotDone, Run, ToolFailed, fact, tool


class Record(BaseModel):
    """A record and its version."""

    text: str
    version: int


class Crm:
    """A system of record that refuses a write over another version than it has."""

    def __init__(self, *, loses_first_reply: bool = False) -> None:
        self.record = Record(text="old", version=7)
        self.seen: list[int] = []
        self.loses_reply = loses_first_reply

    def write(self, text: str, version: int) -> Record:
        """Write over `version`."""
        self.seen.append(version)
        if version != self.record.version:
            raise NotDone(f"the record is at {self.record.version}", failure="permission")
        self.record = Record(text=text, version=version + 1)
        if self.loses_reply:
            self.loses_reply = False
            raise ToolFailed("no answer", failure="timeout")
        return self.record


@tool(effect="read")
async def get_record(name: str, *, crm: object) -> Record:
    """Read a record."""
    assert isinstance(crm, Crm)
    return crm.record


@tool(mode="conditional", facts={"record": fact(get_record, name="{name}")})
async def put_record(name: str, text: str, *, facts: dict[str, Any], crm: object) -> Record:
    """Write a record over the version that was decided on."""
    assert isinstance(crm, Crm)
    return crm.write(text, facts["record"].version)


async def program(run: Run, _task: Any) -> str:
    """One write."""
    await run.call(put_record, name="a", text="new")
    return "done"


def test_the_version_that_was_decided_on_is_what_is_sent(tmp_path: Path) -> None:
    """The vendor sees it, and would refuse any other."""
    crm = Crm()

    async def story() -> None:
        agent = make_agent([put_record, get_record], program)
        async with runtime_of(tmp_path, agent, vendor=Vendor(), resources={"crm": crm}) as runtime:
            assert (await runtime.run(agent, {"id": "1"})).name == "unverified"
        await healthy(tmp_path)

    asyncio.run(story())
    assert (crm.seen, crm.record.text) == ([7], "new")


def test_what_is_sent_again_has_the_same_version(tmp_path: Path) -> None:
    """The lost write happened, so the second is refused: nothing is written twice, and that nobody knows is said."""
    crm = Crm(loses_first_reply=True)

    async def story() -> None:
        agent = make_agent([put_record, get_record], program)
        async with runtime_of(tmp_path, agent, vendor=Vendor(), resources={"crm": crm}) as runtime:
            outcome = await runtime.run(agent, {"id": "1"})
            assert (outcome.name, outcome.code, len(outcome.unknown)) == ("escalated", "effect_unknown", 1)
        await healthy(tmp_path)

    asyncio.run(story())
    assert crm.seen == [7, 7]
    assert crm.record.version == 8
