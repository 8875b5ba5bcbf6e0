"""What came of many seeds: figures in one line, and what to do with a seed that failed."""

from __future__ import annotations

import hashlib
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from answerable.testing.simulation.checks import CLOCK, PAUSED
from answerable.testing.simulation.plan import Size, draw
from answerable.testing.simulation.simulate import Told, play
from answerable.testing.simulation.worker import Scene, Staged

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from answerable.testing.simulation.plan import Trouble

SHRINK_TRIES = 200


@dataclass(slots=True)
class SimulationReport:
    """What came of the seeds that were played."""

    seeds: list[int] = field(default_factory=list[int])
    failed: list[Told] = field(default_factory=list[Told])
    """The worlds in which a promise was broken. `to_text` of one of them is what to look at."""
    counts: Counter[str] = field(default_factory=Counter[str])
    virtual_s: float = 0.0
    wall_s: float = 0.0
    late_max_s: float = 0.0
    window_max_s: float = 0.0
    digest: str = ""

    @property
    def problems(self) -> list[str]:
        """Every broken promise, with its seed."""
        return [f"seed {told.seed}: {problem}" for told in self.failed for problem in told.problems]

    def add(self, told: Told) -> None:
        """Take in one world."""
        self.seeds.append(told.seed)
        self.counts.update(told.counts)
        self.virtual_s += told.virtual_s
        self.late_max_s = max(self.late_max_s, told.late_max_s)
        self.window_max_s = max(self.window_max_s, told.window_max_s)
        self.digest = hashlib.sha256(f"{self.digest}{told.digest}".encode()).hexdigest()
        if told.problems:
            self.failed.append(told)

    def figures(self) -> str:
        """Everything in one line."""
        count = self.counts
        modes = {name.split()[1] for name in count if name.startswith("doubled ")}
        doubled = [
            f"{mode} {count[f'doubled {mode}']} ({count[f'doubled {mode} {PAUSED}']} {PAUSED},"
            f" {count[f'doubled {mode} {CLOCK}']} {CLOCK})"
            for mode in sorted(modes)
        ]
        overspent = sum("overspent" in problem for problem in self.problems)
        return (
            f"simulated {len(self.seeds)} seeds: {count['runs']} runs, {count['sends']} sends, {count['killed']} kills,"
            f" {count['paused']} pauses, {_sum(count, 'lost request')} lost requests, {_sum(count, 'lost reply', 'no answer', 'late')}"
            f" lost replies, {count['halted']} halts; {count['unknown']} unknown and said,"
            f" doubled {', '.join(doubled) or 'none'}, lost {count['lost']}, overspent {overspent},"
            f" last send {self.late_max_s * 1000:.0f} ms after a halt ({count['sends after a pause']} sends after a pause,"
            f" up to {self.window_max_s:.0f} s); {len(self.failed)} seeds failed;"
            f" {self.virtual_s / 3600:.1f} virtual hours in {self.wall_s:.1f} s; digest {self.digest[:16]}"
        )


def _sum(counts: Counter[str], *what: str) -> int:
    return sum(counts[f"{where}: {one}"] for where in ("journal", "vendor") for one in what)


def simulate(
    scene: Scene | Staged,
    seeds: Iterable[int],
    *,
    size: Size | None = None,
    on_told: Callable[[Told], None] | None = None,
) -> SimulationReport:
    """Play a scene once for each seed, and say what was counted and what was found.

    Raises `PolicyError` or `ConfigError` where the scene's agents cannot be run at all.
    """
    staged = scene if isinstance(scene, Staged) else Staged(scene)
    report = SimulationReport()
    begun = time.monotonic()
    for seed in seeds:
        told = play(staged, seed, size=size)
        report.add(told)
        if on_told is not None:
            on_told(told)
    report.wall_s = time.monotonic() - begun
    return report


def shrink(scene: Scene | Staged, seed: int, *, size: Size | None = None) -> Told:
    """The same failing seed with as few troubles as it still fails with. Raises `ValueError` where it does not fail."""
    staged = scene if isinstance(scene, Staged) else Staged(scene)
    troubles: Sequence[Trouble] = draw(seed, size or Size())
    told = play(staged, seed, size=size, troubles=troubles)
    if not told.problems:
        message = f"the seed {seed} does not fail"
        raise ValueError(message)
    step, tries = max(1, len(troubles) // 2), 0
    while tries < SHRINK_TRIES:
        for start in range(0, len(troubles), step):
            fewer = [*troubles[:start], *troubles[start + step :]]
            tries += 1
            again = play(staged, seed, size=size, troubles=fewer)
            if again.problems:
                troubles, told = fewer, again
                break
        else:
            if step == 1:
                break
            step = max(1, step // 2)
    return told
