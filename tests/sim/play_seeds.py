"""`make sim`: plays seeds, says what was found in each that failed, and ends with one line of figures."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

from tests.sim.sim_desk import SCENE

from answerable.testing.simulation import Staged, shrink, simulate

if TYPE_CHECKING:
    from answerable.testing.simulation import Told


def main() -> int:
    """Play `count` seeds from `seed` on."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--count", type=int, default=200)
    parser.add_argument("--shrink", action="store_true", help="look for the shortest plan that still fails")
    given = parser.parse_args()
    staged = Staged(SCENE)

    def on_told(told: Told) -> None:
        if told.problems:
            told = shrink(staged, told.seed) if given.shrink else told
            print(told.to_text(), file=sys.stderr)

    report = simulate(staged, range(given.seed, given.seed + given.count), on_told=on_told)
    print(report.figures())
    return 1 if report.failed else 0


if __name__ == "__main__":
    sys.exit(main())
