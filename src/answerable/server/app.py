"""The doors that are served over HTTP: a signed delivery becomes a run, or is refused with the reason.

Nothing is acknowledged before its run is in the journal. Nothing of a request is logged but its door, its status
and its run.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

try:
    from starlette.applications import Starlette
    from starlette.exceptions import HTTPException
    from starlette.requests import ClientDisconnect, Request
    from starlette.responses import JSONResponse
    from starlette.routing import Route
except ImportError as error:
    from answerable.errors import ConfigError

    raise ConfigError(
        f"a server needs a package that is not installed: `{error.name}`",
        hint='pip install "answerable[server]"',
    ) from None

from answerable.errors import InputError, IntakeFull, JournalError
from answerable.gates.schema import ARGUMENTS_BYTES_MAX, Refused, parse_object
from answerable.intake.watch import tell
from answerable.intake.webhook import Unsigned, check
from answerable.observe.logs import say, warn
from answerable.server.health import health_routes

if TYPE_CHECKING:
    from collections.abc import Mapping

    from starlette.responses import Response
    from starlette.types import ASGIApp, Receive, Scope, Send

    from answerable.engine.intake import Accepted, Intake
    from answerable.intake.doors import Webhook
    from answerable.intake.watch import OnAccepted

BODY_BYTES_MAX = ARGUMENTS_BYTES_MAX
BODY_S = 10.0
"""How long a sender may take for the body."""
RETRY_AFTER_S = 5
"""What a sender is asked to wait where there is no room, or the journal cannot be written."""
FAILED_S = 10.0
"""How long a write that failed keeps the server from saying that it is ready."""


class Reception:
    """The routes' state: the doors, the intake behind them, and how it went last."""

    def __init__(
        self, intake: Intake, webhooks: Mapping[str, Webhook], on_accepted: OnAccepted | None
    ) -> None:
        self._intake = intake
        self._webhooks = webhooks
        self._on_accepted = on_accepted
        self._failed_at: float | None = None
        self.is_leaving = False

    def alive(self) -> tuple[bool, list[str]]:
        """The loop answers, so it lives."""
        return True, []

    def ready(self) -> tuple[bool, list[str]]:
        """Not while it leaves, and not just after the journal could not be written."""
        reasons: list[str] = []
        if self.is_leaving:
            reasons.append("the server is stopping")
        if self._failed_at is not None and self._now_s() - self._failed_at < FAILED_S:
            reasons.append("the journal could not be read or written")
        return not reasons, reasons

    async def deliver(self, request: Request) -> Response:
        """One delivery: signed, well-formed, a task, accepted; each of them or its own refusal."""
        door = self._webhooks.get(request.path_params["door"])
        if door is None:
            return _refusal(404, "there is no such door", "the project's file names them: [[intake.webhook]]")
        try:
            async with asyncio.timeout(BODY_S):
                body = await _body(request)
        except TimeoutError:
            return _refusal(408, "the body took too long", "send it at once", close=True)
        except ClientDisconnect:
            return _refusal(400, "the body did not come to its end", "send it again")
        if body is None:
            return _refusal(
                413, f"the body is larger than {BODY_BYTES_MAX} bytes", "send a reference", close=True
            )
        try:
            event = check(
                door.scheme,
                door.secrets,
                request.headers.getlist,
                body,
                now_s=self._now_s(),
                window_s=door.window_s,
            )
        except Unsigned as unsigned:
            warn("delivery_refused", webhook=door.name, status=401)
            return _refusal(401, str(unsigned), "sign it with the secret of this door")
        try:
            task = parse_object(body)
        except Refused as refused:
            return _refusal(
                400, str(refused).replace("the arguments are", "the body is"), "send a JSON object"
            )
        return await self._accept(door, task, [f"webhook:{door.name}:{event}"] if event else [])

    async def _accept(self, door: Webhook, task: dict[str, object], sources: list[str]) -> Response:
        try:
            (accepted,) = await self._intake.accept(
                door.agent, [task], sources=sources, requested_by=f"webhook:{door.name}"
            )
        except InputError as error:
            return _refusal(422, str(error.args[0]), "correct it; nothing was accepted")
        except IntakeFull:
            warn("delivery_refused", webhook=door.name, status=429)
            return _refusal(429, "too many runs are open", "send it again later", retry=True)
        except JournalError as error:
            self._failed_at = self._now_s()
            warn("delivery_refused", webhook=door.name, status=503, error=type(error).__name__)
            return _refusal(503, "the journal cannot be written now", "send it again later", retry=True)
        self._failed_at = None
        await tell(self._on_accepted, [accepted.run])
        return _accepted(door, accepted)

    def _now_s(self) -> float:
        return self._intake.ports.clock.now_us() / 1_000_000


def make_app(
    intake: Intake, webhooks: Mapping[str, Webhook], *, on_accepted: OnAccepted | None = None
) -> tuple[ASGIApp, Reception]:
    """The application, and what it knows of itself."""
    reception = Reception(intake, webhooks, on_accepted)
    routes = [Route("/intake/{door}", reception.deliver, methods=["POST"]), *health_routes(reception)]
    return _Guard(
        Starlette(routes=routes, exception_handlers={HTTPException: _http_error, Exception: _our_error})
    ), reception


class _Guard:
    """The outermost layer: what went wrong inside is logged, without what was asked; it is answered already."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await self._app(scope, receive, send)
        except Exception as error:  # noqa: BLE001 - the server would log its trace, and content with it
            say("request_failed", logging.ERROR, error=type(error).__name__)


async def _body(request: Request) -> bytes | None:
    """The body, or None as soon as it is larger than allowed."""
    declared = request.headers.get("content-length", "0")
    if not declared.isascii() or not declared.isdecimal() or int(declared[:12]) > BODY_BYTES_MAX:
        return None
    body = bytearray()
    async for part in request.stream():
        body += part
        if len(body) > BODY_BYTES_MAX:
            return None
    return bytes(body)


def _accepted(door: Webhook, accepted: Accepted) -> Response:
    status = 202 if accepted.is_new else 200
    say("delivery_accepted", webhook=door.name, status=status, run=accepted.run)
    return JSONResponse({"run": accepted.run, "status": "accepted" if accepted.is_new else "known"}, status)


def _refusal(status: int, error: str, hint: str, *, retry: bool = False, close: bool = False) -> JSONResponse:
    headers = {"Cache-Control": "no-store"}
    if retry:
        headers["Retry-After"] = str(RETRY_AFTER_S)
    if close:
        headers["Connection"] = "close"  # what is still to come of the body is not read
    return JSONResponse({"error": error, "hint": hint}, status, headers)


async def _http_error(_: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    answer = _refusal(error.status_code, error.detail.lower(), "POST /intake/NAME, GET /healthz, GET /readyz")
    answer.headers.update(error.headers or {})
    return answer


async def _our_error(_: Request, __: Exception) -> Response:
    return _refusal(500, "something went wrong inside", "send it again later", retry=True)
