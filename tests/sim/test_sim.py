"""Several workers on one journal, with everything going wrong that can: nothing is lost, doubled or left unsaid."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from tests.sim.sim_desk import SCENE

from answerable.testing.simulation import CALM, Size, Staged, draw, play, shrink, simulate

COUNT = int(os.environ.get("SIM_COUNT", "200"))
PARTS = 4
KEPT = Path(__file__).with_name("seeds.txt")
ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def staged() -> Staged:
    """The scene, loaded once."""
    return Staged(SCENE)


def kept() -> list[tuple[str, int, str]]:
    """Name, seed and why."""
    lines = [line for line in KEPT.read_text().splitlines() if line and not line.startswith("#")]
    return [(name, int(seed), why) for name, seed, why in (line.split(maxsplit=2) for line in lines)]


@pytest.mark.parametrize(("name", "seed", "why"), kept(), ids=[name for name, _, _ in kept()])
def test_a_seed_that_failed_once(name: str, seed: int, why: str, staged: Staged) -> None:
    """Seeds are kept by the name of what they found."""
    assert play(staged, seed).problems == (), f"{name}: {why}"


@pytest.mark.parametrize("part", range(PARTS))
def test_nothing_is_lost_doubled_or_left_unsaid(part: int, staged: Staged) -> None:
    """The figures are printed; what went wrong is printed with its plan and the end of its trace."""
    report = simulate(staged, range(part, COUNT, PARTS))

    print(f"\n{report.figures()}")
    assert report.problems == [], "\n\n".join(told.to_text() for told in report.failed[:2])


def test_a_seed_is_one_exact_run(staged: Staged) -> None:
    """Played twice: the same trace, and the same journal, byte for byte. Another seed is another run."""
    first, again, other = play(staged, 7), play(staged, 7), play(staged, 8)

    assert (first.trace, first.entries, first.digest) == (again.trace, again.entries, again.digest)
    assert first.digest != other.digest
    assert len(first.entries) > 20


def test_a_seed_is_the_same_run_in_another_process(staged: Staged) -> None:
    """Nothing depends on how a process happens to order its sets."""
    code = (
        "from tests.sim.sim_desk import SCENE; from answerable.testing.simulation import Staged, play;"
        "print(play(Staged(SCENE), 7).digest)"
    )
    environment = {**os.environ, "PYTHONHASHSEED": "4711", "PYTHONPATH": os.pathsep.join(sys.path)}
    said = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=environment, capture_output=True, text=True, check=True
    )

    assert said.stdout.strip() == play(staged, 7).digest


def test_where_nothing_goes_wrong_everything_ends_as_it_should(staged: Staged) -> None:
    """No kill, no pause, no lost request: no unknown, and nothing sent twice."""
    report = simulate(staged, range(5), size=CALM)

    assert report.problems == []
    assert report.counts["unknown"] == report.counts["killed"] == 0
    assert report.counts["effect done"] == report.counts["sends"] > 0


def test_a_plan_can_be_made_shorter(staged: Staged, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of everything that goes wrong in a failing world, little is needed to make it fail."""
    from answerable.journal.sqlite import project

    monkeypatch.setattr(project, "_refuse_if_halted", lambda *_: None)
    seed = next(seed for seed in range(40) if play(staged, seed).problems)
    told = shrink(staged, seed)

    assert told.problems
    assert len(told.troubles) < len(draw(seed, Size())) / 2
    assert f"seed {seed}:" in told.to_text()
