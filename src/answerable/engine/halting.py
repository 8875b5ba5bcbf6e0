"""Raising and lifting halts. This needs a journal and nothing else: it must work when nothing else does."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from answerable.errors import ConfigError, JournalConflict, JournalError
from answerable.journal.store import Append
from answerable.kernel.events import CallEnded, CallIntended, HaltLifted, HaltRaised
from answerable.kernel.ids import RunId, run_stream, tenant_stream

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from answerable.engine.ports import Ports
    from answerable.journal.store import JournalStore

TOKEN_MAX = 128
TRIES = 20
LOOK_EVERY_S = 0.05
LOOKED_AT_MAX = 500
"""How many running runs are read for what was in flight."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Flight:
    """An effect that had been sent, or was about to be, when a halt came."""

    run: str
    path: str
    tool: str
    effect: str
    state: str
    """`done` or `failed` once that is known; `unknown` where it is said to be; `in flight` until then."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HaltReport:
    """What a halt found: its epoch, who lives, and the effects that were in flight."""

    scope: str
    epoch: int
    processes: int = 0
    """How many processes live that use the journal."""
    in_flight: list[Flight] = field(default_factory=list[Flight])
    settled_s: float | None = None
    """How long it took until nothing was in flight any more; None where something still is."""
    last_intent_s: float | None = None
    """How long before the halt the last intent was recorded under it; None where there was none. None is after it."""


async def halt_in(
    store: JournalStore,
    ports: Ports,
    kind: type[HaltRaised | HaltLifted],
    scope: str,
    *,
    by: str,
    reason: str,
) -> int:
    """Raise or lift a halt in a journal, without a runtime: it must work when nothing else does."""
    if not reason.isascii() or not reason.isprintable() or len(reason) > TOKEN_MAX:  # entries hold no content
        raise ConfigError(
            f"the reason `{reason[:40]}` cannot be recorded", hint="at most 128 plain ASCII characters"
        )
    prefix, _, name = scope.partition(":")
    if scope != "all" and (prefix not in ("run", "agent", "tool") or not name):
        raise ConfigError(f"`{scope}` cannot be halted", hint="all, run:ID, agent:NAME or tool:NAME")
    stream = tenant_stream("default")
    for _ in range(TRIES):
        head = await store.head(stream)
        epoch = (await store.halts())[0] + 1
        event = kind(scope=scope, epoch=epoch, by=by, reason=reason)
        try:
            await store.append(
                Append(stream=stream, events=(event,), expect=head, epoch=0, now=ports.clock.now_us())
            )
        except JournalConflict:
            continue
        return epoch
    raise JournalError("the halt could not be written: the journal is too busy", hint="try again at once")


async def halt(
    store: JournalStore,
    ports: Ports,
    scope: str,
    *,
    by: str,
    reason: str,
    wait_s: float = 0.0,
    then: Callable[[], Awaitable[None]] | None = None,
) -> HaltReport:
    """Raise a halt, and say what it found in flight, in any process, and what became of it within `wait_s`.

    Nothing under the halt is begun after it: an intent is refused in its own transaction. `then` is what this process
    does about its own runs.
    """
    before = await _running(store, scope)
    epoch = await halt_in(store, ports, HaltRaised, scope, by=by, reason=reason)
    begun = ports.clock.monotonic_ns()
    if then is not None:
        await then()
    living = [worker for worker in await store.workers() if worker.is_alive]
    since = next(halt.since for halt in (await store.halts())[1] if halt.scope == scope)
    looked_at = sorted({*before, *await _running(store, scope)})[:LOOKED_AT_MAX]
    found = [await _flights(store, scope, run, since) for run in looked_at]
    flights = [flight for flown, _ in found for flight in flown]
    last = max((at for _, at in found), default=0)
    while _open(flights) and (ports.clock.monotonic_ns() - begun) / 1e9 < wait_s:
        await ports.clock.sleep(LOOK_EVERY_S)
        looked = [await _flights(store, scope, run, since) for run in _open(flights)]
        now = {flight.effect: flight for flown, _ in looked for flight in flown}
        flights = [now.get(flight.effect, flight) for flight in flights]
    return HaltReport(
        scope=scope,
        epoch=epoch,
        processes=len(living),
        in_flight=flights,
        settled_s=None if _open(flights) else (ports.clock.monotonic_ns() - begun) / 1e9,
        last_intent_s=(since - last) / 1e6 if last else None,
    )


async def _running(store: JournalStore, scope: str) -> list[str]:
    """The runs that are being driven and that a halt of `scope` may concern."""
    kind, _, name = scope.partition(":")
    return [
        row.run
        for row in await store.runs(states=("running",))
        if kind in ("all", "tool") or name == (row.run if kind == "run" else row.agent)
    ]


def _open(flights: Sequence[Flight]) -> list[str]:
    return sorted({flight.run for flight in flights if flight.state == "in flight"})


async def _flights(store: JournalStore, scope: str, run: str, since: int) -> tuple[list[Flight], int]:
    """The effects of a run that were in flight when the halt came, and when its last intent under the halt was."""
    kind, _, name = scope.partition(":")
    intents, ends = dict[str, tuple[CallIntended, int]](), dict[str, tuple[str, int]]()
    for entry in await store.entries(run_stream(RunId(run))):
        for event in entry.events:
            if isinstance(event, CallIntended) and (kind != "tool" or event.tool == name):
                intents[event.path] = (event, entry.time)
                ends.pop(event.path, None)
            elif isinstance(event, CallEnded):
                ends[event.path] = (event.state, entry.time)
    found: list[Flight] = []
    for path, (intent, _) in intents.items():
        state, at = ends.get(path, ("in flight", since))
        if state == "unknown" or at >= since:
            found.append(Flight(run=run, path=path, tool=intent.tool, effect=intent.effect, state=state))
    return found, max((at for _, at in intents.values()), default=0)
