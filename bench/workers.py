"""A queue of short runs that several processes work on, and the stopwatch for what other processes do.

The workers get warm on runs of their own, then the runs that count are put into the queue, then all workers
are told to go. The clock runs from the first step that any of them begins until no run is open any more. The
CPU is that of the workers; whoever watches them is not counted.
"""

import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import get_context
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from typing import Any

from bench.contract import Order, watched
from bench.database import process_cpu_ns
from bench.meter import Figures, Look, Window, figures
from bench.offline import refuse_the_network

CALLS_A_RUN = 6
"""Steps of one run: a ticket that is looked up, decided on and acted on."""

_LOOK_AGAIN_S = 0.01


@dataclass(frozen=True, slots=True)
class Share:
    """What one worker is told."""

    number: int
    workers: int
    database: str
    warmup_runs: int


class Signals:
    """A worker's side of the talk with whoever started it."""

    def __init__(self, pipe: "Connection[Any, Any]") -> None:
        """Talk over this pipe."""
        self._pipe = pipe
        self._counts = False
        self._first_ns: int | None = None

    def ready_and_go(self) -> None:
        """Say that this worker is warm, and wait for the word to begin."""
        self._pipe.send("ready")
        self._pipe.recv()
        self._counts = True

    def tick(self) -> None:
        """Note that a step begins; only the first that counts is remembered."""
        if self._counts and self._first_ns is None:
            self._first_ns = time.perf_counter_ns()

    def wait_until_over(self) -> None:
        """Wait until no run is open any more."""
        self._pipe.recv()

    def done(self) -> None:
        """Say when the first step began; wait until everybody was looked at."""
        self._pipe.send(self._first_ns)
        self._pipe.recv()


Work = Callable[[Share, Signals], None]
"""What a worker does: gets warm, calls `ready_and_go`, works on the queue, calls `wait_until_over` and `done`."""


class Crew:
    """Worker processes, and what they did together."""

    def __init__(self, asked: Order, work: Work, workers: int) -> None:
        """Order so many processes; they are started by `measure`."""
        self.steps = 0
        self._asked = asked
        self._work = work
        self._workers = workers
        self._figures: Figures | None = None

    @property
    def warmup_runs(self) -> int:
        """How many runs get each worker warm."""
        return max(1, self._asked.warmup // CALLS_A_RUN)

    def measure(self, enqueue: Callable[[int], None], open_runs: Callable[[], int]) -> None:
        """Let the crew get warm, fill the queue with so many runs, and watch until no run is open."""
        runs = self._asked.steps // CALLS_A_RUN
        counters = watched(self._asked)
        with self._started() as crew:
            for _, pipe in crew:
                pipe.recv()
            enqueue(runs)
            cpu_from_ns, begin = _cpu_ns(crew), counters.look()
            _tell(crew, "go")
            while open_runs():
                if not all(process.is_alive() for process, _ in crew):
                    raise SystemExit("a worker died before the queue was empty")
                time.sleep(_LOOK_AGAIN_S)
            ended_ns = time.perf_counter_ns()
            _tell(crew, "over")
            firsts = [pipe.recv() for _, pipe in crew]
            cpu_until_ns, end = _cpu_ns(crew), counters.look()
            _tell(crew, "bye")
        began_ns = min(first for first in firsts if first is not None)
        self.steps = runs * CALLS_A_RUN
        self._figures = _shared(self.steps, ended_ns - began_ns, cpu_until_ns - cpu_from_ns, begin, end)

    def require(self, completed: int) -> None:
        """Refuse the figures where a run was not completed: one that failed early is a cheap one."""
        if completed * CALLS_A_RUN != self.steps:
            raise SystemExit(f"{completed} runs were completed, {self.steps // CALLS_A_RUN} asked for")

    def figures(self, window: Window) -> Figures:
        """Return what a step cost; the steps overlap, so their median is their mean."""
        if self._figures is None or window != self._asked.counted:
            raise ValueError("only the whole of what a crew did is measured")
        return self._figures

    @contextmanager
    def _started(self) -> "Generator[list[tuple[BaseProcess, Connection[Any, Any]]]]":
        context = get_context("spawn")
        crew: list[tuple[BaseProcess, Connection[Any, Any]]] = []
        try:
            for number in range(self._workers):
                ours, theirs = context.Pipe()
                share = Share(number, self._workers, self._asked.database, self.warmup_runs)
                process = context.Process(target=_worker, args=(self._work, share, theirs), daemon=True)
                process.start()
                theirs.close()
                crew.append((process, ours))
            yield crew
            for process, _ in crew:
                process.join(30)
        finally:
            for process, _ in crew:
                process.kill()


def _worker(work: Work, share: Share, pipe: "Connection[Any, Any]") -> None:
    refuse_the_network()
    work(share, Signals(pipe))


def _tell(crew: "list[tuple[BaseProcess, Connection[Any, Any]]]", word: str) -> None:
    for _, pipe in crew:
        pipe.send(word)


def _cpu_ns(crew: "list[tuple[BaseProcess, Connection[Any, Any]]]") -> int:
    return sum(process_cpu_ns(process.pid) for process, _ in crew if process.pid is not None)


def _shared(steps: int, wall_ns: int, cpu_ns: int, begin: Look, end: Look) -> Figures:
    server_ns = (
        None
        if begin.server_cpu_from_ns is None or end.server_cpu_until_ns is None
        else end.server_cpu_until_ns - begin.server_cpu_from_ns
    )
    return figures(
        steps,
        wall_ns=wall_ns,
        median_ns=wall_ns / steps,
        cpu_ns=cpu_ns,
        server_cpu_ns=server_ns,
        begin=begin,
        end=end,
    )
