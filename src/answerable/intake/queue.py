"""Watching a queue: each row becomes a run, once, however often a watcher dies on the way."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from answerable.errors import InputError, IntakeFull
from answerable.gates.schema import Refused, parse_object
from answerable.intake.rows import Mark, Row, rows_of
from answerable.observe.logs import warn

if TYPE_CHECKING:
    from collections.abc import Sequence

    from answerable.engine.intake import Accepted, Intake
    from answerable.intake.doors import Queue
    from answerable.kernel.ids import RunId


ROW_CHARS_MAX = 64
"""Of a row's id, in the log."""


class QueueWatcher:
    """Takes what waits in one table. Any number of them may watch the same."""

    def __init__(self, queue: Queue, intake: Intake) -> None:
        self.queue = queue
        self._intake = intake
        self._rows = rows_of(queue)
        self._is_open = False

    async def look(self) -> tuple[list[RunId], bool]:
        """Take the next rows: their runs, and whether more may be waiting.

        Raises `QueueUnreachable` or `JournalError`: nothing was taken then, and the same rows come again.
        """
        if not self._is_open:
            await self._rows.open()
            self._is_open = True
        room = await self._intake.room(self.queue.agent.name)
        limit = self.queue.take if room is None else min(room, self.queue.take)
        if not limit:
            return [], False
        rows = await self._rows.take(limit)
        if not rows:
            return [], False
        try:
            marks = await self._submit(rows)
        except IntakeFull:  # another door was quicker
            await self._rows.release()
            return [], False
        except BaseException:
            await self._rows.release()
            raise
        await self._rows.mark(marks)
        return [mark.run for mark in marks if mark.run is not None], len(rows) == limit

    async def close(self) -> None:
        """Disconnect; the next look connects again."""
        self._is_open = False
        await self._rows.close()

    async def _submit(self, rows: Sequence[Row]) -> list[Mark]:
        """What became of each row. A row that is no task is marked as that, and keeps no other from its run."""
        tasks: list[tuple[Row, dict[str, Any]]] = []
        marks: list[Mark] = []
        for row in rows:
            try:
                tasks.append((row, parse_object(_text(row))))
            except Refused as refused:
                marks.append(self._refused(row, str(refused)))
        try:
            accepted = await self._accept(tasks)
        except InputError:
            for one in tasks:
                try:
                    (run,) = await self._accept([one])
                    marks.append(Mark(one[0].id, run.run, None))
                except InputError as error:
                    marks.append(self._refused(one[0], str(error.args[0])))
        else:
            marks += [Mark(one[0].id, run.run, None) for one, run in zip(tasks, accepted, strict=True)]
        return marks

    async def _accept(self, tasks: Sequence[tuple[Row, dict[str, Any]]]) -> list[Accepted]:
        agent = self.queue.agent
        sources = [] if agent.source else [f"queue:{self.queue.name}:{row.id}" for row, _ in tasks]
        return await self._intake.accept(
            agent, [task for _, task in tasks], sources=sources, requested_by=f"queue:{self.queue.name}"
        )

    def _refused(self, row: Row, why: str) -> Mark:
        warn("queue_row_refused", queue=self.queue.name, row=str(row.id)[:ROW_CHARS_MAX])
        return Mark(row.id, None, why)


def _text(row: Row) -> str | bytes:
    """A row's payload as it was written; what is no text is refused as that."""
    if isinstance(row.payload, (str, bytes)):
        return row.payload
    return str(row.payload)
