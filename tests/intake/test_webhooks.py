"""Webhooks, against the real server process: signed, once, durable before it is acknowledged, or refused."""

from __future__ import annotations

import asyncio
import http.client
import json
import socket
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tests.intake.offices import (
    CANARY,
    OLD_SECRET,
    TICKETS,
    Server,
    heard,
    intake_of,
    make_office,
    runs,
    serving,
    signed,
)
from tests.postgres_server import execute, postgres_url

from answerable.engine.intake import Intake
from answerable.errors import JournalFull
from answerable.intake import doors_of
from answerable.project import open_project
from answerable.server.app import make_app
from answerable.server.listen import bound, listen

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence

__all__ = ["heard", "postgres_url"]
ROTATED = f'{TICKETS}old_secret_env = "OLD_DESK_SECRET"\n'
DYING = [sys.executable, "-m", "tests.intake.dying"]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Generator[Server]:
    """One process for all tests that do not kill it."""
    folder = make_office(tmp_path_factory.mktemp("office"), ROTATED)
    with serving(folder) as running:
        yield running


def test_a_delivery_is_a_run_and_the_same_again_is_the_same_run(server: Server) -> None:
    status, first, headers = server.deliver({"id": "W-1"})
    assert (status, first["status"]) == (202, "accepted")
    assert "server" not in headers
    assert [row.run for row in runs(server.folder) if row.run == first["run"]]  # another process reads it now

    status, again, _ = server.deliver({"id": "W-1", "note": "sent again"})
    assert (status, again) == (200, {"run": first["run"], "status": "known"})


def test_twenty_at_once_are_one_run(server: Server) -> None:
    with ThreadPoolExecutor(20) as pool:
        said = list(pool.map(lambda _: server.deliver({"id": "W-20"}), range(20)))
    assert len({body["run"] for _, body, _ in said}) == 1
    assert sorted(status for status, _, _ in said) == [200] * 19 + [202]


def test_the_old_secret_counts_while_it_is_changed(server: Server) -> None:
    assert server.deliver({"id": "W-old"}, secret=OLD_SECRET)[0] == 202


@pytest.mark.parametrize(
    ("body", "headers", "status", "said"),
    [
        (b'{"id":"N-1"}', {}, 401, "missing"),
        (b'{"id":"N-1"}', signed(b'{"id":"N-2"}'), 401, "not that of this body"),
        (b'{"id":"N-1"}', signed(b'{"id":"N-1"}', secret="another secret"), 401, "not that of this body"),
        (b'{"id":"N-1"}', signed(b'{"id":"N-1"}', at=1_600_000_000), 401, "too long ago"),
        (b'{"id":"N-1"', signed(b'{"id":"N-1"'), 400, "not JSON"),
        (b'{"id":"N-1","id":"N-2"}', signed(b'{"id":"N-1","id":"N-2"}'), 400, "id"),
        (b'{"id":"N-1","count":NaN}', signed(b'{"id":"N-1","count":NaN}'), 400, "NaN"),
        (b'["N-1"]', signed(b'["N-1"]'), 400, "object"),
        (b"\xff", signed(b"\xff"), 400, "UTF-8"),
        (b"[" * 60_000, signed(b"[" * 60_000), 400, "deep"),
        (b'{"id":"N-1","noot":1}', signed(b'{"id":"N-1","noot":1}'), 422, "`noot`"),
        (b'{"id":"N-1","count":"2"}', signed(b'{"id":"N-1","count":"2"}'), 422, "`count`"),
        (b'{"note":"x"}', signed(b'{"note":"x"}'), 422, "`id`"),
        (b" " * 65_537, signed(b" " * 65_537), 413, "larger"),
    ],
)
def test_what_is_not_a_signed_task_is_refused_and_writes_nothing(
    server: Server, body: bytes, headers: dict[str, str], status: int, said: str
) -> None:
    before = len(runs(server.folder))
    answered, refusal, _ = server.post("/intake/tickets", body, headers)
    assert answered == status
    assert said in refusal["error"]
    assert refusal["hint"]
    assert len(runs(server.folder)) == before


def test_there_is_nothing_else_to_be_had(server: Server) -> None:
    assert server.post("/intake/other", b"{}", signed(b"{}"))[0] == 404
    for path, status in (("/intake/tickets", 405), ("/", 404), ("/intake/tickets/x", 404)):
        answered, body = server.get(path)
        assert answered == status
        assert set(json.loads(body)) == {"error", "hint"}
    assert server.get("/healthz") == server.get("/readyz") == (200, b'{"ok":true,"because":[]}')


def test_a_body_without_an_end_is_cut_off(server: Server) -> None:
    """Chunks do not announce how many will come."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
    chunks = (b" " * 10_000 for _ in range(10_000))
    try:
        connection.request("POST", "/intake/tickets", chunks, signed(b""), encode_chunked=True)
    except OSError:
        pass  # it hung up on us
    else:
        assert connection.getresponse().status == 413
    finally:
        connection.close()
    assert server.get("/healthz")[0] == 200


def test_nothing_of_a_delivery_is_in_the_log(server: Server) -> None:
    for task in ({"id": "L-1", "note": CANARY}, {"id": "L-1", CANARY: 1}, {"id": 7, "note": CANARY}):
        server.deliver(task)
        server.deliver(task, secret="not ours")
    server.post(f"/intake/{CANARY}", CANARY.encode(), {"Answerable-Timestamp": CANARY, CANARY: CANARY})
    server.get(f"/{CANARY}?{CANARY}")
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as raw:
        raw.sendall(f"{CANARY}\r\n\r\n".encode())
        assert b"400" in raw.recv(1000)
    log = server.log.read_text()
    assert "delivery_accepted webhook=tickets status=202 run=run_" in log
    assert CANARY not in log
    assert "Traceback" not in log


def test_two_servers_on_a_journal_in_postgresql_make_one_run(tmp_path: Path, postgres_url: str) -> None:
    """And keep the limit, which both of them know."""
    folder = make_office(tmp_path, f"[intake]\nmax_open = 2\n\n{TICKETS}")
    arguments = ("--db", postgres_url)
    with serving(folder, *arguments) as one, serving(folder, *arguments) as other:
        with ThreadPoolExecutor(20) as pool:
            said = list(pool.map(lambda n: (one, other)[n % 2].deliver({"id": "P-1"}), range(20)))
        assert len({body["run"] for _, body, _ in said}) == 1
        assert sorted(status for status, _, _ in said) == [200] * 19 + [202]
        assert [server.deliver({"id": "P-2"})[0] for server in (one, other)] == [202, 200]
        assert [server.deliver({"id": "P-3"})[0] for server in (one, other)] == [429, 429]
        assert execute(postgres_url, "SELECT count(*) FROM answerable.run") == [(2,)]


def test_killed_before_the_reply_the_sender_gets_the_same_run(tmp_path: Path) -> None:
    """The run was in the journal already; the sender does not know, sends again, and is told which."""
    folder = make_office(tmp_path)
    with serving(folder, command=[*DYING, "serve", "after", str(folder)]) as dying:
        with pytest.raises((http.client.RemoteDisconnected, ConnectionResetError)):
            dying.deliver({"id": "K-1"})
        assert dying.process.wait(10) == -9
    (left,) = runs(folder)
    with serving(folder) as server:
        status, again, _ = server.deliver({"id": "K-1"})
    assert (status, again) == (200, {"run": left.run, "status": "known"})
    assert [row.run for row in runs(folder)] == [left.run]


def test_killed_before_the_commit_nothing_was_acknowledged(tmp_path: Path) -> None:
    folder = make_office(tmp_path)
    with (
        serving(folder, command=[*DYING, "serve", "before", str(folder)]) as dying,
        pytest.raises((http.client.RemoteDisconnected, ConnectionResetError)),
    ):
        dying.deliver({"id": "K-2"})
    assert runs(folder) == []


def test_too_many_open_runs_are_refused_until_some_have_ended(tmp_path: Path) -> None:
    """And what is known already is said to be known, however full it is."""
    folder = make_office(tmp_path, f"[intake]\nmax_open = 2\n\n{TICKETS}")
    with serving(folder) as server:
        taken = [server.deliver({"id": f"B-{number}"})[0] for number in range(2)]
        status, refusal, headers = server.deliver({"id": "B-2"})
        assert taken == [202, 202]
        assert (status, refusal["error"]) == (429, "too many runs are open")
        assert int(headers["retry-after"]) > 0
        assert server.deliver({"id": "B-1"})[0] == 200
        assert len(runs(folder)) == 2

        asyncio.run(_drive(folder))

        assert server.deliver({"id": "B-2"})[0] == 202
        assert server.stop() == 0


async def _drive(folder: Path) -> None:
    from tests.intake.offices import project_in

    async with open_project(project_in(folder)) as runtime:
        outcomes = await runtime.drive_all()
    assert {outcome.name for outcome in outcomes} == {"unverified"}


async def test_a_journal_that_cannot_be_written_is_said_and_nothing_is_acknowledged(tmp_path: Path) -> None:
    """503, to be sent again; and the server says of itself that it is not ready."""
    folder = make_office(tmp_path)
    async with intake_of(folder) as (project, intake):
        write = intake.store.append

        async def full(*_: object) -> Sequence[object]:
            raise JournalFull(f"the journal is full: {CANARY}")

        app, reception = make_app(intake, doors_of(project, environ={"DESK_SECRET": "s" * 16}).webhooks)
        listening, stop = bound("127.0.0.1", 0), asyncio.Event()
        server = Server(folder, None, listening.getsockname()[1], tmp_path)  # pyright: ignore[reportArgumentType]
        serving_ = asyncio.create_task(listen(app, listening, stop))
        intake.store.append = full  # pyright: ignore[reportAttributeAccessIssue]
        status, refusal, headers = await asyncio.to_thread(server.deliver, {"id": "F-1"}, secret="s" * 16)
        assert (status, headers["retry-after"]) == (503, "5")
        assert CANARY not in str(refusal)
        assert (await asyncio.to_thread(server.get, "/readyz"))[0] == 503
        assert reception.alive() == (True, [])

        intake.store.append = write
        assert (await asyncio.to_thread(server.deliver, {"id": "F-1"}, secret="s" * 16))[0] == 202
        assert (await asyncio.to_thread(server.get, "/readyz"))[0] == 200
        stop.set()
        await serving_


async def test_a_mistake_of_ours_is_answered_and_not_logged_with_content(
    tmp_path: Path, heard: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = make_office(tmp_path)

    async def broken(*_: object, **__: object) -> None:
        raise RuntimeError(CANARY)

    monkeypatch.setattr(Intake, "accept", broken)
    async with intake_of(folder) as (project, intake):
        app, _ = make_app(intake, doors_of(project, environ={"DESK_SECRET": "s" * 16}).webhooks)
        listening, stop = bound("127.0.0.1", 0), asyncio.Event()
        server = Server(folder, None, listening.getsockname()[1], tmp_path)  # pyright: ignore[reportArgumentType]
        serving_ = asyncio.create_task(listen(app, listening, stop))
        status, refusal, _ = await asyncio.to_thread(server.deliver, {"id": "E-1"}, secret="s" * 16)
        stop.set()
        await serving_
    assert (status, refusal["error"]) == (500, "something went wrong inside")
    assert any("request_failed" in line for line in heard)
    assert CANARY not in str(heard)


async def test_who_does_not_finish_asking_is_not_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither with the head of a request nor with its body."""
    monkeypatch.setattr("answerable.server.listen.HEAD_S", 0.2)
    monkeypatch.setattr("answerable.server.app.BODY_S", 0.2)
    folder = make_office(tmp_path)
    async with intake_of(folder) as (project, intake):
        app, _ = make_app(intake, doors_of(project, environ={"DESK_SECRET": "s" * 16}).webhooks)
        listening, stop = bound("127.0.0.1", 0), asyncio.Event()
        port = listening.getsockname()[1]
        serving_ = asyncio.create_task(listen(app, listening, stop))
        for begun, ended in (
            (b"", b""),
            (b"POST /intake/tickets HT", b""),
            (b"POST /intake/tickets HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n{", b"HTTP/1.1 408"),
        ):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(begun)
            began = time.monotonic()
            try:
                answer = await asyncio.wait_for(reader.read(), 5)
            except ConnectionResetError:
                answer = b""
            assert answer.startswith(ended)
            assert time.monotonic() - began < 3
            writer.close()
        stop.set()
        await serving_
