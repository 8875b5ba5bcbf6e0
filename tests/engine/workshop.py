"""A small agent whose tools work on a `Vendor`: what every test of the engine is built from."""

from __future__ import annotations

import base64
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from answerable import Agent, Arguments, Budget, NotDone, Run, Tool, ToolFailed, open_runtime
from answerable.gates.approval import Approver
from answerable.journal.doctor import examine
from answerable.journal.sqlite import SqliteJournal
from answerable.journal.verify import verify_database
from answerable.kernel.state import RunState, fold
from answerable.testing import FakeClock, ScriptedModel, fake_ports, say

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Mapping, Sequence

    from answerable.engine.runtime import Runtime
    from answerable.models.port import ModelPort

PERMIT = """
@id("may-do-everything")
@text("The agent may use all of its tools.")
permit (principal == Agent::"clerk", action, resource);
"""


def asks(
    tool: str, *, rule: str = "needs-a-person", role: str = "lead", count: int = 1, when: str = ""
) -> str:
    """A policy under which calls of `tool` need a person."""
    condition = f" when {{ {when} }}" if when else ""
    return f"""{PERMIT}
@id("{rule}")
@text("A person says yes.")
@decision("require_approval")
@approvers("{role}")
@count("{count}")
forbid (principal, action == Action::"{tool}", resource){condition};
"""


class Task(Arguments):
    """What the agent is given."""

    id: str = "task"
    who: str = "ana"
    text: str = ""


class Vendor:
    """The outside: it does what it is asked, and fails as it is told to, one fault per request.

    `done` holds the keys of what happened, in order. `lost reply`: it happens, nobody is told; `lost request`: it
    does not, and nobody is told; `busy`, `refused`: it says that it does not.
    """

    def __init__(self, *faults: str, honours_keys: bool = True) -> None:
        self.faults = list(faults)
        self.honours_keys = honours_keys
        self.done: list[str] = []
        self.asked: list[str] = []

    def do(self, key: str) -> str:
        """One request."""
        self.asked.append(key)
        fault = self.faults.pop(0) if self.faults else ""
        match fault:
            case "busy":
                raise NotDone("too busy", failure="rate_limited")
            case "refused":
                raise NotDone("no", failure="permission")
            case "lost request":
                raise ToolFailed("no answer", failure="timeout")
            case "broken":
                raise RuntimeError("connection reset")
            case _:
                pass
        if not (self.honours_keys and key in self.done):
            self.done.append(key)
        if fault == "lost reply":
            raise ToolFailed("no answer", failure="timeout")
        return f"receipt {len(self.done)}"

    def find(self, key: str) -> str | None:
        """Whether something with this key happened."""
        return f"receipt {self.done.index(key) + 1}" if key in self.done else None


def key_of(name: str) -> bytes:
    """The private key of an approver."""
    return name.encode().ljust(32, b".")[:32]


def approver(name: str, *roles: str) -> Approver:
    """Somebody who may say yes."""
    public = Ed25519PrivateKey.from_private_bytes(key_of(name)).public_key().public_bytes_raw()
    return Approver(name=name, roles=frozenset(roles), public_key=public)


LEADS = (approver("lea", "lead"), approver("leo", "lead"), approver("fin", "finance"))


def make_agent(
    tools: Sequence[Tool], program: Callable[[Run, Any], Any] | None = None, policy: str = PERMIT, **more: Any
) -> Agent:
    """The agent `clerk`. Without a program, the scripted model `scripted:clerk` drives it."""
    settings: dict[str, Any] = {
        "name": "clerk",
        "owner": "tests",
        "prompt": "Do it.",
        "models": ["scripted:clerk"],
        "tools": list(tools),
        "policy": {"rules.cedar": policy},
        "task": Task,
        "source": "{id}",
        "program": program,
        "budget": Budget(),
    }
    return Agent(**{**settings, **more})


@asynccontextmanager
async def runtime_of(
    folder: Path,
    *agents: Agent,
    vendor: Vendor | None = None,
    clock: FakeClock | None = None,
    seed: int | str = 0,
    models: Mapping[str, ModelPort] | None = None,
    approvers: Sequence[Approver] = LEADS,
    **more: Any,
) -> AsyncGenerator[Runtime]:
    """A runtime on the journal of a folder, with virtual time. Two at once need different seeds."""
    scripted: dict[str, ModelPort] = {"scripted:clerk": ScriptedModel("clerk", lambda *_: say("done"))}
    async with open_runtime(
        f"sqlite:///{folder / 'journal.db'}",
        agents=agents,
        approvers=approvers,
        resources={"vendor": vendor or Vendor(), **more.pop("resources", {})},
        models={**scripted, **(models or {})},
        ports=fake_ports(seed, clock=clock),
        **more,
    ) as runtime:
        yield runtime


async def state_of(runtime: Runtime, run: str) -> RunState:
    """The run, folded from its entries."""
    return fold(await runtime.store.entries(f"run/{run}"), await runtime.store.entries(f"inbox/{run}"))


async def kinds_of(runtime: Runtime, run: str) -> list[str]:
    """The types of a run's events, in order."""
    return [
        type(event).__name__ for entry in await runtime.store.entries(f"run/{run}") for event in entry.events
    ]


def sound(folder: Path) -> None:
    """The journal is as the specification says, for a reader that shares no code with its writer."""
    report = verify_database(folder / "journal.db")
    assert report.is_ok, report.to_text()


async def healthy(folder: Path) -> None:
    """The journal is sound, and its derived tables are what its entries say."""
    sound(folder)
    store = await SqliteJournal.open(folder / "journal.db", entropy=bytes, clock=lambda: 0)
    try:
        bad = [finding.message for finding in await examine(store) if finding.level == "bad"]
    finally:
        await store.close()
    assert bad == []


def changed(agent: Agent, program: Callable[[Run, Any], Any]) -> Agent:
    """The same agent with other code: the same release, as code is no part of it."""
    return replace(agent, program=program)


def text_of(raw: bytes) -> str:
    """Bytes as the journal writes them."""
    return base64.b64encode(raw).decode()
