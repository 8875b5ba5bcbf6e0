"""A batch is decided in memory: in order, each append alone, from the rows that were read to the rows to write."""

from __future__ import annotations

from typing import Any

import pytest

pytest.importorskip("psycopg")

from answerable.errors import (
    BudgetExceeded,
    ClaimHeld,
    HaltInForce,
    JournalConflict,
    JournalFenced,
    TotalsMoved,
)
from answerable.journal.postgres.ledger import Changes, Ledger, names_in
from answerable.journal.postgres.project import ParentNeeded
from answerable.journal.postgres.rows import Claim, HaltRow, HeadRow, Share, Total
from answerable.journal.store import Append, Payload
from answerable.kernel.encoding import NotEncodable
from answerable.kernel.entry import EMPTY, Head
from answerable.kernel.events import RunAdopted, RunCreated
from answerable.testing.store_events import (
    NOW,
    effect_of,
    ended,
    halt,
    intended,
    run_ended,
    run_name,
    run_parked,
    seen,
    settled,
)

RUN, OTHER = run_name(1), run_name(2)
AT = HeadRow(3, "a" * 64, 2, NOW)
STANDS = Head(*AT)


def append(run: str, *events: Any, expect: Head = STANDS, epoch: int = 2) -> Append:
    return Append(stream=f"run/{run}", events=events, expect=expect, epoch=epoch, now=NOW)


def ledger(**rows: dict[Any, Any]) -> Ledger:
    heads = {f"run/{run}": AT for run in (RUN, OTHER)}
    return Ledger({"head": heads, **rows}, me="own_me", agents={RUN: "desk", OTHER: "desk"})


def refused(book: Ledger, error: type[Exception], *appends: Append) -> Changes:
    with pytest.raises(error):
        book.apply(appends)
    return book.changes()


def test_what_is_refused_leaves_nothing_behind_and_the_next_goes_on() -> None:
    """A refusal in the second of two appends takes back what the first one did, and nobody else's."""
    book = ledger()
    first = book.apply((append(OTHER, settled("1.0")),))
    good = append(
        RUN, intended(RUN, reserve=(("run:a", "money", 5, 9),), totals=(("t" * 64, "day", 1, 0, 0),))
    )
    stale = append(OTHER, settled("2.0"))
    changes = refused(book, JournalConflict, good, stale)

    assert changes.entries == list(first)
    assert (changes.new, changes.gone) == ({}, {})
    assert list(changes.changed) == ["head"]


@pytest.mark.parametrize(
    ("expect", "epoch", "error"),
    [
        (Head(2, "b" * 64, 2, NOW), 2, JournalConflict),
        (Head(3, "b" * 64, 2, NOW), 2, JournalConflict),
        (EMPTY, 2, JournalConflict),
        (Head(2, "b" * 64, 1, NOW), 1, JournalFenced),
        (EMPTY, 1, JournalFenced),
    ],
)
def test_a_head_that_moved_is_refused(expect: Head, epoch: int, error: type[Exception]) -> None:
    """Fenced where the owner is newer, a conflict otherwise."""
    refused(ledger(), error, append(RUN, settled("1.0"), expect=expect, epoch=epoch))


def test_without_an_expectation_the_entry_follows_whatever_is_there() -> None:
    """Also twice in one batch, and where there is nothing yet."""
    book = Ledger({"head": {"agent/a": AT}}, me="own_me")
    again = Append(stream="agent/a", events=(seen("a" * 64),), expect=None, epoch=0, now=0)
    new = Append(stream="agent/b", events=(seen("a" * 64),), expect=None, epoch=0, now=0)
    entries = [book.apply((each,))[0] for each in (again, again, new)]

    assert [(entry.stream, entry.seq) for entry in entries] == [
        ("agent/a", 4),
        ("agent/a", 5),
        ("agent/b", 1),
    ]
    assert entries[0].time == NOW, "time fell"
    assert entries[1].prev == entries[0].hash
    changes = book.changes()
    assert [key for key, _ in changes.new["head"]] == ["agent/b"]
    assert changes.changed["head"][0][1].seq == 5


def test_an_entry_without_a_form_is_refused() -> None:
    """And the stream stays where it is."""
    changes = refused(ledger(), NotEncodable, append(RUN, run_ended(rules=("r" * 120,) * 80)))

    assert changes.changed == {}


def test_a_budget_of_a_run_is_one_row() -> None:
    """Reserved, refused over the limit, settled; a read only adds."""
    book = ledger()
    head = book.apply((append(RUN, intended(RUN, reserve=(("run:a", "money", 6, 10),))),))[0].head
    book_says = lambda: dict(book.changes().new["budget"])  # noqa: E731
    assert book_says() == {("run:a", "", "money"): Share(0, 6, 0, -1)}
    refused(book, BudgetExceeded, append(OTHER, intended(OTHER, reserve=(("run:a", "money", 5, 10),))))

    book.apply((append(RUN, ended("1.0", run=RUN, settle=(("run:a", "money", 6, 2),)), expect=head),))
    assert book_says() == {("run:a", "", "money"): Share(0, 0, 2, -1)}


def test_a_share_that_does_not_suffice_asks_for_all() -> None:
    """Nothing is decided then, and the ledger says that it must be read again."""
    asks = append(RUN, intended(RUN, reserve=(("agent:desk:day", "money", 6, 10),)))
    book = ledger()
    refused(book, ParentNeeded, asks)
    assert book.needs_parent

    wide = Ledger(
        {
            "head": {f"run/{RUN}": AT},
            "budget": {
                ("agent:desk:day", "", "money"): Share(0, 0, 0, 10),
                ("agent:desk:day", "own_dead", "money"): Share(4, 3, 0, 10),
                ("agent:desk:day", "own_far", "money"): Share(6, 0, 1, 10),
            },
        },
        me="own_me",
        is_wide=True,
        alive=frozenset({"own_far"}),
    )
    wide.apply((asks,))
    changes = wide.changes()
    assert changes.gone["budget"] == [("agent:desk:day", "own_dead", "money")]
    assert dict(changes.changed["budget"]) == {
        ("agent:desk:day", "", "money"): Share(0, 3, 0, 10),
        ("agent:desk:day", "own_far", "money"): Share(1, 0, 1, 10),
    }
    assert dict(changes.new["budget"]) == {("agent:desk:day", "own_me", "money"): Share(6, 6, 0, 10)}


def test_a_halt_counts_from_its_place_in_the_batch() -> None:
    """An intent before it goes through, one after it does not."""
    book = ledger()
    book.apply((append(RUN, intended(RUN)),))
    raised = Append(stream="tenant/default", events=(halt("tool:pay", 7),), expect=None, epoch=0, now=NOW)
    book.apply((raised,))
    changes = refused(book, HaltInForce, append(OTHER, intended(OTHER)))

    assert changes.halt_epoch == 7
    assert len(changes.entries) == 2


@pytest.mark.parametrize("scope", ["all", f"run:{RUN}", "agent:desk", "tool:pay"])
def test_a_halt_that_was_read_refuses(scope: str) -> None:
    """Whatever it covers; and one that was lifted does not."""
    row = HaltRow(1, True, "x", "y", NOW)
    refused(ledger(halt={scope: row}), HaltInForce, append(RUN, intended(RUN)))

    assert ledger(halt={scope: row._replace(is_active=False)}).apply((append(RUN, intended(RUN)),))


def test_two_of_one_batch_cannot_have_one_target_or_one_total() -> None:
    """The second sees what the first has taken."""
    claim = {"key": "c" * 64, "rule": "once", "amount": 1, "cap": 0}
    total = ("t" * 64, "day", 5, 0, 0)
    book = ledger()
    book.apply((append(RUN, intended(RUN, claim=claim, totals=(total,))),))
    refused(book, ClaimHeld, append(OTHER, intended(OTHER, claim=claim)))
    refused(book, TotalsMoved, append(OTHER, intended(OTHER, totals=(total,))))


def test_an_effect_that_failed_lets_go_of_what_its_row_says() -> None:
    """Names come from the effect's row, not from the event."""
    book = ledger()
    claim = {"key": "c" * 64, "rule": "default", "amount": 0, "cap": 0}
    (entry,) = book.apply((append(RUN, intended(RUN, claim=claim, totals=(("t" * 64, "day", 5, 0, 0),))),))
    made = book.changes().new
    later = Ledger(
        {
            "head": {f"run/{RUN}": HeadRow(*[getattr(entry.head, name) for name in HeadRow._fields])},
            **{name: dict(made[name]) for name in ("effect", "claim", "total")},
        },
        me="own_me",
    )
    later.apply((append(RUN, ended("1.0", run=RUN, state="failed"), expect=entry.head),))
    changes = later.changes()

    assert changes.gone == {"effect": [effect_of(RUN, "1.0")], "claim": ["c" * 64]}
    assert dict(changes.changed["total"]) == {"t" * 64: Total(0, 0)}


def test_the_names_of_a_batch_are_what_must_be_locked() -> None:
    """Shared budgets apart from others; what an undo gives back is found by the effect that it undoes."""
    names = names_in(
        [
            append(
                RUN,
                intended(
                    RUN,
                    attempt=2,
                    reserve=(("agent:a:day", "money", 1, 1), ("run:a", "money", 1, 1)),
                    claim={"key": "c" * 64, "rule": "once", "amount": 0, "cap": 0},
                    totals=(("t" * 64, "day", 1, 0, 0),),
                    undoes="e" * 64,
                ),
            ),
            append(OTHER, ended("1.0", run=OTHER)),
        ]
    )

    assert (names.shared, names.budgets) == ({"agent:a:day"}, {"run:a"})
    assert names.effects == {"e" * 64, effect_of(RUN, "1.0"), effect_of(OTHER, "1.0")}
    assert (names.claims, names.totals) == ({"c" * 64}, {"t" * 64})
    assert (names.intending, names.runs, names.raises_halt) == ({RUN}, {OTHER}, False)
    assert names.streams == {f"run/{RUN}", f"run/{OTHER}"}


def test_a_run_that_is_made_and_changed_in_one_batch_is_written_once() -> None:
    """As it stands at the end; and one content under one name once."""
    made = RunCreated(
        journal="jnl",
        agent="desk",
        tenant="default",
        kind="driven",
        release="e" * 64,
        autonomy="capped",
        subject="sub",
        task="f" * 64,
    )
    book = Ledger({}, me="own_me")
    content = Payload("p" * 64, "sub", "task", b"1")
    adopted = RunAdopted(epoch=1, owner="own_1", cause="start")
    (entry,) = book.apply(
        (
            Append(
                stream=f"run/{RUN}",
                events=(made, adopted),
                expect=EMPTY,
                epoch=1,
                now=NOW,
                payloads=(content,) * 2,
            ),
        )
    )
    book.apply((append(RUN, run_parked("apr_1"), expect=entry.head, epoch=1),))
    book.apply((append(RUN, run_ended(), expect=book.changes().entries[-1].head, epoch=1),))
    changes = book.changes()

    ((name, row),) = changes.new["run"]
    assert (name, row.state, row.outcome, row.owner, row.wake_at) == (
        RUN,
        "ended",
        "escalated",
        "own_1",
        None,
    )
    assert changes.notices == [(RUN, "escalated", NOW)]
    assert [payload for payload, _ in changes.payloads] == [content]
    assert [key for key, _ in changes.new["head"]] == [f"run/{RUN}"]


def test_a_claim_that_is_done_stays_and_one_of_the_default_rule_goes() -> None:
    """And a claim that another effect holds by now is left alone."""
    held = Claim("up_to", "started", RUN, effect_of(RUN, "1.0"), 3, 1, 10)
    for holder, expected in ((effect_of(RUN, "1.0"), ("done", 8, 2)), ("x" * 64, ("started", 3, 1))):
        claim = {"key": "c" * 64, "rule": "up_to", "amount": 5, "cap": 10}
        made = ledger()
        (entry,) = made.apply((append(RUN, intended(RUN, claim=claim)),))
        effect = dict(made.changes().new["effect"])
        later = Ledger(
            {
                "head": {f"run/{RUN}": HeadRow(entry.seq, entry.hash, entry.epoch, entry.time)},
                "effect": effect,
                "claim": {"c" * 64: held._replace(effect=holder)},
            },
            me="own_me",
        )
        later.apply((append(RUN, ended("1.0", run=RUN), expect=entry.head),))
        now = dict(later.changes().changed.get("claim", [("c" * 64, held)]))["c" * 64]
        assert (now.state, now.amount, now.count) == expected
