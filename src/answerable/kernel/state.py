"""The state of a run, as a fold over its entries.

`fold` is a pure function of the entries. Inside, the state is extended in place: a run of five thousand
steps must not copy five thousand steps at each. Nobody but the fold changes it.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, assert_never

from answerable.kernel.events import (
    ApprovalGiven,
    ApprovalRequested,
    ApprovalSettled,
    CallDecided,
    CallEnded,
    CallIntended,
    Declassified,
    DiscontinuityAccepted,
    EffectReported,
    Endorsed,
    HaltLifted,
    HaltRaised,
    HeadExported,
    InboxFolded,
    JournalCreated,
    ModelEnded,
    ModelIntended,
    ReleaseSeen,
    RetentionApplied,
    RunAdopted,
    RunCreated,
    RunEnded,
    RunParked,
    SourceRead,
    ToolsFixed,
    ValueTaken,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from answerable.kernel.entry import Entry
    from answerable.kernel.events import Event, Reserve, Settle

HISTORY = 32
"""How many calls back loops are looked for."""


class IllegalEvent(ValueError):
    """An event that cannot follow what came before it: the journal, or the code that wrote it, is wrong."""


@dataclass(slots=True)
class ModelStep:
    """One model call: its attempts, and the last outcome."""

    intent: ModelIntended
    first: ModelIntended
    """The intent of the first attempt: it says what was asked; later ones only that it was the same."""
    ended: ModelEnded | None = None


@dataclass(slots=True)
class CallStep:
    """One tool call: the last decision, what people were asked, the open intent, the last outcome."""

    decided: CallDecided
    requests: list[ApprovalRequested] = field(default_factory=list[ApprovalRequested])
    settled: dict[str, ApprovalSettled] = field(default_factory=dict[str, ApprovalSettled])
    intent: CallIntended | None = None
    intended_at: int = 0
    """When the first attempt was intended: from here on the vendor may know the effect's key."""
    reserved: tuple[Reserve, ...] = ()
    """What the first attempt reserved; later ones reserve nothing."""
    ended: CallEnded | None = None
    ended_as: str = ""
    """How the last attempt that ended did, also while another one is under way."""
    record: CallRecord | None = None


@dataclass(frozen=True, slots=True)
class CallRecord:
    """What loop detection looks at: one finished call."""

    tool: str
    args: str
    cls: str
    state: str
    result: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Tally:
    """What a run has done with one tool: calls decided, calls done, and which of all done calls was its last.

    `last` counts over all tools of the run, from 1; it is 0 where there is none.
    """

    decided: int = 0
    done: int = 0
    last: int = 0


_NONE_YET = Tally()
Act = SourceRead | Endorsed | Declassified


@dataclass(slots=True)
class Spent:
    """What a run has used so far. `is_cost_known` is false once any price was unknown."""

    tool_calls: int = 0
    model_calls: int = 0
    tokens: int = 0
    money: int = 0
    is_cost_known: bool = True
    active_us: int = 0


@dataclass(slots=True)
class RunState:
    """Everything that is known of a run."""

    created: RunCreated | None = None
    created_at: int = 0
    started_at: int = 0
    ended_at: int = 0
    epoch: int = 0
    owner: str = ""
    release: str = ""
    """What the run is pinned to: the release that began it; until then, the one that accepted it."""
    limits: tuple[tuple[str, str, int], ...] = ()
    models: dict[str, ModelStep] = field(default_factory=dict[str, ModelStep])
    calls: dict[str, CallStep] = field(default_factory=dict[str, CallStep])
    values: dict[str, ValueTaken] = field(default_factory=dict[str, ValueTaken])
    messages: list[str] = field(default_factory=list[str])
    """Refs of the messages that the last model call was sent."""
    history: deque[CallRecord] = field(default_factory=lambda: deque[CallRecord](maxlen=HISTORY))
    tallies: dict[str, Tally] = field(default_factory=dict[str, Tally])
    done_calls: int = 0
    acts: dict[str, Act] = field(default_factory=dict[str, Act])
    """What the run's code took in, endorsed or declassified, by path."""
    read: list[str] = field(default_factory=list[str])
    """Paths of everything that the run has learned from, in order: calls that ended and acts."""
    fixed: dict[str, tuple[str, ...]] = field(default_factory=dict[str, tuple[str, ...]])
    """Tool sets that were fixed, by path; the last one is in force."""
    done: set[tuple[str, str]] = field(default_factory=set[tuple[str, str]])
    """Writes that were done: tool and ref of the arguments."""
    unknown: dict[str, str] = field(default_factory=dict[str, str])
    """Effects that may have happened: key → path."""
    spent: Spent = field(default_factory=Spent)
    given: dict[str, list[tuple[int, ApprovalGiven]]] = field(
        default_factory=dict[str, "list[tuple[int, ApprovalGiven]]"]
    )
    """Answers taken in from the inbox: request → (inbox seq, answer)."""
    reported: dict[str, EffectReported] = field(default_factory=dict[str, EffectReported])
    inbox_seq: int = 0
    parked: RunParked | None = None
    ended: RunEnded | None = None
    last_at: int = 0

    @property
    def tool_set(self) -> tuple[str, ...] | None:
        """The tools that the run may use; None where it may use all of its agent's."""
        return next(reversed(self.fixed.values()), None)

    @property
    def name(self) -> str:
        """`created`, `running`, `waiting` or `ended`."""
        if self.ended is not None:
            return "ended"
        if self.parked is not None:
            return "waiting"
        return "running" if self.epoch else "created"


def fold(entries: Iterable[Entry], inbox: Sequence[Entry] = ()) -> RunState:
    """The state behind a run's entries and those of its inbox, in order.

    Raises `IllegalEvent` where an entry cannot follow the ones before it.
    """
    state = RunState()
    for entry in entries:
        extend(state, entry, inbox)
    return state


def extend(state: RunState, entry: Entry, inbox: Sequence[Entry] = ()) -> None:
    """Take one more entry of the run's stream in; `inbox` must hold what it folds in."""
    for event in entry.events:
        apply_event(state, event, entry.time, inbox)


def pass_time(state: RunState, at: int, *, is_owned: bool = True) -> None:
    """Let time go by until `at`. It counts as work unless the run waits, has ended, or was nobody's until then."""
    if is_owned and state.epoch and state.parked is None and state.ended is None:
        state.spent.active_us += max(0, at - state.last_at)
    state.last_at = max(at, state.last_at)


def apply_event(state: RunState, event: Event, at: int, inbox: Sequence[Entry] = ()) -> None:
    """Take one more event in, recorded at `at` (microseconds of UTC).

    Raises `IllegalEvent` where it cannot follow what came before it.
    """
    pass_time(state, at, is_owned=not isinstance(event, RunAdopted))
    if (state.created is None) is not isinstance(event, RunCreated):
        message = f"`{type(event).__name__}` cannot stand here"
        raise IllegalEvent(message)
    match event:  # what is most frequent is asked first
        case CallDecided():
            _decided(state, event)
        case CallIntended():
            step = _step(state, event.path)
            step.intent, step.ended = event, None
            step.intended_at = step.intended_at or at
            step.reserved = event.reserve or step.reserved
            state.unknown[event.effect] = event.path
        case CallEnded():
            _call_ended(state, event)
        case RunCreated():
            state.created, state.created_at, state.release = event, at, event.release
        case RunAdopted():
            state.epoch, state.owner, state.limits = event.epoch, event.owner, event.limits
            state.release = event.release or state.release
            state.started_at = state.started_at or at
            state.parked = None
        case ValueTaken():
            state.values[event.path] = event
        case SourceRead() | Endorsed() | Declassified():
            state.acts[event.path] = event
            state.read.append(event.path)
        case ToolsFixed():
            _tools_fixed(state, event)
        case ModelIntended():
            known = state.models.get(event.path)
            state.models[event.path] = ModelStep(intent=event, first=known.first if known else event)
            del state.messages[event.kept :]
            state.messages.extend(event.added)
        case ModelEnded():
            _model_ended(state, event)
        case ApprovalRequested():
            _step(state, event.path).requests.append(event)
        case ApprovalSettled():
            _step(state, event.path).settled[event.request] = event
        case InboxFolded():
            _fold_inbox(state, event, inbox)
        case RunParked():
            state.parked = event
        case RunEnded():
            state.ended, state.ended_at, state.parked = event, at, None
        case (
            ApprovalGiven()
            | EffectReported()
            | JournalCreated()
            | HaltRaised()
            | HaltLifted()
            | HeadExported()
            | RetentionApplied()
            | DiscontinuityAccepted()
            | ReleaseSeen()
        ):
            message = f"`{type(event).__name__}` is not an event of a run"
            raise IllegalEvent(message)
        case _:  # pragma: no cover
            assert_never(event)


def _step(state: RunState, path: str) -> CallStep:
    step = state.calls.get(path)
    if step is None:
        message = f"nothing was decided at {path}"
        raise IllegalEvent(message)
    return step


def _tools_fixed(state: RunState, event: ToolsFixed) -> None:
    before = state.tool_set
    if before is not None and not set(event.tools) <= set(before):
        message = f"the tool set that was fixed is widened at {event.path}"
        raise IllegalEvent(message)
    state.fixed[event.path] = event.tools


def _decided(state: RunState, event: CallDecided) -> None:
    step = state.calls.get(event.path)
    if step is None:
        state.calls[event.path] = CallStep(decided=event)
        if event.cls != "invalid":
            state.spent.tool_calls += 1
            tally = state.tallies.get(event.tool, _NONE_YET)
            state.tallies[event.tool] = Tally(decided=tally.decided + 1, done=tally.done, last=tally.last)
    else:
        step.decided = event


def _model_ended(state: RunState, event: ModelEnded) -> None:
    step = state.models.get(event.path)
    if step is None:
        message = f"no model call was intended at {event.path}"
        raise IllegalEvent(message)
    step.ended = event
    state.spent.model_calls += 1
    state.spent.tokens += _spent(event.settle, "tokens", event.tokens_in + event.tokens_out)
    if event.cost is None:
        state.spent.is_cost_known = False
    state.spent.money += _spent(event.settle, "money", event.cost or 0)


def _spent(settle: tuple[Settle, ...], unit: str, otherwise: int) -> int:
    for budget, settled_unit, _, spent in settle:
        if settled_unit == unit and budget.startswith("run:"):
            return spent
    return otherwise


def _call_ended(state: RunState, event: CallEnded) -> None:
    step = _step(state, event.path)
    was_done = step.ended_as == "done"
    if step.record is not None:  # another attempt of the same call: one call, one record
        others = [record for record in state.history if record is not step.record]
        state.history.clear()
        state.history.extend(others)
    step.ended, step.ended_as = event, event.state
    state.spent.money += event.cost
    if not was_done:
        _learned(state, event)
    if event.effect is not None and event.state != "unknown":
        state.unknown.pop(event.effect, None)
    step.record = CallRecord(
        tool=event.tool,
        args=step.decided.args or "",
        cls=step.decided.cls,
        state=event.state,
        result=event.result or event.failure or "",
    )
    state.history.append(step.record)
    if event.state == "done" and event.effect is not None:
        state.done.add((event.tool, step.decided.args or ""))


def _learned(state: RunState, event: CallEnded) -> None:
    """A call's end is something to learn from; that of a done call also counts."""
    state.read.append(event.path)
    if event.state != "done":
        return
    state.done_calls += 1
    tally = state.tallies.get(event.tool, _NONE_YET)
    state.tallies[event.tool] = Tally(decided=tally.decided, done=tally.done + 1, last=state.done_calls)


def _fold_inbox(state: RunState, event: InboxFolded, inbox: Sequence[Entry]) -> None:
    new = [entry for entry in inbox if state.inbox_seq < entry.seq <= event.seq]
    if not new or (new[-1].seq, new[-1].hash) != (event.seq, event.hash):
        message = f"the inbox does not hold the entry {event.seq} that was taken in"
        raise IllegalEvent(message)
    for entry in new:
        for said in entry.events:
            if isinstance(said, ApprovalGiven):
                state.given.setdefault(said.request, []).append((entry.seq, said))
            elif isinstance(said, EffectReported):
                state.reported[said.effect] = said
    state.inbox_seq = event.seq
