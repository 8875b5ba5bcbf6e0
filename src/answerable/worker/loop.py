"""A worker: it drives what the dispatcher hands out, until it is told to leave."""

from __future__ import annotations

import asyncio
import logging
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from answerable.engine.dispatch.port import AGAIN, DONE, Verdict, later
from answerable.engine.dispatch.releases import release_of, releases_there
from answerable.errors import AnswerableError, JournalError
from answerable.observe.logs import about, say, warn
from answerable.worker.health import Health

if TYPE_CHECKING:
    from answerable.engine.dispatch.port import Lease
    from answerable.engine.outcome import Outcome
    from answerable.engine.runtime import Runtime

LOOKS_MAX = 20
"""How often a run that parks, and is due again at once, is driven on before others get their turn."""
PASS_ON_S = 0.25
"""When to hand out again what another worker can drive and we cannot."""
AWAY_S = 60.0
"""When to hand out again what no worker can drive; a worker that starts has it handed out at once."""
BUSY_S = 2.0
"""When to look again at a run that another process drives."""
TROUBLE_MAX_S = 60.0
"""How long a run that could not be driven is left alone at most."""


@dataclass(slots=True)
class Tally:
    """What a worker did."""

    driven: int = 0
    given_back: int = 0
    ended: dict[str, int] = field(default_factory=dict[str, int])


class Worker:
    """See the module."""

    def __init__(self, runtime: Runtime, *, concurrency: int) -> None:
        self.tally = Tally()
        self.health = Health(runtime.store, runtime.dispatcher.problems)
        self._runtime = runtime
        self._concurrency = concurrency
        self._refused = set[str]()

    async def work(self) -> None:
        """Work until `drain`, and until what was begun by then has come to the next edge of a step."""
        rounds = asyncio.get_running_loop().create_task(self.health.watch())
        say("worker_started", owner=self._runtime.owner, concurrency=self._concurrency)
        try:
            await self._runtime.dispatcher.work(
                self.drive, self._runtime.let_go, concurrency=self._concurrency
            )
        finally:
            rounds.cancel()
        say("worker_stopped", driven=self.tally.driven, given_back=self.tally.given_back)

    def drain(self) -> None:
        """Take nothing new; stop at the next step what is being driven, and give it to others."""
        if not self.health.is_draining:
            say("draining")
        self.health.is_draining = True
        self._runtime.dispatcher.drain()
        self._runtime.stop()

    async def drive(self, lease: Lease) -> Verdict:
        """Drive one run that was handed to us. Never raises: what cannot be driven now is given back, for later."""
        with about(lease.run):
            try:
                return await self._drive(lease)
            except JournalError as error:
                warn("journal_failed", error=type(error).__name__)
                return _in_trouble(lease)
            except AnswerableError as error:
                warn("run_not_driven", error=type(error).__name__)
                return _in_trouble(lease)
            except Exception as error:  # noqa: BLE001 - a mistake of ours must not end the worker
                say("worker_error", logging.ERROR, error=type(error).__name__)
                return _in_trouble(lease)

    async def _drive(self, lease: Lease) -> Verdict:
        mark = lease.mark
        for _ in range(LOOKS_MAX):
            if self._runtime.is_stopping:
                return self._given_back()
            begun = time.monotonic()
            outcome = await self._runtime.drive(lease.run, lease=lease)
            self._note(lease, outcome, time.monotonic() - begun)
            if outcome.state == "ended":
                return DONE
            if outcome.waiting_for == "release":
                wanted = await release_of(self._runtime.store, lease.run)
                is_there = wanted in releases_there(await self._runtime.store.workers())
                # Whoever has it is to get it soon; where nobody has it, asking often helps nobody.
                return later(PASS_ON_S if is_there else AWAY_S)
            if self._runtime.is_stopping:
                return self._given_back()
            if outcome.state == "running":  # another process has it, or took it from us
                return later(BUSY_S)
            # What waits, or is halted, is left to the journal; unless something came while it was being parked.
            due = await self._runtime.store.due(self._runtime.store.now(), 1, run=lease.run)
            if not due:
                return DONE
            if due[0].mark == mark:
                return later(BUSY_S) if due[0].is_timed else DONE
            mark = due[0].mark
        return AGAIN

    def _given_back(self) -> Verdict:
        self.tally.given_back += 1
        say("given_back")
        return AGAIN

    def _note(self, lease: Lease, outcome: Outcome, took_s: float) -> None:
        if outcome.waiting_for == "release":
            if lease.run not in self._refused:
                self._refused.add(lease.run)
                warn("waits_for_release")
            return
        self._refused.discard(lease.run)
        if outcome.state == "running" and not self._runtime.is_stopping:
            say("run_is_elsewhere")
            return
        self.tally.driven += 1
        if outcome.name is not None:
            self.tally.ended[outcome.name] = self.tally.ended.get(outcome.name, 0) + 1
        say(
            "run_driven",
            state=outcome.state,
            outcome=outcome.name,
            code=outcome.code,
            waiting_for=outcome.waiting_for,
            seconds=round(took_s, 3),
            tries=lease.tries,
        )


def _in_trouble(lease: Lease) -> Verdict:
    """We may have the run and cannot drive it now: others may try, less and less often."""
    return Verdict("again", min(TROUBLE_MAX_S, 2.0 ** min(lease.tries - 1, 10)))
