"""Keeping what was claimed: one thread with a connection of its own, apart from the event loop.

A step that keeps the event loop busy must not cost its run the lease: another worker would begin the same run, and
lose it in the same way. A claim that could not be renewed before it ran out is dropped, whatever the reason.
"""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Any

import psycopg

from answerable.engine.dispatch.absurd_queue import FAILED, LANES, Lane, dial
from answerable.observe.logs import warn

if TYPE_CHECKING:
    from collections.abc import Callable

STUCK_S = 600.0
"""An event loop that was silent for so long is not busy but stuck: its claims are renewed no more."""


class Heart:
    """Renews claims at a third of the lease. `on_lost` is called from this thread, once for each claim that is lost."""

    def __init__(
        self, url: str, lease_s: int, on_lost: Callable[[str], None], *, stuck_s: float = STUCK_S
    ) -> None:
        self.beat_at = time.monotonic()
        """When the database last answered."""
        self.loop_at = time.monotonic()
        """When the event loop last said that it lives; whoever owns it keeps this up to date."""
        self._url = url
        self._lease_s = lease_s
        self._on_lost = on_lost
        self._stuck_s = stuck_s
        self._good_until: dict[str, float] = {}
        self._lane_of: dict[str, Lane] = {}
        self._guard = threading.Lock()
        self._stop = threading.Event()
        self._db: psycopg.Connection[Any] | None = None
        self._thread = threading.Thread(target=self._beat, name="answerable-claims", daemon=True)

    def begin(self) -> None:
        """Start the thread."""
        self._thread.start()

    def close(self) -> None:
        """Stop; what is still held runs out by itself."""
        self._stop.set()
        self._thread.join(timeout=self._lease_s)

    @property
    def is_fresh(self) -> bool:
        """Whether the database has answered within the lease."""
        return time.monotonic() - self.beat_at < self._lease_s

    def hold(self, task: str, lane: Lane, claimed_at: float) -> None:
        """Renew this claim from now on. `claimed_at` is when it was asked for."""
        with self._guard:
            self._good_until[task] = claimed_at + self._lease_s
            self._lane_of[task] = lane

    def let_go(self, task: str) -> None:
        """Renew it no more."""
        with self._guard:
            self._good_until.pop(task, None)
            self._lane_of.pop(task, None)

    def holds(self, task: str) -> bool:
        """Whether the claim is ours as far as we know."""
        with self._guard:
            return self._good_until.get(task, 0.0) > time.monotonic()

    def _beat(self) -> None:
        while not self._stop.wait(self._lease_s / 3):
            try:
                if self._db is None or self._db.closed:
                    self._db = dial(self._url, "claims", self._lease_s / 3)
                self._renew(self._db)
                self.beat_at = time.monotonic()
            except (psycopg.Error, OSError) as error:
                warn("heartbeat_failed", error=type(error).__name__)
                if self._db is not None:
                    self._db.close()
            self.drop_expired()
        if self._db is not None:
            self._db.close()

    def _renew(self, db: psycopg.Connection[Any]) -> None:
        is_stuck = time.monotonic() - self.loop_at > self._stuck_s
        with self._guard:
            held = {} if is_stuck else {task: self._lane_of[task] for task in self._good_until}
        if not held:
            db.execute("SELECT 1")
        for lane in LANES:
            tasks = [task for task, its in held.items() if its is lane]
            if tasks:
                self._renew_in(db, lane, tasks)

    def _renew_in(self, db: psycopg.Connection[Any], lane: Lane, tasks: list[str]) -> None:
        asked_at = time.monotonic()
        try:
            db.execute(lane.extend.encode(), (self._lease_s, tasks))
            self._renewed(tasks, asked_at)
            return
        except psycopg.Error as error:
            if error.sqlstate not in FAILED:
                raise
        for task in tasks:  # one of them is not ours any more, and an error of one is an error of all
            try:
                asked_at = time.monotonic()
                db.execute(lane.extend.encode(), (self._lease_s, [task]))
                self._renewed([task], asked_at)
            except psycopg.Error as error:
                if error.sqlstate not in FAILED:
                    raise
                self._lose([task])

    def _renewed(self, tasks: list[str], asked_at: float) -> None:
        with self._guard:
            for task in tasks:
                if task in self._good_until:
                    self._good_until[task] = asked_at + self._lease_s

    def drop_expired(self) -> None:
        """Drop what ran out. Called by the event loop too, in case this thread waits for a network that is gone."""
        now = time.monotonic()
        with self._guard:
            expired = [task for task, until in self._good_until.items() if until <= now]
        self._lose(expired)

    def _lose(self, tasks: list[str]) -> None:
        for task in tasks:
            with self._guard:
                was_held = self._good_until.pop(task, None) is not None
                self._lane_of.pop(task, None)
            if was_held:
                self._on_lost(task)
