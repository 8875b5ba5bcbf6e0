"""Retention: content past its class's time is destroyed; entries, hashes and proofs stay."""

from __future__ import annotations

from typing import TYPE_CHECKING

from answerable.journal.store import Append
from answerable.kernel.events import RetentionApplied
from answerable.kernel.ids import tenant_stream

if TYPE_CHECKING:
    from collections.abc import Mapping

    from answerable.journal.store import JournalStore

STANDARD = "standard"
CLASSES = (
    "task",
    "message",
    "arguments",
    "result",
    "fact",
    "decision",
    "approval",
    "note",
    "check",
    "answer",
    "packet",
)
"""Every class of content. A class that is not named in the settings is kept as long as `standard` says."""


async def apply(store: JournalStore, classes: Mapping[str, float], *, now: int) -> dict[str, int]:
    """Destroy content older than its class allows: class → how many. `classes` gives seconds.

    Content of people with an open run, or a run whose effects are in doubt, is kept whatever its age: it is needed
    to go on. Each class that lost something is recorded, before it is lost.
    """
    destroyed: dict[str, int] = {}
    for name in CLASSES:
        keep_s = classes.get(name, classes.get(STANDARD))
        if keep_s is None:
            continue
        before = now - int(keep_s * 1e6)
        refs = await store.payloads_before(name, before)
        if not refs:
            continue
        applied = RetentionApplied(cls=name, before=before, count=len(refs))
        await store.append(
            Append(stream=tenant_stream("default"), events=(applied,), expect=None, epoch=0, now=now)
        )
        await store.destroy(refs, now)
        destroyed[name] = len(refs)
    return destroyed
