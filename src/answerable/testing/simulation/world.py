"""One simulated world: its time, its journal, its processes, what goes wrong in it, and what was seen."""

from __future__ import annotations

import hashlib
import random
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from answerable.kernel.events import CallIntended
from answerable.testing.clock import START
from answerable.testing.entropy import fixed_entropy
from answerable.testing.simulation.ledger import Ledger, inline
from answerable.testing.simulation.loop import Process, SimLoop
from answerable.testing.simulation.plan import Plan, Size, Trouble
from answerable.testing.simulation.vendor import Remote
from answerable.testing.simulation.watch import Watch

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Hashable, Sequence
    from pathlib import Path

    from answerable.kernel.entry import Entry
    from answerable.testing.simulation.people import People

SETTLED_S = 600.0
"""After so long nothing that was sent is on its way any more."""
START_US = int(START.timestamp() * 1e6)


@dataclass(slots=True)
class WorkerClock:
    """The clock of one process: its wall clock may be set, its monotonic one goes on."""

    loop: SimLoop
    skew_us: int = 0

    def now_us(self) -> int:
        """UTC in microseconds since 1970, as this process has it."""
        return START_US + int(self.loop.time() * 1e6) + self.skew_us

    def monotonic_ns(self) -> int:
        """Virtual nanoseconds since the world began."""
        return int(self.loop.time() * 1e9)

    async def sleep(self, seconds: float) -> None:
        """Wait."""
        import asyncio

        await asyncio.sleep(max(0.0, seconds))


@dataclass(slots=True)
class Seen:
    """What was counted in one world."""

    counts: Counter[str] = field(default_factory=Counter[str])
    problems: list[str] = field(default_factory=list[str])
    trace: list[str] = field(default_factory=list[str])


class World:
    """What resources are built with, and what invariants are checked on.

    `remote` puts a vendor at the other end of a wire, `happened` is what the vendor calls when it really does something,
    and `dice` is chance that comes out the same for the same seed.
    """

    def __init__(self, seed: int, troubles: Sequence[Trouble], size: Size, folder: Path) -> None:
        self.seed = seed
        self.size = size
        self.dice = random.Random(f"world {seed}")  # noqa: S311 - it shall come out the same
        self.loop = SimLoop(random.Random(f"order {seed}"))  # noqa: S311
        self.lease_s = self.dice.choice(size.lease_s)
        self.plan = Plan(troubles)
        self.folder = folder
        self.healthy_from = float("inf")
        self.seen = Seen()
        self.is_broken = False
        """Whether code under test raised what it never may: there is no use in going on."""
        self.refused: set[int] = set()
        """Requests to vendors that were answered with a certain no."""
        self.acknowledged: list[tuple[str, int, str]] = []
        self.committed_at: list[float] = []
        self.owners: dict[str, Process] = {}
        self.named: dict[str, tuple[int, tuple[str, ...]]] = {}
        """Owner → since when, and what it can drive."""
        self.gone = set[str]()
        """Owners that have closed their journal."""
        self.clock = WorkerClock(self.loop)
        self.resources: dict[str, object] = {}
        self.done: Counter[Hashable] = Counter()
        """What vendors said that they did, and how often."""
        self.done_at: dict[Hashable, list[float]] = {}
        self.counted: frozenset[str] = frozenset()
        """Tools whose vendors say all that they do."""
        self.people: People | None = None
        self._numbers: Counter[str] = Counter()
        self._waiting: list[asyncio.Future[None]] = []
        self.ledger = Ledger(folder, fixed_entropy(f"journal {seed}"), self.clock.now_us)
        self.committed_at += [0.0] * len(self.ledger.log)
        self.watch = Watch(self)
        self.ledger.watchers.append(self._committed)

    # For those who build resources

    def remote(self, target: object, name: str = "") -> Any:
        """A client of `target`: its methods as requests that travel and may be lost. Await them."""
        return Remote(self, name or type(target).__name__.lower(), target)

    def happened(self, effect: Hashable) -> None:
        """Said by a vendor when it really does something: the key of the effect."""
        self.done[effect] += 1
        self.done_at.setdefault(effect, []).append(self.loop.time())
        self.say("vendor", f"does {str(effect)[:8]}")

    def now(self) -> float:
        """Virtual seconds since the world began."""
        return self.loop.time()

    def is_settled(self, effect: Hashable) -> bool:
        """Whether nothing that was sent for an effect can still be on its way."""
        sent = self.watch.requests.get(str(effect), [])
        is_quiet = not any(process.is_paused for process in self.loop.processes)
        return is_quiet and all(self.loop.time() - one.left_at > SETTLED_S for one in sent)

    def settled_s(self) -> float:
        """How long to wait until nothing is on its way any more, where anybody will ask."""
        return SETTLED_S + 1.0 if inline(self.ledger.open_effects()) else 0.0

    # What is seen

    def say(self, who: str, what: str) -> None:
        """One line of the trace."""
        self.seen.trace.append(f"{self.loop.time():.6f} {who}: {what}")

    def problem(self, what: str) -> None:
        """A promise was broken."""
        self.say("problem", what)
        self.seen.problems.append(what)

    def count(self, what: str) -> None:
        """One more."""
        self.seen.counts[what] += 1

    def digest(self) -> str:
        """The trace in one word."""
        return hashlib.sha256("\n".join(self.seen.trace).encode()).hexdigest()

    def _committed(self, entry: Entry) -> None:
        self.committed_at.append(self.loop.time())
        kinds = "+".join(type(event).__name__ for event in entry.events)
        self.say("journal", f"{entry.stream[:16]} {entry.seq} {entry.hash[:8]} {kinds}")
        self.watch.committed(entry)
        for event in entry.events:
            if isinstance(event, CallIntended):
                self._intended(entry.stream.partition("/")[2], event.tool)
        waiting, self._waiting = self._waiting, []
        for one in waiting:
            if not one.done():
                one.set_result(None)

    def _intended(self, run: str, tool: str) -> None:
        """An intent is durable: the moment in which it matters most what happens to its process."""
        self.number("intent")
        one = self.trouble("intent", lambda _: True)
        process = self.watch.owner_of(run)
        if one is None or process is None:
            return
        match one.what:
            case "killed":
                self.kill(process, "with an intent written")
            case "paused":
                self.pause(process, one.for_s, "with an intent written")
            case _ if self.people is not None:
                scope = self.dice.choice(("all", f"run:{run}", f"tool:{tool}"))
                self.loop.outside.call_later(0.0, self.people.halt_at_once, scope, one.for_s)
            case _:
                pass

    async def committed(self) -> None:
        """Until the next commit of anybody."""
        future: asyncio.Future[None] = self.loop.create_future()
        self._waiting.append(future)
        await future

    # What goes wrong

    def number(self, where: str) -> int:
        """The number of the next request of a kind."""
        self._numbers[where] += 1
        return self._numbers[where]

    def trouble(self, where: str, fits: Callable[[str], bool]) -> Trouble | None:
        """What happens to the next request, if anything does."""
        number = self._numbers[where] if where in ("vendor", "intent") else self.number(where)
        one = self.plan.due(where, number, fits)
        if one is not None:
            self.count(f"{where}: {one.what}")
            self.say("trouble", str(one))
        return one

    def kill(self, process: Process, why: str) -> None:
        """A process dies at once: nothing of it runs any more."""
        if not process.is_dead:
            self.count("killed")
            self.say(process.name, f"is killed {why}".rstrip())
            process.kill()

    def pause(self, process: Process, seconds: float, why: str = "") -> None:
        """A process stands still for a while, and does not know it."""
        if process.is_dead or process.is_paused:
            return
        self.count("paused")
        self.say(process.name, f"is paused for {seconds:g} s {why}".rstrip())
        process.pause()
        self.loop.outside.call_later(seconds, self.wake, process)

    def wake(self, process: Process) -> None:
        """It goes on."""
        if process.is_paused:
            self.say(process.name, "is woken")
            process.wake()

    def is_alive(self, owner: str) -> bool:
        """Whether the owner of a run still exists, as far as others can tell: past its lease it does not."""
        process = self.owners.get(owner)
        if process is None or process.is_dead or owner in self.gone:
            return False
        return not process.is_paused or self.loop.time() - process.paused_since <= self.lease_s
