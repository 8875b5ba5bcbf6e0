"""One batch on one connection: read and lock, decide, write. Two round trips.

(a) The transaction begins, the barrier of halts is passed, and rows are locked in an order that is the same for
    everybody: halts, budgets, streams, effects, claims, totals; within each by name.
(b) A `Ledger` decides each append in memory.
(c) Everything that changed is written, table by table, and committed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from answerable.errors import AnswerableError
from answerable.journal.postgres import rows as tables
from answerable.journal.postgres import statements as sql
from answerable.journal.postgres.ledger import Ledger, names_in
from answerable.journal.postgres.project import ParentNeeded
from answerable.kernel.encoding import NotEncodable
from answerable.kernel.entry import Entry

if TYPE_CHECKING:
    from answerable.journal.postgres.ledger import Changes, Names
    from answerable.journal.postgres.rows import Table
    from answerable.journal.postgres.wire import Asked, Row, Statement, Wire
    from answerable.journal.store import Append

Answer = tuple[Entry, ...] | BaseException
"""What one caller is told: the entries of its appends, or why there are none."""


@dataclass(slots=True)
class Commit:
    """A batch that was decided. `xid` is the transaction's number, while its commit is under way."""

    answers: list[Answer]
    xid: str = ""

    @property
    def last(self) -> Entry | None:
        """An entry by which to tell whether the transaction was committed: all of it was, or nothing."""
        for answer in reversed(self.answers):
            if not isinstance(answer, BaseException):
                return answer[-1]
        return None


def commit(
    wire: Wire,
    jobs: Sequence[tuple[Append, ...]],
    *,
    me: str,
    committing: Callable[[Commit], None],
) -> list[Answer]:
    """Append what jobs ask for, in one transaction; each job is refused alone.

    `committing` is told what will have happened, at the last moment before it may have. Raises psycopg's errors;
    nothing was written where `committing` was not called.
    """
    names = names_in(append for job in jobs for append in job)
    is_wide = False
    while True:
        try:
            xid, ledger = _read(wire, names, me=me, is_wide=is_wide)
            answers = [_try(ledger, job) for job in jobs]
            if not ledger.needs_parent:
                break
        except BaseException:
            _rollback(wire)
            raise
        wire.ask([(sql.ROLLBACK, ())])
        is_wide = True  # with all shares at hand nothing needs to be read again
    decided = Commit(answers, xid)
    if decided.last is None:
        wire.ask([(sql.ROLLBACK, ())])
        return answers
    try:
        writes = _writes(ledger.changes())
        committing(decided)
        wire.ask([*writes, (sql.COMMIT, ())])
    except BaseException:
        _rollback(wire)
        raise
    return answers


def _try(ledger: Ledger, job: tuple[Append, ...]) -> Answer:
    try:
        return ledger.apply(job)
    except (AnswerableError, NotEncodable, ParentNeeded) as refused:
        return refused


def _rollback(wire: Wire) -> None:
    if not wire.is_lost and wire.is_in_transaction:
        wire.ask([(sql.ROLLBACK, ())])


def _read(wire: Wire, names: Names, *, me: str, is_wide: bool) -> tuple[str, Ledger]:
    asked: list[Asked] = [(sql.BEGIN, ())]
    into: list[Table | Statement | None] = [None]

    def ask(statement: Statement, *values: Any, table: Table | None = None) -> None:
        asked.append((statement, values))
        into.append(table or statement)

    is_barred = bool(names.intending) or names.raises_halt
    if names.raises_halt:
        ask(sql.BARRIER_ALONE)
    else:
        ask(sql.BARRIER if is_barred else sql.XID)
    if is_barred:
        ask(sql.HALTS, table=tables.HALT)
    # A halt of this very batch may cover an intent behind it, so the runs are read even if no halt is in force yet.
    runs = names.runs | names.intending if names.raises_halt else names.runs
    if names.intending - runs:
        ask(sql.AGENTS, sorted(names.intending - runs))
    if names.shared:
        shared = sorted(names.shared)
        if is_wide:
            # The shares are read in a statement after the one that locked the parents: a share that somebody made
            # under a parent's lock, while we waited for it, is seen then.
            ask(sql.PARENTS, shared)
            ask(sql.ALIVE)
            ask(sql.ALL_SHARES, shared, table=tables.BUDGET)
        else:
            ask(sql.OWN_SHARES, shared, me, table=tables.BUDGET)
    if names.budgets:
        ask(sql.OWN_SHARES, sorted(names.budgets), "", table=tables.BUDGET)
    ask(sql.HEADS, sorted(names.streams), table=tables.HEAD)
    if names.effects:
        effects = sorted(names.effects)
        ask(sql.EFFECTS, effects, table=tables.EFFECT)
        ask(sql.CLAIMS_HELD, effects, sorted(names.claims), table=tables.CLAIM)
        ask(sql.TOTALS_HELD, effects, sorted(names.totals), table=tables.TOTAL)
    else:
        if names.claims:
            ask(sql.CLAIMS, sorted(names.claims), table=tables.CLAIM)
        if names.totals:
            ask(sql.TOTALS, sorted(names.totals), table=tables.TOTAL)
    if runs:
        ask(sql.RUNS, sorted(runs), table=tables.RUN)
    xid, agents, alive = "", dict[str, str](), frozenset[str]()
    rows: dict[str, dict[Any, Any]] = {}
    for target, answer in zip(into, wire.ask(asked), strict=True):
        if isinstance(target, tables.Table):
            rows.setdefault(target.name, {}).update(map(target.split, answer))
        elif target in (sql.XID, sql.BARRIER, sql.BARRIER_ALONE):
            xid = answer[0][0]
        elif target is sql.AGENTS:
            agents = dict[str, str](answer)
        elif target is sql.ALIVE:
            alive = frozenset(row[0] for row in answer)
    return xid, Ledger(rows, me=me, agents=agents, is_wide=is_wide, alive=alive)


def _writes(changes: Changes) -> list[Asked]:
    entries = changes.entries
    asked: list[Asked] = []
    for table in tables.TABLES:
        for rows, statements in ((changes.new, sql.MAKE), (changes.changed, sql.CHANGE)):
            if found := rows.get(table.name):
                columns = zip(*(table.joined(key, row) for key, row in found), strict=True)
                asked.append((statements[table.name], tuple(columns)))
        if keys := changes.gone.get(table.name):
            values = (keys,) if len(table.key) == 1 else tuple(zip(*keys, strict=True))
            asked.append((sql.DROP[table.name], values))
    asked.append(
        (
            sql.ENTRIES,
            _columns([(e.stream, e.seq, e.time, e.prev, e.hash, e.body) for e in entries]),
        )
    )
    if changes.payloads:
        asked.append(
            (
                sql.PAYLOADS,
                _columns(
                    [(p.ref, p.subject, p.retention, at, len(p.body), p.body) for p, at in changes.payloads]
                ),
            )
        )
    if changes.notices:
        asked.append((sql.NOTICES, _columns(changes.notices)))
    if changes.halt_epoch is not None:
        asked.append((sql.NOTIFY, (str(changes.halt_epoch),)))
    return asked


def _columns(rows: Sequence[Row]) -> tuple[Any, ...]:
    return tuple(zip(*rows, strict=True))
