"""Hearing of a halt at once: a connection that listens, and asks by itself each second in case it missed something."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

import psycopg

from answerable.journal.postgres.connect import conninfo, settings
from answerable.journal.postgres.statements import CHANNEL

POLL_S = 1.0
"""How often the halts are asked for without having been told, and how long `changed` waits at most."""


class Listener:
    """Tells whoever waits that a halt was raised or lifted. Begins to listen when somebody waits."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._task: asyncio.Task[None] | None = None
        self._told = asyncio.Event()
        self._epoch = -1

    async def changed(self) -> None:
        """Return when a halt was raised or lifted, or after a second: other changes are not told."""
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._listen(), name="answerable-listener")
        with contextlib.suppress(
            TimeoutError
        ):  # not `wait_for`: it loses a cancel that comes with the signal
            async with asyncio.timeout(POLL_S):
                await self._told.wait()
        self._told.clear()

    async def _listen(self) -> None:
        while True:
            try:
                await self._listen_once()
            except (psycopg.Error, OSError):  # whoever waits is told each second anyway, and asks for itself
                await asyncio.sleep(POLL_S)

    async def _listen_once(self) -> None:
        db: psycopg.AsyncConnection[Any] = await psycopg.AsyncConnection.connect(
            conninfo(self._url, "listener"), autocommit=True
        )
        async with db:
            await db.execute(settings("full"))
            await db.execute(f"LISTEN {CHANNEL}")
            while True:
                # What was raised before we listened, or while the connection was dead unnoticed.
                cursor = await db.execute("SELECT coalesce(max(epoch), 0) FROM answerable.halt")
                row = await cursor.fetchone()
                epoch = row[0] if row is not None else 0
                if epoch != self._epoch:
                    self._epoch = epoch
                    self._told.set()
                async for _ in db.notifies(timeout=POLL_S, stop_after=1):
                    self._told.set()

    async def close(self) -> None:
        """Stop listening."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
            self._task = None
