"""The stage of the long runs: a real PostgreSQL server, a vendor and workers, each a process of its own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.postgres_server import Server, execute, on

if TYPE_CHECKING:
    from collections.abc import Generator

ROOT = Path(__file__).resolve().parents[2]
DESK = Path(__file__).parent / "desk"
DATABASE = "soak"


@dataclass(kw_only=True)
class Stage:
    """Where everything is, and who is working."""

    folder: Path
    url: str
    vendor_port: int
    concurrency: int
    workers: list[subprocess.Popen[bytes]] = field(default_factory=list)
    started: int = 0

    def environment(self) -> dict[str, str]:
        """What every process of ours is given."""
        return {
            **os.environ,
            "PYTHONPATH": f"{ROOT / 'src'}:{ROOT}",
            "SOAK_VENDOR_PORT": str(self.vendor_port),
            "ANSWERABLE_HOME": str(self.folder / "home"),
            "ANSWERABLE_DATABASE_URL": self.url,
        }

    def answerable(self, *args: str, **more: Any) -> subprocess.Popen[bytes]:
        """Start the command."""
        command = [sys.executable, "-m", "answerable", *args]
        return subprocess.Popen(command, env=self.environment(), cwd=self.folder, **more)

    def hire(self) -> subprocess.Popen[bytes]:
        """Start one more worker."""
        self.started += 1
        log = (self.folder / f"worker-{self.started}.log").open("wb")
        worker = self.answerable(
            "worker",
            str(DESK),
            "--concurrency",
            str(self.concurrency),
            "--durability",
            "group",
            stderr=log,
            stdout=log,
        )
        self.workers.append(worker)
        return worker

    def kill(self, worker: subprocess.Popen[bytes]) -> None:
        """End a worker as a crash would."""
        worker.send_signal(signal.SIGKILL)
        worker.wait()
        self.workers.remove(worker)

    def vendor(self, path: str, asked: dict[str, Any] | None = None) -> Any:
        """Ask the vendor something that is not work."""
        body = json.dumps(asked or {}).encode()
        request = urllib.request.Request(f"http://127.0.0.1:{self.vendor_port}{path}", data=body)
        with urllib.request.urlopen(request, timeout=30) as reply:
            return json.load(reply)

    def sql(self, text: str) -> list[Any]:
        """Ask the journal's database."""
        return execute(self.url, text)

    def standing(self) -> dict[str, int]:
        """How many runs are in each state."""
        return dict(self.sql("SELECT state, count(*) FROM answerable.run GROUP BY state"))


@contextmanager
def stage(*, workers: int, concurrency: int) -> Generator[Stage]:
    """Set everything up; what was started is ended."""
    server = Server()
    folder = Path(tempfile.mkdtemp(prefix="answerable-soak-"))
    execute(server.url, f"CREATE DATABASE {DATABASE} ENCODING 'UTF8' TEMPLATE template0")
    port_file = folder / "port"
    vendor = subprocess.Popen(
        [sys.executable, "-m", "tests.soak.vendor", str(port_file)],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": "src:."},
    )
    while not port_file.exists():
        time.sleep(0.01)
    one = Stage(
        folder=folder,
        url=on(server.url, DATABASE),
        vendor_port=int(port_file.read_text()),
        concurrency=concurrency,
    )
    os.environ.update(one.environment())
    try:
        for _ in range(workers):
            one.hire()
        yield one
    finally:
        for worker in list(one.workers):
            worker.send_signal(signal.SIGCONT)
            one.kill(worker)
        vendor.kill()
        vendor.wait()
        server.close()


def percentile(values: list[float], share: float) -> float:
    """The value that `share` of them do not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, round(share * (len(ordered) - 1)))] if ordered else 0.0
