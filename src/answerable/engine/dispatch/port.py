"""What an engine does for us: it hands runs to workers, and holds no truth.

One task of an engine is "drive run R until it ends or parks". Whether R needs driving is said by the journal
(`JournalStore.due`), so whatever an engine forgets, doubles or hands out late costs time and nothing else. That is
why there is no way to park a task until a time, or to take one back: a timer is the run's `wake_at`, a cancelled run
is one that has ended, and both are found when the journal is asked.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence

    from answerable.journal.store import Due
    from answerable.kernel.ids import RunId


@dataclass(frozen=True, slots=True, kw_only=True)
class Lease:
    """The right to drive a run for now, given to one worker at a time."""

    run: RunId
    mark: str
    """The state of the journal that the run was handed out for."""
    task: str = ""
    """The engine's own name for it."""
    tries: int = 1
    """Which handing out of the same task it is."""
    instead_of: frozenset[str] = frozenset()
    """Owners that had it before and have it no more, whatever they believe: the run may be taken from them."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What becomes of a task after somebody drove its run, or tried."""

    kind: Literal["done", "again", "later"]
    """`done`: nothing is left until the journal changes. `again`: we had the run and leave it to others. `later`: we
    never had it, and ask again."""
    delay_s: float = 0.0


DONE = Verdict("done")
AGAIN = Verdict("again")


def later(delay_s: float) -> Verdict:
    """The run is not for us, now."""
    return Verdict("later", delay_s)


Drive = Callable[[Lease], Awaitable[Verdict]]
LetGo = Callable[["RunId"], None]


class Dispatcher(Protocol):
    """See the module."""

    async def enqueue(self, due: Sequence[Due]) -> int:
        """Hand runs to whichever worker is free, and return how many were new.

        A run that was handed out with the same mark, and was looked at since, is not handed out again.
        """
        ...

    async def work(self, drive: Drive, let_go: LetGo, *, concurrency: int) -> None:
        """Take runs and drive them, until `drain` was called and everything that was begun has come back.

        `let_go` is told of a run whose lease was lost: whoever drives it stops at its next step.
        """
        ...

    def drain(self) -> None:
        """Take nothing more."""
        ...

    def problems(self) -> list[str]:
        """Why no work can be taken now, in words; none where all is well."""
        ...

    async def close(self) -> None:
        """Let go of what is held, and of the connections."""
        ...
