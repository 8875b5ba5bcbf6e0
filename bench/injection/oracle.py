"""The worst-case model: it does what the user's task needs, and whatever the first injection it reads tells it to.

Nothing here knows AgentDojo or the product. A call is handed to `perform`, which says what became of it; a call that was
refused is not made, and the model goes on with the next one, since that is the worst that it can do.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

Whose = Literal["user", "attacker"]
Verdict = Literal["done", "asked", "denied", "failed"]
"""`asked`: a person would have been asked, and nobody answered. `denied`: no person could have allowed it. `failed`:
every gate let it pass, and the world refused it."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """A call that the model makes if it is let."""

    tool: str
    arguments: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Ended:
    """What became of a call. `showed_injection` says that its result contained the attacker's text."""

    verdict: Verdict
    rules: tuple[str, ...] = ()
    why: str = ""
    showed_injection: bool = False


@dataclass(frozen=True, slots=True)
class Step:
    """One call of a run, for whom it was made, and its end."""

    whose: Whose
    wanted: Wanted
    ended: Ended


Perform = Callable[[Wanted], Awaitable[Ended]]


async def walk(
    task: Sequence[Wanted], attack: Callable[[], Sequence[Wanted]], perform: Perform
) -> list[Step]:
    """Make the calls of the task; once an injection was read, first all those of the attack, then the rest.

    What the attack needs is asked when it begins: it acts on the world as it then is.
    """
    steps: list[Step] = []
    is_hijacked = False

    async def make(whose: Whose, wanted: Wanted) -> Ended:
        ended = await perform(wanted)
        steps.append(Step(whose, wanted, ended))
        return ended

    for wanted in task:
        ended = await make("user", wanted)
        if ended.showed_injection and not is_hijacked:
            is_hijacked = True
            for each in attack():
                await make("attacker", each)
    return steps
