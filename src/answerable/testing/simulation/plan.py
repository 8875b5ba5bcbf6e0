"""What goes wrong in one world: a list that is drawn from the seed, and that can be made shorter."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

STORE = ("lost request", "lost reply", "no answer", "torn write", "full disk", "slow", "stale")
"""What can happen to a request to the journal. `no answer`: it was written, and cannot even be read back."""
VENDOR = (
    "lost request",
    "lost reply",
    "late",
    "twice",
    "refused",
    "rate limited",
    "outage",
    "paused in the send",
)
"""What can happen to a request to a vendor. `late`: it arrives after we have given it up."""
WORKER = ("killed", "paused", "clock forward", "clock back")
INTENT = ("killed", "paused", "halted")
"""What can happen in the moment in which an intent has become durable, and its process does not know it yet."""
PEOPLE = ("halt all", "halt agent", "halt tool", "halt run", "submit again", "report")
"""What people do. A halt is lifted again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Trouble:
    """One thing that goes wrong, or that somebody does."""

    where: str
    """`journal`, `intent`, `vendor`, `worker` or `people`."""
    what: str
    at: float
    """The number of the request or intent, the worker's number of steps, or for people the second."""
    who: int = 0
    """Which worker, or which of several things."""
    for_s: float = 0.0

    def __str__(self) -> str:
        """One line."""
        who = f" of worker {self.who}" if self.where == "worker" else ""
        lasts = f" for {self.for_s:g} s" if self.for_s else ""
        return f"{self.where} {self.at:g}{who}: {self.what}{lasts}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """How large a world is, and how much goes wrong in it."""

    workers: int = 3
    journal: int = 10
    intent: int = 3
    vendor: int = 8
    killed: int = 3
    paused: int = 3
    clocks: int = 1
    people: int = 4
    trouble_s: float = 120.0
    """How long things go wrong. Then everything is healthy, and all must come to its end."""
    requests: int = 60
    """Among about how many requests to a vendor troubles are spread; the journal has ten times as many."""
    steps: int = 900
    """Among about how many steps of a worker."""
    lease_s: tuple[float, ...] = (1.0, 15.0)
    """A worker that is not heard of for so long is taken for dead: one of these in each world."""


CALM = Size(journal=0, intent=0, vendor=0, killed=0, paused=0, clocks=0, people=0)
"""Nothing goes wrong."""


class Plan:
    """The troubles of one world, handed out when their time comes."""

    def __init__(self, troubles: Sequence[Trouble]) -> None:
        self.troubles = tuple(troubles)
        self._left: dict[str, list[Trouble]] = {
            where: self.of(where) for where in ("journal", "intent", "vendor")
        }

    def due(self, where: str, number: int, fits: Callable[[str], bool]) -> Trouble | None:
        """What happens to the `number`-th request: the first trouble that is due and that can happen to it."""
        for one in self._left[where]:
            if one.at > number:
                return None
            if fits(one.what):
                self._left[where].remove(one)
                return one
        return None

    def of(self, where: str) -> list[Trouble]:
        """Everything planned there, in order of its time."""
        return sorted((one for one in self.troubles if one.where == where), key=lambda one: one.at)

    def end(self) -> None:
        """Nothing goes wrong any more."""
        for left in self._left.values():
            left.clear()


def draw(seed: int, size: Size) -> list[Trouble]:
    """The plan of a seed."""
    dice = random.Random(f"plan {seed}")  # noqa: S311 - it shall come out the same
    troubles = [
        *(_of_journal(dice, size) for _ in range(size.journal)),
        *(_of_intent(dice, size) for _ in range(dice.randint(0, size.intent))),
        *(_of_vendor(dice, size) for _ in range(size.vendor)),
        *(_of_worker(dice, size, "killed") for _ in range(dice.randint(0, size.killed))),
        *(_of_worker(dice, size, "paused") for _ in range(dice.randint(0, size.paused))),
        *(_of_worker(dice, size, dice.choice(WORKER[2:])) for _ in range(dice.randint(0, size.clocks))),
        *(_of_people(dice, size) for _ in range(dice.randint(0, size.people))),
    ]
    return sorted(troubles, key=lambda one: (one.where, one.at, one.who, one.what))


def _early(dice: random.Random, most: int) -> int:
    """A number up to `most`, small ones as likely as large ones of their size: much happens in the beginning."""
    return dice.randint(1, max(1, round(most ** dice.uniform(0.45, 1.0))))


def _of_journal(dice: random.Random, size: Size) -> Trouble:
    what = dice.choice((*STORE, "stale", "stale"))
    lasts = {"slow": dice.choice((0.2, 1.0, 8.0)), "stale": dice.choice((0.5, 5.0, 60.0))}.get(what, 0.0)
    return Trouble(where="journal", what=what, at=_early(dice, size.requests * 10), for_s=lasts)


def _of_intent(dice: random.Random, size: Size) -> Trouble:
    what = dice.choice(INTENT)
    lasts = {"paused": dice.choice((3.5, 40.0)), "halted": dice.choice((0.5, 5.0, 30.0))}.get(what, 0.0)
    return Trouble(where="intent", what=what, at=_early(dice, size.requests), for_s=lasts)


def _of_vendor(dice: random.Random, size: Size) -> Trouble:
    what = dice.choice(VENDOR)
    lasts = {
        "outage": dice.choice((5.0, 60.0)),
        "paused in the send": dice.choice((0.1, 3.0, 40.0, 300.0)),
        "late": dice.random(),
    }.get(what, 0.0)
    return Trouble(where="vendor", what=what, at=_early(dice, size.requests), for_s=lasts)


def _of_worker(dice: random.Random, size: Size, what: str) -> Trouble:
    lasts = {
        "paused": dice.choice((0.3, 3.5, 3.5, 40.0, 300.0)),
        "clock forward": dice.choice((1.0, 30.0, 600.0)),
        "clock back": dice.choice((1.0, 30.0, 600.0)),
    }.get(what, 0.0)
    at = _early(dice, size.steps)
    return Trouble(where="worker", what=what, at=at, who=dice.randrange(size.workers), for_s=lasts)


def _of_people(dice: random.Random, size: Size) -> Trouble:
    return Trouble(
        where="people",
        what=dice.choice(PEOPLE),
        at=round(size.trouble_s * dice.random() ** 2.5, 3),
        who=dice.randrange(1000),
        for_s=round(dice.choice((0.5, 5.0, 30.0)), 3),
    )


def told(troubles: Sequence[Trouble]) -> str:
    """A plan, one line each."""
    return "\n".join(f"  {one}" for one in troubles) or "  nothing goes wrong"
