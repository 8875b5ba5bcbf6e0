"""The crew's clock, with workers that do nothing but say when they began."""

import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from bench import workers
from bench.contract import Order
from bench.database import Address
from bench.meter import Look, Window
from bench.workers import CALLS_A_RUN, Crew, Share, Signals

LASTS_S = 0.2


class Still:
    """A server that nothing happens on."""

    def look(self) -> Look:
        """See nothing."""
        return Look(0, 0, 0, 0)


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Order:
    """An order on a server that is not there."""
    monkeypatch.setattr(workers, "watched", lambda _: Still())
    return Order(CALLS_A_RUN * 2, CALLS_A_RUN, tmp_path, (), Address("postgresql://nowhere", 1))


def works(folder: Path, share: Share, signals: Signals) -> None:
    """Get warm, take a step, say that a run is over and wait for more."""
    assert share.warmup_runs == 1
    time.sleep(LASTS_S)
    signals.tick()
    signals.ready_and_go()
    signals.tick()
    time.sleep(LASTS_S)
    (folder / str(share.number)).touch()
    signals.wait_until_over()
    signals.done()


def crew_of(asked: Order, workers: int) -> tuple[Crew, Callable[[], int]]:
    """A crew that completes one run each, and how many are not completed."""
    folder = asked.folder
    return Crew(asked, partial(works, folder), workers), lambda: workers - len(list(folder.iterdir()))


def test_the_clock_runs_from_the_first_step_that_counts_until_no_run_is_open(asked: Order) -> None:
    """Neither starting processes nor their warm-up is measured."""
    queue: list[int] = []
    crew, open_runs = crew_of(asked, 2)

    began_s = time.monotonic()
    crew.measure(queue.append, open_runs)
    all_s = time.monotonic() - began_s
    total_s = crew.figures(asked.counted).wall_us_per_step * crew.steps / 1e6

    assert queue == [2]
    assert crew.steps == 12
    assert LASTS_S <= total_s <= all_s - LASTS_S


def test_a_run_that_was_not_completed_voids_the_figures(asked: Order) -> None:
    """One that failed early is a cheap one."""
    crew, open_runs = crew_of(asked, 2)

    crew.measure(lambda _: None, open_runs)

    crew.require(2)
    with pytest.raises(SystemExit, match="1 runs were completed"):
        crew.require(1)


def dies(share: Share, signals: Signals) -> None:
    """Begin, and leave the rest undone."""
    del share
    signals.ready_and_go()


def test_a_worker_that_dies_is_not_waited_for(asked: Order) -> None:
    """Its runs stay open for ever."""
    with pytest.raises(SystemExit, match="a worker died"):
        Crew(asked, dies, 1).measure(lambda _: None, lambda: 1)


def test_only_the_whole_is_measured(asked: Order) -> None:
    """A part of what overlaps is no figure."""
    with pytest.raises(ValueError, match="whole"):
        crew_of(asked, 1)[0].figures(Window(1, 1))


@pytest.mark.skipif(sys.platform != "linux", reason="the CPU of another process is read on Linux only")
def test_the_workers_cpu_is_counted(asked: Order) -> None:
    """Whoever watches them is not counted, so it is not nothing."""
    crew, open_runs = crew_of(asked, 1)

    crew.measure(lambda _: None, open_runs)

    assert crew.figures(asked.counted).cpu_us_per_step > 0
