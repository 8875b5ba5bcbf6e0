"""A journal copied between stores: the same truth, derived tables that follow from it, and no half copy ever."""

from __future__ import annotations

import stat
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest
from tests.engine.workshop import Task, Vendor, key_of
from tests.migrate.stories import (
    LARGE,
    backed_up,
    derived_of,
    export,
    moved,
    opened,
    runtime_at,
    truth_of,
    write_story,
)
from tests.postgres_server import execute

from answerable.errors import ConfigError, JournalBehindHead, JournalError, JournalMoved
from answerable.journal import copy, copy_stores
from answerable.journal.doctor import examine
from answerable.journal.heads import public_key_for
from answerable.journal.store import Append
from answerable.journal.verify import verify_database, verify_postgres
from answerable.testing import FakeClock
from answerable.testing.store_events import seen

if TYPE_CHECKING:
    from pathlib import Path

    from answerable.journal.store import JournalStore

PAIRS = ("sqlite to postgres", "postgres to sqlite", "sqlite to sqlite")


@pytest.fixture(params=PAIRS)
def pair(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[str, str]:
    """Where a journal is, and where it is to go."""
    one, other = f"sqlite:///{tmp_path / 'one.db'}", f"sqlite:///{tmp_path / 'other.db'}"
    if request.param == "sqlite to sqlite":
        return one, other
    database = request.getfixturevalue("blank_url")
    return (one, database) if request.param == "sqlite to postgres" else (database, one)


def verified(url: str, **more: Any) -> Any:
    """What the independent reader says."""
    return verify_database(path_of(url), **more) if url.startswith("sqlite") else verify_postgres(url, **more)


def path_of(url: str) -> Path:
    """The file behind an address."""
    from answerable.journal.opening import journal_path

    return journal_path(url)


async def append_to(store: JournalStore) -> None:
    """Something that any process may append."""
    append = Append(stream="agent/desk", events=(seen("a" * 64),), expect=None, epoch=0, now=store.now())
    await store.append(append)


async def test_truth_is_copied_and_what_follows_is_rebuilt(pair: tuple[str, str]) -> None:
    """Every row of the truth is the same; every derived row too, though none was copied; a reader finds it sound."""
    source, target = pair
    await write_story(source)
    truth, derived = truth_of(source), await derived_of(source)

    copied = moved(source, target)

    assert (copied.kind, copied.entries, copied.behind) == ("moved", len(truth["entry"]), ())
    assert truth_of(target) == {**truth, "setting": []}
    assert await derived_of(target) == derived
    assert verified(target).is_ok
    assert verified(target).payloads_erased == 1
    assert any(len(row[5] or b"") > len(LARGE) for row in truth["payload"])
    store = await opened(target)
    try:
        assert [finding for finding in await examine(store) if finding.level == "bad"] == []
    finally:
        await store.close()


async def test_a_copy_begins_with_no_notice_taken(pair: tuple[str, str]) -> None:
    """Whoever was telling somebody did so from the old place; what is not delivered is told from the new one."""
    await write_story(pair[0])
    store = await opened(pair[0])
    taken = await store.take_notice(for_s=600)
    await store.close()
    moved(*pair)
    store = await opened(pair[1])
    again = await store.take_notice(for_s=600)
    await store.close()

    assert taken is not None
    assert again == taken


async def test_a_moved_journal_goes_on_where_it_is_now(pair: tuple[str, str]) -> None:
    """What was open is driven to its end there; an approval is taken; nothing that was done is done again."""
    source, target = pair
    vendor, clock = Vendor(), FakeClock()
    runs = await write_story(source, vendor)
    done = len(vendor.done)
    moved(source, target)
    async with runtime_at(target, vendor, seed="after", clock=clock) as runtime:
        await runtime.answer(runs["waiting"], "grant", approver="lea", private_key=key_of("lea"))
        outcomes = {run.run: run for run in await runtime.drive_all()}
        again = await runtime.run("clerk", Task(id="other", who="done", text="7"))

    assert outcomes[runs["waiting"]].name == "unverified"
    assert outcomes[runs["created"]].name == "unverified"
    assert len(vendor.done) == done + 2
    assert (again.name, again.code) == ("escalated", "claim_held")  # the claim of what was done came along
    assert verified(target).is_ok


async def test_a_source_is_closed_for_whoever_has_it_open(pair: tuple[str, str]) -> None:
    """Two journals of one id must not go on apart: the old one can be read, and says where the new one is."""
    source, target = pair
    runs = await write_story(source)
    store = await opened(source)
    try:
        moved(source, target)
        with pytest.raises(JournalMoved, match=r"other\.db|one\.db|answerable_"):
            await append_to(store)
        with pytest.raises(JournalMoved):
            await store.take_name("own_somebody")
        with pytest.raises(JournalError):
            await store.destroy([truth_of(source)["payload"][0][0]], store.now())
        assert len(await store.runs()) == len(runs)
    finally:
        await store.close()
    assert verified(source).is_ok
    with pytest.raises(ConfigError, match=r"is there already|a journal already"):
        backed_up(source, target)


async def test_a_move_can_be_undone_until_the_target_is_used(pair: tuple[str, str]) -> None:
    """Then the target is the one that is closed. Once somebody wrote there, going back would lose that."""
    source, target = pair
    await write_story(source)
    moved(source, target)

    copy_stores.undo(source, target)

    store, there = await opened(source), await opened(target)
    try:
        await append_to(store)
        with pytest.raises(JournalMoved):
            await append_to(there)
    finally:
        await store.close()
        await there.close()
    with pytest.raises(ConfigError, match="not moved anywhere"):
        copy_stores.undo(source, target)


async def test_a_move_is_not_undone_once_the_target_was_used(pair: tuple[str, str]) -> None:
    source, target = pair
    await write_story(source)
    moved(source, target)
    store = await opened(target)
    try:
        await append_to(store)
    finally:
        await store.close()

    with pytest.raises(ConfigError, match="was written to since"):
        copy_stores.undo(source, target)


async def test_a_journal_that_is_worked_on_is_not_moved_but_backed_up(pair: tuple[str, str]) -> None:
    """Who works on it is named. A backup says what it is, has no key, and leaves the journal as it was."""
    source, target = pair
    async with runtime_at(source, Vendor()) as runtime:
        await runtime.run("clerk", Task(id="1"))
        with pytest.raises(ConfigError, match=f"worked on by {runtime.owner}"):
            moved(source, target)

        copied = backed_up(source, target)

        await runtime.run("clerk", Task(id="2", who="bo"))
    assert (copied.kind, copied.key, copied.head) == ("backup", None, None)
    assert verified(target).is_ok
    (said,) = truth_of(target)["setting"]
    assert said[0] == "backup_of"
    with pytest.raises(ConfigError, match=r"there is no|already"):
        backed_up("sqlite:////nowhere.db", target)


async def test_a_backup_is_restored_again_and_again(tmp_path: Path, blank_url: str) -> None:
    """It stays a backup until somebody writes to it."""
    source, kept, first = (f"sqlite:///{tmp_path / name}" for name in ("one.db", "kept.db", "first.db"))
    await write_story(source)
    backed_up(source, kept)

    kinds = [moved(kept, first).kind, moved(kept, blank_url).kind]

    assert kinds == ["restored", "restored"]
    assert truth_of(first)["entry"] == truth_of(blank_url)["entry"] == truth_of(source)["entry"]
    store = await opened(kept)
    try:
        await append_to(store)
    finally:
        await store.close()
    assert moved(kept, f"sqlite:///{tmp_path / 'third.db'}").kind == "moved"


async def test_nothing_is_overwritten(tmp_path: Path, postgres_url: str) -> None:
    """Neither a journal, nor what lies where its files would lie."""
    source, other = f"sqlite:///{tmp_path / 'one.db'}", f"sqlite:///{tmp_path / 'other.db'}"
    for url in (source, other, postgres_url):
        await write_story(url)
    before = truth_of(postgres_url)

    for target in (other, postgres_url):
        with pytest.raises(ConfigError, match=r"is there already|holds a journal already"):
            moved(source, target)
    for name in ("blank.db.blobs", "blank2.db-wal"):
        (tmp_path / name).mkdir()
        with pytest.raises(ConfigError, match=r"is there already|left of another"):
            moved(source, f"sqlite:///{tmp_path / name.removesuffix('.blobs').removesuffix('-wal')}")

    assert truth_of(postgres_url) == before
    assert verified(source).is_ok
    store = await opened(source)
    try:
        await append_to(store)  # still open for writing
    finally:
        await store.close()


async def test_key_and_head_go_along_on_this_machine(pair: tuple[str, str]) -> None:
    """With mode 0600; heads go on being signed with the same key, and an older state goes on being refused."""
    source, target = pair
    await write_story(source)
    head = await export(source)

    copied = moved(source, target)

    store = await opened(target)
    await store.close()
    assert copied.key == str(store.custody.key)
    assert store.custody.head.read_bytes() == head.read_bytes()
    assert {stat.S_IMODE(path.stat().st_mode) for path in (store.custody.key, store.custody.head)} == {0o600}
    assert public_key_for(store.custody, bytes, is_new=False) == store.public_key
    new_head = await export(target)
    assert verified(target, head=new_head).completeness.startswith("shown up to")


async def test_the_key_of_another_journal_is_in_the_way(tmp_path: Path, blank_url: str) -> None:
    """Then nothing is copied at all."""
    from answerable.journal.postgres import custody_of

    source = f"sqlite:///{tmp_path / 'one.db'}"
    await write_story(source)
    public_key_for(custody_of(blank_url), lambda count: b"k" * count, is_new=True)

    with pytest.raises(ConfigError, match="key of another journal"):
        moved(source, blank_url)

    assert not copy_stores.is_there(blank_url)


async def test_a_source_behind_its_head_is_not_copied(tmp_path: Path) -> None:
    """A restored old state must not pass for the journal by changing its place."""
    source, kept = f"sqlite:///{tmp_path / 'one.db'}", f"sqlite:///{tmp_path / 'kept.db'}"
    await write_story(source)
    backed_up(source, kept)
    async with runtime_at(source, Vendor(), seed="later") as runtime:
        await runtime.run("clerk", Task(id="later", who="lu"))
    (tmp_path / "kept.db.head").write_bytes((await export(source)).read_bytes())

    for copied in (moved, backed_up):
        with pytest.raises(JournalBehindHead, match="is behind"):
            copied(kept, f"sqlite:///{tmp_path / 'other.db'}")


async def test_a_changed_journal_is_not_copied(pair: tuple[str, str]) -> None:
    """The place is named, nothing is left of the copy, and the source is as it was."""
    source, target = pair
    await write_story(source)
    swap = (
        "UPDATE {} SET body = replace(body, '\"clerk\"', '\"clark\"') WHERE stream LIKE 'run/%' AND seq = 1"
    )
    if source.startswith("sqlite"):
        import sqlite3

        with closing(sqlite3.connect(path_of(source))) as db:
            db.execute(swap.format("entry"))
            db.commit()
    else:
        execute(source, swap.format("answerable.entry"))

    with pytest.raises(JournalError, match="entry 1 cannot be copied"):
        moved(source, target)

    assert not copy_stores.is_there(target)
    if target.startswith("sqlite"):
        assert sorted(path.name for path in path_of(target).parent.glob("other.db*")) == []


@pytest.mark.parametrize("stage", ["copying", "checking"])
async def test_an_interrupted_move_leaves_everything_as_it_was(
    stage: str, pair: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ctrl-C in either stage: nothing is left in the target, and the source goes on."""
    source, target = pair
    await write_story(source)
    monkeypatch.setattr(copy, "EVERY", 7)

    def interrupt(at: str, _done: int, _total: int) -> None:
        if at == stage:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        copy_stores.migrate(source, target, progress=interrupt)

    assert not copy_stores.is_there(target)
    assert moved(source, target).kind == "moved"


async def test_a_target_that_does_not_commit_gives_the_source_back(
    pair: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was closed a moment before. Where nobody can say whether the target has it, it stays closed."""
    source, target = pair
    await write_story(source)
    place = copy_stores.open_target(target)
    kind = type(place)
    place.close()

    def refuse(_self: Any) -> None:
        raise JournalError("the disk is full")

    with monkeypatch.context() as patched:
        patched.setattr(kind, "commit", refuse)
        with pytest.raises(JournalError, match="the disk is full"):
            moved(source, target)
        store = await opened(source)
        await append_to(store)
        await store.close()
        patched.setattr(kind, "holds", refuse)
        with pytest.raises(JournalError, match="the disk is full"):
            moved(source, target)

    store = await opened(source)
    with pytest.raises(JournalMoved):
        await append_to(store)
    await store.close()
    assert moved(source, target).kind == "moved"


async def test_an_undo_of_another_runs_effect_is_followed(tmp_path: Path) -> None:
    """What one run undoes of another's is let go of in the copy as in the journal."""
    from answerable.testing.store_events import effect_of, ended, intended, run_name, write_run

    source, target = f"sqlite:///{tmp_path / 'one.db'}", f"sqlite:///{tmp_path / 'other.db'}"
    async with runtime_at(source, Vendor()) as runtime:
        store = runtime.store
        first, second = sorted((run_name(1), run_name(2)), reverse=True)
        claim = {"key": "c" * 64, "rule": "until_compensated", "amount": 5, "cap": 0}
        for run, intent in (
            (first, intended(first, claim=claim, totals=(("d" * 64, "paid", 5, 0, 0),))),
            (second, intended(second, undoes=effect_of(first, "1.0"))),
        ):
            head = (await write_run(store, run)).head
            for event in (intent, ended("1.0", run=run)):
                append = Append(stream=f"run/{run}", events=(event,), expect=head, epoch=1, now=store.now())
                head = (await store.append(append))[0].head
    derived = await derived_of(source)

    moved(source, target)

    assert derived["claim"] == derived["total"] == {}
    assert await derived_of(target) == derived
