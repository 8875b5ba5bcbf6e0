"""Events of a small made-up run, for checks of a store that need no engine."""

from __future__ import annotations

import base64
import hashlib
from typing import TYPE_CHECKING, Any

from answerable.journal.store import Append
from answerable.kernel import events
from answerable.kernel.entry import EMPTY

if TYPE_CHECKING:
    from answerable.journal.store import JournalStore
    from answerable.kernel.entry import Entry, Head

NOW = 1_767_225_600_000_000
TENANT = "tenant/default"


def run_name(number: int) -> str:
    """The id of the `number`-th run."""
    digest = hashlib.sha256(f"run {number}".encode()).digest()[:16]
    return f"run_{base64.b32encode(digest).decode().rstrip('=').lower()}"


def effect_of(run: str, path: str) -> str:
    """The key of the effect at `path` of a run."""
    return hashlib.sha256(f"{run} {path}".encode()).hexdigest()


async def write_run(store: JournalStore, run: str, *, head: Head = EMPTY, epoch: int = 1) -> Entry:
    """Create a run and take it; or take one that is there, with its head and a higher epoch."""
    made: tuple[events.Event, ...] = ()
    if head.seq == 0:
        subject, _ = await store.subject(f"run:{run}")
        made = (_created(store.journal, subject),)
    adopted = events.RunAdopted(epoch=epoch, owner=f"own_{epoch}", cause="start")
    (entry,) = await store.append(
        Append(stream=f"run/{run}", events=(*made, adopted), expect=head, epoch=epoch, now=NOW)
    )
    return entry


def _created(journal: str, subject: str) -> events.RunCreated:
    return events.RunCreated(
        journal=journal,
        agent="desk",
        tenant="default",
        kind="driven",
        release="e" * 64,
        autonomy="capped",
        subject=subject,
        task="f" * 64,
    )


def seen(release: str) -> events.ReleaseSeen:
    """An event for a stream that any process may write."""
    return events.ReleaseSeen(release=release, agent="desk")


def settled(path: str) -> events.ValueTaken:
    """An event of a run that changes nothing else."""
    return events.ValueTaken(path=path, kind="random", value="0" * 14)


def intended(
    run: str,
    *,
    path: str = "1.0",
    attempt: int = 1,
    reserve: tuple[events.Reserve, ...] = (),
    totals: tuple[events.TotalMove, ...] = (),
    claim: dict[str, Any] | None = None,
    undoes: str | None = None,
) -> events.CallIntended:
    """The intent of a write of the tool `pay`."""
    return events.CallIntended(
        path=path,
        effect=effect_of(run, path),
        attempt=attempt,
        tool="pay",
        mode="native_key",
        halt_epoch=0,
        send_by=NOW + 5_000_000,
        reserve=reserve,
        totals=totals,
        claim=claim,
        undoes=undoes,
    )


def ended(
    path: str,
    *,
    run: str = "",
    attempt: int = 1,
    state: str = "done",
    via: str = "send",
    cost: int = 0,
    settle: tuple[events.Settle, ...] = (),
) -> events.CallEnded:
    """The outcome of the call at `path`; of a read where no run is named."""
    return events.CallEnded(
        path=path,
        effect=effect_of(run, path) if run else None,
        attempt=attempt,
        tool="pay",
        state=state,
        via=via,
        cost=cost,
        us=100,
        settle=settle,
    )


def run_parked(request: str) -> events.RunParked:
    """A run waits for an approval."""
    return events.RunParked(waiting_for="approval", request=request, wake_at=NOW + 1)


def run_ended(*, rules: tuple[str, ...] = ()) -> events.RunEnded:
    """A run was handed to a person."""
    return events.RunEnded(outcome="escalated", code="internal", rules=rules)


def halt(scope: str, epoch: int) -> events.HaltRaised:
    """An operator stops something."""
    return events.HaltRaised(scope=scope, epoch=epoch, by="tests", reason="a test")


def lift(scope: str, epoch: int) -> events.HaltLifted:
    """An operator lets it go on."""
    return events.HaltLifted(scope=scope, epoch=epoch, by="tests", reason="a test")
