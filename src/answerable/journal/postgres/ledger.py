"""One batch of appends, decided in memory: locked rows go in, the rows to write come out. Pure; no SQL.

The writer locks the rows that the appends of a batch name, and gives them to a `Ledger`. Each append is applied in the
order in which it was asked for. One that is refused leaves nothing behind, and the others go on: what it had
changed is taken back from an undo log. What comes out is the difference to what went in, table by table.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from answerable.journal.postgres import rows as tables
from answerable.journal.postgres.escrow import SHARED
from answerable.journal.postgres.project import ParentNeeded, project
from answerable.journal.postgres.rows import HeadRow
from answerable.journal.rows import refuse
from answerable.kernel.entry import EMPTY, Head, make_entry
from answerable.kernel.events import (
    CallEnded,
    CallIntended,
    HaltLifted,
    HaltRaised,
    ModelEnded,
    ModelIntended,
    RunAdopted,
    RunCreated,
    RunEnded,
    RunParked,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from answerable.journal.postgres.rows import Key, Table
    from answerable.journal.store import Append, Payload
    from answerable.kernel.entry import Entry

_OF_THE_RUN = (RunCreated, RunAdopted, ModelEnded, CallEnded, RunParked, RunEnded)


@dataclass(slots=True)
class Names:
    """The rows that a batch of appends needs, by name. What only an effect's row can name, the reading adds."""

    streams: set[str] = field(default_factory=set[str])
    shared: set[str] = field(default_factory=set[str])
    """Ids of budgets that processes share."""
    budgets: set[str] = field(default_factory=set[str])
    """Ids of other budgets."""
    claims: set[str] = field(default_factory=set[str])
    totals: set[str] = field(default_factory=set[str])
    effects: set[str] = field(default_factory=set[str])
    runs: set[str] = field(default_factory=set[str])
    intending: set[str] = field(default_factory=set[str])
    """Runs of which an intent is appended: they take part in the barrier of halts."""
    raises_halt: bool = False


def names_in(appends: Iterable[Append]) -> Names:
    """What must be locked and read to decide these appends."""
    names = Names()
    for append in appends:
        names.streams.add(append.stream)
        run = append.stream.partition("/")[2]
        for event in append.events:
            if isinstance(event, _OF_THE_RUN):
                names.runs.add(run)
            match event:
                case CallIntended() | ModelIntended():
                    names.intending.add(run)
                    _name_budgets(names, event.reserve)
                    if isinstance(event, CallIntended):
                        _name_effect(names, event)
                case CallEnded() | ModelEnded():
                    _name_budgets(names, event.settle)
                    if isinstance(event, CallEnded) and event.effect is not None:
                        names.effects.add(event.effect)
                case HaltRaised() | HaltLifted():
                    names.raises_halt = True
                case _:
                    continue
    return names


def _name_budgets(names: Names, moves: Iterable[tuple[str, str, int, int]]) -> None:
    for budget, _, _, _ in moves:
        (names.shared if budget.startswith(SHARED) else names.budgets).add(budget)


def _name_effect(names: Names, event: CallIntended) -> None:
    if event.attempt > 1:  # the first one makes the row
        names.effects.add(event.effect)
    if event.undoes is not None:
        names.effects.add(event.undoes)
    if event.claim:
        names.claims.add(event.claim["key"])
    names.totals.update(move[0] for move in event.totals)


@dataclass(slots=True)
class Changes:
    """What a batch comes to: rows that are new, rows that are not, and names of rows that go."""

    entries: list[Entry]
    payloads: list[tuple[Payload, int]]
    """Each with the time of its entry."""
    notices: list[tuple[str, str, int]]
    new: dict[str, list[tuple[Key, Any]]]
    changed: dict[str, list[tuple[Key, Any]]]
    gone: dict[str, list[Key]]
    halt_epoch: int | None
    """The epoch of the last halt that was raised or lifted here, if one was."""


class Ledger:
    """The rows of one batch. `me` is the holder of our shares; `alive` are the holders that are not gone.

    `is_wide` says that every share of the shared budgets was read, under their parents' locks.
    """

    def __init__(
        self,
        rows: Mapping[str, Mapping[Key, Any]],
        *,
        me: str,
        agents: Mapping[str, str] | None = None,
        is_wide: bool = False,
        alive: frozenset[str] = frozenset(),
    ) -> None:
        self.me = me
        self.is_wide = is_wide
        self.alive = alive
        self.needs_parent = False
        """Whether an append could not be decided without the parents of its budgets: all must be read again."""
        self._agents = agents or {}
        self._before = {table.name: rows.get(table.name, {}) for table in tables.TABLES}
        self._now: dict[str, dict[Key, Any]] = {name: {} for name in self._before}
        self._undo: list[tuple[dict[Key, Any], Key, Any, bool]] = []
        self._entries: list[Entry] = []
        self._payloads: list[tuple[Payload, int]] = []
        self._notices: list[tuple[str, str, int]] = []

    def get(self, table: Table, key: Key) -> Any:
        """The row as it is now, or None."""
        now = self._now[table.name]
        return now[key] if key in now else self._before[table.name].get(key)

    def put(self, table: Table, key: Key, row: Any) -> None:
        """Change a row, make it, or with None remove it."""
        now = self._now[table.name]
        self._undo.append((now, key, now.get(key), key in now))
        now[key] = row

    def all(self, table: Table) -> dict[Key, Any]:
        """Every row of a table that was read or made and is still there."""
        both = {**self._before[table.name], **self._now[table.name]}
        return {key: row for key, row in both.items() if row is not None}

    def tell(self, run: str, kind: str, at: int) -> None:
        """A person must be told."""
        self._notices.append((run, kind, at))

    def agent_of(self, run: str) -> str | None:
        """Whose run it is."""
        row = self.get(tables.RUN, run)
        return row.agent if row is not None else self._agents.get(run)

    def apply(self, appends: tuple[Append, ...]) -> tuple[Entry, ...]:
        """Apply appends that stand or fall together.

        Raises `JournalFenced`, `JournalConflict`, a `GuardRefused` or `NotEncodable`, and has changed nothing then;
        or `ParentNeeded`, after which `needs_parent` is set.
        """
        entries, payloads, notices = len(self._entries), len(self._payloads), len(self._notices)
        self._undo.clear()
        try:
            for append in appends:
                self._append(append)
        except BaseException as refused:
            for now, key, row, was_there in reversed(self._undo):
                if was_there:
                    now[key] = row
                else:
                    del now[key]
            del self._entries[entries:], self._payloads[payloads:], self._notices[notices:]
            self.needs_parent = self.needs_parent or isinstance(refused, ParentNeeded)
            raise
        return tuple(self._entries[entries:])

    def _append(self, append: Append) -> None:
        row = self.get(tables.HEAD, append.stream)
        now = EMPTY if row is None else Head(*row)
        expected = append.expect or now
        entry = make_entry(append.stream, expected, append.epoch, append.now, append.events)
        if (expected.seq, expected.hash) != (now.seq, now.hash):
            refuse(append, now)
        self.put(tables.HEAD, entry.stream, HeadRow(entry.seq, entry.hash, entry.epoch, entry.time))
        self._entries.append(entry)
        self._payloads += [(payload, entry.time) for payload in append.payloads]
        project(self, entry)

    def changes(self) -> Changes:
        """Everything to be written, in the order of its names, so that no two writers wait for each other."""
        new: dict[str, list[tuple[Key, Any]]] = {}
        changed: dict[str, list[tuple[Key, Any]]] = {}
        gone: dict[str, list[Key]] = {}
        for name, now in self._now.items():
            before = self._before[name]
            for key in sorted(now):
                row, was = now[key], before.get(key)
                if row == was:
                    continue
                if row is None:
                    gone.setdefault(name, []).append(key)
                else:
                    (new if was is None else changed).setdefault(name, []).append((key, row))
        payloads = {payload.ref: (payload, at) for payload, at in self._payloads}
        halts = [row.epoch for row in self._now["halt"].values()]
        return Changes(
            entries=self._entries,
            payloads=[payloads[ref] for ref in sorted(payloads)],
            notices=self._notices,
            new=new,
            changed=changed,
            gone=gone,
            halt_epoch=max(halts) if halts else None,
        )
