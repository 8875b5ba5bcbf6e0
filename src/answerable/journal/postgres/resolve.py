"""A commit whose reply was lost: what became of it, asked on a new connection.

The old backend may still be at it when we look, so a missing entry alone proves nothing. The transaction's number
does: once the server says that it is not in progress, what is there is there and what is not will never be. Neither
of the two is enough. Another process may have written the same entry, byte for byte; and after a crash of the server
numbers of transactions that left nothing are given out again. So it was committed where both say so.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import psycopg

from answerable.errors import JournalError
from answerable.journal.postgres.connect import connect

if TYPE_CHECKING:
    from answerable.journal.postgres.batch import Commit
    from answerable.kernel.entry import Entry

CERTAIN_S = 30.0
"""How long certainty is waited for, the restart of a server included."""
AGAIN_S = 0.05
_NEVER_GIVEN = "22023"
"""The server has not given out this number: it crashed before anything of the transaction was on disk."""


def was_committed(url: str, name: str, decided: Commit) -> bool:
    """Whether a transaction was committed. Raises `JournalError` where that cannot be found out in time."""
    deadline = time.monotonic() + CERTAIN_S
    last = decided.last
    assert last is not None
    while True:
        try:
            with connect(url, "resolve") as db:
                while time.monotonic() < deadline:
                    status = _status(db, decided.xid)
                    if status == "aborted":
                        return False
                    if status != "in progress":
                        return _is_there(db, last)
                    time.sleep(AGAIN_S)
        except psycopg.Error as error:
            reason = str(error).split("\n")[0]
        else:
            reason = "the server is still at it"
        if time.monotonic() >= deadline:
            raise JournalError(
                f"it is not known whether the journal `{name}` has taken `{last.stream}` {last.seq}: {reason}",
                hint="nothing may be sent on it; when the database is back, resume: the journal says what is so",
            )
        time.sleep(AGAIN_S)


def _status(db: psycopg.Connection, xid: str) -> str:
    """`committed`, `aborted` or `in progress`; `forgotten` where the number is so old that it is not kept."""
    if db.execute("SELECT pg_is_in_recovery()").fetchone() == (True,):
        return "in progress"  # a server that follows another cannot say what that one will have written
    try:
        row = db.execute("SELECT pg_xact_status(%s::text::xid8)", (xid,)).fetchone()
    except psycopg.Error as error:
        if error.sqlstate == _NEVER_GIVEN:
            return "aborted"
        raise
    return str(row[0]) if row is not None and row[0] is not None else "forgotten"


def _is_there(db: psycopg.Connection, entry: Entry) -> bool:
    found = db.execute(
        "SELECT hash FROM answerable.entry WHERE stream = %s AND seq = %s", (entry.stream, entry.seq)
    ).fetchone()
    return found == (entry.hash,)
