"""Counts how often a subject makes the disk wait, which no stopwatch shows.

Time differs from disk to disk; the number of syncs per step does not. They are counted in runs of
their own: by a system call tracer, because tracing slows a process down, and of a database server
by the server itself, whose processes report when they end. A short run is taken from a longer one,
so that setting up and closing cancel out.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from bench.lineup import Subject
from bench.rounds import Length, run
from bench.server import Server

_CALLS = "fsync,fdatasync,msync,sync_file_range"
_SHORT = Length(steps=20, warmup=1)
_LONG = Length(steps=120, warmup=1)


def syncs_per_step(subject: Subject, *, scratch: Path) -> float | None:
    """Return the syncs of one step, or none where this machine has no tracer that may trace."""
    tracer = shutil.which("strace")
    if tracer is None or not _may_trace(tracer):
        return None
    short, long = (_syncs(tracer, subject, length, scratch) for length in (_SHORT, _LONG))
    return (long - short) / (_LONG.steps - _SHORT.steps)


def server_syncs_per_step(subject: Subject, server: Server, *, scratch: Path) -> float:
    """Return the syncs of the server's log for one step. Steps that share a commit need longer runs."""
    factor = subject.at_once // _SHORT.steps + 1
    short, long = (
        Length(length.steps * factor, length.warmup * subject.at_once) for length in (_SHORT, _LONG)
    )
    counted: list[int] = []
    for length in (short, long):
        before = server.syncs()
        run(subject, length, scratch=scratch, place=server.empty_database)
        counted.append(server.syncs() - before)
    return (counted[1] - counted[0]) / (long.steps - short.steps)


def _may_trace(tracer: str) -> bool:
    """Try it on nothing: some containers have the tracer and forbid what it does."""
    tried = subprocess.run(
        [tracer, "-o", os.devnull, sys.executable, "-c", ""], check=False, capture_output=True
    )
    return tried.returncode == 0


def _syncs(tracer: str, subject: Subject, length: Length, scratch: Path) -> int:
    with tempfile.NamedTemporaryFile("r", dir=scratch) as trace:
        under = (tracer, "-f", "-qq", "-e", f"trace={_CALLS}", "-e", "signal=none")
        run(subject, length, scratch=scratch, under=(*under, "-o", trace.name))
        return count(trace.read())


def count(trace: str) -> int:
    """Count the calls in a trace; one that was interrupted shows twice and is counted once."""
    return sum("(" in line and "resumed>" not in line for line in trace.splitlines())
