"""Which runs somebody should drive: one question over the open runs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from answerable.journal.postgres.lease import ALIVE
from answerable.journal.store import Due, due_of

if TYPE_CHECKING:
    from answerable.journal.postgres.reader import Reader

_DUE = f"""
SELECT run.run, (SELECT seq FROM answerable.head WHERE stream = 'run/' || run.run), coalesce(inbox.seq, 0), run.state,
    coalesce(run.wake_at <= %s, false),
    (SELECT coalesce(max(epoch), 0) FROM answerable.halt
      WHERE scope IN ('all', 'agent:' || run.agent, 'run:' || run.run) OR scope LIKE 'tool:%%')
FROM answerable.run LEFT JOIN answerable.head inbox ON inbox.stream = 'inbox/' || run.run
WHERE run.state <> 'ended' AND (%s::text IS NULL OR run.run = %s)
  AND (%s::text IS NULL
    OR (run.created, run.run) > (SELECT created, run FROM answerable.run WHERE run = %s))
  AND CASE run.state
    WHEN 'created' THEN true
    WHEN 'running' THEN NOT EXISTS (SELECT FROM answerable.worker WHERE worker.owner = run.owner AND {ALIVE})
    ELSE inbox.seq > 0 OR run.wake_at <= %s OR run.waiting_for = 'release' END
  AND (run.state = 'running' OR NOT EXISTS (SELECT FROM answerable.halt
    WHERE is_active AND scope IN ('all', 'agent:' || run.agent, 'run:' || run.run)))
ORDER BY run.created, run.run LIMIT %s
"""
_ORPHANS = _DUE.replace("run.state <> 'ended'", "run.state = 'running'")


async def due(
    reader: Reader, now: int, limit: int, *, after: str | None, run: str | None, is_orphan: bool
) -> list[Due]:
    """See `JournalStore.due`."""
    question = _ORPHANS if is_orphan else _DUE
    rows = await reader.ask(question, (now, run, run, after, after, now, limit))
    return [due_of(row) for row in rows]
