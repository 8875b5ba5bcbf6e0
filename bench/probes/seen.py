"""What a subject did with a case: how many effects there were, and in which words it refused.

A subject is a module that hands its answers to `report`; it runs in a process of its own and prints one JSON object.
"""

from __future__ import annotations

import json
import logging
import warnings
from dataclasses import asdict, dataclass
from importlib.metadata import version
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

from bench.offline import refuse_the_network
from bench.probes.cases import CASES

Did = Literal["done", "denied", "refused at load", "waits", "failed", "not applicable"]
HOW_CHARS_MAX = 160


@dataclass(frozen=True, slots=True)
class Seen:
    """One answer. `failed` is an error that is no decision, with nothing done; `effects` are the ones that happened."""

    did: Did
    how: str
    effects: int = 0


class Till:
    """The outside: it counts what reaches it."""

    def __init__(self) -> None:
        self.got: list[object] = []

    def take(self, *given: object) -> str:
        """Something happens."""
        self.got.append(given)
        return "done"


def shorten(text: object) -> str:
    """One line that fits a table."""
    line = " ".join(str(text).split())
    return line if len(line) <= HOW_CHARS_MAX else f"{line[: HOW_CHARS_MAX - 1]}…"


def not_applicable(why: str) -> Callable[[], Seen]:
    """A case that the product has no place for."""
    return lambda: Seen("not applicable", why)


def report(
    subject: str, style: str, answers: Mapping[str, Callable[[], Seen]], packages: Sequence[str]
) -> None:
    """Answer every case, in order, and print what came of it. A case without an answer is an error."""
    refuse_the_network()
    logging.disable(logging.CRITICAL)
    warnings.simplefilter("ignore")
    seen = {case.id: asdict(answers[case.id]()) for case in CASES}
    assert set(answers) == set(seen), "an answer to a case that nobody asked"
    print(
        json.dumps(
            {
                "subject": subject,
                "style": style,
                "versions": {package: version(package) for package in packages},
                "seen": seen,
            }
        )
    )
