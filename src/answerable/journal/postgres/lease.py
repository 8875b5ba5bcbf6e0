"""The sign of life of a process: a row that it renews, by the server's clock.

The lease only says whether somebody else may take over a run. What keeps an old owner from writing is the epoch in
the run's own stream. So a lease may be wrong for a while in either direction without harm to the journal: a process
that was paused past its lease finds its runs taken, one by one, and is refused where they are.
"""

from __future__ import annotations

import os
import platform
import threading
import time
from typing import TYPE_CHECKING, Any

import psycopg

from answerable.errors import ConfigError
from answerable.journal.postgres.connect import connect, translate
from answerable.journal.postgres.statements import LEASE_S

if TYPE_CHECKING:
    from collections.abc import Sequence

FORGET_S = 24 * 3600
"""After how long the row of a process that died is removed."""

ALIVE = f"heartbeat > clock_timestamp() - make_interval(secs => {LEASE_S})"
IS_ALIVE = f"SELECT {ALIVE} FROM answerable.worker WHERE owner = %s"
WORKERS = (
    "SELECT owner, host, pid, version, (extract(epoch FROM started) * 1000000)::bigint,"
    f" extract(epoch FROM clock_timestamp() - heartbeat)::float8, {ALIVE},"
    " (SELECT count(*) FROM answerable.run WHERE run.owner = worker.owner AND run.state = 'running'), releases"
    " FROM answerable.worker ORDER BY started, owner"
)
_FORGET = (
    f"DELETE FROM answerable.worker WHERE heartbeat < clock_timestamp() - make_interval(secs => {FORGET_S})"
)
_TAKE = (
    "INSERT INTO answerable.worker (owner, host, pid, version, releases, started, heartbeat)"
    " VALUES (%s, %s, %s, %s, %s, clock_timestamp(), clock_timestamp())"
    " ON CONFLICT (owner) DO UPDATE SET heartbeat = excluded.heartbeat"
)
_RENEW = (
    "WITH before AS (SELECT owner, heartbeat FROM answerable.worker WHERE owner = %s)"
    " UPDATE answerable.worker SET heartbeat = clock_timestamp() FROM before WHERE worker.owner = before.owner"
    f" RETURNING before.heartbeat > clock_timestamp() - make_interval(secs => {LEASE_S})"
)
_CLOCK = "SELECT extract(epoch FROM clock_timestamp())::float8"
CLOCK_OFF_MAX_S = 2.0
"""How far a process's clock may be off the server's. Two processes are then apart by twice that at most, which is what
recovering an intent of another process allows for."""
_RELEASE = "DELETE FROM answerable.worker WHERE owner = %s"


def clock_off(db: Any) -> float:
    """By how many seconds our clock is ahead of the server's; what the question itself took is given to it."""
    before = time.time()
    row = db.execute(_CLOCK).fetchone()
    after = time.time()
    server = float(row[0])
    return before - server if before > server else min(0.0, after - server)


def _refuse_clock(off_s: float) -> None:
    if abs(off_s) > CLOCK_OFF_MAX_S:
        raise ConfigError(
            f"the clock of this machine is {abs(off_s):.1f} s {'ahead of' if off_s > 0 else 'behind'} the database's",
            hint="set it by NTP: deadlines of what another process has sent are read on it",
        )


class Lease:
    """Keeps one process alive in the eyes of others, from a thread of its own: a busy event loop must not look dead."""

    def __init__(self, url: str, name: str, owner: str, version: str, releases: Sequence[str] = ()) -> None:
        self.owner = owner
        self.is_fenced = False
        """Whether the lease ran out at some time: others may have taken runs of ours since. Each run's epoch says."""
        self._url = url
        self._row = (owner, platform.node(), os.getpid(), version, list(releases))
        self._stop = threading.Event()
        self._db: Any = None
        try:
            self._db = connect(url, "heartbeat")
            _refuse_clock(clock_off(self._db))
            self._db.execute(_FORGET)
            self._db.execute(_TAKE, self._row)
        except (psycopg.Error, ConfigError) as error:
            if self._db is not None:
                self._db.close()
            raise (translate(error, name) if isinstance(error, psycopg.Error) else error) from error
        self._thread = threading.Thread(target=self._renew, name="answerable-heartbeat", daemon=True)
        self._thread.start()

    def _renew(self) -> None:
        while not self._stop.wait(LEASE_S / 3):
            try:
                if self._db is None:
                    self._db = connect(self._url, "heartbeat")
                self.renew()
            except psycopg.Error:  # tried again at the next beat; past the lease it shows in `is_fenced`
                if self._db is not None:
                    self._db.close()
                self._db = None

    def renew(self) -> None:
        """One beat. A row that is gone, or that was past its lease, is taken again and remembered as such.

        Taking it again is safe: what others took meanwhile is theirs by epoch, and what they did not take is ours.
        """
        row = self._db.execute(_RENEW, (self.owner,)).fetchone()
        if row is None:
            self._db.execute(_TAKE, self._row)
        if row is None or not row[0]:
            self.is_fenced = True

    def release(self) -> None:
        """Die on purpose: others may take over at once."""
        self._stop.set()
        self._thread.join()
        try:
            if self._db is None or self._db.closed:
                self._db = connect(self._url, "heartbeat")
            self._db.execute(_RELEASE, (self.owner,))
        except psycopg.Error:  # then the lease runs out by itself
            pass
        if self._db is not None:
            self._db.close()
