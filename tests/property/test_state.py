"""Folding at once, entry by entry, and event by event are the same; and a count kept by hand agrees."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from answerable.kernel import events
from answerable.kernel.entry import EMPTY, Entry, make_entry
from answerable.kernel.state import RunState, apply_event, extend, fold

RUN = "run/run_" + "a" * 26
D = "d" * 64
CREATED = events.RunCreated(
    journal="j", agent="a", tenant="t", kind="driven", release=D, autonomy="capped", subject="s", task=D
)


def decided(path: str, tool: str, cls: str) -> events.CallDecided:
    """A call that was allowed."""
    return events.CallDecided(
        path=path,
        tool=tool,
        cls=cls,
        digest=D,
        verdict="allow",
        gate="policy",
        policy=D,
        labels={},
        facts={},
        totals={},
        args=tool * 3,
    )


@st.composite
def runs(draw: st.DrawFn) -> list[tuple[int, list[Any]]]:
    """A run as its writer would write it: calls and model calls, attempts, parking, recovery; grouped in entries."""
    steps: list[Any] = [CREATED, events.RunAdopted(epoch=1, owner="w", cause="start")]
    for turn in range(draw(st.integers(0, 8))):
        path = f"{turn}.0"
        match draw(st.sampled_from(["model", "read", "write", "value", "park", "adopt"])):
            case "model":
                steps.append(
                    events.ModelIntended(path=path, attempt=1, model="m", kept=0, added=(D,), offer=D)
                )
                cost = draw(st.one_of(st.none(), st.integers(0, 9)))
                steps.append(
                    events.ModelEnded(
                        path=path,
                        attempt=1,
                        state="replied",
                        tokens_in=turn,
                        tokens_out=1,
                        table="t",
                        scripted=True,
                        cost=cost,
                    )
                )
            case "read":
                steps.append(decided(path, "look", "read"))
                steps.append(
                    events.CallEnded(
                        path=path, attempt=1, tool="look", state="done", via="send", cost=1, us=1, result=D
                    )
                )
            case "write":
                steps.append(decided(path, "pay", "write"))
                for attempt, state in enumerate(
                    [*draw(st.lists(st.sampled_from(["unknown", "failed"]), max_size=2)), "done"], 1
                ):
                    steps.append(
                        events.CallIntended(
                            path=path,
                            effect=path,
                            attempt=attempt,
                            tool="pay",
                            mode="upsert",
                            halt_epoch=0,
                            send_by=0,
                        )
                    )
                    steps.append(
                        events.CallEnded(
                            path=path,
                            attempt=attempt,
                            tool="pay",
                            state=state,
                            via="send",
                            cost=0,
                            us=1,
                            effect=path,
                        )
                    )
            case "value":
                steps.append(events.ValueTaken(path=path, kind="now", value="1"))
            case "park":
                steps.append(events.RunParked(waiting_for="timer", wake_at=1))
            case _:
                steps.append(events.RunAdopted(epoch=2, owner="w2", cause="recovery"))
    groups: list[tuple[int, list[Any]]] = []
    for step in steps:
        if not groups or draw(st.booleans()):
            groups.append((draw(st.integers(0, 50)), []))
        groups[-1][1].append(step)
    return groups


def entries_of(groups: list[tuple[int, list[Any]]]) -> list[Entry]:
    """The groups as entries of one stream."""
    made: list[Entry] = []
    for now, group in groups:
        made.append(make_entry(RUN, made[-1].head if made else EMPTY, 1, now, group))
    return made


@given(runs())
@settings(deadline=None)
def test_folding_at_once_is_folding_step_by_step(groups: list[tuple[int, list[Any]]]) -> None:
    """A run that is followed live and one that is read after a crash have the same state."""
    entries = entries_of(groups)
    at_once, by_entry, by_event = fold(entries), RunState(), RunState()
    for entry in entries:
        extend(by_entry, entry)
        for event in entry.events:
            apply_event(by_event, event, entry.time)
    assert at_once == by_entry == by_event


@given(runs())
@settings(deadline=None)
def test_the_state_counts_what_the_log_holds(groups: list[tuple[int, list[Any]]]) -> None:
    """Counting by hand gives the same sums."""
    log = [event for _, group in groups for event in group]
    state = fold(entries_of(groups))
    ends = [event for event in log if isinstance(event, events.CallEnded)]
    models = [event for event in log if isinstance(event, events.ModelEnded)]
    assert state.spent.tool_calls == sum(isinstance(event, events.CallDecided) for event in log)
    assert state.spent.model_calls == len(models)
    assert state.spent.tokens == sum(event.tokens_in + event.tokens_out for event in models)
    assert state.spent.money == sum(event.cost for event in ends) + sum(event.cost or 0 for event in models)
    assert state.spent.is_cost_known is all(event.cost is not None for event in models)
    assert state.unknown == {}
    last = {event.path: event.state for event in ends}
    assert [record.state for record in state.history] == list(last.values())
