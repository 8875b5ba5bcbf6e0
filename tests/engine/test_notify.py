"""Somebody is told when a person is needed: at least once, signed, also after a crash, and without any content."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import sys
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any, Self

import pytest
from workshop import Vendor, asks, make_agent, runtime_of

from answerable import EffectKey, NotifySettings, Run, tool

SECRET = "hush"


@tool(mode="native_key")
async def pay(amount: int, *, key: EffectKey, vendor: object) -> str:
    """Pay."""
    assert isinstance(vendor, Vendor)
    return vendor.do(key)


async def program(run: Run, _task: Any) -> str:
    """One payment, which needs a person."""
    await run.call(pay, amount=5)
    return "paid"


class Hook:
    """A webhook on loopback that fails as often as it is told to."""

    def __init__(self, failures: int) -> None:
        self.got: list[tuple[dict[str, Any], bool]] = []
        hook = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                signed = "sha256=" + hmac.new(SECRET.encode(), body, hashlib.sha256).hexdigest()
                hook.got.append((json.loads(body), self.headers["Answerable-Signature"] == signed))
                self.send_response(500 if len(hook.got) <= failures else 204)
                self.end_headers()

            def log_message(self, *_args: object) -> None:
                """Quiet."""

        self.server = HTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/hook"
        self.thread = threading.Thread(target=self.server.serve_forever)

    def __enter__(self) -> Self:
        self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()


def drive(folder: Path, settings: NotifySettings, *, is_new: bool = True) -> None:
    """Drive the run until it waits for a person, in a runtime that is closed afterwards."""

    async def story() -> None:
        agent = make_agent([pay], program, asks("pay"))
        async with runtime_of(folder, agent, notify=settings, seed="first" if is_new else "again") as runtime:
            outcome = await runtime.run(agent, {"id": "1", "text": "a private matter"})
            assert outcome.waiting_for == "approval"

    asyncio.run(story())


def test_a_webhook_is_told_and_can_check_who_tells(tmp_path: Path) -> None:
    """What is needed and where to look, signed; nothing of what the run is about."""
    with Hook(failures=0) as hook:
        drive(tmp_path, NotifySettings(webhook=hook.url, secret=SECRET))

    ((message, is_signed),) = hook.got
    assert is_signed
    assert (message["kind"], message["state"], message["agent"]) == ("approval", "waiting", "clerk")
    assert message["next"] == f"answerable show {message['run']}"
    assert "private" not in json.dumps(message)


def test_what_could_not_be_delivered_is_delivered_by_the_next_process(tmp_path: Path) -> None:
    """The need was recorded with its cause, so no restart forgets it; once told, nobody is told again."""
    with Hook(failures=1) as hook:
        settings = NotifySettings(webhook=hook.url, secret=SECRET)
        drive(tmp_path, settings)
        drive(tmp_path, settings, is_new=False)
        drive(tmp_path, settings, is_new=False)

    assert len(hook.got) == 2
    assert hook.got[0][0]["notice"] == hook.got[1][0]["notice"]


@pytest.mark.parametrize(("code", "told"), [(0, 1), (1, 2)])
def test_a_command_gets_the_message_and_says_whether_it_was_told(
    tmp_path: Path, code: int, told: int
) -> None:
    """Exit 0 means told; anything else means again."""
    log = tmp_path / "told.jsonl"
    script = f"import sys; open({str(log)!r}, 'a').write(sys.stdin.read() + '\\n'); sys.exit({code})"
    settings = NotifySettings(command=(sys.executable, "-c", script))
    drive(tmp_path, settings)
    drive(tmp_path, settings, is_new=False)

    lines = [json.loads(line) for line in log.read_text().splitlines()]
    assert len(lines) == told
    assert {line["kind"] for line in lines} == {"approval"}
