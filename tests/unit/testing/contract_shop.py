"""The shop on which tools are put to the test: tools in every mode that keep their word, and how to try one."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest
from pydantic import BaseModel

from answerable import EffectKey, NotDone, Retry, Tool, fact, tool
from answerable.testing import Fault, ToolContractBroken, assert_tool_contract

MODES = ("native_key", "upsert", "conditional", "probe_then_write", "draft_then_commit", "at_most_once")


@dataclass
class Shop:
    """The system under test: notes in force by their reference, and a record with a version."""

    notes: list[tuple[str, str]] = field(default_factory=list)
    text: str = ""
    version: int = 1
    drafts: list[tuple[str, str]] = field(default_factory=list)
    losing: Fault | None = None

    def post(self, reference: str, name: str) -> str:
        """Add a note."""
        return self._serve(lambda: self.notes.append((reference, name)), f"note {name}")

    def drop(self, name: str) -> str:
        """Take one note of that name away."""
        note = next(note for note in self.notes if note[1] == name)
        return self._serve(lambda: self.notes.remove(note), f"dropped {name}")

    def _serve(self, work: Any, answer: str) -> str:
        """Where a request or a reply is lost, nobody is told which."""
        losing, self.losing = self.losing, None
        if losing is not Fault.LOST_REQUEST:
            work()
        if losing is not None:
            raise ConnectionError("no answer")
        return answer

    def has(self, reference: str) -> bool:
        """Whether there is a note with that reference."""
        return any(note[0] == reference for note in self.notes)

    def write(self, text: str, version: int | None = None) -> str:
        """Set the text, over a version if one is named."""
        if version not in (None, self.version):
            raise NotDone(f"it is at version {self.version}", failure="permission")
        self.text, self.version = text, self.version + 1
        return text


class Version(BaseModel):
    """Where the record stands."""

    number: int
    text: str


def shop_of(resource: object) -> Shop:
    assert isinstance(resource, Shop)
    return resource


@tool(effect="read")
async def get_version(*, shop: object) -> Version:
    """Read the version."""
    return Version(number=shop_of(shop).version, text=shop_of(shop).text)


async def find(arguments: Any, *, key: EffectKey, shop: object) -> str | None:
    """The probe as it should be."""
    return f"note {arguments.name}" if shop_of(shop).has(key) else None


async def find_dropped(arguments: Any, *, shop: object) -> str | None:
    """The probe of a drop: there is one thing of each name here."""
    is_there = any(note[1] == arguments.name for note in shop_of(shop).notes)
    return None if is_there else f"dropped {arguments.name}"


async def draft_note(arguments: Any, *, key: EffectKey, shop: object) -> int:
    """A harmless draft."""
    shop_of(shop).drafts.append((key, arguments.name))
    return len(shop_of(shop).drafts) - 1


@tool(mode="upsert")
async def drop(name: str, *, shop: object) -> None:
    """Take the notes of a name away. Twice is once."""
    while any(note[1] == name for note in shop_of(shop).notes):
        shop_of(shop).drop(name)


@tool(mode="upsert")
async def clear(*, shop: object) -> None:
    """Empty the record."""
    shop_of(shop).write("")


OVER = {"now": fact(get_version)}


@tool(mode="conditional", facts=OVER)
async def put_back(*, facts: dict[str, Any], shop: object) -> str:
    """Empty the record, if nobody wrote over it since."""
    return shop_of(shop).write("", facts["now"].number)


@tool(mode="at_most_once")
async def shred(name: str, *, shop: object) -> str:
    """Take one note away, and know nothing."""
    return shop_of(shop).drop(name)


@tool(mode="probe_then_write", probe=find_dropped)
async def drop_one(name: str, *, shop: object) -> str:
    """Take one note away; whether it is gone can be asked."""
    return shop_of(shop).drop(name)


async def keyed(name: str, *, key: EffectKey, shop: object) -> str:
    """Add a note, once for each key."""
    return f"note {name}" if shop_of(shop).has(key) else shop_of(shop).post(key, name)


def keyed_in_thread(name: str, *, key: EffectKey, shop: object) -> str:
    """Add a note from a thread, once for each key."""
    return f"note {name}" if shop_of(shop).has(key) else shop_of(shop).post(key, name)


async def put(name: str, *, shop: object) -> str:
    """Set the text."""
    return shop_of(shop).write(name)


async def put_over(name: str, *, facts: dict[str, Any], shop: object) -> str:
    """Set the text over the version that was decided on."""
    return shop_of(shop).write(name, facts["now"].number)


async def unkeyed(name: str, *, key: EffectKey, shop: object) -> str:
    """Add a note whatever there is; the key is its reference."""
    return shop_of(shop).post(key, name)


async def commit(name: str, *, draft: int, shop: object) -> str:
    """Add the note of a draft."""
    return shop_of(shop).post(*shop_of(shop).drafts[draft])


def unkeyed_in_thread(name: str, *, key: EffectKey, shop: object) -> str:
    """Add a note from a thread, whatever there is."""
    return shop_of(shop).post(key, name)


FUNCTIONS = dict(zip(MODES, (keyed, put, put_over, unkeyed, commit, unkeyed), strict=True))
MORE: dict[str, dict[str, Any]] = {
    "native_key": {"undo": drop},
    "upsert": {"undo": clear},
    "conditional": {"undo": put_back, "facts": OVER},
    "probe_then_write": {"undo": drop_one, "probe": find},
    "draft_then_commit": {"undo": shred, "probe": find, "draft": draft_note},
    "at_most_once": {"undo": shred},
}


def made(mode: str, function: Any = None, **more: Any) -> Tool:
    """The tool `note` in a mode: as it should be, or broken as the test says."""
    retry = Retry(attempts=3, backoff_s=0.1)
    return tool(**{"name": "note", "mode": mode, "retry": retry, **MORE[mode], **more})(
        function or FUNCTIONS[mode]
    )


def counted(resources: Any) -> tuple[int, str]:
    return len(resources["shop"].notes), resources["shop"].text


async def check(tested: Tool, **more: Any) -> None:
    """The contract, on a fresh shop."""
    settings: dict[str, Any] = {
        "arguments": {"name": "ana"},
        "fresh": lambda: {"shop": Shop()},
        "count": counted,
    }
    await assert_tool_contract(tested, **{**settings, **more})


async def caught(tested: Tool, *sentences: str, **more: Any) -> str:
    """The contract is broken, and the sentences are what is said of it."""
    with pytest.raises(ToolContractBroken) as broken:
        await check(tested, **more)
    said = str(broken.value)
    for sentence in sentences:
        assert sentence in said
    return said


def lose(resources: Any, fault: Fault) -> None:
    """Let the shop lose it, so that the tool hears what tools hear."""
    resources["shop"].losing = fault
