"""Telling people that they are needed: a command or a signed webhook, at least once.

What is to be told is recorded in the transaction that made it necessary, so a crash cannot forget it. Of the processes
on a journal one takes a message and tells it; another tells it again only where the first did not live to say that it
is told. A message says which run needs somebody and why; it holds no content of the run.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import urllib.request
from dataclasses import dataclass
from typing import TYPE_CHECKING

from answerable.errors import JournalError
from answerable.kernel.encoding import encode_payload

if TYPE_CHECKING:
    from answerable.engine.ports import Ports
    from answerable.journal.store import JournalStore, Notice

LOOK_EVERY_S = 0.25
TIMEOUT_S = 10.0
TAKEN_S = 60.0
"""For how long a message is left to the process that took it: well over what telling it can take."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NotifySettings:
    """Who is told, and how. Neither: nobody is told, and the list of runs shows who is needed."""

    command: tuple[str, ...] = ()
    """Run with the message as JSON on standard input; exit 0 means told."""
    webhook: str = ""
    """Gets the message as a POST; any 2xx means told."""
    secret: str = ""
    """Signs the webhook's body: header `Answerable-Signature: sha256=HEX`."""


class Notifier:
    """Delivers what is waiting to be told, again after a failure, again after a restart."""

    def __init__(self, store: JournalStore, settings: NotifySettings, ports: Ports) -> None:
        self._store = store
        self._settings = settings
        self._ports = ports
        self._task: asyncio.Task[None] | None = None
        self._is_closing = asyncio.Event()

    def begin(self) -> None:
        """Start looking, where anybody is to be told at all."""
        if self._settings.command or self._settings.webhook:
            self._task = asyncio.get_running_loop().create_task(self._look())

    async def close(self) -> None:
        """Deliver what is still waiting, once, and stop; what fails is delivered by the next process.

        What is being told comes to its end first: told half, it would be told again.
        """
        if self._task is None:
            return
        self._is_closing.set()
        try:
            await asyncio.wait([self._task])
        finally:
            self._task.cancel()
        await self.deliver(is_last=True)

    async def _look(self) -> None:
        pause = LOOK_EVERY_S
        while not self._is_closing.is_set():
            try:
                async with asyncio.timeout(pause):
                    await self._is_closing.wait()
            except TimeoutError:
                all_told = await self.deliver()
                pause = LOOK_EVERY_S if all_told else min(pause * 2, 60.0)

    async def deliver(self, *, is_last: bool = False) -> bool:
        """Try everything that is waiting and that no other process is telling; whether all of it was told.

        Unless it is the last time, nothing more is begun once we are closing.
        """
        all_told = True
        last = 0
        try:
            while is_last or not self._is_closing.is_set():
                notice = await self._store.take_notice(after=last, for_s=TAKEN_S)
                if notice is None:
                    break
                last = notice.id
                is_done = await self._tell(notice)
                await self._store.delivered(last, is_done=is_done)
                all_told = all_told and is_done
        except JournalError:
            return False
        return all_told

    async def _tell(self, notice: Notice) -> bool:
        rows = await self._store.runs(run=notice.run)
        body = encode_payload(
            {
                "notice": notice.id,
                "journal": self._store.journal,
                "kind": notice.kind,
                "run": notice.run,
                "agent": rows[0].agent if rows else "",
                "state": rows[0].state if rows else "",
                "outcome": rows[0].outcome if rows else None,
                "code": rows[0].code if rows else None,
                "created_us": notice.created,
                "next": f"answerable show {notice.run}",
            }
        )
        if self._settings.command:
            return await self._run(body)
        return await asyncio.to_thread(self._post, body)

    async def _run(self, body: bytes) -> bool:
        try:
            process = await asyncio.create_subprocess_exec(
                *self._settings.command,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.DEVNULL,
                stderr=asyncio.subprocess.DEVNULL,
            )
        except OSError:
            return False
        try:
            async with asyncio.timeout(TIMEOUT_S):
                await process.communicate(body)
        except TimeoutError:
            process.kill()
            await process.wait()
            return False
        return process.returncode == 0

    def _post(self, body: bytes) -> bool:
        if not self._settings.webhook.startswith(("http://", "https://")):
            return False
        signature = hmac.new(self._settings.secret.encode(), body, hashlib.sha256).hexdigest()
        request = urllib.request.Request(  # noqa: S310 - the scheme is checked above
            self._settings.webhook,
            data=body,
            headers={"Content-Type": "application/json", "Answerable-Signature": f"sha256={signature}"},
        )
        try:
            with urllib.request.urlopen(request, timeout=TIMEOUT_S) as answer:  # noqa: S310
                return 200 <= answer.status < 300  # noqa: PLR2004
        except OSError:
            return False
