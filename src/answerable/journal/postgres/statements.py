"""The SQL of a batch: what is locked and read, and what is written.

Statements are prepared once and then run by the plan that was made for them, even after tables have grown a
thousandfold. So they are written to have one good plan: rows are found by their key in an array, and written by
`INSERT ... SELECT FROM unnest`, never by a join.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from answerable.journal.postgres import rows as tables
from answerable.journal.postgres import wire
from answerable.journal.postgres.wire import Statement

if TYPE_CHECKING:
    from answerable.journal.postgres.rows import Table

LOCKS = 0x414E5357
"""The first number of our advisory locks: `ANSW`."""
LOCK_OF_HALTS = 1
LOCK_OF_SCHEMA = 2
CHANNEL = "answerable_halt"
LEASE_S = 15
"""How long after its last sign of life a process is taken to be dead."""

_TYPES = {"t": "text", "i": "bigint", "b": "boolean", "y": "bytea"}

BEGIN = Statement("begin", "BEGIN ISOLATION LEVEL READ COMMITTED")
COMMIT = Statement("commit", wire.COMMIT)
ROLLBACK = Statement("rollback", "ROLLBACK")
XID = Statement("xid", "SELECT pg_current_xact_id()::text", gives="t")
"""The transaction's number: what can be asked for on another connection when the reply to its commit is lost."""

# The barrier of halts. An intent takes the lock shared, whoever raises a halt takes it alone, and both keep it until
# their transaction has ended. Each statement sees what was committed when *it* began. So the halts are read in a
# statement after the one that waited for the lock: whoever raised a halt let go of the lock only after the halt was
# visible to all. Read in the same statement, the halts would be those from before the wait.
# So an intent that commits after a halt has seen it, and one that has not seen it commits before.
BARRIER = Statement(
    "barrier",
    f"SELECT pg_current_xact_id()::text, pg_advisory_xact_lock_shared({LOCKS}, {LOCK_OF_HALTS})::text",
    gives="tt",
)
BARRIER_ALONE = Statement(
    "barrier_alone",
    f"SELECT pg_current_xact_id()::text, pg_advisory_xact_lock({LOCKS}, {LOCK_OF_HALTS})::text",
    gives="tt",
)
ALIVE = Statement(
    "alive",
    "SELECT owner FROM answerable.worker"
    f" WHERE heartbeat > clock_timestamp() - make_interval(secs => {LEASE_S})",
    gives="t",
)
NOTIFY = Statement("notify", f"SELECT pg_notify('{CHANNEL}', $1)::text", takes="t", gives="t")
NOTICES = Statement(
    "notices",
    "INSERT INTO answerable.notice (run, kind, created) SELECT * FROM unnest($1, $2, $3)",
    takes="TTI",
)
ENTRIES = Statement(
    "entries",
    "INSERT INTO answerable.entry (stream, seq, time, prev, hash, body)"
    " SELECT * FROM unnest($1, $2, $3, $4, $5, $6)",
    takes="TIITTT",
)
PAYLOADS = Statement(
    "payloads",
    "INSERT INTO answerable.payload (ref, subject, retention, created, size, body)"
    " SELECT * FROM unnest($1, $2, $3, $4, $5, $6)"
    " ON CONFLICT (ref) DO UPDATE SET created = excluded.created, body = excluded.body, erased = NULL",
    takes="TTTIIY",
)


def _read(table: Table, name: str, where: str, takes: str, *, locked: bool = True) -> Statement:
    """Read rows and lock them, in the order of their names."""
    order = ", ".join(table.key)
    sql = f"SELECT {', '.join(table.columns)} FROM answerable.{table.name} WHERE {where} ORDER BY {order}"
    return Statement(f"read_{name}", f"{sql} FOR UPDATE" if locked else sql, takes=takes, gives=table.types)


# What the row of an effect says it holds; $1 are names of effects. An undo lets go of what another effect holds.
_EFFECTS = "($1 || ARRAY(SELECT undoes FROM answerable.effect WHERE effect = ANY($1) AND undoes IS NOT NULL))"
_HELD_CLAIMS = (
    f"ARRAY(SELECT claim FROM answerable.effect WHERE effect = ANY({_EFFECTS}) AND claim IS NOT NULL)"
)
_HELD_TOTALS = (
    "ARRAY(SELECT each.value->>0 FROM answerable.effect, jsonb_array_elements(totals::jsonb) AS each"
    f" WHERE effect = ANY({_EFFECTS}))"
)

HALTS = _read(tables.HALT, "halts", "true", "", locked=False)
AGENTS = Statement(
    "agents",
    "SELECT run, agent FROM answerable.run"
    " WHERE run = ANY($1) AND EXISTS (SELECT FROM answerable.halt WHERE is_active)",
    takes="T",
    gives="tt",
)
"""Whose runs they are, where that matters. It never changes."""
PARENTS = _read(tables.BUDGET, "parents", "id = ANY($1) AND holder = ''", "T")
ALL_SHARES = _read(tables.BUDGET, "all_shares", "id = ANY($1)", "T")
OWN_SHARES = _read(tables.BUDGET, "own_shares", "id = ANY($1) AND holder = $2", "Tt")
HEADS = _read(tables.HEAD, "heads", "stream = ANY($1)", "T")
EFFECTS = _read(tables.EFFECT, "effects", f"effect = ANY({_EFFECTS})", "T")
CLAIMS = _read(tables.CLAIM, "claims", "key = ANY($1)", "T")
CLAIMS_HELD = _read(tables.CLAIM, "claims_held", f"key = ANY($2 || {_HELD_CLAIMS})", "TT")
TOTALS = _read(tables.TOTAL, "totals", "key = ANY($1)", "T")
TOTALS_HELD = _read(tables.TOTAL, "totals_held", f"key = ANY($2 || {_HELD_TOTALS})", "TT")
# A run's row changes only with an entry of its stream, whose head is locked by now.
RUNS = _read(tables.RUN, "runs", "run = ANY($1)", "T", locked=False)


def _insert(table: Table, *, known: bool) -> Statement:
    """Write rows: those that are new must be new still, else another process was faster and all is read again.

    Those that are known were locked when they were read. They are written by the same form, since the plan of an
    `UPDATE ... FROM` may be a bad one.
    """
    columns = ", ".join(table.columns)
    places = ", ".join(f"${number}" for number in range(1, len(table.columns) + 1))
    sql = f"INSERT INTO answerable.{table.name} ({columns}) SELECT * FROM unnest({places})"
    if known:
        changes = ", ".join(f"{column} = excluded.{column}" for column in table.row._fields)
        sql += f" ON CONFLICT ({', '.join(table.key)}) DO UPDATE SET {changes}"
    return Statement(f"{'change' if known else 'make'}_{table.name}", sql, takes=table.types.upper())


def _delete(table: Table) -> Statement:
    if len(table.key) == 1:
        return Statement(
            f"drop_{table.name}",
            f"DELETE FROM answerable.{table.name} WHERE {table.key[0]} = ANY($1)",
            takes="T",
        )
    columns = ", ".join(table.key)
    return Statement(
        f"drop_{table.name}",
        f"DELETE FROM answerable.{table.name} WHERE {table.key[0]} = ANY($1)"
        f" AND ({columns}) IN (SELECT * FROM unnest($1, $2, $3))",
        takes="TTT",
    )


MAKE = {table.name: _insert(table, known=False) for table in tables.TABLES}
CHANGE = {table.name: _insert(table, known=True) for table in tables.TABLES}
DROP = {table.name: _delete(table) for table in tables.TABLES}
