"""Whether a process lives and may be sent work, for whoever asks over HTTP."""

from __future__ import annotations

import asyncio
import contextlib
import json
from typing import TYPE_CHECKING

from tests.intake.offices import Server

from answerable.server.health import serve_health

if TYPE_CHECKING:
    from pathlib import Path


class Patient:
    """A process that says how it is."""

    def __init__(self) -> None:
        self.reasons: list[str] = []

    def alive(self) -> tuple[bool, list[str]]:
        """It does not know."""
        raise RuntimeError("hidden")

    def ready(self) -> tuple[bool, list[str]]:
        """As it is told."""
        return not self.reasons, self.reasons


async def test_a_process_says_how_it_is(tmp_path: Path) -> None:
    patient, ports = Patient(), list[int]()
    serving = asyncio.create_task(serve_health(patient, "127.0.0.1", 0, on_listening=ports.append))
    while not ports:
        await asyncio.sleep(0.01)
    server = Server(tmp_path, None, ports[0], tmp_path)  # pyright: ignore[reportArgumentType]

    async def ask(path: str) -> tuple[int, object]:
        status, body = await asyncio.to_thread(server.get, path)
        return status, json.loads(body)

    assert await ask("/readyz") == (200, {"ok": True, "because": []})
    patient.reasons = ["the journal is behind"]
    assert await ask("/readyz") == (503, {"ok": False, "because": ["the journal is behind"]})
    assert await ask("/healthz") == (503, {"ok": False, "because": ["it could not be asked: RuntimeError"]})
    serving.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await serving
    assert serving.cancelled()
