"""Which runs somebody should drive: one question over the open runs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from answerable.journal.store import Due, due_of

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable

_OWNERS = "SELECT DISTINCT owner FROM run WHERE state <> 'ended' AND state = 'running'"
_DUE = """
SELECT run.run, (SELECT seq FROM head WHERE stream = 'run/' || run.run), coalesce(inbox.seq, 0), run.state,
    coalesce(run.wake_at <= :now, 0),
    (SELECT coalesce(max(epoch), 0) FROM halt
      WHERE scope IN ('all', 'agent:' || run.agent, 'run:' || run.run) OR scope LIKE 'tool:%')
FROM run LEFT JOIN head inbox ON inbox.stream = 'inbox/' || run.run
WHERE run.state <> 'ended' AND (:run IS NULL OR run.run = :run)
  AND (:after IS NULL OR (run.created, run.run) > (SELECT created, run FROM run WHERE run = :after))
  AND CASE run.state
    WHEN 'created' THEN 1
    WHEN 'running' THEN run.owner IN (SELECT value FROM json_each(:dead))
    ELSE inbox.seq > 0 OR run.wake_at <= :now OR run.waiting_for = 'release' END
  AND (run.state = 'running' OR NOT EXISTS (SELECT 1 FROM halt
    WHERE is_active AND scope IN ('all', 'agent:' || run.agent, 'run:' || run.run)))
ORDER BY run.created, run.run LIMIT :limit
"""
_ORPHANS = _DUE.replace("run.state <> 'ended'", "run.state <> 'ended' AND run.state = 'running'")


def due(
    db: sqlite3.Connection,
    is_alive: Callable[[str], bool],
    now: int,
    limit: int,
    *,
    after: str | None,
    run: str | None,
    is_orphan: bool = False,
) -> list[Due]:
    """See `JournalStore.due`."""
    dead = [owner for (owner,) in db.execute(_OWNERS) if not is_alive(owner)]
    if is_orphan and not dead:
        return []
    asked = {"now": now, "limit": limit, "after": after, "run": run, "dead": _json(dead)}
    return [due_of(row) for row in db.execute(_ORPHANS if is_orphan else _DUE, asked)]


def _json(names: list[str]) -> str:
    return "[" + ",".join(f'"{name}"' for name in names) + "]"
