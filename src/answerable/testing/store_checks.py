"""What every journal store must do, as checks that run against any of them.

A store is native to its database and shares no code with another; these checks are what they share. They use
only the protocol `answerable.journal.store.JournalStore` and what `spec/journal.md` says of entries.
"""

from __future__ import annotations

import asyncio
import hashlib
from typing import TYPE_CHECKING

from answerable.errors import (
    JournalConflict,
    JournalFenced,
)
from answerable.journal.store import Append, Erased, Payload
from answerable.kernel.encoding import ZERO_HASH, NotEncodable
from answerable.kernel.entry import EMPTY
from answerable.testing import (
    store_checks_guards,  # noqa: F401  # pyright: ignore[reportUnusedImport] - registers its checks
    store_checks_throttle,  # noqa: F401  # pyright: ignore[reportUnusedImport] - registers its checks
)
from answerable.testing.store_checking import (
    STORE_CHECKS,
    StoreCheckFailed,
    StoreFactory,
    Stores,
    append,
    check,
    must,
    note,
    refused,
)
from answerable.testing.store_events import (
    NOW,
    ended,
    run_ended,
    run_name,
    run_parked,
    seen,
    settled,
    write_run,
)

if TYPE_CHECKING:
    from collections.abc import Collection


async def check_journal_store(factory: StoreFactory, *, only: Collection[str] = ()) -> None:
    """Check that a store keeps every promise of `JournalStore`.

    `factory` opens journals by name; each check uses one of its own. `only` names checks of `STORE_CHECKS`. Raises
    `StoreCheckFailed` with the first promise that is not kept.
    """
    for name, one in STORE_CHECKS.items():
        if only and name not in only:
            continue
        stores = Stores(factory, name.replace("_", "-"))
        try:
            await one(stores)
        except StoreCheckFailed as failed:
            raise StoreCheckFailed(f"{name}: {failed}") from failed.__cause__
        finally:
            await stores.close()


# Entries


@check
async def _what_was_appended_is_read_back(stores: Stores) -> None:
    store = await stores.open()
    before = await store.head("agent/desk")
    must(before == EMPTY, "a stream without entries stands elsewhere than at its beginning")
    first = await note(store, seen("a" * 64), stream="agent/desk")
    second = await note(store, seen("b" * 64), seen("c" * 64), stream="agent/desk")
    read = await store.entries("agent/desk")
    must(read == [first, second], "entries are not read back as they were acknowledged")
    must([entry.seq for entry in read] == [1, 2], "entries are not numbered from 1 without gaps")
    must(first.prev == ZERO_HASH and second.prev == first.hash, "an entry does not name the one before it")
    for entry in read:
        must(hashlib.sha256(entry.body.encode()).hexdigest() == entry.hash, "a hash is not that of the body")
    must(await store.entries("agent/desk", after=1) == [second], "`after` does not leave out what was seen")
    must(await store.head("agent/desk") == second.head, "the head is not that of the last entry")
    must(await store.entries("agent/other") == [], "a stream holds entries of another")


@check
async def _entries_outlive_the_process(stores: Stores) -> None:
    store = await stores.open()
    journal, key = store.journal, store.tenant_key
    entry = await note(store, seen("a" * 64), stream="agent/desk")
    subject = await store.subject("person:ana")
    await stores.close()
    again = await stores.open()
    must(await again.entries("agent/desk") == [entry], "an acknowledged entry is gone after closing")
    must(
        (again.journal, again.tenant_key) == (journal, key), "the journal has another id or key after closing"
    )
    must(await again.subject("person:ana") == subject, "a person has another name after closing")


@check
async def _time_never_falls_within_a_stream(stores: Stores) -> None:
    store = await stores.open()
    for now in (NOW, NOW - 3_600_000_000, NOW + 1):
        await store.append(
            Append(stream="agent/desk", events=(seen("a" * 64),), expect=None, epoch=0, now=now)
        )
    times = [entry.time for entry in await store.entries("agent/desk")]
    must(times == [NOW, NOW, NOW + 1], f"a clock that was set back made times of {times}")


@check
async def _a_head_that_moved_is_a_conflict(stores: Stores) -> None:
    ours, theirs = await stores.open(), await stores.open()
    run = run_name(1)
    head = (await write_run(ours, run)).head
    moved = await append(theirs, f"run/{run}", head, settled("1.0"))
    async with refused(JournalConflict, "an append behind a head that moved"):
        await append(ours, f"run/{run}", head, settled("2.0"))
    async with refused(JournalConflict, "creating a stream that is there"):
        await append(ours, f"run/{run}", EMPTY, settled("2.0"))
    must(await ours.head(f"run/{run}") == moved.head, "a refused append moved the head")


@check
async def _of_two_writers_at_once_one_wins(stores: Stores) -> None:
    views = [await stores.open() for _ in range(2)]
    run = run_name(1)
    head = (await write_run(views[0], run)).head
    for turn in range(1, 11):
        both = await asyncio.gather(
            *(append(view, f"run/{run}", head, settled(f"{turn}.0")) for view in views),
            return_exceptions=True,
        )
        won = [one for one in both if not isinstance(one, BaseException)]
        lost = [one for one in both if isinstance(one, JournalConflict)]
        must(len(won) == len(lost) == 1, f"two appends behind one head came to {both}")
        head = won[0].head


@check
async def _an_older_owner_is_fenced(stores: Stores) -> None:
    ours, theirs = await stores.open(), await stores.open()
    run = run_name(1)
    old = (await write_run(ours, run)).head
    await write_run(theirs, run, head=old, epoch=2)
    async with refused(JournalFenced, "an append by an older owner"):
        await append(ours, f"run/{run}", old, settled("1.0"), epoch=1)
    rows = await ours.runs(run=run)
    must([row.epoch for row in rows] == [2], "the list of runs does not name the newer epoch")


@check
async def _all_appends_of_a_transaction_or_none(stores: Stores) -> None:
    store = await stores.open()
    good = Append(stream="agent/desk", events=(seen("a" * 64),), expect=None, epoch=0, now=NOW)
    behind = Append(
        stream="agent/other",
        events=(seen("b" * 64),),
        expect=(await note(store, seen("d" * 64))).head,
        epoch=0,
        now=NOW,
    )
    async with refused(JournalConflict, "a transaction of which one part is stale"):
        await store.append(good, behind)
    must(await store.entries("agent/desk") == [], "half of a refused transaction was written")
    entries = await store.append(
        good, Append(stream="agent/other", events=(seen("b" * 64),), expect=EMPTY, epoch=0, now=NOW)
    )
    must(len(entries) == len((good, behind)), "a transaction of two entries does not answer with both")


@check
async def _one_stale_append_fails_alone(stores: Stores) -> None:
    store = await stores.open()
    runs, before = [run_name(number) for number in range(24)], 1
    heads = [(await write_run(store, run)).head for run in runs]
    stale = 7
    heads[stale] = EMPTY
    answers = await asyncio.gather(
        *(append(store, f"run/{run}", head, settled("1.0")) for run, head in zip(runs, heads, strict=True)),
        return_exceptions=True,
    )
    failed = [index for index, answer in enumerate(answers) if isinstance(answer, BaseException)]
    must(failed == [stale], f"of many appends at once, {failed} failed and not just the stale one")
    for index, run in enumerate(runs):
        must(
            (await store.head(f"run/{run}")).seq == (1 if index == stale else before + 1),
            "an acknowledged entry is not there",
        )


@check
async def _what_cannot_be_encoded_is_refused_whole(stores: Stores) -> None:
    store = await stores.open()
    run = run_name(1)
    head = (await write_run(store, run)).head
    for what, event in (
        ("an entry of more than 8,192 bytes", run_ended(rules=("r" * 120,) * 80)),
        ("a number over 2^53", ended("1.0", cost=2**53)),
    ):
        async with refused(NotEncodable, what):
            await append(store, f"run/{run}", head, event)
    must(await store.head(f"run/{run}") == head, "an entry that cannot be encoded moved the head")


@check
async def _a_cancelled_caller_leaves_no_doubt(stores: Stores) -> None:
    store = await stores.open()
    for number in range(10):
        task = asyncio.ensure_future(note(store, seen(f"{number:064x}"), stream="agent/desk"))
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait([task])
        known = len(await store.entries("agent/desk"))
        await asyncio.sleep(0.005)
        must(len(await store.entries("agent/desk")) == known, "an append went on after its caller was let go")


# Content


@check
async def _payloads_come_with_their_entry(stores: Stores) -> None:
    store = await stores.open()
    ref, _ = await store.subject("person:ana")
    small = Payload("a" * 64, ref, "task", b'{"text":"small"}')
    large = Payload("b" * 64, ref, "task", b'"' + b"x" * (3 << 20) + b'"')
    append = Append(
        stream="agent/desk", events=(seen("a" * 64),), expect=None, epoch=0, now=NOW, payloads=(small, large)
    )
    await store.append(append)
    await store.append(append)
    found = await store.payloads([small.ref, large.ref, "c" * 64])
    must(found[small.ref] == small.body, "a payload is not read back")
    must(found[large.ref] == large.body, "a payload of 3 MiB is not read back")
    must(isinstance(found["c" * 64], Erased), "content that is not there is not `Erased`")
    stale = Append(
        stream="agent/desk",
        events=(seen("a" * 64),),
        expect=EMPTY,
        epoch=0,
        now=NOW,
        payloads=(Payload("d" * 64, ref, "task", b"1"),),
    )
    async with refused(JournalConflict, "creating a stream that is there"):
        await store.append(stale)
    must(isinstance((await store.payloads(["d" * 64]))["d" * 64], Erased), "a refused entry left its payload")


@check
async def _a_person_has_one_name(stores: Stores) -> None:
    ours, theirs = await stores.open(), await stores.open()
    names = await asyncio.gather(*(view.subject("person:ana") for view in (ours, theirs, ours, theirs)))
    must(len(set(names)) == 1, "one person got several names")
    ref, key = names[0]
    other, other_key = await ours.subject("person:ben")
    must(ref != other and key != other_key, "two people share a name or a key")
    must("ana" not in ref, "the name of a person says who it is")
    must(await theirs.subject_key(ref) == key, "the key of a person is not found by the name")
    must(await ours.subject_key("sub_" + "a" * 26) is None, "somebody who is not there has a key")


# The list of runs, and who must be told


@check
async def _the_list_of_runs_follows_the_entries(stores: Stores) -> None:
    store = await stores.open()
    run, other = run_name(1), run_name(2)
    head = (await write_run(store, run)).head
    await write_run(store, other)
    (row,) = await store.runs(run=run)
    must(
        (row.state, row.agent, row.epoch, row.owner) == ("running", "desk", 1, "own_1"),
        f"a taken run is listed as {row}",
    )
    head = (await append(store, f"run/{run}", head, run_parked("apr_1"))).head
    (row,) = await store.runs(states=("waiting",))
    must(
        (row.run, row.waiting_for, row.request) == (run, "approval", "apr_1"),
        f"a waiting run is listed as {row}",
    )
    head = (await write_run(store, run, head=head, epoch=2)).head
    (row,) = await store.runs(run=run)
    must((row.state, row.waiting_for, row.epoch) == ("running", None, 2), f"a woken run is listed as {row}")
    await append(store, f"run/{run}", head, run_ended(), epoch=2)
    (row,) = await store.runs(states=("ended",))
    must(
        (row.run, row.outcome, row.code) == (run, "escalated", "internal"), f"an ended run is listed as {row}"
    )
    must({each.run for each in await store.runs()} == {run, other}, "the list of runs is not complete")
    counted = [await store.open_runs(agent) for agent in ("desk", "nobody")]
    must(counted == [1, 0], f"of one open run and one that has ended, {counted} are counted as open")


@check
async def _who_must_be_told_is_not_forgotten(stores: Stores) -> None:
    store = await stores.open()
    run = run_name(1)
    await append(store, f"run/{run}", (await write_run(store, run)).head, run_ended())
    (notice,) = await store.notices()
    must(
        (notice.run, notice.kind, notice.attempts) == (run, "escalated", 0),
        f"an escalation is told as {notice}",
    )
    await store.delivered(notice.id, is_done=False)
    await stores.close()
    again = await stores.open()
    (notice,) = await again.notices()
    must(notice.attempts == 1, "an attempt to tell is not counted")
    await again.delivered(notice.id, is_done=True)
    must(await again.notices() == [], "what was told is told again")


@check
async def _a_notice_is_taken_by_one_process_at_a_time(stores: Stores) -> None:
    one, other = await stores.open(), await stores.open()
    for number in (1, 2):
        run = run_name(number)
        await append(one, f"run/{run}", (await write_run(one, run)).head, run_ended())
    first, second = await one.notices()
    taken = [await one.take_notice(for_s=600), await other.take_notice(for_s=600)]
    must(taken == [first, second], f"two processes that each take a notice get {taken}")
    taken = [await store.take_notice(for_s=600) for store in (one, other)]
    must(taken == [None, None], "a notice that is taken is given out again")
    must(await other.notices() == [first, second], "a notice that is taken is not listed any more")
    await one.delivered(first.id, is_done=False)
    must(await other.take_notice(after=first.id, for_s=600) is None, "a notice before `after` is given out")
    again = await other.take_notice(
        for_s=0
    )  # taken, and its time is over at once: as if that process had died
    must(
        again is not None and again.attempts == 1,
        "a notice that could not be delivered is not given out again",
    )
    again = await one.take_notice(for_s=600)
    must(again is not None and again.id == first.id, "a notice is not given out again when its time is over")
    await one.delivered(first.id, is_done=True)
    await other.delivered(first.id, is_done=False)  # it took longer than its time
    await other.delivered(second.id, is_done=True)
    must(await one.take_notice(for_s=0) is None, "what was told is given out again")
    must(await one.notices() == [], "what was told is listed again after a later attempt that failed")


@check
async def _of_many_who_want_a_notice_one_gets_it(stores: Stores) -> None:
    views = [await stores.open() for _ in range(4)]
    run = run_name(1)
    await append(views[0], f"run/{run}", (await write_run(views[0], run)).head, run_ended())
    taken = await asyncio.gather(*(store.take_notice(for_s=600) for store in views * 3))
    must(len([one for one in taken if one is not None]) == 1, f"one notice is taken as {taken}")
