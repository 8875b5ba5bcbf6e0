"""Intent, look, send, outcome, take-over and halt as a small machine, of which every interleaving is visited.

Two workers, one run, one effect, one halt. The journal is the real one: whether an append is taken or refused is what
the real writer says to it, after the entries that the state holds. What a worker does is written down here once more,
from the specification; the simulation is where the real engine does it.
"""

from __future__ import annotations

import os
import tempfile
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from answerable.errors import GuardRefused, JournalError
from answerable.journal.store import Append
from answerable.kernel import events
from answerable.kernel.entry import EMPTY
from answerable.testing.entropy import fixed_entropy
from answerable.testing.simulation.ledger import Ledger, inline, taken
from answerable.testing.store_events import NOW, TENANT, ended, halt, intended, run_name, write_run

if TYPE_CHECKING:
    from collections.abc import Iterator

    from answerable.kernel.entry import Head

RUN = run_name(1)
STREAM = f"run/{RUN}"
ATTEMPTS = 2
LOADS = int(os.environ.get("PROTOCOL_LOADS", "1"))
"""How often a worker reads again after a refusal before it leaves the run to others."""


@dataclass(frozen=True, slots=True)
class Rules:
    """What is in force; each of them off is a mistake that must show."""

    mode: str = "native_key"
    is_fenced: bool = True
    looks: bool = True
    intends_first: bool = True
    waits_for_probe: bool = True
    reads_back: bool = True
    kills: int = 1
    lost_replies: int = 1
    dropped: int = 1


@dataclass(frozen=True, slots=True)
class Worker:
    """Where a worker is, and what it believes."""

    at: str = "load"
    head: int = 0
    epoch: int = 0
    attempt: int = 0
    says: str = ""
    loads: int = 0
    is_late: bool = False
    """Whether somebody has asked the vendor since this one's last look: what it sends now, it sends too late."""


@dataclass(frozen=True, slots=True)
class State:
    """Everything. `log` holds the run's entries (kind, epoch, attempt, state), `sent` the attempts on their way."""

    log: tuple[tuple[str, int, int, str], ...] = (("adopt", 1, 0, ""),)
    halted_at: int = -1
    """After how many entries of the run the halt came."""
    workers: tuple[Worker, ...] = (Worker(), Worker())
    sent: tuple[int, ...] = ()
    sends: int = 0
    done: int = 0
    answers: bool = False
    is_late: bool = False
    kills: int = 0
    lost: int = 0
    dropped: int = 0
    wrong: str = ""


@dataclass(slots=True)
class Visited:
    """What the search came to."""

    states: int = 0
    steps: int = 0
    appends: int = 0
    wrong: dict[str, int] = field(default_factory=dict)


def explore(rules: Rules, *, until: str = "") -> Visited:
    """Visit every state that can be reached; only until `until` has gone wrong, where it is given."""
    _real.cache_clear()
    found, seen = Visited(), {State()}
    stack = [State()]
    while stack:
        state = stack.pop()
        found.states += 1
        for after in _steps(state, rules):
            found.steps += 1
            if after.wrong:
                found.wrong[after.wrong] = found.wrong.get(after.wrong, 0) + 1
                if after.wrong == until:
                    return found
            elif after not in seen:
                seen.add(after)
                stack.append(after)
    found.appends = _real.cache_info().misses
    return found


# The journal


@cache
def _folder() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory(prefix="answerable-protocol-")


@cache
def _real(
    log: tuple[tuple[str, int, int, str], ...], halted_at: int, entry: tuple[str, int, int, str], expect: int
) -> str:
    """What the real writer says to one more entry: `ok`, `halted`, or `refused`. `expect` -1: wherever it stands."""
    ledger = Ledger(Path(_folder().name), fixed_entropy(1), lambda: NOW)
    try:
        heads = [EMPTY, inline(write_run(ledger, RUN)).head]
        for seq, one in enumerate(log[1:], 2):
            if halted_at == seq - 1:
                _halt(ledger)
            heads.append(_append(ledger, one, heads[-1]))
        if halted_at == len(log):
            _halt(ledger)
        try:
            _append(ledger, entry, heads[expect] if expect >= 0 else heads[-1])
        except GuardRefused:
            return "halted"
        except JournalError:
            return "refused"
        return "ok"
    finally:
        ledger.dispose()


def _halt(ledger: Ledger) -> None:
    append = Append(stream=TENANT, events=(halt("all", 1),), expect=None, epoch=0, now=NOW)
    taken(ledger.commit((append,))[0])


def _append(ledger: Ledger, entry: tuple[str, int, int, str], head: Head) -> Head:
    kind, epoch, attempt, state = entry
    event: events.Event
    match kind:
        case "adopt":
            event = events.RunAdopted(epoch=epoch, owner=f"own_{epoch}", cause="recovery")
        case "intent":
            event = intended(RUN, attempt=attempt)
        case _:
            event = ended("1.0", run=RUN, attempt=attempt, state=state)
    append = Append(stream=STREAM, events=(event,), expect=head, epoch=epoch, now=NOW)
    return taken(ledger.commit((append,))[0])[0].head


def _try(state: State, rules: Rules, entry: tuple[str, int, int, str], expect: int) -> tuple[State, str]:
    said = _real(state.log, state.halted_at, entry, expect if rules.is_fenced else -1)
    if said != "ok":
        return state, said
    if entry[0] == "intent" and state.halted_at >= 0:
        return replace(state, wrong="an intent after a halt"), said
    return replace(state, log=(*state.log, entry)), said


# Steps


def _steps(state: State, rules: Rules) -> Iterator[State]:
    if state.halted_at < 0:
        yield replace(state, halted_at=len(state.log))
    for attempt in sorted(set(state.sent)):
        left = list(state.sent)
        left.remove(attempt)
        yield _checked(_arrive(replace(state, sent=tuple(left)), rules), rules)
        if state.dropped < rules.dropped:
            yield replace(state, sent=tuple(left), dropped=state.dropped + 1)
    for index, worker in enumerate(state.workers):
        if worker.at == "over":
            continue
        if state.kills < rules.kills:
            yield _put(replace(state, kills=state.kills + 1), index, Worker())
        for after in _work(state, rules, index, worker):
            yield _checked(after, rules)


def _arrive(state: State, rules: Rules) -> State:
    is_known = state.done and rules.mode == "native_key"
    return replace(state, done=state.done + (not is_known), answers=True)


def _put(state: State, index: int, worker: Worker) -> State:
    workers = list(state.workers)
    workers[index] = worker
    return replace(state, workers=tuple(workers))


def _checked(state: State, rules: Rules) -> State:
    """The promises, held against a state."""
    if state.wrong:
        return state
    wrong = ""
    if rules.mode == "at_most_once" and state.sends > 1:
        wrong = "sent twice"
    elif state.done > 1 and not state.is_late:
        wrong = "done twice"
    elif (
        state.log[-1][0] == "end"
        and state.log[-1][3] == "failed"
        and (state.done or state.sent)
        and not state.is_late
    ):
        wrong = "happened, and said not to have"
    return replace(state, wrong=wrong)


def _work(state: State, rules: Rules, index: int, worker: Worker) -> Iterator[State]:
    match worker.at:
        case "load":
            yield _put(state, index, _loaded(state, worker))
        case "adopt" | "intend" | "end":
            yield from _write(state, rules, index, worker)
        case "look":
            is_ours = state.log[-1][1] == worker.epoch or max(entry[1] for entry in state.log) == worker.epoch
            if rules.looks and not is_ours:
                yield _put(state, index, replace(worker, at="over"))
            elif rules.looks and state.halted_at >= 0:
                says = "failed" if worker.attempt == 1 else "unknown"
                yield _put(state, index, replace(worker, at="end", says=says))
            else:
                owner = max(entry[1] for entry in state.log)
                wrong = (
                    "" if owner == worker.epoch and state.halted_at < 0 else "a look that should have said no"
                )
                yield replace(_put(state, index, replace(worker, at="send", is_late=False)), wrong=wrong)
        case "send":
            yield from _send(state, rules, index, worker)
        case "wait":
            if state.answers:
                yield _put(state, index, replace(worker, at="end", says="done"))
            yield _put(state, index, _after_timeout(rules, worker))
        case "probe":
            yield from _probe(state, rules, index, worker)
        case _:
            raise AssertionError(worker.at)


def _loaded(state: State, worker: Worker) -> Worker:
    last = state.log[-1]
    if last[0] == "end" or worker.loads >= LOADS:
        return replace(worker, at="over")
    attempts = [entry[2] for entry in state.log if entry[0] == "intent"]
    epoch = max(entry[1] for entry in state.log)
    attempt = max(attempts, default=0)
    return Worker(at="adopt", head=len(state.log), epoch=epoch, attempt=attempt, loads=worker.loads + 1)


def _write(state: State, rules: Rules, index: int, worker: Worker) -> Iterator[State]:
    """An append, and what follows from what the journal says to it."""
    match worker.at:
        case "adopt":
            entry = ("adopt", worker.epoch + 1, 0, "")
            then = _after_adoption(rules, replace(worker, epoch=worker.epoch + 1))
        case "intend":
            entry = ("intent", worker.epoch, worker.attempt + 1, "")
            then = replace(worker, at="look", attempt=worker.attempt + 1)
            if not rules.intends_first and worker.says != "sent":
                yield _put(state, index, replace(then, at="look", says="owes"))
                return
        case _:
            entry = ("end", worker.epoch, worker.attempt, worker.says)
            then = replace(worker, at="over")
    after, said = _try(state, rules, entry, worker.head)
    if said == "halted":
        unknown = replace(worker, at="end", says="unknown")
        yield _put(state, index, unknown if worker.attempt else replace(worker, at="over"))
    elif said == "refused":
        yield _put(state, index, replace(worker, at="load"))
    else:
        then = replace(then, head=worker.head + 1)
        yield _put(after, index, then)
        if (
            state.lost < rules.lost_replies and not rules.reads_back
        ):  # it is taken for not written, and sent on
            yield _put(replace(after, lost=state.lost + 1), index, replace(worker, at=worker.at))


def _after_adoption(rules: Rules, worker: Worker) -> Worker:
    if not worker.attempt:
        return replace(worker, at="intend")
    match rules.mode:
        case "native_key":
            return replace(worker, at="intend" if worker.attempt < ATTEMPTS else "end", says="unknown")
        case "at_most_once":
            return replace(worker, at="end", says="unknown")
        case _:
            return replace(worker, at="probe")


def _after_timeout(rules: Rules, worker: Worker) -> Worker:
    return _after_adoption(rules, worker)


def _send(state: State, rules: Rules, index: int, worker: Worker) -> Iterator[State]:
    intents = [entry for entry in state.log if entry[0] == "intent" and entry[2] == worker.attempt]
    wrong = "" if intents else "sent without an intent"
    yield replace(
        _put(state, index, replace(worker, at="wait")),
        sent=(*state.sent, worker.attempt),
        sends=state.sends + 1,
        answers=False,
        is_late=state.is_late or worker.is_late,
        wrong=wrong,
    )


def _probe(state: State, rules: Rules, index: int, worker: Worker) -> Iterator[State]:
    """Ask. Nobody asks before everything that was sent in time has arrived; who sends after that is late."""
    if state.sent and rules.waits_for_probe:
        return
    for other, one in enumerate(state.workers):
        if other != index and one.at in ("look", "send") and rules.waits_for_probe:
            state = _put(state, other, replace(one, is_late=True))
    if state.done:
        yield _put(state, index, replace(worker, at="end", says="done"))
    elif worker.attempt < ATTEMPTS:
        yield _put(state, index, replace(worker, at="intend"))
    else:
        yield _put(state, index, replace(worker, at="end", says="failed"))
