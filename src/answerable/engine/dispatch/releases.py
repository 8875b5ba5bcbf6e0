"""Which worker can drive which run: a run is pinned to the release of its agent that began it.

Until it is begun that is the release that accepted it: a worker begins no run of another one. Who resumes a run by
name may, and its release is then the one that the run is pinned to.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from answerable.kernel.events import RunAdopted, RunCreated
from answerable.kernel.ids import RunId, run_stream

if TYPE_CHECKING:
    from collections.abc import Iterable

    from answerable.journal.store import JournalStore, WorkerRow


def release_name(agent: str, release: str) -> str:
    """How a release is listed of a worker that has it."""
    return f"{agent}@{release}"


async def release_of(store: JournalStore, run: str) -> str:
    """What a worker must have to drive this run."""
    created, *later = (
        event for entry in await store.entries(run_stream(RunId(run))) for event in entry.events
    )
    assert isinstance(created, RunCreated)
    begun = next((event.release for event in later if isinstance(event, RunAdopted)), None)
    return release_name(created.agent, begun or created.release)


def releases_there(workers: Iterable[WorkerRow]) -> frozenset[str]:
    """Every release that a living worker has."""
    return frozenset(release for row in workers if row.is_alive for release in row.releases)
