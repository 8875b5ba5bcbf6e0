"""Which worker can drive which run: a run is pinned to the release of its agent that accepted it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from answerable.kernel.events import RunCreated
from answerable.kernel.ids import RunId, run_stream

if TYPE_CHECKING:
    from collections.abc import Iterable

    from answerable.journal.store import JournalStore, WorkerRow


def release_name(agent: str, release: str) -> str:
    """How a release is listed of a worker that has it."""
    return f"{agent}@{release}"


async def release_of(store: JournalStore, run: str) -> str:
    """What a worker must have to drive this run."""
    created = (await store.entries(run_stream(RunId(run))))[0].events[0]
    assert isinstance(created, RunCreated)
    return release_name(created.agent, created.release)


def releases_there(workers: Iterable[WorkerRow]) -> frozenset[str]:
    """Every release that a living worker has."""
    return frozenset(release for row in workers if row.is_alive for release in row.releases)
