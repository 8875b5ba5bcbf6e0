"""`/healthz` and `/readyz`: whether a process lives, and whether work may be sent to it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Protocol

from answerable.server.listen import bound, listen

try:
    from starlette.applications import Starlette
    from starlette.responses import JSONResponse
    from starlette.routing import Route
except ImportError as error:
    from answerable.errors import ConfigError

    raise ConfigError(
        f"a server needs a package that is not installed: `{error.name}`",
        hint='pip install "answerable[server]"',
    ) from None

if TYPE_CHECKING:
    from collections.abc import Callable

    from starlette.requests import Request
    from starlette.responses import Response


class Health(Protocol):
    """What a process knows of itself. Each answer comes with reasons, which hold no secret and no content."""

    def alive(self) -> tuple[bool, list[str]]:
        """Whether the process does its work. No: start it anew."""
        ...

    def ready(self) -> tuple[bool, list[str]]:
        """Whether work may be sent to it now."""
        ...


def health_routes(health: Health) -> list[Route]:
    """The two pages, for a server that has others too."""

    def answer(ask: Callable[[], tuple[bool, list[str]]]) -> Response:
        try:
            is_well, reasons = ask()
        except Exception as error:  # noqa: BLE001 - what cannot say that it is well is not
            is_well, reasons = False, [f"it could not be asked: {type(error).__name__}"]
        status = 200 if is_well else 503
        return JSONResponse({"ok": is_well, "because": reasons}, status, {"Cache-Control": "no-store"})

    async def alive(_: Request) -> Response:
        return answer(health.alive)

    async def ready(_: Request) -> Response:
        return answer(health.ready)

    return [Route("/healthz", alive, methods=["GET"]), Route("/readyz", ready, methods=["GET"])]


async def serve_health(
    health: Health, host: str, port: int, *, on_listening: Callable[[int], None] | None = None
) -> None:
    """Serve the two pages until cancelled. `on_listening` is told the port, which matters where it was 0."""
    listening = bound(host, port)
    if on_listening is not None:
        on_listening(listening.getsockname()[1])
    await listen(Starlette(routes=health_routes(health)), listening, asyncio.Event())
