"""What every journal store must do, as checks that run against any of them.

A store is native to its database and shares no code with another; these checks are what they share. They use
only the protocol `answerable.journal.store.JournalStore` and what `spec/journal.md` says of entries.
"""

from __future__ import annotations

import asyncio
import hashlib
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Protocol

from answerable.errors import (
    AnswerableError,
    BudgetExceeded,
    ClaimHeld,
    HaltInForce,
    JournalConflict,
    JournalFenced,
    TotalsMoved,
)
from answerable.journal.store import Append, Erased, Payload
from answerable.kernel.encoding import ZERO_HASH, NotEncodable
from answerable.kernel.entry import EMPTY
from answerable.testing.store_events import (
    NOW,
    TENANT,
    ended,
    halt,
    intended,
    lift,
    run_ended,
    run_name,
    run_parked,
    seen,
    settled,
    write_run,
)

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable, Collection

    from answerable.journal.store import JournalStore
    from answerable.kernel.entry import Entry, Head
    from answerable.kernel.events import Event


class StoreFactory(Protocol):
    """Opens the journal called `name`, made on first use. Opened twice, it is one journal seen by two processes."""

    async def __call__(self, name: str) -> JournalStore:
        """Open the journal called `name`."""
        ...


class StoreCheckFailed(AssertionError):
    """The store does not do what every store must do; the message says what, and in which check."""


class Stores:
    """What one check works with: its own journal, opened as often as it likes, closed for it."""

    def __init__(self, factory: StoreFactory, name: str) -> None:
        self._factory = factory
        self._name = name
        self._opened: list[JournalStore] = []

    async def open(self) -> JournalStore:
        """One more view of the check's journal."""
        store = await self._factory(self._name)
        self._opened.append(store)
        return store

    async def close(self) -> None:
        """Close whatever is still open."""
        while self._opened:
            await self._opened.pop().close()


STORE_CHECKS: dict[str, Callable[[Stores], Awaitable[None]]] = {}
"""Every check by its name, for those who want a test of their own for each."""


def _check(check: Callable[[Stores], Awaitable[None]]) -> Callable[[Stores], Awaitable[None]]:
    STORE_CHECKS[check.__name__.removeprefix("_")] = check
    return check


async def check_journal_store(factory: StoreFactory, *, only: Collection[str] = ()) -> None:
    """Check that a store keeps every promise of `JournalStore`.

    `factory` opens journals by name; each check uses one of its own. `only` names checks of `STORE_CHECKS`. Raises
    `StoreCheckFailed` with the first promise that is not kept.
    """
    for name, check in STORE_CHECKS.items():
        if only and name not in only:
            continue
        stores = Stores(factory, name.replace("_", "-"))
        try:
            await check(stores)
        except StoreCheckFailed as failed:
            raise StoreCheckFailed(f"{name}: {failed}") from failed.__cause__
        finally:
            await stores.close()


def _must(holds: bool, message: str) -> None:  # noqa: FBT001 - a claim and its words
    if not holds:
        raise StoreCheckFailed(message)


@asynccontextmanager
async def _refused(error: type[Exception], what: str) -> AsyncGenerator[None]:
    try:
        yield
    except error:
        return
    except AnswerableError as other:
        raise StoreCheckFailed(f"{what} raised {type(other).__name__}, not {error.__name__}") from other
    raise StoreCheckFailed(f"{what} was not refused with {error.__name__}")


async def _append(
    store: JournalStore, stream: str, head: Head | None, *events: Event, epoch: int = 1
) -> Entry:
    (entry,) = await store.append(Append(stream=stream, events=events, expect=head, epoch=epoch, now=NOW))
    return entry


async def _note(store: JournalStore, *events: Event, stream: str = TENANT) -> Entry:
    return await _append(store, stream, None, *events, epoch=0)


# Entries


@_check
async def _what_was_appended_is_read_back(stores: Stores) -> None:
    store = await stores.open()
    before = await store.head("agent/desk")
    _must(before == EMPTY, "a stream without entries stands elsewhere than at its beginning")
    first = await _note(store, seen("a" * 64), stream="agent/desk")
    second = await _note(store, seen("b" * 64), seen("c" * 64), stream="agent/desk")
    read = await store.entries("agent/desk")
    _must(read == [first, second], "entries are not read back as they were acknowledged")
    _must([entry.seq for entry in read] == [1, 2], "entries are not numbered from 1 without gaps")
    _must(first.prev == ZERO_HASH and second.prev == first.hash, "an entry does not name the one before it")
    for entry in read:
        _must(hashlib.sha256(entry.body.encode()).hexdigest() == entry.hash, "a hash is not that of the body")
    _must(await store.entries("agent/desk", after=1) == [second], "`after` does not leave out what was seen")
    _must(await store.head("agent/desk") == second.head, "the head is not that of the last entry")
    _must(await store.entries("agent/other") == [], "a stream holds entries of another")


@_check
async def _entries_outlive_the_process(stores: Stores) -> None:
    store = await stores.open()
    journal, key = store.journal, store.tenant_key
    entry = await _note(store, seen("a" * 64), stream="agent/desk")
    subject = await store.subject("person:ana")
    await stores.close()
    again = await stores.open()
    _must(await again.entries("agent/desk") == [entry], "an acknowledged entry is gone after closing")
    _must(
        (again.journal, again.tenant_key) == (journal, key), "the journal has another id or key after closing"
    )
    _must(await again.subject("person:ana") == subject, "a person has another name after closing")


@_check
async def _time_never_falls_within_a_stream(stores: Stores) -> None:
    store = await stores.open()
    for now in (NOW, NOW - 3_600_000_000, NOW + 1):
        await store.append(
            Append(stream="agent/desk", events=(seen("a" * 64),), expect=None, epoch=0, now=now)
        )
    times = [entry.time for entry in await store.entries("agent/desk")]
    _must(times == [NOW, NOW, NOW + 1], f"a clock that was set back made times of {times}")


@_check
async def _a_head_that_moved_is_a_conflict(stores: Stores) -> None:
    ours, theirs = await stores.open(), await stores.open()
    run = run_name(1)
    head = (await write_run(ours, run)).head
    moved = await _append(theirs, f"run/{run}", head, settled("1.0"))
    async with _refused(JournalConflict, "an append behind a head that moved"):
        await _append(ours, f"run/{run}", head, settled("2.0"))
    async with _refused(JournalConflict, "creating a stream that is there"):
        await _append(ours, f"run/{run}", EMPTY, settled("2.0"))
    _must(await ours.head(f"run/{run}") == moved.head, "a refused append moved the head")


@_check
async def _of_two_writers_at_once_one_wins(stores: Stores) -> None:
    views = [await stores.open() for _ in range(2)]
    run = run_name(1)
    head = (await write_run(views[0], run)).head
    for turn in range(1, 11):
        both = await asyncio.gather(
            *(_append(view, f"run/{run}", head, settled(f"{turn}.0")) for view in views),
            return_exceptions=True,
        )
        won = [one for one in both if not isinstance(one, BaseException)]
        lost = [one for one in both if isinstance(one, JournalConflict)]
        _must(len(won) == len(lost) == 1, f"two appends behind one head came to {both}")
        head = won[0].head


@_check
async def _an_older_owner_is_fenced(stores: Stores) -> None:
    ours, theirs = await stores.open(), await stores.open()
    run = run_name(1)
    old = (await write_run(ours, run)).head
    await write_run(theirs, run, head=old, epoch=2)
    async with _refused(JournalFenced, "an append by an older owner"):
        await _append(ours, f"run/{run}", old, settled("1.0"), epoch=1)
    rows = await ours.runs(run=run)
    _must([row.epoch for row in rows] == [2], "the list of runs does not name the newer epoch")


@_check
async def _all_appends_of_a_transaction_or_none(stores: Stores) -> None:
    store = await stores.open()
    good = Append(stream="agent/desk", events=(seen("a" * 64),), expect=None, epoch=0, now=NOW)
    behind = Append(
        stream="agent/other",
        events=(seen("b" * 64),),
        expect=(await _note(store, seen("d" * 64))).head,
        epoch=0,
        now=NOW,
    )
    async with _refused(JournalConflict, "a transaction of which one part is stale"):
        await store.append(good, behind)
    _must(await store.entries("agent/desk") == [], "half of a refused transaction was written")
    entries = await store.append(
        good, Append(stream="agent/other", events=(seen("b" * 64),), expect=EMPTY, epoch=0, now=NOW)
    )
    _must(len(entries) == len((good, behind)), "a transaction of two entries does not answer with both")


@_check
async def _one_stale_append_fails_alone(stores: Stores) -> None:
    store = await stores.open()
    runs, before = [run_name(number) for number in range(24)], 1
    heads = [(await write_run(store, run)).head for run in runs]
    stale = 7
    heads[stale] = EMPTY
    answers = await asyncio.gather(
        *(_append(store, f"run/{run}", head, settled("1.0")) for run, head in zip(runs, heads, strict=True)),
        return_exceptions=True,
    )
    failed = [index for index, answer in enumerate(answers) if isinstance(answer, BaseException)]
    _must(failed == [stale], f"of many appends at once, {failed} failed and not just the stale one")
    for index, run in enumerate(runs):
        _must(
            (await store.head(f"run/{run}")).seq == (1 if index == stale else before + 1),
            "an acknowledged entry is not there",
        )


@_check
async def _what_cannot_be_encoded_is_refused_whole(stores: Stores) -> None:
    store = await stores.open()
    run = run_name(1)
    head = (await write_run(store, run)).head
    for what, event in (
        ("an entry of more than 8,192 bytes", run_ended(rules=("r" * 120,) * 80)),
        ("a number over 2^53", ended("1.0", cost=2**53)),
    ):
        async with _refused(NotEncodable, what):
            await _append(store, f"run/{run}", head, event)
    _must(await store.head(f"run/{run}") == head, "an entry that cannot be encoded moved the head")


@_check
async def _a_cancelled_caller_leaves_no_doubt(stores: Stores) -> None:
    store = await stores.open()
    for number in range(10):
        task = asyncio.ensure_future(_note(store, seen(f"{number:064x}"), stream="agent/desk"))
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait([task])
        known = len(await store.entries("agent/desk"))
        await asyncio.sleep(0.005)
        _must(
            len(await store.entries("agent/desk")) == known, "an append went on after its caller was let go"
        )


# Content


@_check
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
    _must(found[small.ref] == small.body, "a payload is not read back")
    _must(found[large.ref] == large.body, "a payload of 3 MiB is not read back")
    _must(isinstance(found["c" * 64], Erased), "content that is not there is not `Erased`")
    stale = Append(
        stream="agent/desk",
        events=(seen("a" * 64),),
        expect=EMPTY,
        epoch=0,
        now=NOW,
        payloads=(Payload("d" * 64, ref, "task", b"1"),),
    )
    async with _refused(JournalConflict, "creating a stream that is there"):
        await store.append(stale)
    _must(
        isinstance((await store.payloads(["d" * 64]))["d" * 64], Erased), "a refused entry left its payload"
    )


@_check
async def _a_person_has_one_name(stores: Stores) -> None:
    ours, theirs = await stores.open(), await stores.open()
    names = await asyncio.gather(*(view.subject("person:ana") for view in (ours, theirs, ours, theirs)))
    _must(len(set(names)) == 1, "one person got several names")
    ref, key = names[0]
    other, other_key = await ours.subject("person:ben")
    _must(ref != other and key != other_key, "two people share a name or a key")
    _must("ana" not in ref, "the name of a person says who it is")
    _must(await theirs.subject_key(ref) == key, "the key of a person is not found by the name")
    _must(await ours.subject_key("sub_" + "a" * 26) is None, "somebody who is not there has a key")


# The list of runs, and who must be told


@_check
async def _the_list_of_runs_follows_the_entries(stores: Stores) -> None:
    store = await stores.open()
    run, other = run_name(1), run_name(2)
    head = (await write_run(store, run)).head
    await write_run(store, other)
    (row,) = await store.runs(run=run)
    _must(
        (row.state, row.agent, row.epoch, row.owner) == ("running", "desk", 1, "own_1"),
        f"a taken run is listed as {row}",
    )
    head = (await _append(store, f"run/{run}", head, run_parked("apr_1"))).head
    (row,) = await store.runs(states=("waiting",))
    _must(
        (row.run, row.waiting_for, row.request) == (run, "approval", "apr_1"),
        f"a waiting run is listed as {row}",
    )
    head = (await write_run(store, run, head=head, epoch=2)).head
    (row,) = await store.runs(run=run)
    _must((row.state, row.waiting_for, row.epoch) == ("running", None, 2), f"a woken run is listed as {row}")
    await _append(store, f"run/{run}", head, run_ended(), epoch=2)
    (row,) = await store.runs(states=("ended",))
    _must(
        (row.run, row.outcome, row.code) == (run, "escalated", "internal"), f"an ended run is listed as {row}"
    )
    _must({each.run for each in await store.runs()} == {run, other}, "the list of runs is not complete")


@_check
async def _who_must_be_told_is_not_forgotten(stores: Stores) -> None:
    store = await stores.open()
    run = run_name(1)
    await _append(store, f"run/{run}", (await write_run(store, run)).head, run_ended())
    (notice,) = await store.notices()
    _must(
        (notice.run, notice.kind, notice.attempts) == (run, "escalated", 0),
        f"an escalation is told as {notice}",
    )
    await store.delivered(notice.id, is_done=False)
    await stores.close()
    again = await stores.open()
    (notice,) = await again.notices()
    _must(notice.attempts == 1, "an attempt to tell is not counted")
    await again.delivered(notice.id, is_done=True)
    _must(await again.notices() == [], "what was told is told again")


@_check
async def _nobody_owns_under_a_name_that_nobody_took(stores: Stores) -> None:
    store = await stores.open()
    _must(not store.is_alive("own_nobody"), "an owner that never was is alive")


# Budgets


@_check
async def _a_budget_is_never_overspent(stores: Stores) -> None:
    views = [await stores.open() for _ in range(2)]
    runs = [run_name(number) for number in range(16)]
    heads = [(await write_run(views[0], run)).head for run in runs]
    reserve = (("agent:desk:day", "money", 300, 1000),)
    answers = await asyncio.gather(
        *(
            _append(views[index % 2], f"run/{run}", heads[index], intended(run, reserve=reserve))
            for index, run in enumerate(runs)
        ),
        return_exceptions=True,
    )
    admitted = [index for index, answer in enumerate(answers) if not isinstance(answer, BaseException)]
    refused = sum(isinstance(answer, BudgetExceeded) for answer in answers)
    _must(
        (len(admitted), refused) == (3, 13),
        f"of 16 reservations of 300 in 1000, {len(admitted)} were admitted",
    )
    store = views[0]
    _must(await store.budget("agent:desk:day") == {"money": (900, 0)}, "what is reserved is not counted")
    run = runs[admitted[0]]
    head = await store.head(f"run/{run}")
    await _append(
        store, f"run/{run}", head, ended("1.0", run=run, settle=(("agent:desk:day", "money", 300, 120),))
    )
    _must(await store.budget("agent:desk:day") == {"money": (600, 120)}, "what is settled is not counted")
    async with _refused(BudgetExceeded, "a reservation over the whole limit"):
        await _append(
            store,
            f"run/{run}",
            await store.head(f"run/{run}"),
            intended(run, path="2.0", reserve=(("agent:other:day", "money", 1001, 1000),)),
        )


@_check
async def _one_refusal_takes_the_whole_intent(stores: Stores) -> None:
    store = await stores.open()
    run = run_name(1)
    head = (await write_run(store, run)).head
    reserve = (("run:a", "tool_calls", 1, 5), ("run:a", "money", 10, 5))
    async with _refused(BudgetExceeded, "a reservation over the limit"):
        await _append(store, f"run/{run}", head, intended(run, claim=_claim("default"), reserve=reserve))
    _must(await store.budget("run:a") == {}, "a refused intent reserved something")
    _must(await store.claim(_KEY) is None, "a refused intent left its claim")
    _must(await store.head(f"run/{run}") == head, "a refused intent moved the head")


# Claims and totals

_KEY = "c" * 64
_RULES = ("default", "once", "until_compensated", "up_to")


def _claim(rule: str, *, key: str = _KEY, amount: int = 3, cap: int = 10) -> dict[str, object]:
    return {"key": key, "rule": rule, "amount": amount, "cap": cap}


async def _do(store: JournalStore, run: str, *events: Event) -> Entry:
    head = await store.head(f"run/{run}")
    if head.seq == 0:
        head = (await write_run(store, run)).head
    return await _append(store, f"run/{run}", head, *events)


@_check
async def _a_claim_keeps_others_out_while_it_may_be_happening(stores: Stores) -> None:
    store = await stores.open()
    for number, rule in enumerate(_RULES):
        one, other = run_name(2 * number), run_name(2 * number + 1)
        claim = _claim(rule, key=f"{number:064x}")
        await _do(store, one, intended(one, claim=claim))
        async with _refused(ClaimHeld, f"a second `{rule}` effect while the first is started"):
            await _do(store, other, intended(other, claim=claim))
        await _do(store, one, ended("1.0", run=one, state="unknown"))
        async with _refused(ClaimHeld, f"a second `{rule}` effect while the first is unknown"):
            await _do(store, other, intended(other, claim=claim))
        found = await store.claim(f"{number:064x}")
        _must(found is not None and found[0] == "unknown", f"the claim of an unknown effect is {found}")
        await _do(store, one, ended("1.0", run=one, state="failed", via="person"))
        await _do(store, other, intended(other, claim=claim))


@_check
async def _a_claim_that_is_done_stays_as_its_rule_says(stores: Stores) -> None:
    store = await stores.open()
    for number, rule in enumerate(_RULES):
        one, other = run_name(2 * number), run_name(2 * number + 1)
        claim = _claim(rule, key=f"{number:064x}", amount=4)
        await _do(store, one, intended(one, claim=claim))
        await _do(store, one, ended("1.0", run=one))
        again = intended(other, claim=claim)
        if rule in ("once", "until_compensated"):
            async with _refused(ClaimHeld, f"a second `{rule}` effect after the first is done"):
                await _do(store, other, again)
            continue
        await _do(store, other, again)
        if rule == "up_to":
            await _do(store, other, ended("1.0", run=other))
            async with _refused(ClaimHeld, "an amount over the cap of a target"):
                await _do(store, other, intended(other, path="2.0", claim=claim))
            smaller = _claim(rule, key=f"{number:064x}", amount=2, cap=100)
            await _do(store, other, intended(other, path="3.0", claim=smaller))


@_check
async def _an_undo_lets_go_of_what_its_effect_held(stores: Stores) -> None:
    store = await stores.open()
    for number, rule in enumerate(("until_compensated", "up_to", "once")):
        run = run_name(number)
        claim = _claim(rule, key=f"{number:064x}", amount=7)
        total = (f"{number + 50:064x}", "day", 7, 0, 0)
        await _do(store, run, intended(run, claim=claim, totals=(total,)))
        await _do(store, run, ended("1.0", run=run))
        undo = intended(run, path="2.0", undoes=intended(run).effect)
        await _do(store, run, undo)
        await _do(store, run, ended("2.0", run=run))
        _must(await store.total(total[0]) == (0, 0), f"an undone `{rule}` effect still counts in its total")
        again = intended(run, path="3.0", claim=claim)
        if rule == "once":
            async with _refused(ClaimHeld, "a `once` effect that was undone"):
                await _do(store, run, again)
        else:
            await _do(store, run, again)


@_check
async def _another_attempt_takes_nothing_twice(stores: Stores) -> None:
    store = await stores.open()
    run = run_name(1)
    total = ("d" * 64, "day", 5, 0, 0)
    reserve = (("run:a", "tool_calls", 1, 1),)
    await _do(store, run, intended(run, claim=_claim("up_to"), totals=(total,), reserve=reserve))
    await _do(store, run, intended(run, claim=_claim("up_to"), totals=(total,), attempt=2))
    _must(await store.total(total[0]) == (5, 1), "a second attempt counts in the total again")
    _must(await store.budget("run:a") == {"tool_calls": (1, 0)}, "a second attempt reserves again")
    await _do(store, run, ended("1.0", run=run, attempt=2, settle=(("run:a", "tool_calls", 1, 1),)))
    _must(await store.claim(_KEY) == ("done", 3, 1), "two attempts of one effect count as two effects")


@_check
async def _a_total_that_moved_is_decided_again(stores: Stores) -> None:
    views = [await stores.open() for _ in range(2)]
    runs = [run_name(number) for number in range(4)]
    for run in runs:
        await write_run(views[0], run)
    total = ("d" * 64, "day", 5, 0, 0)
    both = await asyncio.gather(
        *(_do(views[index], runs[index], intended(runs[index], totals=(total,))) for index in range(2)),
        return_exceptions=True,
    )
    moved = [one for one in both if isinstance(one, TotalsMoved)]
    _must(len(moved) == 1, f"two intents that saw one total came to {both}")
    store = views[0]
    _must(await store.total(total[0]) == (5, 1), "a total is not what was admitted")
    winner = runs[[isinstance(one, BaseException) for one in both].index(False)]
    await _do(store, runs[2], intended(runs[2], totals=(("d" * 64, "day", 2, 5, 1),)))
    _must(await store.total(total[0]) == (7, 2), "a total does not add up")
    await _do(store, winner, ended("1.0", run=winner, state="failed"))
    _must(await store.total(total[0]) == (2, 1), "an effect that failed still counts in its total")
    async with _refused(TotalsMoved, "an intent that saw an older total"):
        await _do(store, runs[3], intended(runs[3], totals=(("d" * 64, "day", 2, 7, 2),)))


# Halts


@_check
async def _a_halt_refuses_every_intent_it_covers(stores: Stores) -> None:
    store, elsewhere = await stores.open(), await stores.open()
    run = run_name(1)
    await write_run(store, run)
    _must(store.halts() == (0, ()), "a new journal has halts")
    epoch = 0
    for scope, is_covered in (
        ("all", True),
        ("agent:desk", True),
        (f"run:{run}", True),
        ("tool:pay", True),
        ("tool:other", False),
        (f"run:{run_name(2)}", False),
        ("agent:other", False),
    ):
        epoch += 1
        await _note(elsewhere, halt(scope, epoch))
        seen_epoch, active = store.halts()
        _must(
            (seen_epoch, [each.scope for each in active]) == (epoch, [scope]),
            f"a halt of `{scope}` is not seen",
        )
        if is_covered:
            async with _refused(HaltInForce, f"an intent under a halt of `{scope}`"):
                await _do(store, run, intended(run))
        else:
            await _do(store, run, intended(run, path=f"{epoch}.0"))
        epoch += 1
        await _note(elsewhere, lift(scope, epoch))
        _must(store.halts() == (epoch, ()), f"a halt of `{scope}` is not lifted")
    await _do(store, run, intended(run, path="99.0"))
