"""A project with doors, and the processes of it: what the tests of the intake are built from."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import hmac
import http.client
import json
import logging
import os
import signal
import sqlite3
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from answerable.intake import open_reception
from answerable.project import Project, load_project

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Generator

    from answerable.engine.intake import Intake
    from answerable.journal.store import RunRow


@pytest.fixture
def heard() -> Generator[list[str]]:
    """What is logged, whoever has set the log up before: a line for each event, with its fields."""
    lines = list[str]()

    class Ear(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            lines.append(f"{record.levelname} {record.getMessage()} {getattr(record, 'fields', record.args)}")

    logger, ear = logging.getLogger(), Ear()
    ours = logging.getLogger("answerable")
    before = ours.level, ours.propagate
    ours.setLevel(logging.INFO)
    ours.propagate = True
    logger.addHandler(ear)
    try:
        yield lines
    finally:
        logger.removeHandler(ear)
        ours.setLevel(before[0])
        ours.propagate = before[1]


ROOT = Path(__file__).parents[2]
SECRET = "the-secret-of-the-desk-0123456789"
OLD_SECRET = "the-secret-that-was-before-0123456"
CANARY = "kanarienvogel"
MODULE = '''
from pydantic import BaseModel

from answerable import Agent, Arguments, Text, tool

PERMIT = """
@id("may-do-everything")
@text("The agent may use all of its tools.")
permit (principal, action, resource);
"""


class Ticket(Arguments):
    id: Text
    note: Text = ""
    count: int = 0


class Found(BaseModel):
    text: str


@tool(effect="read")
def look(text: Text) -> Found:
    """Look."""
    return Found(text=text)


async def work(run, ticket):
    return "done"


desk = Agent(
    name="desk", owner="tests", prompt="Do it.", models=["scripted:clerk"], tools=[look], program=work,
    policy={"desk.cedar": PERMIT}, task=Ticket, source="{id}",
)
plain = Agent(
    name="plain", owner="tests", prompt="Do it.", models=["scripted:clerk"], tools=[look], program=work,
    policy={"desk.cedar": PERMIT.replace("desk", "plain")}, task=Ticket,
)


def models(directory, seed):
    from answerable.models.scripted import ScriptedModel, say
    return {"scripted:clerk": ScriptedModel("clerk", lambda *_: say("done"))}
'''
TICKETS = '[[intake.webhook]]\nname = "tickets"\nagent = "desk"\nsecret_env = "DESK_SECRET"\n'
CREATE = (
    "CREATE TABLE work (id INTEGER PRIMARY KEY, payload TEXT NOT NULL, run TEXT, error TEXT, taken_at TEXT)"
)


def make_office(folder: Path, intake: str = TICKETS) -> Path:
    """A project folder with these doors."""
    folder.mkdir(exist_ok=True)
    (folder / "answerable.toml").write_text(f'[project]\nname = "office"\n\n{intake}', "utf-8")
    (folder / "agent.py").write_text(MODULE, "utf-8")
    return folder


def project_in(folder: Path) -> Project:
    """The project in a folder."""
    return load_project(folder)


@contextlib.asynccontextmanager
async def intake_of(folder: Path, **more: Any) -> AsyncGenerator[tuple[Project, Intake]]:
    """The intake of a project in this process."""
    project = load_project(folder)
    async with open_reception(project, durability="relaxed", **more) as intake:
        yield project, intake


async def runs_in(folder: Path) -> list[RunRow]:
    """The runs that the journal of a folder holds, whoever wrote them."""
    async with intake_of(folder) as (_, intake):
        return await intake.store.runs()


def runs(folder: Path) -> list[RunRow]:
    """See `runs_in`."""
    return asyncio.run(runs_in(folder))


@dataclass
class Server:
    """A process that listens, and the journal that it writes."""

    folder: Path
    process: subprocess.Popen[str]
    port: int
    log: Path

    def post(
        self, path: str, body: bytes, headers: dict[str, str] | list[tuple[str, str]]
    ) -> tuple[int, dict[str, Any], dict[str, str]]:
        """One request on a connection of its own: status, JSON, headers in lower case."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        try:
            connection.putrequest("POST", path)
            for name, value in headers.items() if isinstance(headers, dict) else headers:
                connection.putheader(name, value)
            connection.putheader("Content-Length", str(len(body)))
            connection.endheaders(body)
            answer = connection.getresponse()
            return answer.status, json.loads(answer.read()), {k.lower(): v for k, v in answer.getheaders()}
        finally:
            connection.close()

    def deliver(
        self, task: dict[str, Any], door: str = "tickets", **how: Any
    ) -> tuple[int, dict[str, Any], dict[str, str]]:
        """One delivery as our own scheme signs it."""
        body = json.dumps(task).encode()
        return self.post(f"/intake/{door}", body, signed(body, **how))

    def get(self, path: str) -> tuple[int, bytes]:
        """One page."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        try:
            connection.request("GET", path)
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()

    def stop(self) -> int:
        """Ask it to leave, and wait."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        return self.process.wait(20)


def signed(body: bytes, *, secret: str = SECRET, at: float | None = None) -> dict[str, str]:
    """The headers of a delivery."""
    stamp = str(int(time.time() if at is None else at))
    digest = hmac.new(secret.encode(), stamp.encode() + b"." + body, hashlib.sha256).hexdigest()
    return {"Answerable-Timestamp": stamp, "Answerable-Signature": f"sha256={digest}"}


def environment(**more: str) -> dict[str, str]:
    """What a process of the office has."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith("ANSWERABLE_")}
    paths = f"{ROOT / 'src'}{os.pathsep}{ROOT}"
    return {**kept, "PYTHONPATH": paths, "DESK_SECRET": SECRET, "OLD_DESK_SECRET": OLD_SECRET, **more}


@contextlib.contextmanager
def serving(folder: Path, *arguments: str, command: list[str] | None = None) -> Generator[Server]:
    """`answerable serve` on a free port, or another program that says where it listens in the same words."""
    log = folder / "serve.log"
    kept = {name: os.environ[name] for name in ("ANSWERABLE_HOME",) if name in os.environ}
    program = command or [sys.executable, "-m", "answerable", "serve", str(folder), "--port", "0"]
    with log.open("a") as stderr:
        process = subprocess.Popen(
            [*program, *arguments], stdout=subprocess.PIPE, stderr=stderr, text=True, env=environment(**kept)
        )
    assert process.stdout is not None
    line = process.stdout.readline()
    assert line.startswith("listening on "), log.read_text()
    server = Server(folder, process, int(line.rpartition(":")[2]), log)
    try:
        yield server
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()
        process.stdout.close()


@dataclass
class Table:
    """A queue table in a SQLite file."""

    path: Path
    made: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        with self._open() as db:
            db.execute(CREATE)

    @contextlib.contextmanager
    def _open(self) -> Generator[sqlite3.Connection]:
        db = sqlite3.connect(self.path, timeout=20)
        try:
            with db:
                yield db
        finally:
            db.close()

    def put(self, *payloads: str) -> None:
        """Add rows."""
        with self._open() as db:
            db.executemany("INSERT INTO work (payload) VALUES (?)", [(each,) for each in payloads])

    def rows(self) -> list[tuple[int, str | None, str | None, str | None]]:
        """Id, run, error and time of every row."""
        with self._open() as db:
            return db.execute("SELECT id, run, error, taken_at FROM work ORDER BY id").fetchall()
