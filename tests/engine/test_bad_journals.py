"""A journal that is full, locked, cut, edited, foreign or old: a clear error, nothing lost, nothing done."""

from __future__ import annotations

import asyncio
import os
import resource
import signal
import sqlite3
import threading
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest
from tests.crash.crash_points import fork
from tests.engine.workshop import Task, Vendor, healthy, make_agent, runtime_of

from answerable import Arguments, EffectKey, Retry, Run, tool
from answerable.errors import (
    JournalBusy,
    JournalError,
    JournalFull,
    JournalUnreadable,
)
from answerable.journal import heads
from answerable.journal.sqlite import SqliteJournal, connect, files
from answerable.journal.sqlite.files import OwnerLock, is_alive, sweep
from answerable.journal.sqlite.store import custody_of
from answerable.journal.store import Append, Payload
from answerable.journal.verify import verify_database
from answerable.kernel.entry import EMPTY
from answerable.testing import fixed_entropy
from answerable.testing.store_events import seen

if TYPE_CHECKING:
    from pathlib import Path


@tool(mode="native_key", retry=Retry(attempts=1))
async def pay(name: str, *, key: EffectKey, vendor: Vendor) -> str:
    """Pay."""
    return vendor.do(key)


@tool(mode="at_most_once", retry=Retry(attempts=1))
async def ring(name: str, *, key: EffectKey, vendor: Vendor) -> str:
    """Ring."""
    return vendor.do(key)


class Long(Arguments):
    """A task with much to say."""

    id: str
    text: str = ""


async def pay_often(run: Run, task: Task) -> None:
    """Pay, with long words in between."""
    for turn in range(12):
        await run.call(pay, name=f"{turn} {'x' * 3000}")


def pages_of(store: Any) -> int:
    """How many pages the journal's file has."""
    with closing(sqlite3.connect(store.path)) as db:
        return db.execute("PRAGMA page_count").fetchone()[0]


async def test_a_full_disk_is_an_error_and_the_run_goes_on_once_there_is_room(tmp_path: Path) -> None:
    """What was acknowledged stays, nothing is sent whose intent could not be written, and nothing twice."""
    vendor, agent = Vendor(), make_agent([pay], pay_often)
    async with runtime_of(tmp_path, agent, vendor=vendor) as runtime:
        (run,) = await runtime.submit(agent, [Task()])
        db = runtime.store._writer._db
        db.execute(f"PRAGMA max_page_count = {pages_of(runtime.store) + 6}")
        with pytest.raises(JournalFull, match="cannot be written"):
            await runtime.drive(run)
        asked = len(vendor.asked)
        with pytest.raises(JournalFull, match="cannot be written"):
            await runtime.drive_all()
        db.execute("PRAGMA max_page_count = 1000000")
        outcome = await runtime.drive(run)
    await healthy(tmp_path)

    assert 0 < asked < 12
    assert (outcome.name, len(vendor.done)) == ("unverified", 12), outcome.reason


async def test_a_full_disk_for_large_content_is_a_full_journal(tmp_path: Path) -> None:
    """Content in files fails as the database does, and the run stays open."""

    def no_room(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    agent = make_agent([pay], pay_often, task=Long)
    async with runtime_of(tmp_path, agent) as runtime:
        original = files.write_private
        files.write_private = no_room  # type: ignore[assignment]
        try:
            with pytest.raises(JournalFull):
                await runtime.submit(agent, [Long(id="one", text="x" * (2 << 20))])
        finally:
            files.write_private = original
        (run,) = await runtime.submit(agent, [Long(id="one", text="x" * (2 << 20))])
        outcome = await runtime.drive(run)
    await healthy(tmp_path)

    assert outcome.name == "unverified"


def test_a_process_that_may_not_write_more_loses_nothing(tmp_path: Path) -> None:
    """A real limit on the size of files, in a real process: the error is clear, and the rest is done later."""
    agent, vendor = make_agent([pay], pay_often), Vendor()

    async def limited() -> None:
        async with runtime_of(tmp_path, agent, vendor=vendor) as runtime:
            (run,) = await runtime.submit(agent, [Task()])
            size = max(path.stat().st_size for path in tmp_path.iterdir() if path.is_file())
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            resource.setrlimit(resource.RLIMIT_FSIZE, (size + 30_000, size + 30_000))
            with pytest.raises(JournalError, match="cannot be written"):
                await runtime.drive(run)

    assert os.waitpid(fork(limited), 0)[1] == 0

    async def later() -> Any:
        async with runtime_of(tmp_path, agent, vendor=vendor, seed=2) as runtime:
            (outcome,) = await runtime.drive_all()
        await healthy(tmp_path)
        return outcome

    assert asyncio.run(later()).name == "unverified"


async def test_a_locked_journal_is_an_error_and_nothing_is_sent(tmp_path: Path, monkeypatch: Any) -> None:
    """Somebody holds the database for too long: nothing was written, and nothing is done."""
    monkeypatch.setattr(connect, "BUSY_MS", 100)
    vendor, agent = Vendor(), make_agent([pay], pay_often)
    async with runtime_of(tmp_path, agent, vendor=vendor) as runtime:
        (run,) = await runtime.submit(agent, [Task()])
        with closing(sqlite3.connect(tmp_path / "journal.db", isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            with pytest.raises(JournalBusy, match="held by another process"):
                await runtime.drive(run)
            asked = list(vendor.asked)
            other.execute("ROLLBACK")
        outcome = await runtime.drive(run)

    assert (asked, outcome.name) == ([], "unverified")


async def written(folder: Path) -> Any:
    """A journal with one finished run."""

    async def once(run: Run, task: Task) -> str:
        return await run.call(pay, name="ana")

    agent = make_agent([pay], once)
    async with runtime_of(folder, agent) as runtime:
        await runtime.run(agent, Task(id="finished"))
        await runtime.submit(agent, [Task(id="open")])
    with closing(sqlite3.connect(folder / "journal.db")) as db:
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    return agent


def _truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def _overwrite(path: Path) -> None:
    path.write_bytes(b"this is no database, though it is long enough to be one" * 200)


def _foreign(path: Path) -> None:
    path.unlink()
    with closing(sqlite3.connect(path)) as db, db:
        db.execute("CREATE TABLE entry (a)")


def _older(path: Path) -> None:
    with closing(sqlite3.connect(path)) as db, db:
        db.execute("PRAGMA user_version = 0")


def _newer(path: Path) -> None:
    with closing(sqlite3.connect(path)) as db, db:
        db.execute("PRAGMA user_version = 2")


def _empty_but_marked(path: Path) -> None:
    with closing(sqlite3.connect(path)) as db, db:
        db.execute("DELETE FROM entry WHERE stream LIKE 'tenant/%'")
        db.execute("INSERT INTO entry VALUES ('tenant/default', 1, 1, '', '', '{}')")


@pytest.mark.parametrize("damage", [_truncate, _overwrite, _foreign, _older, _newer, _empty_but_marked])
async def test_what_is_not_our_journal_is_refused_and_left_alone(damage: Any, tmp_path: Path) -> None:
    """A damaged, foreign or other file is refused when it is opened or first read, and never written to."""
    agent, vendor = await written(tmp_path), Vendor()
    path = tmp_path / "journal.db"
    damage(path)
    before = path.read_bytes()

    with pytest.raises(JournalError) as refused:
        async with runtime_of(tmp_path, agent, vendor=vendor, seed=2) as runtime:
            await runtime.drive_all()

    assert isinstance(refused.value, JournalUnreadable)
    assert refused.value.hint
    assert vendor.asked == []
    assert path.read_bytes() == before


async def test_an_entry_that_was_edited_is_found_and_its_run_is_not_driven(tmp_path: Path) -> None:
    """An entry that is no entry any more stops its run, not the others; the verifier names it."""
    agent, vendor = await written(tmp_path), Vendor()
    async with runtime_of(tmp_path, agent, seed=2) as runtime:
        bad, good = await runtime.submit(agent, [Task(id="bad"), Task(id="good")])
    with closing(sqlite3.connect(tmp_path / "journal.db")) as db, db:
        db.execute(
            "UPDATE entry SET body = replace(body, 'RunCreated', 'RunCredited') WHERE stream = ?",
            (f"run/{bad}",),
        )

    async with runtime_of(tmp_path, agent, vendor=vendor, seed=3) as runtime:
        with pytest.raises(JournalUnreadable, match="cannot be read"):
            await runtime.drive_all()
        rows = {row.run: row.state for row in await runtime.store.runs()}
    report = verify_database(tmp_path / "journal.db")

    assert rows[good] == "ended"
    assert rows[bad] == "created"
    assert [finding.stream for finding in report.findings][:1] == [f"run/{bad}"]


async def test_a_clock_that_goes_backwards_changes_no_order(tmp_path: Path) -> None:
    """Entries are dated no earlier than those before them; runs end as ever."""
    from answerable.testing import FakeClock

    clock, vendor = FakeClock(), Vendor()

    async def program(run: Run, task: Task) -> list[str]:
        times = []
        for turn in range(4):
            times.append((await run.now()).isoformat())
            await run.call(pay, name=f"{turn}")
            clock.set_back(3600)
        return times

    agent = make_agent([pay], program)
    async with runtime_of(tmp_path, agent, vendor=vendor, clock=clock) as runtime:
        outcome = await runtime.run(agent, Task())
        times = [entry.time for entry in await runtime.store.entries(f"run/{outcome.run}")]
    await healthy(tmp_path)

    assert (outcome.name, len(vendor.done)) == ("unverified", 4)
    assert times == sorted(times)


async def test_two_processes_accept_one_batch_once(tmp_path: Path) -> None:
    """Both accept the same tasks at the same moment and drive everything: each is worked on once."""
    vendor = Vendor()

    async def once(run: Run, task: Task) -> str:
        return await run.call(ring, name=task.id)

    agent = make_agent([ring], once)
    tasks = [Task(id=f"t{index}") for index in range(20)]

    async def both(seed: int) -> None:
        async with runtime_of(tmp_path, agent, vendor=vendor, seed=seed) as runtime:
            await runtime.drive_all(await runtime.submit(agent, tasks))

    await asyncio.gather(both(1), both(2), both(3))
    await healthy(tmp_path)

    assert len(vendor.asked) == len(set(vendor.asked)) == 20


# The store


async def open_store(path: Path, durability: Any = "full") -> SqliteJournal:
    """A journal without a runtime."""
    return await SqliteJournal.open(path, entropy=os.urandom, clock=lambda: 0, durability=durability)


class Shaky:
    """A connection whose next commit fails, before or after it was carried out."""

    def __init__(self, db: sqlite3.Connection, *, carries_out: bool) -> None:
        self._db = db
        self._carries_out = carries_out
        self.is_armed = True

    def execute(self, statement: str, *more: Any) -> Any:
        """Fail once at COMMIT."""
        if statement == "COMMIT" and self.is_armed:
            self.is_armed = False
            if self._carries_out:
                self._db.execute("COMMIT")
            raise sqlite3.OperationalError("the disk has gone away")
        return self._db.execute(statement, *more)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._db, name)


@pytest.mark.parametrize("durability", ["full", "group", "relaxed"])
@pytest.mark.parametrize("carries_out", [True, False])
async def test_a_commit_whose_reply_was_lost_is_read_back(
    carries_out: bool, durability: str, tmp_path: Path
) -> None:
    """The caller hears what is in the database, not what the failing call said."""
    store = await open_store(tmp_path / "journal.db", durability)
    try:
        store._writer._db = Shaky(store._writer._db, carries_out=carries_out)  # type: ignore[assignment]
        appends = [
            Append(stream=f"agent/a{index}", events=(seen("a" * 64),), expect=None, epoch=0, now=1)
            for index in range(4)
        ]
        answers = await asyncio.gather(*(store.append(append) for append in appends), return_exceptions=True)
        for append, answer in zip(appends, answers, strict=True):
            there = await store.entries(append.stream)
            assert there == ([] if isinstance(answer, BaseException) else list(answer))
        assert any(isinstance(answer, JournalError) for answer in answers) is not carries_out
    finally:
        await store.close()


async def test_a_refusal_is_never_told_to_another(tmp_path: Path) -> None:
    """Where a shared commit fails after one append was refused, the others hear of the failure, not of the refusal."""
    store = await open_store(tmp_path / "journal.db", "group")
    try:
        (first,) = await store.append(
            Append(stream="agent/a0", events=(seen("a" * 64),), expect=None, epoch=0, now=1)
        )

        class Dying(Shaky):
            begun = 0

            def execute(self, statement: str, *more: Any) -> Any:
                if statement == "BEGIN IMMEDIATE":
                    self.begun += 1
                    if self.begun == 3:
                        raise sqlite3.OperationalError("the disk has gone away")
                return self._db.execute(statement, *more)

        with closing(sqlite3.connect(store.path, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            store._writer._db = Dying(store._writer._db, carries_out=False)  # type: ignore[assignment]
            blocked = asyncio.ensure_future(
                store.append(Append(stream="agent/b", events=(seen("a" * 64),), expect=None, epoch=0, now=1))
            )
            await asyncio.sleep(0.05)
            good = Append(stream="agent/c", events=(seen("a" * 64),), expect=None, epoch=0, now=1)
            stale = Append(stream="agent/a0", events=(seen("b" * 64),), expect=EMPTY, epoch=0, now=1)
            both = [asyncio.ensure_future(store.append(each)) for each in (good, stale)]
            await asyncio.sleep(0.05)
            other.execute("ROLLBACK")
            await blocked
            answers = await asyncio.gather(*both, return_exceptions=True)
        assert "the disk has gone away" in str(answers[0])
        assert await store.entries("agent/c") == []
        assert await store.head("agent/a0") == first.head
    finally:
        await store.close()


async def test_a_file_that_cannot_be_written_takes_its_entry_with_it(tmp_path: Path) -> None:
    """Content of more than a mebibyte is in its file before the entry that names it is committed, or neither is."""
    store = await open_store(tmp_path / "journal.db")
    try:
        ref, _ = await store.subject("person:ana")
        (tmp_path / "journal.db.blobs").write_text("a file stands where the folder should be")
        payload = Payload("a" * 64, ref, "task", b'"' + b"x" * (2 << 20) + b'"')
        append = Append(
            stream="agent/a", events=(seen("a" * 64),), expect=None, epoch=0, now=1, payloads=(payload,)
        )
        with pytest.raises(JournalError):
            await store.append(append)
        assert await store.entries("agent/a") == []
    finally:
        await store.close()


def test_a_sweep_never_removes_the_lock_of_a_living_owner(tmp_path: Path) -> None:
    """While owners come and go, whoever holds a name is alive to everybody who looks."""
    stop, wrong = threading.Event(), list[str]()

    def sweeping() -> None:
        while not stop.is_set():
            sweep(tmp_path)

    sweepers = [threading.Thread(target=sweeping) for _ in range(3)]
    for thread in sweepers:
        thread.start()
    for number in range(300):
        lock = OwnerLock(tmp_path, f"own_{number}")
        if not is_alive(tmp_path, f"own_{number}"):
            wrong.append(f"own_{number}")
        lock.release()
    stop.set()
    for thread in sweepers:
        thread.join()

    assert wrong == []


def test_two_processes_that_make_one_journal_agree_on_its_key(tmp_path: Path) -> None:
    """Whoever is later takes the key that is there, and does not replace it."""
    custody = custody_of(tmp_path / "journal.db")
    inner: list[str] = []

    def entropy(size: int) -> bytes:
        if not inner:
            inner.append("")
            inner[0] = heads.public_key_for(custody, fixed_entropy("the other"), is_new=True)
        return fixed_entropy("ours")(size)

    ours = heads.public_key_for(custody, entropy, is_new=True)

    assert ours == inner[0]
    assert heads.signing_key(custody).public_text == ours


# Signals


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_stops_between_steps_and_the_rest_is_done_later(number: int, tmp_path: Path) -> None:
    """What is being sent comes to its end and is written; nothing new is begun; the next process goes on."""
    record = tmp_path / "done"

    @tool(mode="at_most_once")
    async def slow(name: str, *, key: EffectKey) -> str:
        """Take a moment."""
        await asyncio.sleep(0.05)
        with record.open("a") as file:
            file.write(f"{key}\n")
        if name == "2":
            os.kill(os.getpid(), number)
        await asyncio.sleep(0.05)
        return name

    async def program(run: Run, task: Task) -> None:
        for turn in range(6):
            await run.call(slow, name=f"{turn}")

    agent = make_agent([slow], program)

    async def work() -> None:
        async with runtime_of(tmp_path, agent) as runtime:
            for each in (signal.SIGINT, signal.SIGTERM):
                asyncio.get_running_loop().add_signal_handler(each, runtime.stop)
            (run,) = await runtime.submit(agent, [Task()])
            outcome = await runtime.drive(run)
            assert (outcome.state, outcome.unknown) == ("running", ())

    status = os.waitpid(fork(work), 0)[1]
    first = record.read_text().split()

    async def later() -> Any:
        async with runtime_of(tmp_path, agent, seed=2) as runtime:
            (outcome,) = await runtime.drive_all()
        await healthy(tmp_path)
        return outcome

    outcome = asyncio.run(later())
    every = record.read_text().split()
    assert (status, len(first)) == (0, 3)
    assert (outcome.name, len(every), len(set(every))) == ("unverified", 6, 6)


def test_an_interrupt_without_a_handler_loses_nothing(tmp_path: Path) -> None:
    """Ctrl-C as asyncio treats it: the task is cancelled, the step in flight ends, the run stays open."""
    record = tmp_path / "done"

    @tool(mode="at_most_once")
    async def slow(name: str, *, key: EffectKey) -> str:
        """Take a moment."""
        with record.open("a") as file:
            file.write(f"{key}\n")
        if name == "2":
            os.kill(os.getpid(), signal.SIGINT)
        await asyncio.sleep(0.1)
        return name

    async def program(run: Run, task: Task) -> None:
        for turn in range(6):
            await run.call(slow, name=f"{turn}")

    agent = make_agent([slow], program)

    async def work() -> None:
        async with runtime_of(tmp_path, agent) as runtime:
            await runtime.drive_all(await runtime.submit(agent, [Task()]))

    child = os.fork()
    if child == 0:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        try:
            asyncio.run(work())
        except KeyboardInterrupt:
            os._exit(7)
        except BaseException:
            import traceback

            traceback.print_exc()
        os._exit(1)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])

    async def later() -> Any:
        async with runtime_of(tmp_path, agent, seed=2) as runtime:
            (outcome,) = await runtime.drive_all()
        await healthy(tmp_path)
        return outcome

    outcome = asyncio.run(later())
    every = record.read_text().split()
    assert status == 7
    assert (outcome.name, outcome.unknown, len(every), len(set(every))) == ("unverified", (), 6, 6)
