"""Listening: uvicorn, told to say nothing of itself, to wait for nobody, and to leave signals to us."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from typing import TYPE_CHECKING

from answerable.errors import ConfigError

try:
    import h11
    import uvicorn
    from uvicorn.protocols.http.h11_impl import H11Protocol
except ImportError as error:
    raise ConfigError(
        f"a server needs a package that is not installed: `{error.name}`",
        hint='pip install "answerable[server]"',
    ) from None

if TYPE_CHECKING:
    from collections.abc import Generator

    from starlette.types import ASGIApp

HEAD_S = 10.0
"""How long a client may take for the head of a request."""
HEAD_BYTES_MAX = 16 * 1024
IDLE_S = 5
LEAVE_S = 10
"""How long requests that are being answered may take once the server stops."""
CONNECTIONS_MAX = 512


def bound(host: str, port: int) -> socket.socket:
    """A socket that takes connections; port 0 is one that is free. Raises `ConfigError` where it is not ours."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((host, port))
        listening.listen(CONNECTIONS_MAX)
    except (OSError, OverflowError) as error:
        listening.close()
        raise ConfigError(
            f"`{host}:{port}` cannot be listened on: {getattr(error, 'strerror', None) or error}",
            hint="choose another with --host and --port; 0 is any port that is free",
        ) from None
    return listening


async def listen(app: ASGIApp, listening: socket.socket, stop: asyncio.Event) -> None:
    """Serve until `stop` is set, or until cancelled; what is being answered is answered to its end."""
    server = _Server(
        uvicorn.Config(
            app,
            http=_Protocol,
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            timeout_keep_alive=IDLE_S,
            timeout_graceful_shutdown=LEAVE_S,
            limit_concurrency=CONNECTIONS_MAX,
            h11_max_incomplete_event_size=HEAD_BYTES_MAX,
        )
    )
    serving = asyncio.create_task(server.serve(sockets=[listening]))
    stopping = asyncio.create_task(stop.wait())
    try:
        await asyncio.wait([serving, stopping], return_when=asyncio.FIRST_COMPLETED)
    finally:
        server.should_exit = True
        stopping.cancel()
        await asyncio.wait([serving])
        listening.close()
    await serving


class _Server(uvicorn.Server):
    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None]:
        """Signals are the process's business: it has a journal to close."""
        yield


class _Protocol(H11Protocol):
    """HTTP that does not wait for ever for the head of a request."""

    _waiting: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # pyright: ignore[reportIncompatibleMethodOverride] - as uvicorn has it
        super().connection_made(transport)
        self._wait_for_head()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self.conn.their_state is h11.IDLE:
            self._wait_for_head()
        else:
            self._had_head()

    def connection_lost(self, exc: Exception | None) -> None:
        self._had_head()
        super().connection_lost(exc)

    def _wait_for_head(self) -> None:
        if self._waiting is None:
            self._waiting = self.loop.call_later(HEAD_S, self.transport.abort)

    def _had_head(self) -> None:
        if self._waiting is not None:
            self._waiting.cancel()
            self._waiting = None
