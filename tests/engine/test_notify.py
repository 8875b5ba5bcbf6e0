"""Somebody is told when a person is needed: at least once, signed, also after a crash, and without any content."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import pytest
from workshop import Vendor, asks, make_agent, runtime_of

from answerable import EffectKey, NotifySettings, Run, tool
from answerable.engine.notify import LOOK_EVERY_S, TAKEN_S
from answerable.testing import FakeClock

if TYPE_CHECKING:
    from collections.abc import Callable

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
    """A webhook on loopback that fails as often as it is told to, and takes its time."""

    def __init__(self, failures: int, takes_s: float = 0.0) -> None:
        self.got: list[tuple[dict[str, Any], bool]] = []
        hook = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                signed = "sha256=" + hmac.new(SECRET.encode(), body, hashlib.sha256).hexdigest()
                hook.got.append((json.loads(body), self.headers["Answerable-Signature"] == signed))
                time.sleep(takes_s)
                self.send_response(500 if len(hook.got) <= failures else 204)
                self.end_headers()

            def log_message(self, *_args: object) -> None:
                """Quiet."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
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


def crowd(folder: Path, settings: NotifySettings, told: Callable[[], object]) -> None:
    """Three processes on one journal, of which one has a run that waits for a person; until `told` says so."""

    async def story() -> None:
        agent = make_agent([pay], program, asks("pay"))
        async with (
            runtime_of(folder, agent, notify=settings, seed="first") as first,
            runtime_of(folder, agent, notify=settings, seed="second"),
            runtime_of(folder, agent, notify=settings, seed="third"),
        ):
            await first.run(agent, {"id": "1"})
            deadline = time.monotonic() + 10
            while not told() and time.monotonic() < deadline:
                await asyncio.sleep(0.02)
            await asyncio.sleep(
                2.5 * LOOK_EVERY_S
            )  # the others have looked by now, and close while it is told

    asyncio.run(story())


def test_processes_on_one_journal_tell_somebody_once_by_webhook(tmp_path: Path) -> None:
    """All of them look; one takes it, however long the telling takes, and the others leave it to that one."""
    with Hook(failures=0, takes_s=1.2) as hook:
        crowd(tmp_path, NotifySettings(webhook=hook.url, secret=SECRET), lambda: hook.got)

    assert [message["notice"] for message, _ in hook.got] == [1]


def test_processes_on_one_journal_tell_somebody_once_by_command(tmp_path: Path) -> None:
    """The same where a command tells."""
    log = tmp_path / "told.jsonl"
    script = f"import sys, time; open({str(log)!r}, 'a').write(sys.stdin.read() + '\\n'); time.sleep(1.2)"
    crowd(tmp_path, NotifySettings(command=(sys.executable, "-c", script)), log.exists)

    assert [json.loads(line)["notice"] for line in log.read_text().splitlines()] == [1]


def test_what_a_process_died_over_is_told_by_another_one_in_time(tmp_path: Path) -> None:
    """It took the message and told nobody of the end: the message is given out again, and not before."""
    clock = FakeClock()
    agent = make_agent([pay], program, asks("pay"))

    async def story(hook: Hook) -> None:
        settings = NotifySettings(webhook=hook.url, secret=SECRET)
        async with runtime_of(tmp_path, agent, clock=clock, seed="dies") as runtime:
            await runtime.run(agent, {"id": "1"})
            taken = await runtime.store.take_notice(for_s=TAKEN_S)
            assert taken is not None
        clock.advance(TAKEN_S - 1)
        async with runtime_of(tmp_path, agent, clock=clock, notify=settings, seed="early"):
            pass
        early = len(hook.got)
        clock.advance(2)
        async with runtime_of(tmp_path, agent, clock=clock, notify=settings, seed="late"):
            pass
        assert (early, [message["notice"] for message, _ in hook.got]) == (0, [taken.id])

    with Hook(failures=0) as hook:
        asyncio.run(story(hook))
