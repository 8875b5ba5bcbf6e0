"""Opening a journal in PostgreSQL: made once, by however many at once, and refused with the reason where it is not ours."""

from __future__ import annotations

import asyncio
import importlib
import re
import sys
import time
from typing import TYPE_CHECKING

import psycopg
import pytest
from tests.postgres.stores import note, opened
from tests.postgres_server import Server, blank_url, database, execute, on, postgres_url

from answerable.errors import ConfigError, JournalError, JournalUnreadable
from answerable.journal.postgres import connect, custody_of, schema, statements
from answerable.journal.postgres.wire import Statement
from answerable.testing.store_events import TENANT

if TYPE_CHECKING:
    from collections.abc import Generator
    from pathlib import Path

__all__ = ["blank_url", "postgres_url"]


@pytest.fixture(scope="module")
def own_server() -> Generator[Server]:
    """A server whose settings may be changed."""
    server = Server()
    yield server
    server.close()


@pytest.fixture(autouse=True)
def _home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ANSWERABLE_HOME", str(tmp_path / "home"))


async def refused(url: str, error: type[Exception], words: str) -> str:
    with pytest.raises(error, match=words) as caught:
        async with opened(url):
            pass
    return caught.value.hint  # type: ignore[attr-defined]


async def test_ten_who_open_a_blank_database_at_once_have_one_journal(blank_url: str) -> None:
    """Made under a lock; the others find it."""

    async def one() -> tuple[str, bytes]:
        async with opened(blank_url) as store:
            return store.journal, store.tenant_key

    assert len(set(await asyncio.gather(*(one() for _ in range(10))))) == 1
    assert execute(blank_url, f"SELECT count(*) FROM answerable.entry WHERE stream = '{TENANT}'") == [(1,)]


async def test_a_schema_that_is_empty_is_used(blank_url: str) -> None:
    """Somebody with more rights made it for us."""
    execute(blank_url, "CREATE SCHEMA answerable")
    async with opened(blank_url) as store:
        await store.append(note())


async def test_a_schema_of_something_else_is_not_touched(blank_url: str) -> None:
    """It is named, and left as it was."""
    execute(blank_url, "CREATE SCHEMA answerable")
    execute(blank_url, "CREATE TABLE answerable.customer (id int)")
    await refused(blank_url, JournalUnreadable, "holds something else: customer")

    assert execute(blank_url, "SELECT tablename FROM pg_tables WHERE schemaname = 'answerable'") == [
        ("customer",)
    ]


async def test_without_leave_none_is_made(blank_url: str) -> None:
    """A reader must not make what it was to read."""
    with pytest.raises(JournalError, match="there is no journal"):
        async with opened(blank_url, must_exist=True):
            pass
    assert execute(blank_url, "SELECT count(*) FROM pg_namespace WHERE nspname = 'answerable'") == [(0,)]


async def test_another_version_is_refused_by_name(postgres_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both versions are said, and what to do. What only adds is fine: that is how a new version comes in."""
    known = schema.migrations()
    newest = max(int(each.partition("_")[0]) for each in known)
    coming = f"{newest + 1:04}"
    execute(postgres_url, f"INSERT INTO answerable.migration (name) VALUES ('{coming}_pre')")
    async with opened(postgres_url) as store:
        await store.append(note())

    execute(postgres_url, f"INSERT INTO answerable.migration (name) VALUES ('{coming}_post')")
    hint = await refused(
        postgres_url, JournalUnreadable, rf"newer version \({newest + 1}; this is {newest}\)"
    )
    assert "use the version" in hint

    execute(postgres_url, f"DELETE FROM answerable.migration WHERE name LIKE '{coming}%'")
    monkeypatch.setattr(schema, "migrations", lambda: [*known, f"{coming}_pre"])
    await refused(postgres_url, JournalUnreadable, rf"older version \({newest}; this is {newest + 1}\)")


async def test_a_journal_that_was_begun_by_something_else_is_refused(postgres_url: str) -> None:
    """Its first entry says what it is."""
    async with opened(postgres_url) as store:
        await store.append(note(stream="agent/desk"))
    execute(postgres_url, f"DELETE FROM answerable.entry WHERE stream = '{TENANT}'")
    execute(postgres_url, f"UPDATE answerable.entry SET stream = '{TENANT}'")
    with pytest.raises(JournalUnreadable):
        async with opened(postgres_url):
            pass


async def test_a_server_that_may_only_be_read_is_refused(postgres_url: str) -> None:
    """Before anything is lost on it."""
    name = postgres_url.partition("@")[2].split("/")[1].partition("?")[0]
    execute(postgres_url, f"ALTER DATABASE {name} SET default_transaction_read_only = on")
    hint = await refused(postgres_url, JournalError, "is read-only")
    assert "primary" in hint


async def test_a_replica_is_refused_and_a_synchronous_one_is_said(own_server: Server) -> None:
    """The mistake of a wrong host; and what `full` is worth with a standby behind it."""
    replica = own_server.folder / "replica"
    sockets = own_server.folder / "sockets"
    sockets.mkdir()
    own_server.allow(sockets)
    own_server.folder.chmod(0o777)
    with database(own_server.url) as url:
        async with opened(url) as store:
            found = {each.name: each for each in await store.findings()}
            assert (found["server"].level, found["durability"].level) == ("ok", "warn")
            assert "no synchronous standby" in found["durability"].message

            execute(own_server.url, "ALTER SYSTEM SET synchronous_standby_names = 'second'")
            own_server.command(
                "pg_basebackup",
                "-d",
                f"{own_server.url}&application_name=second",
                "-D",
                str(replica),
                "-R",
                "-c",
                "fast",
            )
            try:
                own_server.command(
                    "pg_ctl",
                    "-D",
                    str(replica),
                    "-w",
                    "-o",
                    f"-h '' -k {sockets}",
                    "-l",
                    str(replica / "log"),
                    "start",
                )
                name = url.split("/")[3].partition("?")[0]
                copy = f"postgresql://postgres@/{name}?host={sockets}"
                await refused(copy, JournalError, "the server is a replica")

                execute(own_server.url, "SELECT pg_reload_conf()")
                await asyncio.sleep(0.2)
                await store.append(note())
                found = {each.name: each for each in await store.findings()}
                assert found["durability"].level == "ok", found["durability"]
            finally:
                execute(own_server.url, "ALTER SYSTEM RESET synchronous_standby_names")
                execute(own_server.url, "SELECT pg_reload_conf()")
                own_server.command("pg_ctl", "-D", str(replica), "-m", "immediate", "stop")


async def test_who_is_not_let_in_is_told_why(own_server: Server) -> None:
    """Wrong password, no rights, no such database, no server, no address: five different things."""
    with database(own_server.url, blank=True) as url:
        execute(url, "CREATE ROLE locked LOGIN PASSWORD 'right'")
        rules = own_server.data / "pg_hba.conf"
        before = rules.read_text()
        rules.write_text(f"local all locked scram-sha-256\n{before}")
        execute(url, "SELECT pg_reload_conf()")
        try:
            name = url.split("/")[3].partition("?")[0]
            at = url.partition("?")[2]
            wrong = f"postgresql://locked:canary-word@/{name}?{at}"
            with pytest.raises(ConfigError, match="does not let us in") as caught:
                async with opened(wrong):
                    pass
            assert "canary-word" not in str(caught.value)
            hint = await refused(wrong.replace("canary-word", "right"), ConfigError, "does not permit it")
            assert "CREATE" in hint
        finally:
            rules.write_text(before)
            execute(url, "SELECT pg_reload_conf()")
            execute(url, "DROP ROLE locked")
        await refused(on(url, "not_there"), ConfigError, "has no such database")
        await refused("postgresql://postgres@127.0.0.1:1/x", JournalError, "is not there")
        with pytest.raises(ConfigError) as caught:
            async with opened("postgresql://u:canary-word@h:1/x?not_a_setting=1"):
                pass
        assert "canary-word" not in str(caught.value)


async def test_a_database_in_another_encoding_is_refused(own_server: Server) -> None:
    """Text could not be kept as it is."""
    execute(own_server.url, "CREATE DATABASE latin ENCODING 'LATIN1' LOCALE 'C' TEMPLATE template0")
    await refused(on(own_server.url, "latin"), ConfigError, "encoded as LATIN1")


async def test_too_many_connections_are_said(own_server: Server) -> None:
    """With what one process needs."""
    with database(own_server.url) as url:
        execute(url, "CREATE ROLE few LOGIN SUPERUSER CONNECTION LIMIT 1")
        execute(url, "ALTER ROLE few NOSUPERUSER")
        few = url.replace("postgres@", "few@")
        try:
            with psycopg.connect(few):
                hint = await refused(few, JournalError, "no more connections")
            assert "max_connections" in hint
        finally:
            execute(url, "DROP ROLE few")


# Names and files


def test_keys_are_kept_outside_of_the_database(tmp_path: Path) -> None:
    """By host, port and database; no password is in the name that is printed."""
    custody = custody_of("postgresql://ana:secret@db.example:6432/desk?sslmode=require")
    assert custody.name == "postgresql://ana@db.example:6432/desk"
    assert custody.key == tmp_path / "home" / "db.example-6432-desk.key"
    assert custody.head == tmp_path / "home" / "db.example-6432-desk.head"
    assert custody.key.parent.stat().st_mode & 0o777 == 0o700

    strange = custody_of("postgresql:///a%2F..%2Fb?host=/var/run/pg")
    assert strange.key.parent == tmp_path / "home"
    assert custody_of("host=/var/run/pg dbname=x password=secret").name == "postgresql:///x?host=/var/run/pg"


def test_without_the_extra_it_is_said_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not a traceback about a module that nobody has heard of."""
    for name in [name for name in sys.modules if name.startswith(("answerable.journal.postgres", "psycopg"))]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(ConfigError, match="psycopg") as caught:
        importlib.import_module("answerable.journal.postgres")
    assert "answerable[postgres]" in caught.value.hint


# The state of the tables


async def test_open_runs_are_found_among_many(postgres_url: str) -> None:
    """Two hundred thousand runs that have ended are not looked at; and no plan reads a whole table."""
    execute(
        postgres_url,
        "INSERT INTO answerable.run SELECT 'run_' || n, 'desk', 'default', 'driven',"
        " CASE WHEN n % 20000 = 0 THEN 'running' ELSE 'ended' END, NULL, NULL, n, n, n, 1, 1, true, 'own_1', 1,"
        " NULL, NULL, NULL, 'sub', false FROM generate_series(1, 200000) n",
    )
    async with opened(postgres_url) as store:
        assert len(await store.runs(states=("created", "running", "waiting"))) == 10
        plan = await store._reader.ask(
            "EXPLAIN SELECT run FROM answerable.run WHERE state = ANY('{running}') AND state <> 'ended'"
            " ORDER BY created, run"
        )
        read = "\n".join(row[0] for row in plan)
        assert "run_open" in read or "run_owner" in read
        assert "Seq Scan" not in read


WHOLE = {"read_halts", "alive", "agents"}
"""These read all of a table that is small for ever."""


def test_no_statement_of_a_batch_has_a_plan_that_reads_a_whole_table(postgres_url: str) -> None:
    """Plans are made once, while tables are empty, and must be good when they are not."""
    asked = [each for each in vars(statements).values() if isinstance(each, Statement)]
    asked += [
        each for kind in (statements.MAKE, statements.CHANGE, statements.DROP) for each in kind.values()
    ]
    seen = 0
    with connect.connect(postgres_url, "writer", "full", is_writer=True) as db:
        for each in asked:
            if db.info.server_version < 160000:
                pytest.skip("the server cannot show generic plans")
            if " answerable." not in each.sql:
                continue
            sql = re.sub(r"\$(\d+)", lambda found, each=each: _typed(found, each), each.sql)
            plan = "\n".join(row[0] for row in db.execute(f"EXPLAIN (GENERIC_PLAN) {sql}".encode()))
            scans = re.findall(r"(?:Index|Bitmap Index|Seq)(?: Only)? Scan .*\n.*", plan)
            whole = [scan for scan in scans if "Index Cond" not in scan]
            assert not whole or each.name in WHOLE, f"{each.name}:\n{plan}"
            seen += 1
    assert seen > 30


def _typed(found: re.Match[str], statement: Statement) -> str:
    kind = statement.takes[int(found.group(1)) - 1]
    name = {"t": "text", "i": "bigint", "b": "boolean", "y": "bytea"}[kind.lower()]
    return f"${found.group(1)}::{name}{'[]' * kind.isupper()}"


def test_the_settings_of_a_connection_are_what_they_should_be(postgres_url: str) -> None:
    """No wait without an end, but for the commit; and no plan that reads whole tables."""
    with connect.connect(postgres_url, "writer", "full", is_writer=True) as db:
        shown = dict(
            db.execute(
                "SELECT name, setting FROM pg_settings WHERE name IN ('lock_timeout', 'statement_timeout',"
                " 'idle_in_transaction_session_timeout', 'synchronous_commit', 'enable_seqscan')"
            )
        )
    assert shown == {
        "lock_timeout": "10000",
        "statement_timeout": "0",
        "idle_in_transaction_session_timeout": "3000",
        "synchronous_commit": "on",
        "enable_seqscan": "off",
    }


async def test_a_process_whose_clock_is_off_gets_no_runs(
    postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Deadlines of what another process has sent are read on its clock."""
    now = time.time
    async with opened(postgres_url) as store:
        for off_s, word in ((60.0, "ahead"), (-60.0, "behind")):
            with monkeypatch.context() as patched:
                patched.setattr(time, "time", lambda off_s=off_s: now() + off_s)
                with pytest.raises(ConfigError, match=word):
                    await store.take_name("own_late")
        assert await store.workers() == []
        await store.take_name("own_right")
        assert await store.is_alive("own_right")
