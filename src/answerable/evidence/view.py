"""Everything that the journal holds of one run, read once: entries, inbox, state, contents."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, NamedTuple, TypeVar, cast

from answerable.errors import JournalError, JournalUnreadable
from answerable.journal.store import Erased
from answerable.kernel.encoding import decode
from answerable.kernel.events import (
    ApprovalGiven,
    ApprovalRequested,
    CallDecided,
    CallEnded,
    Declassified,
    EffectReported,
    Endorsed,
    Event,
    HaltLifted,
    HaltRaised,
    ModelEnded,
    ModelIntended,
    RunCreated,
    RunEnded,
    SourceRead,
)
from answerable.kernel.ids import RunId, inbox_stream, payload_ref, run_stream, tenant_stream
from answerable.kernel.state import IllegalEvent, RunState, fold

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from answerable.journal.store import JournalStore
    from answerable.kernel.entry import Entry

Json = dict[str, object]
E = TypeVar("E", bound=Event)


class Place(NamedTuple):
    """Where in the journal something is written. `path` is the step, empty where it belongs to none."""

    stream: str
    seq: int
    path: str

    def to_json(self) -> dict[str, object]:
        """The form in which evidence is cited."""
        return {"stream": self.stream, "seq": self.seq, "path": self.path or None}


class Said(NamedTuple, Generic[E]):
    """One event, where it is written, and when it was."""

    event: E
    place: Place
    time: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RunView:
    """One run as the journal tells it. `said` holds its events, its inbox's, and the halts that cover it."""

    run: str
    journal: str
    state: RunState
    said: tuple[Said[Event], ...]
    contents: Mapping[str, object | Erased]
    head: str

    @property
    def created(self) -> RunCreated:
        """How the run began."""
        assert self.state.created is not None
        return self.state.created

    def content(self, ref: str | None) -> object | Erased | None:
        """What is behind `ref`: a decoded value, `Erased`, or None where there is no ref."""
        return None if ref is None else self.contents.get(ref, Erased(ref))

    def members(self, ref: str | None) -> Json:
        """The content behind `ref` where it is an object; empty where it is not, or is gone."""
        found = self.content(ref)
        return cast("Json", found) if isinstance(found, dict) else {}

    def readable(self) -> dict[str, object]:
        """The contents that are still there."""
        return {ref: value for ref, value in self.contents.items() if not isinstance(value, Erased)}

    def find(self, kind: type[E]) -> list[Said[E]]:
        """Events of one type, in order."""
        return [cast("Said[E]", said) for said in self.said if isinstance(said.event, kind)]

    def at(self, path: str, *kinds: type[Event]) -> list[Place]:
        """Where the events of the step at `path` are written, of these types."""
        return [said.place for said in self.said if said.place.path == path and isinstance(said.event, kinds)]


def refs(event: Event) -> Iterator[str]:
    """The payloads that an event names."""
    found: tuple[str | None, ...] = ()
    match event:
        case RunCreated():
            found = (event.task,)
        case ModelIntended():
            found = event.added
        case ModelEnded():
            found = (event.reply,)
        case CallDecided():
            found = (event.args, event.why, *event.facts.values())
        case SourceRead():
            found = (event.value,)
        case Endorsed():
            found = (event.value, event.why)
        case Declassified():
            found = (event.why,)
        case ApprovalRequested():
            found = (event.preview,)
        case CallEnded() | EffectReported():
            found = (event.result,)
        case RunEnded():
            found = (event.answer, event.check, event.packet)
        case ApprovalGiven():
            found = (event.note,)
        case _:
            pass
    return (ref for ref in found if ref is not None)


async def load_view(store: JournalStore, run: str) -> RunView:
    """Read `run` from the journal.

    Raises `JournalError` where there is no such run, `JournalUnreadable` where its entries cannot be folded.
    """
    entries = await store.entries(run_stream(RunId(run)))
    if not entries:
        raise JournalError(f"there is no run `{run}` in this journal", hint="`answerable runs` lists them")
    inbox = await store.entries(inbox_stream(RunId(run)))
    try:
        state = fold(entries, inbox)
    except IllegalEvent as error:
        raise JournalUnreadable(
            f"`{run}` cannot be read: {error}",
            hint="`answerable audit verify` names every place that was changed",
        ) from None
    said = [*_said(entries), *_said(inbox)]
    if state.created is not None:
        halts = await store.entries(tenant_stream(state.created.tenant))
        said += [each for each in _said(halts) if _covers(each, run, state)]
    said.sort(key=lambda each: each.time)  # stable: within a stream the order stays
    return RunView(
        run=run,
        journal=store.journal,
        state=state,
        said=tuple(said),
        contents=await _contents(store, state, said),
        head=entries[-1].hash,
    )


def _said(entries: list[Entry]) -> list[Said[Event]]:
    return [
        Said(event, Place(entry.stream, entry.seq, getattr(event, "path", "")), entry.time)
        for entry in entries
        for event in entry.events
    ]


def _covers(each: Said[Event], run: str, state: RunState) -> bool:
    """Whether a halt concerns this run, and came before its end."""
    event = each.event
    if not isinstance(event, (HaltRaised, HaltLifted)) or state.created is None:
        return False
    if state.ended is not None and each.time > state.ended_at:
        return False
    tools = {f"tool:{step.decided.tool}" for step in state.calls.values()}
    return event.scope in {"all", f"run:{run}", f"agent:{state.created.agent}", *tools}


async def _contents(
    store: JournalStore, state: RunState, said: list[Said[Event]]
) -> dict[str, object | Erased]:
    """Decoded contents. What the run's owner wrote must be what its entry committed to."""
    owned = {ref for each in said if each.place.stream.startswith("run/") for ref in refs(each.event)}
    bodies = await store.payloads(dict.fromkeys(ref for each in said for ref in refs(each.event)))
    key = await store.subject_key(state.created.subject) if state.created is not None else None
    contents: dict[str, object | Erased] = {}
    for ref, body in bodies.items():
        if isinstance(body, Erased):
            contents[ref] = body
            continue
        is_changed = key is not None and ref in owned and payload_ref(key, body) != ref
        try:
            contents[ref] = decode(body)
        except ValueError:
            is_changed = True
        if is_changed:
            raise JournalUnreadable(
                f"the content `{ref[:12]}…` is not what its entry committed to",
                hint="`answerable audit verify` names every place that was changed",
            )
    return contents
