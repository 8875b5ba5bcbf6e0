"""The fold: what each event does to the state of a run, and what cannot stand where it does."""

from __future__ import annotations

from dataclasses import replace

import pytest

from answerable.kernel import events
from answerable.kernel.entry import EMPTY, Entry, make_entry
from answerable.kernel.events import Event
from answerable.kernel.state import HISTORY, IllegalEvent, RunState, Tally, apply_event, fold

D = "d" * 64
CREATED = events.RunCreated(
    journal="j", agent="desk", tenant="t", kind="driven", release=D, autonomy="capped", subject="s", task=D
)
ADOPTED = events.RunAdopted(epoch=1, owner="w1", cause="start", limits=(("run:r", "money", 5),))
DECIDED = events.CallDecided(
    path="1.0",
    tool="pay",
    cls="write",
    digest=D,
    verdict="allow",
    gate="policy",
    policy=D,
    labels={},
    facts={},
    totals={},
    args="args",
)
INTENT = events.CallIntended(
    path="1.0",
    effect="e1",
    attempt=1,
    tool="pay",
    mode="upsert",
    halt_epoch=0,
    send_by=9,
    reserve=(("run:r", "money", 5, 9),),
)
ENDED = events.CallEnded(
    path="1.0", attempt=1, tool="pay", state="done", via="send", cost=3, us=1, effect="e1", result="res"
)
ASKED = events.ApprovalRequested(
    path="1.0", request="apr_1", digest=D, needs=(("r", ("lead",), 1),), expires=9, preview=D
)
MODEL = events.ModelIntended(path="0.0", attempt=1, model="m", kept=0, added=("m1", "m2"), offer=D)
REPLIED = events.ModelEnded(
    path="0.0", attempt=1, state="replied", tokens_in=3, tokens_out=4, table="t", scripted=False, cost=10
)


def run(*log: Event | tuple[int, Event], inbox: tuple[Entry, ...] = ()) -> RunState:
    """The state after a created and adopted run did this; a time may stand before an event."""
    state = RunState()
    for each in (CREATED, ADOPTED, *log):
        at, event = each if isinstance(each, tuple) else (0, each)
        apply_event(state, event, at, inbox)
    return state


def inbox_of(*said: Event) -> tuple[Entry, ...]:
    """An inbox with one entry for each."""
    made: list[Entry] = []
    for each in said:
        made.append(make_entry("inbox/run_x", made[-1].head if made else EMPTY, 0, 0, [each]))
    return tuple(made)


def test_a_run_is_created_then_running_then_waiting_then_running_then_ended() -> None:
    """The states that people are shown."""
    state = RunState()
    names: list[str] = []
    for event in (
        CREATED,
        ADOPTED,
        events.RunParked(waiting_for="approval", request="apr_1"),
        replace(ADOPTED, epoch=2, owner="w2"),
        events.RunEnded(outcome="unverified"),
    ):
        apply_event(state, event, 7)
        names.append(state.name)
    assert names == ["created", "running", "waiting", "running", "ended"]
    assert (state.epoch, state.owner, state.created_at, state.started_at, state.ended_at) == (
        2,
        "w2",
        7,
        7,
        7,
    )
    assert state.limits == ADOPTED.limits


def test_a_run_is_pinned_to_the_release_that_began_it() -> None:
    """That is the one that accepted it, unless the first adoption names another; later ones change nothing."""
    state = RunState()
    pinned: list[str] = []
    for event in (CREATED, replace(ADOPTED, release="other"), replace(ADOPTED, epoch=2)):
        apply_event(state, event, 7)
        pinned.append(state.release)
    assert pinned == [CREATED.release, "other", "other"]
    assert run().release == CREATED.release


def test_nothing_stands_before_the_creation_and_nothing_is_created_twice() -> None:
    """A stream without its beginning is no run."""
    with pytest.raises(IllegalEvent, match="cannot stand here"):
        apply_event(RunState(), ADOPTED, 0)
    with pytest.raises(IllegalEvent, match="cannot stand here"):
        run(CREATED)


@pytest.mark.parametrize(
    "event",
    [
        events.ApprovalGiven(
            request="a",
            verdict="grant",
            approver="ann",
            digest=D,
            rules=(),
            expires=1,
            nonce="n",
            signature="s",
        ),
        events.EffectReported(effect="e", state="done", by="ann"),
        events.JournalCreated(journal="j", key="k", format=1),
        events.HaltRaised(scope="all", epoch=1, by="ann", reason=""),
        events.HaltLifted(scope="all", epoch=2, by="ann", reason=""),
        events.HeadExported(streams=1, digest=D),
        events.RetentionApplied(cls="c", before=1, count=1),
        events.DiscontinuityAccepted(by="ann", head=D, behind=(), signature="s"),
        events.ReleaseSeen(release=D, agent="desk"),
    ],
    ids=lambda event: type(event).__name__,
)
def test_the_events_of_other_streams_are_refused(event: Event) -> None:
    """An approval that was written straight into the run's stream is not an approval."""
    with pytest.raises(IllegalEvent, match="not an event of a run"):
        run(event)


@pytest.mark.parametrize(
    "event",
    [ASKED, events.ApprovalSettled(path="1.0", request="apr_1", state="granted"), INTENT, ENDED, REPLIED],
)
def test_what_has_no_beginning_is_refused(event: Event) -> None:
    """No intent without a decision, no end without an intent."""
    with pytest.raises(IllegalEvent, match=r"nothing was decided|no model call"):
        run(event)


def test_an_effect_is_unknown_from_its_intent_until_somebody_knows() -> None:
    """A crash at any point in between leaves it in doubt."""
    assert run(DECIDED).unknown == {}
    assert run(DECIDED, INTENT).unknown == {"e1": "1.0"}
    assert run(DECIDED, INTENT, replace(ENDED, state="unknown")).unknown == {"e1": "1.0"}
    assert run(DECIDED, INTENT, replace(ENDED, state="unknown"), replace(ENDED, via="person")).unknown == {}
    assert run(DECIDED, INTENT, replace(ENDED, state="failed")).unknown == {}


def test_a_second_attempt_keeps_what_the_first_reserved_and_opens_the_call_again() -> None:
    """Only the first attempt reserves."""
    again = replace(INTENT, attempt=2, reserve=())
    step = run(DECIDED, INTENT, replace(ENDED, state="unknown"), again).calls["1.0"]
    assert (step.intent, step.ended, step.reserved) == (again, None, INTENT.reserve)


def test_one_call_is_one_record_however_often_it_ended() -> None:
    """And it stands where it ended last; another call with the same answer keeps its place."""
    other = replace(DECIDED, path="0.0", cls="read")
    same = replace(ENDED, path="0.0", state="unknown", result=None, effect=None)
    state = run(
        other,
        same,
        replace(DECIDED, cls="read"),
        replace(ENDED, state="unknown", result=None, effect=None),
        replace(DECIDED, path="2.0", tool="look"),
        replace(ENDED, path="2.0", tool="look"),
        ENDED,
    )
    assert [(record.tool, record.state) for record in state.history] == [
        ("pay", "unknown"),
        ("look", "done"),
        ("pay", "done"),
    ]


def test_a_record_that_loops_are_looked_for_in_is_bounded() -> None:
    """A run of thousands of steps does not carry them all."""
    log: list[Event] = []
    for turn in range(HISTORY + 5):
        log += [
            replace(DECIDED, path=f"{turn}.0", cls="read"),
            replace(ENDED, path=f"{turn}.0", effect=None, result=f"r{turn}"),
        ]
    state = run(*log, replace(ENDED, path="0.0", effect=None))
    assert len(state.history) == HISTORY
    assert list(state.tallies) == ["pay"], "each tool once"
    assert state.tallies["pay"].done == HISTORY + 5


def test_a_failed_call_is_recorded_by_its_failure() -> None:
    """And the run has read nothing from it."""
    state = run(
        replace(DECIDED, args=None),
        replace(ENDED, state="failed", result=None, failure="timeout", effect=None),
    )
    assert (state.history[0].args, state.history[0].result) == ("", "timeout")
    assert state.tallies["pay"].done == 0


def test_calls_are_counted_once_and_invalid_ones_not_at_all() -> None:
    """A model that cannot spell a tool does not use up the tools' budget."""
    state = run(DECIDED, replace(DECIDED, verdict="deny"), replace(DECIDED, path="2.0", cls="invalid"))
    assert state.spent.tool_calls == 1
    assert state.calls["1.0"].decided.verdict == "deny"


def test_what_was_done_with_a_tool_is_tallied_once_a_call() -> None:
    """A call that failed and was tried again, or became known later, is one call that was done."""
    second = replace(DECIDED, path="2.0", tool="look", cls="read")
    state = run(
        DECIDED,
        INTENT,
        replace(ENDED, state="failed"),
        replace(INTENT, attempt=2),
        replace(ENDED, attempt=2, state="unknown"),
        second,
        replace(ENDED, path="2.0", tool="look", effect=None),
        replace(ENDED, attempt=2, via="person"),
        replace(ENDED, attempt=2, via="late"),
        replace(DECIDED, path="3.0"),
        replace(DECIDED, path="4.0", cls="invalid", tool="other"),
    )
    assert state.tallies == {
        "pay": Tally(decided=2, done=1, last=2),
        "look": Tally(decided=1, done=1, last=1),
    }
    assert state.read == ["1.0", "1.0", "2.0", "1.0"], "each end may have told something new"


def test_a_tool_set_is_only_ever_narrowed() -> None:
    """The last one is in force; acts are kept by their paths."""
    fixed = events.ToolsFixed(path="0.0", tools=("a", "b"))
    narrower = events.ToolsFixed(path="1.0", tools=("a",))
    endorsed = events.Endorsed(path="2.0", value=D, why=D)
    state = run(fixed, narrower, endorsed)
    assert state.tool_set == ("a",)
    assert run().tool_set is None
    assert (state.acts, state.read) == ({"2.0": endorsed}, ["2.0"])
    with pytest.raises(IllegalEvent, match="widened"):
        run(narrower, replace(fixed, path="3.0"))


def test_money_and_tokens_are_what_was_settled_else_what_was_used() -> None:
    """The run's own budget counts, not that of the agent's day; an unknown price makes the cost unknown."""
    assert run(MODEL, REPLIED).spent.tokens == 7
    settled = replace(
        REPLIED,
        cost=None,
        settle=(
            ("agent:desk:2026-01-01", "tokens", 9, 1),
            ("run:r", "tokens", 9, 8),
            ("run:r", "money", 9, 6),
        ),
    )
    spent = run(MODEL, settled).spent
    assert (spent.tokens, spent.money, spent.is_cost_known, spent.model_calls) == (8, 6, False, 1)
    assert run(MODEL, replace(REPLIED, cost=None)).spent.money == 0
    assert run(MODEL, REPLIED, DECIDED, INTENT, ENDED).spent.money == 13


def test_messages_are_what_the_last_model_call_was_sent() -> None:
    """Some of the list before are kept, and the rest follows."""
    again = replace(MODEL, path="1.0", kept=1, added=("m3",))
    state = run(MODEL, REPLIED, again)
    assert state.messages == ["m1", "m3"]
    assert state.models["1.0"].ended is None


def test_requests_answers_and_values_are_kept_by_their_names() -> None:
    """As the run asked for them."""
    granted = events.ApprovalSettled(path="1.0", request="apr_1", state="granted", inbox=(1,))
    value = events.ValueTaken(path="3.0", kind="now", value="5")
    state = run(DECIDED, ASKED, granted, value)
    assert state.calls["1.0"].requests == [ASKED]
    assert state.calls["1.0"].settled == {"apr_1": granted}
    assert state.values == {"3.0": value}


def test_only_the_time_at_work_counts() -> None:
    """Not while it waits for a person, not while nobody has it after a crash, not before it began or after its end."""
    state = run(
        (100, events.ValueTaken(path="0.0", kind="now", value="1")),
        (150, events.RunParked(waiting_for="approval")),
        (9_000, replace(ADOPTED, epoch=2)),
        (9_010, MODEL),
        (500_000, replace(ADOPTED, epoch=3, cause="recovery")),
        (500_007, REPLIED),
        (500_007, events.RunEnded(outcome="unverified")),
        (999_999, replace(ADOPTED, epoch=4)),
    )
    assert state.spent.active_us == 150 + 10 + 7
    assert state.last_at == 999_999


def test_a_clock_that_goes_backwards_takes_nothing_away() -> None:
    """Entries do not, but a fold must not depend on it."""
    state = run((100, MODEL), (50, REPLIED), (120, MODEL))
    assert state.spent.active_us == 120


GIVEN = events.ApprovalGiven(
    request="apr_1",
    verdict="grant",
    approver="ann",
    digest=D,
    rules=("r",),
    expires=9,
    nonce="n",
    signature="s",
)
REPORTED = events.EffectReported(effect="e1", state="done", by="ann")


def test_the_inbox_is_taken_in_up_to_where_the_owner_says() -> None:
    """Each entry once; what came later waits for its turn."""
    inbox = inbox_of(GIVEN, REPORTED, replace(GIVEN, approver="bob"), replace(REPORTED, state="failed"))
    first = events.InboxFolded(seq=2, hash=inbox[1].hash)
    state = run(first, inbox=inbox)
    assert (state.given, state.reported, state.inbox_seq) == ({"apr_1": [(1, GIVEN)]}, {"e1": REPORTED}, 2)
    apply_event(state, events.InboxFolded(seq=4, hash=inbox[3].hash), 0, inbox)
    assert [seq for seq, _ in state.given["apr_1"]] == [1, 3]
    assert state.reported["e1"].state == "failed", "the last word counts"


@pytest.mark.parametrize(("seq", "hash_"), [(3, ""), (2, "0" * 64), (1, "")])
def test_an_inbox_that_is_not_the_one_that_was_taken_in_is_refused(seq: int, hash_: str) -> None:
    """An entry that is missing or another would be an approval that silently was not, or was."""
    inbox = inbox_of(GIVEN, REPORTED)
    with pytest.raises(IllegalEvent, match="inbox"):
        run(
            events.InboxFolded(seq=1, hash=inbox[0].hash),
            events.InboxFolded(seq=seq, hash=hash_ or inbox[min(seq, 2) - 1].hash),
            inbox=inbox,
        )


def test_an_inbox_event_of_another_kind_changes_nothing() -> None:
    """Only answers and reports mean anything to a run."""
    inbox = inbox_of(events.ReleaseSeen(release=D, agent="desk"))
    state = run(events.InboxFolded(seq=1, hash=inbox[0].hash), inbox=inbox)
    assert (state.given, state.reported, state.inbox_seq) == ({}, {}, 1)


def test_folding_entries_is_applying_their_events() -> None:
    """From nothing to a run that has ended."""
    entry = make_entry("run/run_x", EMPTY, 1, 3, [CREATED, ADOPTED, events.RunEnded(outcome="halted")])
    state = fold([entry])
    assert (state.name, state.ended_at) == ("ended", 3)
