"""What is held against the promises while a world goes on: each commit and each send is looked at as it happens.

It takes nothing from the code under test but events: what it knows of halts, owners and budgets it computes itself.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from answerable.engine.next import SEND_WITHIN_S
from answerable.engine.perform import LOOK_HOLDS_NS
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
)
from answerable.kernel.tool import WriteMode
from answerable.testing.simulation.vendor import send_window_s

if TYPE_CHECKING:
    from answerable.kernel.entry import Entry
    from answerable.testing.simulation.loop import Process
    from answerable.testing.simulation.vendor import Request
    from answerable.testing.simulation.world import World

LOOK_HOLDS_S = LOOK_HOLDS_NS / 1e9
SLACK_S = 1e-6


@dataclass(frozen=True, slots=True)
class Intent:
    """An intent, and when and by whom it was made durable."""

    event: CallIntended
    run: str
    epoch: int
    at: float
    who: str


class Watch:
    """See the module."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.intents: dict[str, list[Intent]] = {}
        self.requests: dict[str, list[Request]] = {}
        """Effect → what was sent for it."""
        self.looked: dict[tuple[str, str], float] = {}
        """(process, stream) → when the journal answered its last look."""
        self.sends = 0
        self.late_max_s = 0.0
        """The longest that a send came after a halt or a new owner, of a process that was not paused in between."""
        self.late_paused_max_s = 0.0
        self.late_paused = 0
        self._adopted: dict[str, tuple[int, float]] = {}
        self._owner: dict[str, Process | None] = {}
        """Run → the process that owns it."""
        self._halts: dict[str, float] = {}
        self._budgets: Counter[tuple[str, str]] = Counter()
        self._agents: dict[str, str] = {}

    # Commits

    def committed(self, entry: Entry) -> None:
        """Look at an entry that has just become durable."""
        run = entry.stream.partition("/")[2]
        for event in entry.events:
            match event:
                case RunCreated():
                    self._agents[run] = event.agent
                case RunAdopted():
                    self._adopted[run] = (event.epoch, self._world.loop.time())
                    self._owner[run] = self._world.owners.get(event.owner)
                case HaltRaised():
                    self._halts[event.scope] = self._world.loop.time()
                case HaltLifted():
                    self._halts.pop(event.scope, None)
                case ModelIntended():
                    self._intended(event, run, "")
                case CallIntended():
                    self._intended(event, run, event.tool)
                    self._effect(event, entry, run)
                case RunEnded():
                    self._world.seen.counts["unknown"] += len(event.unknown)
                case CallEnded() | ModelEnded():
                    for budget, unit, reserved, spent in event.settle:
                        self._budgets[budget, unit] += spent - reserved
                case _:
                    continue

    def _intended(self, event: CallIntended | ModelIntended, run: str, tool: str) -> None:
        for scope in sorted(self._scopes(run, tool) & self._halts.keys()):
            self._world.problem(f"an intent of {tool or 'a model'} in {run} under a halt of {scope}")
        for budget, unit, amount, limit in event.reserve:
            self._budgets[budget, unit] += amount
            if self._budgets[budget, unit] > limit:
                self._world.problem(
                    f"overspent: {unit} of {budget}: {self._budgets[budget, unit]} of {limit}"
                )

    def _effect(self, event: CallIntended, entry: Entry, run: str) -> None:
        owner = self._owner.get(run)
        who = owner.name if owner is not None else ""
        self.intents.setdefault(event.effect, []).append(
            Intent(event, run, entry.epoch, self._world.loop.time(), who)
        )

    def _scopes(self, run: str, tool: str) -> set[str]:
        return {"all", f"run:{run}", f"agent:{self._agents.get(run)}", f"tool:{tool}"}

    def owner_of(self, run: str) -> Process | None:
        """The process that owns a run."""
        return self._owner.get(run)

    # Sends

    def sent(self, request: Request) -> None:
        """Look at a write that is leaving its process."""
        assert request.sending is not None
        self.sends += 1
        effect, spec = request.sending.effect, request.sending.spec
        before = self.requests.setdefault(effect, [])
        before.append(request)
        paused = " after a pause" if request.was_paused else ""
        self._world.say(request.who, f"request {request.number} sends {spec.name} {effect[:8]}{paused}")
        intents = [intent for intent in self.intents.get(effect, ()) if intent.who == request.who]
        if not intents:
            self._world.problem(f"{spec.name} {effect[:8]} was sent without an intent of {request.who}")
            return
        if spec.mode is WriteMode.AT_MOST_ONCE and len(before) > 1 and not self._were_refused(before[:-1]):
            self._world.problem(f"{spec.name} {effect[:8]} is at most once and was sent {len(before)} times")
        intent = intents[-1]
        now = self._world.loop.time()
        self._late(request, now - intent.at - SEND_WITHIN_S - send_window_s(spec), 0.0, "its send deadline")
        looked_at = self.looked.get((request.who, f"run/{intent.run}"), -1.0)
        if looked_at < intent.at:
            self._world.problem(f"{spec.name} {effect[:8]} was sent without a last look")
        came: list[tuple[str, float]] = [
            (f"a halt of {scope}", self._halts[scope])
            for scope in sorted(self._scopes(intent.run, spec.name) & self._halts.keys())
        ]
        epoch, since = self._adopted.get(intent.run, (0, 0.0))
        if epoch > intent.epoch:
            came.append(("a new owner took the run", since))
        for what, at in came:
            if at < looked_at:
                self._world.problem(f"{spec.name} was sent although its last look came after {what}")
            self._late(request, now - at, LOOK_HOLDS_S, what)

    def _were_refused(self, requests: list[Request]) -> bool:
        return all(request.number in self._world.refused for request in requests)

    def _late(self, request: Request, late_s: float, most_s: float, after: str) -> None:
        if late_s <= 0:
            return
        if request.was_paused:
            self.late_paused += 1
            self.late_paused_max_s = max(self.late_paused_max_s, late_s)
            return
        if most_s:
            self.late_max_s = max(self.late_max_s, late_s)
        if late_s > most_s + SLACK_S:
            assert request.sending is not None
            self._world.problem(f"{request.sending.spec.name} was sent {late_s:.3f} s after {after}")
