"""A PostgreSQL journal when the server, the wire or the disk fails: what was acknowledged is there, the rest is not."""

from __future__ import annotations

import asyncio
import subprocess
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from tests.postgres.proxy import Cut, Proxy
from tests.postgres.stores import SLOW_COMMIT, note, opened
from tests.postgres_server import Server, database, execute, postgres_url, until

from answerable.errors import JournalBusy, JournalConflict, JournalError, JournalFull, JournalUnreadable
from answerable.journal.postgres import connect, resolve, writer
from answerable.journal.store import Append, Payload
from answerable.kernel.entry import EMPTY
from answerable.testing.store_events import NOW, run_name, seen, settled, write_run

if TYPE_CHECKING:
    from collections.abc import Generator
    from pathlib import Path

__all__ = ["postgres_url"]


@pytest.fixture(scope="module")
def own_server() -> Generator[Server]:
    """A server that may be broken."""
    server = Server()
    yield server
    server.close()


@pytest.fixture
def own_url(own_server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Generator[str]:
    """A journal on it."""
    monkeypatch.setenv("ANSWERABLE_HOME", str(tmp_path / "home"))
    with database(own_server.url) as url:
        yield url


REFUSED_AT_COMMIT = """
CREATE FUNCTION public.no() RETURNS trigger LANGUAGE plpgsql AS
    'BEGIN PERFORM pg_sleep(0.3); RAISE EXCEPTION ''no'' USING ERRCODE = ''53100''; END';
CREATE CONSTRAINT TRIGGER no AFTER INSERT ON answerable.entry DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW EXECUTE FUNCTION public.no();
"""


@pytest.mark.parametrize("cut", Cut)
@pytest.mark.parametrize("durability", ["full", "group"])
async def test_a_commit_whose_connection_is_cut_is_found_out(
    cut: Cut, durability: str, postgres_url: str
) -> None:
    """Lost request or lost reply: the callers hear of one commit each, and there is one entry for each."""
    with Proxy(postgres_url) as proxy:
        async with opened(proxy.url, durability=durability) as store:
            await store.append(note(0))
            proxy.cut = cut
            entries = await asyncio.gather(*(store.append(note(number)) for number in range(1, 9)))
            assert proxy.cuts == 1

            stored = await store.entries("agent/desk")
            assert sorted(entry.seq for (entry,) in entries) == list(range(2, 10))
            assert {entry for (entry,) in entries} == set(stored[1:])


async def test_a_commit_that_is_still_under_way_is_waited_for(postgres_url: str) -> None:
    """The entry is not there yet when we look, and is there when we are told: absence alone proves nothing."""
    with Proxy(postgres_url) as proxy:
        async with opened(proxy.url) as store:
            await store.append(note(0))
            execute(postgres_url, SLOW_COMMIT)
            proxy.cut = Cut.REPLY
            begun = time.monotonic()
            (entry,) = await store.append(note(1))

            assert time.monotonic() - begun > 0.5
            assert (await store.entries("agent/desk"))[1:] == [entry]


async def test_a_commit_that_the_server_refused_after_the_cut_is_not_answered_as_done(
    postgres_url: str,
) -> None:
    """It is known not to have happened; it is tried again, and the caller hears why it does not work."""
    with Proxy(postgres_url) as proxy:
        async with opened(proxy.url) as store:
            await store.append(note(0))
            execute(postgres_url, REFUSED_AT_COMMIT)
            proxy.cut = Cut.REPLY
            with pytest.raises(JournalFull):
                await store.append(note(1))

            assert len(await store.entries("agent/desk")) == 1


async def test_the_same_entry_of_another_process_is_not_taken_for_ours(postgres_url: str) -> None:
    """Two owners may write the same bytes. Whose commit it was is told by the transaction, not by the entry."""
    run = run_name(1)
    with Proxy(postgres_url) as proxy:
        async with opened(proxy.url) as ours, opened(postgres_url) as theirs:
            head = (await write_run(ours, run)).head
            same = Append(stream=f"run/{run}", events=(settled("1.0"),), expect=head, epoch=1, now=NOW)
            proxy.cut = Cut.REQUEST
            with pytest.MonkeyPatch.context() as patch:
                found_out = writer.was_committed

                def after_theirs(*asked: Any) -> bool:
                    asyncio.run_coroutine_threadsafe(theirs.append(same), loop).result()
                    return found_out(*asked)

                loop = asyncio.get_running_loop()
                patch.setattr(writer, "was_committed", after_theirs)
                with pytest.raises(JournalConflict):
                    await ours.append(same)


async def test_what_cannot_be_found_out_is_said_and_not_guessed(
    postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The database stays away after a lost reply: nobody knows, and the error says that nothing may be sent."""
    monkeypatch.setattr(resolve, "CERTAIN_S", 0.3)
    with Proxy(postgres_url) as proxy:
        async with opened(proxy.url) as store:
            await store.append(note(0))
            proxy.cut = Cut.REPLY
            proxy.is_closed_for_new = True
            with pytest.raises(JournalError, match="it is not known whether") as caught:
                await store.append(note(1))
            assert "nothing may be sent" in caught.value.hint

            proxy.is_closed_for_new = False
            await store.append(note(2))
            assert [entry.seq for entry in await store.entries("agent/desk")] == [1, 2, 3]


async def test_a_server_that_stays_away_is_said(postgres_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing was under way: it is certain that nothing was written. Reads say the same."""
    monkeypatch.setattr(writer, "RECONNECT_S", 0.3)
    with Proxy(postgres_url) as proxy:
        async with opened(proxy.url) as store:
            store._reader._pool.timeout = 0.3
            proxy.is_closed_for_new = True
            proxy.cut_all()
            with pytest.raises(JournalBusy):
                await store.append(note())
            with pytest.raises(JournalBusy):
                await store.entries("agent/desk")

            proxy.is_closed_for_new = False
            store._reader._pool.timeout = 5
            await store.append(note())
            assert len(await store.entries("agent/desk")) == 1


async def test_connections_that_somebody_ends_are_replaced(postgres_url: str) -> None:
    """All of them at once, idle or in the middle of a wait for a row: nobody who calls notices."""
    async with opened(postgres_url) as store:
        await store.append(note(0))
        execute(postgres_url, _TERMINATE)
        assert len(await store.entries("agent/desk")) == 1
        execute(postgres_url, _TERMINATE)
        await store.append(note(1))

        with held(postgres_url, "SELECT FROM answerable.head WHERE stream = 'agent/desk' FOR UPDATE"):
            waiting = asyncio.ensure_future(store.append(note(2)))
            await asyncio.sleep(0.2)
            execute(postgres_url, f"{_TERMINATE} AND application_name = 'answerable writer'")
            await asyncio.sleep(0.2)
            assert not waiting.done()
        (entry,) = await waiting
        assert entry.seq == 3


_TERMINATE = (
    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
    " WHERE datname = current_database() AND application_name LIKE 'answerable%'"
)


@contextmanager
def held(url: str, sql: str) -> Generator[None]:
    """Somebody else holds what `sql` locks."""
    with psycopg.connect(url) as db:
        db.execute(sql)
        yield
        db.rollback()


@pytest.mark.parametrize("mode", ["immediate", "fast"])
async def test_what_was_acknowledged_survives_a_restart_of_the_server(
    mode: str, own_server: Server, own_url: str
) -> None:
    """Appends go on through a crash of the server; every one that was answered is there, in order, once."""
    async with opened(own_url, durability="group") as store:
        acknowledged: list[Any] = []
        is_over = False

        async def work(stream: str) -> None:
            number = 0
            while not is_over:
                acknowledged.extend(await store.append(note(number := number + 1, stream)))

        workers = [asyncio.ensure_future(work(f"agent/a{number}")) for number in range(4)]
        await asyncio.sleep(0.2)
        before = len(acknowledged)
        await asyncio.to_thread(own_server.restart, mode)
        at_once = len(acknowledged)
        await until(lambda: len(acknowledged) > at_once + 20)
        is_over = True
        await asyncio.gather(*workers)

        assert before > 0
        for number in range(4):
            stream = f"agent/a{number}"
            ours = [entry for entry in acknowledged if entry.stream == stream]
            assert await store.entries(stream) == ours


async def test_a_row_that_somebody_holds_too_long_is_said(
    postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing was written then, and it works once the row is free."""
    monkeypatch.setitem(connect._SETTINGS, "lock_timeout", "300")
    async with opened(postgres_url) as store:
        await store.append(note(0))
        with (
            held(postgres_url, "SELECT FROM answerable.head WHERE stream = 'agent/desk' FOR UPDATE"),
            pytest.raises(JournalBusy, match="did not answer"),
        ):
            await store.append(note(1))
        (entry,) = await store.append(note(2))
        assert entry.seq == 2


async def test_a_question_that_takes_too_long_is_said(
    postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the server's own clock."""
    monkeypatch.setitem(connect._SETTINGS, "statement_timeout", "300")
    async with opened(postgres_url) as store:
        with pytest.raises(JournalBusy, match="statement timeout"):
            await store._reader.ask("SELECT pg_sleep(5)")


async def test_a_process_that_is_stopped_in_its_transaction_lets_go(
    postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its session is ended by the server, so that others, and halts, get through; it finds out and tries again."""
    monkeypatch.setitem(connect._SETTINGS, "idle_in_transaction_session_timeout", "300")
    async with opened(postgres_url) as stopped, opened(postgres_url) as other:
        await other.append(note(0))
        with pytest.MonkeyPatch.context() as patch:
            from answerable.journal.postgres import batch

            decide = batch._try

            def slowly(*asked: Any) -> Any:
                patch.undo()
                time.sleep(1)
                return decide(*asked)

            patch.setattr(batch, "_try", slowly)
            late = asyncio.ensure_future(stopped.append(note(1)))
            await asyncio.sleep(0.1)
            (entry,) = await other.append(note(2))
            assert entry.seq == 2
            (entry,) = await late
            assert entry.seq == 3


async def test_a_full_disk_is_said_and_nothing_is_half_written(
    own_server: Server, own_url: str, tmp_path: Path
) -> None:
    """A real one, where a small file system may be mounted; elsewhere an error of the server's that looks the same."""
    with small_disk(own_server) as folder:
        if folder is None:
            execute(own_url, _FULL)
        else:
            execute(own_url, f"CREATE TABLESPACE small LOCATION '{folder}'")
            execute(own_url, "ALTER TABLE answerable.payload SET TABLESPACE small")
        async with opened(own_url) as store:
            ref, _ = await store.subject("person:ana")
            number = 0
            with pytest.raises(JournalFull):
                for number in range(20):
                    content = Payload(f"{number:064x}", ref, "task", _incompressible(number))
                    await store.append(
                        Append(
                            stream="agent/desk",
                            events=(seen("a" * 64),),
                            expect=None,
                            epoch=0,
                            now=NOW,
                            payloads=(content,),
                        )
                    )
            assert (await store.head("agent/desk")).seq == number
            execute(own_url, "DROP TRIGGER IF EXISTS full_disk ON answerable.payload")
            (entry,) = await store.append(note(1))
            assert entry.seq == number + 1
        execute(own_url, "ALTER TABLE answerable.payload SET TABLESPACE pg_default")
        execute(own_url, "DROP TABLESPACE IF EXISTS small")


_FULL = """
CREATE FUNCTION public.full_disk() RETURNS trigger LANGUAGE plpgsql AS
    'BEGIN RAISE EXCEPTION ''could not extend file: No space left on device'' USING ERRCODE = ''53100''; END';
CREATE TRIGGER full_disk BEFORE INSERT ON answerable.payload FOR EACH ROW EXECUTE FUNCTION public.full_disk();
"""


def _incompressible(number: int) -> bytes:
    import random

    return random.Random(number).randbytes(1 << 19)


@contextmanager
def small_disk(server: Server) -> Generator[Path | None]:
    """A folder of four megabytes that the server may write, or None."""
    folder = server.folder / "small"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(folder)], check=False, capture_output=True
    )
    if mounted.returncode:
        yield None
        return
    try:
        server.allow(folder)
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=False)


async def test_one_that_the_database_cannot_take_fails_alone(postgres_url: str) -> None:
    """A text with a NUL, which PostgreSQL does not keep, does not take the others of its batch with it."""
    async with opened(postgres_url) as store:
        ref, _ = await store.subject("person:ana")
        bad = Append(
            stream="agent/bad",
            events=(seen("a" * 64),),
            expect=EMPTY,
            epoch=0,
            now=NOW,
            payloads=(Payload("r" * 64, ref, "a\x00b", b"1"),),
        )
        jobs = [note(1), bad, note(2, "agent/other")]
        answers = await asyncio.gather(*(store.append(each) for each in jobs), return_exceptions=True)

        assert isinstance(answers[1], JournalError)
        assert (await store.head("agent/desk")).seq == (await store.head("agent/other")).seq == 1
        assert await store.head("agent/bad") == EMPTY


async def test_content_over_the_stated_size_is_refused_before_it_is_sent(
    postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the size that a row may hold."""
    monkeypatch.setattr("answerable.journal.postgres.store.PAYLOAD_BYTES_MAX", 10)
    async with opened(postgres_url) as store:
        content = Payload("r" * 64, "sub", "task", b"x" * 11)
        large = Append(
            stream="agent/a", events=(seen("a" * 64),), expect=None, epoch=0, now=NOW, payloads=(content,)
        )
        with pytest.raises(JournalError, match="11 bytes is over the 10"):
            await store.append(large)


@pytest.mark.parametrize(
    "damage",
    [
        "UPDATE answerable.entry SET body = replace(body, 'ReleaseSeen', 'Released')",
        "UPDATE answerable.entry SET time = time + 1",
        "UPDATE answerable.entry SET body = '[]'",
    ],
)
async def test_a_row_that_somebody_changed_is_not_read(damage: str, postgres_url: str) -> None:
    """Reading it would be believing it."""
    async with opened(postgres_url) as store:
        await store.append(note())
        execute(postgres_url, f"{damage} WHERE stream = 'agent/desk'")
        with pytest.raises(JournalUnreadable):
            await store.entries("agent/desk")


async def test_a_table_that_somebody_dropped_is_said(postgres_url: str) -> None:
    """And not taken for an empty one."""
    async with opened(postgres_url) as store:
        execute(postgres_url, "DROP TABLE answerable.claim")
        with pytest.raises(JournalUnreadable, match="lacks a table"):
            await store.claim("c" * 64)
