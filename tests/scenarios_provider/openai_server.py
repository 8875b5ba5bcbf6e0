"""An OpenAI-compatible server on loopback whose answers the test writes.

    with start_server([Call("get_order", '{"order_id": "A-1"}'), Reply("Done.")]) as server:
        ...  # OPENAI_BASE_URL=server.base_url
        assert len(server.requests) == 2

A script is a list, one behaviour a request (a request past its end is answered with 500), or a callable from
the request to the behaviour. Chat Completions (`/chat/completions`) and the Responses API (`/responses`) are
spoken, whichever the path asks for. It keeps no state besides what it recorded.
"""

from __future__ import annotations

import contextlib
import json
import select
import threading
from dataclasses import KW_ONLY, dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Sequence

POLL_S = 0.02


@dataclass(frozen=True, kw_only=True)
class Tokens:
    """The usage that a reply reports. `cached` is part of `input`."""

    input: int = 20
    output: int = 5
    cached: int = 0


@dataclass(frozen=True)
class Call:
    """One tool call; `arguments` is sent exactly as given, JSON or not."""

    name: str
    arguments: str = "{}"
    id: str | None = None
    """Numbered where the test does not care."""


@dataclass(frozen=True)
class Reply:
    """A reply of the model: text, calls, or both. `tokens=None` leaves usage out, as some servers do."""

    text: str | None = None
    _: KW_ONLY
    calls: tuple[Call, ...] = ()
    tokens: Tokens | None = field(default_factory=Tokens)
    finish_reason: str = ""
    model: str = "loopback-1"


@dataclass(frozen=True, kw_only=True)
class Status:
    """An HTTP error with a body as OpenAI writes it."""

    code: int
    message: str = "no"
    error_code: str | None = None
    headers: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Raw:
    """Exactly these bytes as the body of a 200."""

    body: bytes
    content_type: str = "application/json"


@dataclass(frozen=True, kw_only=True)
class Stall:
    """No answer until the client hangs up or the server closes; `start` is sent first, then silence."""

    start: bytes = b""


@dataclass(frozen=True)
class Drop:
    """The connection is closed without an answer."""


Behaviour = Reply | Call | Status | Raw | Stall | Drop


@dataclass(kw_only=True)
class Request:
    """What arrived."""

    method: str
    path: str
    headers: dict[str, str]
    """Names in lower case."""
    raw: bytes
    hung_up: threading.Event = field(default_factory=threading.Event)
    """Set once the client closed a stalled connection."""

    @property
    def body(self) -> Any:
        """The parsed JSON body."""
        return json.loads(self.raw)


class Server:
    """A running server: where it listens and what it was asked."""

    def __init__(self, script: Sequence[Behaviour] | Callable[[Request], Behaviour]) -> None:
        """Bind a free port of 127.0.0.1; `start_server` runs it."""
        self._script = script
        self._lock = threading.Lock()
        self.requests: list[Request] = []
        self.arrived = threading.Event()
        """Set with the first request."""
        self.closing = threading.Event()
        self.http = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self.http.daemon_threads = True
        self.base_url = f"http://127.0.0.1:{self.http.server_port}/v1"

    def behaviour(self, request: Request) -> Behaviour:
        """Record `request` and look up what it gets."""
        with self._lock:
            self.requests.append(request)
            self.arrived.set()
            if callable(self._script):
                return self._script(request)
            if len(self.requests) > len(self._script):
                return Status(code=500, message="the script of the loopback server is over")
            return self._script[len(self.requests) - 1]

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        server = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                length = int(self.headers.get("content-length", 0))
                headers = {name.lower(): value for name, value in self.headers.items()}
                request = Request(method="POST", path=self.path, headers=headers, raw=self.rfile.read(length))
                with contextlib.suppress(ConnectionError):
                    _answer(self, request, server)
                self.close_connection = True

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base names it so
                """Say nothing: the test reads `requests`."""

        return Handler


@contextlib.contextmanager
def start_server(script: Sequence[Behaviour] | Callable[[Request], Behaviour]) -> Generator[Server]:
    """A server that answers by `script` until the block ends."""
    server = Server(script)
    thread = threading.Thread(target=server.http.serve_forever, kwargs={"poll_interval": POLL_S}, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.closing.set()
        server.http.shutdown()
        server.http.server_close()
        thread.join()


def _answer(handler: BaseHTTPRequestHandler, request: Request, server: Server) -> None:
    match server.behaviour(request):
        case Reply() as reply:
            _send(handler, 200, json.dumps(_render(request.path, reply, len(server.requests))).encode())
        case Call() as call:
            reply = Reply(calls=(call,))
            _send(handler, 200, json.dumps(_render(request.path, reply, len(server.requests))).encode())
        case Status() as status:
            error = {"message": status.message, "type": "error", "param": None, "code": status.error_code}
            _send(handler, status.code, json.dumps({"error": error}).encode(), status.headers)
        case Raw() as raw:
            _send(handler, 200, raw.body, {"content-type": raw.content_type})
        case Stall() as stall:
            if stall.start:
                handler.wfile.write(stall.start)
                handler.wfile.flush()
            while not server.closing.is_set():
                readable, _, _ = select.select([handler.connection], [], [], POLL_S)
                if readable and not handler.connection.recv(1):
                    request.hung_up.set()
                    return
        case Drop():
            pass


def _send(
    handler: BaseHTTPRequestHandler, code: int, body: bytes, headers: dict[str, str] | None = None
) -> None:
    handler.send_response(code)
    for name, value in {"content-type": "application/json", **(headers or {})}.items():
        handler.send_header(name, value)
    handler.send_header("content-length", str(len(body)))
    handler.send_header("connection", "close")
    handler.end_headers()
    handler.wfile.write(body)


def _render(path: str, reply: Reply, number: int) -> dict[str, Any]:
    if path.endswith("/responses"):
        return _as_response(reply, number)
    return _as_completion(reply, number)


def _call_id(call: Call, number: int, index: int) -> str:
    return f"call_{number}_{index}" if call.id is None else call.id


def _as_completion(reply: Reply, number: int) -> dict[str, Any]:
    message: dict[str, Any] = {"role": "assistant", "content": reply.text}
    if reply.calls:
        message["tool_calls"] = [
            {
                "id": _call_id(call, number, index),
                "type": "function",
                "function": {"name": call.name, "arguments": call.arguments},
            }
            for index, call in enumerate(reply.calls)
        ]
    finish = reply.finish_reason or ("tool_calls" if reply.calls else "stop")
    completion: dict[str, Any] = {
        "id": f"chatcmpl-{number}",
        "object": "chat.completion",
        "created": 1_700_000_000,
        "model": reply.model,
        "choices": [{"index": 0, "message": message, "finish_reason": finish}],
    }
    if reply.tokens is not None:
        completion["usage"] = {
            "prompt_tokens": reply.tokens.input,
            "completion_tokens": reply.tokens.output,
            "total_tokens": reply.tokens.input + reply.tokens.output,
            "prompt_tokens_details": {"cached_tokens": reply.tokens.cached},
        }
    return completion


def _as_response(reply: Reply, number: int) -> dict[str, Any]:
    output: list[dict[str, Any]] = []
    if reply.text is not None:
        output.append(
            {
                "type": "message",
                "id": f"msg_{number}",
                "role": "assistant",
                "status": "completed",
                "content": [{"type": "output_text", "text": reply.text, "annotations": []}],
            }
        )
    output += [
        {
            "type": "function_call",
            "id": f"fc_{number}_{index}",
            "call_id": _call_id(call, number, index),
            "name": call.name,
            "arguments": call.arguments,
            "status": "completed",
        }
        for index, call in enumerate(reply.calls)
    ]
    response: dict[str, Any] = {
        "id": f"resp_{number}",
        "object": "response",
        "created_at": 1_700_000_000,
        "model": reply.model,
        "status": "completed",
        "output": output,
        "parallel_tool_calls": True,
        "tool_choice": "auto",
        "tools": [],
    }
    if reply.tokens is not None:
        response["usage"] = {
            "input_tokens": reply.tokens.input,
            "input_tokens_details": {"cached_tokens": reply.tokens.cached},
            "output_tokens": reply.tokens.output,
            "output_tokens_details": {"reasoning_tokens": 0},
            "total_tokens": reply.tokens.input + reply.tokens.output,
        }
    return response
