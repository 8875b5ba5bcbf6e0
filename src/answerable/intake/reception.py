"""A process that only accepts work: a journal and its intake, and nothing that could do the work.

The project's resources, secrets and models are not opened, so whoever gets into this process finds none of them.
"""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from answerable.engine.intake import Intake
from answerable.engine.ports import Ports, system_ports
from answerable.journal.opening import choose_journal
from answerable.kernel.ids import named
from answerable.project import open_store

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from answerable.journal.store import Durability
    from answerable.project import Project


@asynccontextmanager
async def open_reception(
    project: Project,
    *,
    db: str | None = None,
    durability: Durability = "group",
    ports: Ports | None = None,
) -> AsyncGenerator[Intake]:
    """Open the intake of a project's journal.

    `group` promises what `full` does, and lets deliveries that come together share a commit.
    """
    ports = ports or system_ports()
    store = await open_store(choose_journal(db, project.journal_url), durability=durability, ports=ports)
    try:
        yield Intake(
            store,
            ports,
            tenant=project.tenant,
            owner=named("own", ports.entropy(16)),
            releases={agent.name: agent.release() for agent in project.agents.values()},
            max_open=project.intake.max_open,
        )
    finally:
        await store.close()
