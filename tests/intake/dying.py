"""Processes that die by `kill -9` at the worst moment: when a run is in the journal and nobody knows it yet."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from pathlib import Path
from typing import Any

from answerable.engine.intake import Intake
from answerable.intake import doors_of, run_doors
from answerable.intake.reception import open_reception
from answerable.project import load_project
from answerable.server.app import make_app
from answerable.server.listen import bound, listen


async def _accept_and_die(self: Intake, *args: Any, **kwargs: Any) -> Any:
    await _accept(self, *args, **kwargs)
    os.kill(os.getpid(), signal.SIGKILL)


async def _die_and_accept(self: Intake, *args: Any, **kwargs: Any) -> Any:
    os.kill(os.getpid(), signal.SIGKILL)


async def serve(folder: Path) -> None:
    """The server."""
    project = load_project(folder)
    async with open_reception(project) as intake:
        app, _ = make_app(intake, doors_of(project).webhooks)
        listening = bound("127.0.0.1", 0)
        print(f"listening on http://127.0.0.1:{listening.getsockname()[1]}", flush=True)
        await listen(app, listening, asyncio.Event())


async def watch(folder: Path) -> None:
    """The queues and schedules."""
    project = load_project(folder)
    async with open_reception(project) as intake:
        print("listening on http://nowhere:0", flush=True)
        await run_doors(intake, doors_of(project), asyncio.Event())


_accept = Intake.accept

if __name__ == "__main__":
    what, when, where = sys.argv[1:]
    dies = {"after": _accept_and_die, "before": _die_and_accept, "never": _accept}
    Intake.accept = dies[when]  # pyright: ignore[reportAttributeAccessIssue]
    asyncio.run({"serve": serve, "watch": watch}[what](Path(where)))
