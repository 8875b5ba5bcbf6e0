"""Workers in processes of their own, started and ended by a test."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from tests.dispatch.child import Paper

if TYPE_CHECKING:
    from collections.abc import Callable

    from answerable.engine.runtime import Runtime

ROOT = Path(__file__).parents[2]


class Hand:
    """One worker."""

    def __init__(self, url: str, folder: Path, number: int, lease_s: int, prompt: str) -> None:
        self.log = folder / f"worker-{number}.log"
        with self.log.open("w") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "tests.dispatch.child", url, str(folder), str(lease_s), prompt],
                stderr=log,
                cwd=ROOT,
                env={**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT / "src"), str(ROOT)])},
            )
        self.pid = self.process.pid

    def said(self, event: str) -> list[dict[str, Any]]:
        lines = [json.loads(line) for line in self.log.read_text().splitlines() if line.startswith("{")]
        return [line for line in lines if line["event"] == event]

    def send(self, number: signal.Signals) -> None:
        os.kill(self.pid, number)

    async def ended(self) -> int:
        return await asyncio.to_thread(self.process.wait, 20)


class Crew:
    """All the workers of a test, on one journal."""

    def __init__(self, url: str, folder: Path) -> None:
        self.url, self.folder, self.paper = url, folder, Paper(folder)
        self.hands: list[Hand] = []

    async def hire(self, *, lease_s: int = 2, prompt: str = "Do it.") -> Hand:
        """Start a worker, and wait until it takes work."""
        hand = Hand(self.url, self.folder, len(self.hands), lease_s, prompt)
        self.hands.append(hand)
        await until(lambda: hand.said("worker_started") or hand.process.poll() is not None)
        assert hand.process.poll() is None, hand.log.read_text()
        return hand

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for hand in self.hands:
            if hand.process.poll() is None:
                hand.send(signal.SIGCONT)
                hand.process.kill()
            hand.process.wait()


async def until(holds: Callable[[], Any], seconds: float = 15) -> float:
    """Wait for something to become so, and return how long that took."""
    begun = time.monotonic()
    while not holds():
        assert time.monotonic() < begun + seconds, "it did not become so"
        await asyncio.sleep(0.01)
    return time.monotonic() - begun


async def until_state(runtime: Runtime, state: str, *runs: str, seconds: float = 15) -> float:
    """Wait for these runs to get into a state, and return how long that took."""
    begun = time.monotonic()
    while True:
        rows = [row for run in runs for row in await runtime.store.runs(run=run)]
        if all(row.state == state for row in rows):
            return time.monotonic() - begun
        assert time.monotonic() < begun + seconds, [(row.run, row.state, row.code) for row in rows]
        await asyncio.sleep(0.01)
