"""The moments at which a process may be killed, and what it had been told by then."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
import time
import traceback
from typing import TYPE_CHECKING, Any, NoReturn

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from answerable.kernel.entry import Entry
    from answerable.testing import Point


class Points:
    """Counts the moments that this process passes, and kills it at the chosen one.

    Written with `os.write` to a file that is open for appending: what was written before a SIGKILL stays.
    """

    def __init__(self, log: Path, die_at: int | None) -> None:
        self._file = os.open(log, os.O_CREAT | os.O_APPEND | os.O_WRONLY, 0o600)
        self._die_at = die_at
        self._passed = 0
        self._lock = threading.Lock()

    def __call__(self, name: str) -> None:
        """Pass one moment, or die in it."""
        with self._lock:
            self._passed += 1
            if self._passed == self._die_at:
                self._write(f"died {name}\n")
                os.kill(os.getpid(), signal.SIGKILL)
                time.sleep(60)

    def of_store(self, point: Point) -> None:
        """A moment of the journal. What it acknowledged is written down before anything else can happen."""
        self._write("".join(f"ack {entry.stream} {entry.seq} {entry.hash}\n" for entry in point.entries))
        self(f"{point.when} append of {'+'.join(point.kinds)}")

    def _write(self, text: str) -> None:
        os.write(self._file, text.encode())


def acknowledged(log: Path) -> set[tuple[str, int, str]]:
    """Every entry that any process was told is durable."""
    return {
        (stream, int(seq), digest)
        for line in log.read_text().splitlines()
        if line.startswith("ack ")
        for _, stream, seq, digest in [line.split(" ")]
    }


def deaths(log: Path) -> list[str]:
    """Where processes died, in order."""
    return [line.removeprefix("died ") for line in log.read_text().splitlines() if line.startswith("died ")]


def hashes(entries: list[Entry]) -> set[tuple[str, int, str]]:
    """Entries as `acknowledged` names them."""
    return {(entry.stream, entry.seq, entry.hash) for entry in entries}


def exit_now(code: int) -> NoReturn:
    """End a forked child without running anything that belongs to its parent."""
    os._exit(code)


def fork(work: Callable[[], Any]) -> int:
    """A child process that does this and nothing else."""
    child = os.fork()
    if child == 0:
        try:
            asyncio.run(work())
        except BaseException:
            traceback.print_exc()
            exit_now(1)
        exit_now(0)
    return child
