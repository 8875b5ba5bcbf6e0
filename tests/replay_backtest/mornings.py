"""Journals to decide again: a morning at the refund desk, with what people said to what waited."""

from __future__ import annotations

import sqlite3
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

import refund_desk
from answerable import open_runtime
from answerable.gates.approval import Approver
from answerable.kernel.ids import run_id_from_source
from answerable.models.scripted import ScriptedModel
from answerable.project import load_rules, open_store
from answerable.testing import FakeClock, fake_ports
from refund_desk.clerk import clerk
from refund_desk.desk import Ticket, make_desk, secrets
from refund_desk.seed import seed_shop
from refund_desk.shop import open_shop

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable

    from answerable import Agent, Runtime
    from answerable.gates.policy import Bundle
    from answerable.gates.request import PolicyRequest
    from answerable.journal.store import JournalStore
    from answerable.kernel.decision import Decision
    from answerable.kernel.ids import RunId

EXAMPLE = Path(str(refund_desk.__file__)).parent
RULES = (EXAMPLE / "policy" / "refund_desk.cedar").read_text("utf-8")
TICKETS = [
    Ticket.model_validate_json(line) for line in (EXAMPLE / "tickets.jsonl").read_text("utf-8").splitlines()
]
GRANTED = {"T-1116": ("lea",), "T-1117": ("lea", "fay", "finn")}
"""Tickets that people said yes to."""
DENIED = {"T-1144": "lea"}
PEOPLE = {"lea": "support-lead", "fay": "finance", "finn": "finance", "pia": "privacy"}


def key_of(name: str) -> bytes:
    """The private key of somebody who may say yes."""
    return name.encode().ljust(32, b".")


def approvers() -> list[Approver]:
    """Everybody who may say yes."""
    return [
        Approver(
            name=name,
            roles=frozenset({role}),
            public_key=Ed25519PrivateKey.from_private_bytes(key_of(name)).public_key().public_bytes_raw(),
        )
        for name, role in PEOPLE.items()
    ]


@dataclass(slots=True)
class Listening:
    """Rules that remember what they were asked."""

    bundle: Bundle
    asked: list[tuple[PolicyRequest, frozenset[str]]] = field(
        default_factory=list["tuple[PolicyRequest, frozenset[str]]"]
    )

    @property
    def digest(self) -> str:
        """As the bundle's."""
        return self.bundle.digest

    def decide(self, request: PolicyRequest, discharged: frozenset[str] = frozenset()) -> Decision:
        """As the bundle does."""
        self.asked.append((request, discharged))
        return self.bundle.decide(request, discharged)


def run_of(ticket: str) -> RunId:
    """The run of a ticket."""
    return run_id_from_source("default", "refund-desk", ticket)


def ticket_of(run: str) -> str:
    """The ticket of a run."""
    return next(each.id for each in TICKETS if run_of(each.id) == run)


def rules_of(agent: Agent, change: Callable[[str], str] = str) -> Bundle:
    """The desk's rules, changed."""
    return load_rules(agent, {"refund_desk.cedar": change(RULES)})


def without(rule: str) -> Callable[[str], str]:
    """The rules without one of them."""

    def change(text: str) -> str:
        start = text.index(f'@id("{rule}")')
        return text[:start] + text[text.index(";", text.index("(\n", start)) + 1 :]

    return change


@asynccontextmanager
async def desk_at(url: str, folder: Path, agent: Agent, bundle: Any, seed: str) -> AsyncGenerator[Runtime]:
    """The refund desk on a journal, with its shop in a folder."""
    async with open_runtime(
        url,
        agents=[agent],
        approvers=approvers(),
        resources={"shop": open_shop(folder, seed=seed_shop, slow_ms=1)},
        secrets=secrets(folder),
        models={"scripted:desk": ScriptedModel("desk", clerk, 7)},
        ports=fake_ports(seed, clock=FakeClock()),
        bundles={agent.name: bundle},
    ) as runtime:
        yield runtime


async def work(url: str, folder: Path, agent: Agent, bundle: Any) -> None:
    """One morning: all tickets, then people answer some of what waits, and those runs go on."""
    async with desk_at(url, folder, agent, bundle, "morning") as runtime:
        await runtime.drive_all(await runtime.submit(agent.name, TICKETS), concurrency=1)
        for ticket, names in GRANTED.items():
            for name in names:
                await runtime.answer(run_of(ticket), "grant", approver=name, private_key=key_of(name))
        for ticket, name in DENIED.items():
            await runtime.answer(run_of(ticket), "deny", approver=name, private_key=key_of(name))
    async with desk_at(url, folder, agent, bundle, "noon") as runtime:
        for ticket in (*GRANTED, *DENIED):
            await runtime.drive(run_of(ticket))


def desk() -> Agent:
    """The agent of the morning; its tools wait long enough for a slow machine."""
    return make_desk(timeout_s=30.0)


@asynccontextmanager
async def journal(url: str) -> AsyncGenerator[JournalStore]:
    """A journal, open."""
    store = await open_store(url, must_exist=True)
    try:
        yield store
    finally:
        await store.close()


def contents(path: Path) -> list[tuple[object, ...]]:
    """All that a journal in a file holds, but for what SQLite itself keeps."""
    with closing(sqlite3.connect(path)) as db:
        tables = [
            row[0] for row in db.execute("SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name")
        ]
        return [(table, *row) for table in tables for row in db.execute(f"SELECT * FROM {table}")]
