"""The stopwatch that every subject uses, so that all of them are measured in the same way.

A subject warms up on a run that does not count, calls `start()`, and then, in a new run, `tick()`
as each step begins and `finish()` when the last one is as durable as it promises. A step therefore
lasts from its own beginning to the next one's, whatever the subject does in between, and work that
is left to background threads is counted by `finish()`.

The warm-up is a run of its own because a young process is slow: an early step of a first run would
look dear, and a late step cheap beside it, however much the subject's cost grows.
"""

import time
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Protocol

from bench.stored import stored_bytes

_IO_COUNTERS = Path("/proc/self/io")


@dataclass(frozen=True, slots=True)
class Window:
    """A stretch of steps to report on, both ends included; steps count from 1."""

    first: int
    last: int

    @property
    def steps(self) -> int:
        """How many steps the window holds."""
        return self.last - self.first + 1


@dataclass(frozen=True, slots=True)
class Figures:
    """What one step cost, over one window."""

    wall_us_per_step: float
    """Mean: it includes every hiccup of the disk, as a user would feel it."""
    wall_us_median_step: float
    """Median from one step's beginning to the next; leaves out periodic work such as a
    checkpoint of the log, so it is what growth is judged by. Says nothing where a subject
    writes behind."""
    cpu_us_per_step: float
    """User and system time of all the process's threads."""
    bytes_per_step: float
    """Growth of what is kept on disk."""
    written_bytes_per_step: float | None
    """Bytes handed to the kernel by write calls; none where the system does not count them. On a
    database server, the bytes of its log."""
    server_cpu_us_per_step: float | None = None
    """User and system time of the database server's processes; none where there is no server."""

    @property
    def all_cpu_us_per_step(self) -> float:
        """What a step costs the machine, on whichever side of a connection."""
        return self.cpu_us_per_step + (self.server_cpu_us_per_step or 0.0)


@dataclass(frozen=True, slots=True)
class Look:
    """What somebody else holds: the disk, and a server's clock before and after looking at it."""

    stored: int
    written: int | None
    server_cpu_until_ns: int | None = None
    server_cpu_from_ns: int | None = None


class Watched(Protocol):
    """Where a subject's data is."""

    def look(self) -> Look:
        """Read its counters."""
        ...


class Folder:
    """Data in files that this process writes."""

    def __init__(self, path: Path) -> None:
        """Count what is in `path`."""
        self._path = path

    def look(self) -> Look:
        """Read what this process has written, and what is kept."""
        written = _written_bytes()
        return Look(stored_bytes(self._path), written)


@dataclass(frozen=True, slots=True)
class _Reading:
    """The counters as a window begins or ends.

    CPU is read before and after the rest, which is slow: the time it takes belongs to nobody.
    """

    cpu_until_ns: int
    seen: Look
    cpu_from_ns: int


class Meter:
    """Measures one run of steps. Only one thread may use it at a time."""

    def __init__(self, watched: Watched, windows: Iterable[Window]) -> None:
        """Read the counters of `watched` at the edges of `windows` and nowhere else."""
        self._watched = watched
        self._edges = frozenset(edge for w in windows for edge in (w.first, w.last + 1))
        self._counting = False
        self._began: list[int] = []
        self._ended: list[int] = []
        self._readings: dict[int, _Reading] = {}

    @property
    def steps(self) -> int:
        """How many steps that count have begun."""
        return len(self._began) if self._counting else 0

    def start(self) -> None:
        """Forget the warm-up: steps count from here."""
        self._began.clear()
        self._ended.clear()
        self._counting = True

    def tick(self) -> None:
        """Note that the next step begins."""
        if self._began:
            self._ended.append(time.perf_counter_ns())
        self._look_if_edge(len(self._began) + 1)
        self._began.append(time.perf_counter_ns())

    def finish(self) -> None:
        """Note that the last step is over and all that was promised about it is done."""
        self._ended.append(time.perf_counter_ns())
        self._look_if_edge(len(self._began) + 1)

    def figures(self, window: Window) -> Figures:
        """Return what a step in `window` cost."""
        laps_ns = [
            ended - began
            for began, ended in zip(
                self._began[window.first - 1 : window.last],
                self._ended[window.first - 1 : window.last],
                strict=True,
            )
        ]
        if len(laps_ns) != window.steps:
            msg = f"steps {window.first} to {window.last} were asked for; some were never run"
            raise ValueError(msg)
        edges = sorted(e for e in self._readings if window.first <= e <= window.last + 1)
        readings = [self._readings[edge] for edge in edges]
        begin, end = self._readings[window.first].seen, self._readings[window.last + 1].seen
        return figures(
            window.steps,
            wall_ns=sum(laps_ns),
            median_ns=median(laps_ns),
            cpu_ns=sum(later.cpu_until_ns - before.cpu_from_ns for before, later in pairwise(readings)),
            server_cpu_ns=_server_cpu_ns([reading.seen for reading in readings]),
            begin=begin,
            end=end,
        )

    def _look_if_edge(self, step: int) -> None:
        if not self._counting or step not in self._edges:
            return
        cpu_until_ns = time.process_time_ns()
        seen = self._watched.look()
        self._readings[step] = _Reading(cpu_until_ns, seen, time.process_time_ns())


def figures(
    steps: int,
    *,
    wall_ns: float,
    median_ns: float,
    cpu_ns: float,
    server_cpu_ns: float | None,
    begin: Look,
    end: Look,
) -> Figures:
    """Share what so many steps cost among them."""
    written = None if begin.written is None or end.written is None else end.written - begin.written
    return Figures(
        wall_us_per_step=wall_ns / steps / 1000,
        wall_us_median_step=median_ns / 1000,
        cpu_us_per_step=cpu_ns / steps / 1000,
        bytes_per_step=(end.stored - begin.stored) / steps,
        written_bytes_per_step=None if written is None else written / steps,
        server_cpu_us_per_step=None if server_cpu_ns is None else server_cpu_ns / steps / 1000,
    )


def _server_cpu_ns(seen: Iterable[Look]) -> int | None:
    """Add up the stretches between looks, so that no look is charged to the subject."""
    total: int | None = None
    for before, later in pairwise(seen):
        if before.server_cpu_from_ns is None or later.server_cpu_until_ns is None:
            return None
        total = (total or 0) + later.server_cpu_until_ns - before.server_cpu_from_ns
    return total


def _written_bytes() -> int | None:
    """Read the kernel's count for this process; what a memory map writes is not in it."""
    try:
        lines = _IO_COUNTERS.read_text().splitlines()
    except OSError:
        return None
    return int(dict(line.split(": ") for line in lines)["wchar"])
