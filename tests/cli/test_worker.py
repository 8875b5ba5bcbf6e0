"""`worker`, `workers`, `run --no-wait` and `halt`, as an operator uses them: real processes, on either store."""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import re
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from tests.postgres_server import database

from answerable.cli.common import Misused
from answerable.cli.main import call
from answerable.cli.worker import address

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

ROOT = Path(__file__).parents[2]
TICKETS = [
    {
        "id": f"W-{n}",
        "customer_email": "ana@example.com",
        "order_id": order,
        "request": "refund",
        "text": "Broken.",
    }
    for n, order in enumerate(("O-1001", "O-1002", "O-1003"))
]


@pytest.fixture(params=["sqlite", "postgresql"])
def desk(request: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Generator[str]:
    """A new project, which is the current folder, and the address of its journal."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("ANSWERABLE_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("ANSWERABLE_DATABASE_URL", raising=False)
    assert call(["init", "my-desk"]) == 0
    monkeypatch.chdir(tmp_path / "my-desk")
    Path("tickets.jsonl").write_text("".join(f"{json.dumps(ticket)}\n" for ticket in TICKETS))
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path / 'my-desk' / 'journal.db'}"
    else:
        with database() as url:
            yield url


@pytest.fixture
def worker(desk: str) -> Generator[Callable[..., subprocess.Popen[str]]]:
    """Starts `answerable worker`; what it says goes to `worker.log`, what it prints to `worker.out`."""
    begun: list[subprocess.Popen[str]] = []

    def begin(*options: str) -> subprocess.Popen[str]:
        with Path("worker.log").open("w") as log, Path("worker.out").open("w") as out:
            process = subprocess.Popen(
                [sys.executable, "-m", "answerable", "worker", "--db", desk, *options],
                stdout=out,
                stderr=log,
                text=True,
                env={**os.environ, "PYTHONPATH": str(ROOT / "src")},
            )
        begun.append(process)
        return process

    yield begin
    for process in begun:
        if process.poll() is None:
            process.kill()
        process.wait()


def said(capsys: pytest.CaptureFixture[str], *arguments: str, code: int = 0) -> Any:
    """What a verb prints as JSON."""
    capsys.readouterr()
    assert call([*arguments, "--json"]) == code
    return json.loads(capsys.readouterr().out)


def wait_for(holds: Callable[[], Any], seconds: float = 15) -> Any:
    deadline = time.monotonic() + seconds
    while not (found := holds()):
        assert time.monotonic() < deadline, Path("worker.log").read_text()
        time.sleep(0.05)
    return found


def page(port: int, name: str) -> tuple[int, Any]:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/{name}") as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)


def test_a_worker_drives_what_was_left_to_it_and_drains(
    desk: str,
    worker: Callable[..., subprocess.Popen[str]],
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Accepted without a worker, driven once there is one; listed, healthy, and gone with 0 after SIGTERM."""
    accepted = said(capsys, "run", "--no-wait", "--db", desk)
    before = said(capsys, "runs", "--db", desk)
    process = worker("--health", "127.0.0.1:0", "--log-format", "json", "--json")

    def driven() -> Any:
        rows = said(capsys, "runs", "--db", desk)
        return rows if all(row["state"] in ("ended", "waiting") for row in rows) else None

    done = wait_for(driven)
    port = int(re.findall(r'"health_listening".*"port": (\d+)', Path("worker.log").read_text())[0])
    healthy = page(port, "healthz"), page(port, "readyz")
    listed = said(capsys, "workers", "--db", desk)
    process.send_signal(signal.SIGTERM)
    code = process.wait(20)
    after = said(capsys, "workers", "--db", desk)
    lines = [json.loads(line) for line in Path("worker.log").read_text().splitlines()]

    assert (len(accepted["runs"]), accepted["workers"]) == (3, 0)
    assert {row["state"] for row in before} == {"created"}
    assert len(done) == 3
    assert [status for status, _ in healthy] == [200, 200], healthy
    assert [each["pid"] for each in listed["workers"] if each["releases"]] == [process.pid]
    assert listed["waiting_for_release"] == []
    assert code == 0
    assert not [each for each in after["workers"] if each["is_alive"]]
    assert json.loads(Path("worker.out").read_text())["driven"] >= 3
    logged = [line for line in lines if line["event"] == "run_driven"]
    assert {line["run"] for line in logged} == set(accepted["runs"])
    assert {line["agent"] for line in logged} == {"refund-desk"}
    assert "Broken" not in Path("worker.log").read_text()
    assert "ana@example.com" not in Path("worker.log").read_text()


def test_an_address_is_on_this_machine_unless_it_says_otherwise() -> None:
    """A port alone is enough."""
    assert address("8080") == ("127.0.0.1", 8080)
    assert address(":8080") == ("127.0.0.1", 8080)
    assert address("[::1]:80") == ("::1", 80)
    assert address("0.0.0.0:80") == ("0.0.0.0", 80)
    for wrong in ("here", "here:there", "1:99999"):
        with pytest.raises(Misused):
            address(wrong)


def test_a_halt_says_who_lives_and_what_was_in_flight(desk: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing is: it says so at once."""
    assert call(["run", "--no-wait", "--db", desk]) == 0
    report = said(capsys, "halt", "--all", "--reason", "a drill", "--db", desk)
    words = said_in_words(capsys, "halt", "--agent", "refund-desk", "--reason", "a drill", "--db", desk)
    lifted = said(capsys, "resume", "all", "--db", desk)

    assert (report["scope"], report["epoch"], report["in_flight"], report["processes"]) == ("all", 1, [], 0)
    assert report["last_intent_s"] is None
    assert "processes alive: 0" in words
    assert lifted["lifted"] == "all"


def said_in_words(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    capsys.readouterr()
    assert call(list(arguments)) == 0
    return capsys.readouterr().out


def test_a_worker_keeps_schedules_and_drives_what_serve_accepts(
    desk: str,
    worker: Callable[..., subprocess.Popen[str]],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A tick becomes a run that has ended; so does a signed delivery, promptly, accepted by another process."""
    monkeypatch.setenv("TICKETS_SECRET", "s" * 40)
    with Path("answerable.toml").open("a") as file:
        file.write(DOORS)
    worker("--log-format", "json")
    command = [sys.executable, "-m", "answerable", "serve", "--db", desk, "--port", "0", "--json"]
    serving = subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": str(ROOT / "src")}
    )
    try:
        assert serving.stdout is not None
        printed = ""
        for line in serving.stdout:  # until it has said where it listens, or has ended
            printed += line
            if line == "}\n":
                break
        address = json.loads(printed)["address"]

        def ended() -> list[Any]:
            return [row for row in said(capsys, "runs", "--db", desk) if row["state"] == "ended"]

        wait_for(ended)  # a tick; the worker is there from now on
        delivered = deliver(f"{address}/intake/tickets", json.dumps({**TICKETS[0], "id": "D-1"}).encode())
        begun = time.monotonic()
        wait_for(lambda: [row for row in ended() if row["run"] == delivered["run"]])
        took_s = time.monotonic() - begun
    finally:
        serving.terminate()
        serving.communicate(timeout=20)

    assert took_s < 5
    assert serving.returncode == 0


DOORS = """
[[intake.webhook]]
name = "tickets"
secret_env = "TICKETS_SECRET"

[[intake.schedule]]
name = "often"
every = "1s"
task = { id = "often", customer_email = "ana@example.com", request = "other" }
"""


def deliver(address: str, body: bytes) -> Any:
    """Send one signed delivery."""
    stamp = str(int(time.time()))
    digest = hmac.new(b"s" * 40, stamp.encode() + b"." + body, hashlib.sha256).hexdigest()
    headers = {"Answerable-Timestamp": stamp, "Answerable-Signature": f"sha256={digest}"}
    request = urllib.request.Request(address, body, {"Content-Type": "application/json", **headers})
    with urllib.request.urlopen(request) as answer:
        assert answer.status == 202
        return json.load(answer)
