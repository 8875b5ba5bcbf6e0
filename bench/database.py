"""What a PostgreSQL server has done so far: its processes' CPU, the bytes of its log, what a database keeps.

Looked at over a connection of the bench's own, opened before anything is measured, with the server's CPU read
before and after: looking costs the subject nothing.
"""

import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from os import sysconf
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.meter import Look

if TYPE_CHECKING:
    from psycopg import Connection

_PROC = Path("/proc")
_LOOK = "SELECT pg_database_size(current_database()), pg_current_wal_insert_lsn() - '0/0'::pg_lsn"


@dataclass(frozen=True, slots=True)
class Address:
    """Where a subject's database is, and the process that all of its server's processes descend from."""

    url: str
    postmaster: int


class Database:
    """Data that a server keeps for this process."""

    def __init__(self, address: Address) -> None:
        """Connect, and look once, so that no later look pays for a connection or a plan."""
        self._address = address
        self._connection = connect(address.url)
        self.look()

    def look(self) -> Look:
        """Read what the database keeps, and what the server has logged and worked so far."""
        until_ns = server_cpu_ns(self._address.postmaster)
        row = self._connection.execute(_LOOK).fetchone()
        assert row is not None
        return Look(int(row[0]), int(row[1]), until_ns, server_cpu_ns(self._address.postmaster))


def connect(url: str) -> "Connection[Any]":
    """Open a connection that commits every statement."""
    import psycopg

    return psycopg.connect(url, autocommit=True)


def server_cpu_ns(postmaster: int) -> int | None:
    """Return the CPU time of the server's processes, the ended ones included; none off Linux.

    A living process has a clock that counts nanoseconds. Of those that have ended, the postmaster knows the
    sum, in ticks of the kernel.
    """
    try:
        stats = {int(entry.name): _stat(entry) for entry in _PROC.iterdir() if entry.name.isdigit()}
    except OSError:
        return None
    tree = descendants(postmaster, {pid: stat[0] for pid, stat in stats.items() if stat})
    if postmaster not in tree or not (of_postmaster := stats[postmaster]):
        return None
    tick_ns = 1_000_000_000 // sysconf("SC_CLK_TCK")
    return sum(map(process_cpu_ns, tree)) + of_postmaster[1] * tick_ns


def process_cpu_ns(pid: int) -> int:
    """Return the CPU time of another process, all of its threads included; 0 once it is gone."""
    try:
        return time.clock_gettime_ns(~pid << 3 | 2)  # the kernel's name for the clock of a process
    except OSError:
        return 0


def descendants(root: int, parents: Mapping[int, int]) -> set[int]:
    """Return a process and all that descend from it, where `parents` says whose child each one is."""
    found: set[int] = set()
    generation: Iterable[int] = [root] if root in parents else []
    while generation:
        found.update(generation)
        generation = [pid for pid, parent in parents.items() if parent in generation and pid not in found]
    return found


def _stat(process: Path) -> tuple[int, int] | None:
    """Return the parent of a process, and the ticks of its children that have ended."""
    try:
        fields = (process / "stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return int(fields[1]), int(fields[13]) + int(fields[14])
