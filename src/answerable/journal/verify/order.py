"""The order rules of section 5: what may follow what in a run stream, and in a tenant's."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

Event = dict[str, Any]
"""An event whose fields were found to be sound."""

Wrong = tuple[str, str]
"""What is wrong: a kind and a message."""

_AFTER_THE_END: Final = frozenset({"late", "person", "probe"})
_SENT: Final = frozenset({"write", "irreversible"})


class InboxEntry(NamedTuple):
    """An entry of an inbox as the run's order rules need it."""

    hash: str
    events: Sequence[Event]


class Inbox(Protocol):
    """Looks an entry of one run's inbox up; None where there is none that can be read."""

    def __call__(self, seq: int) -> InboxEntry | None:
        """The entry with this number."""
        ...


class _Decision(NamedTuple):
    verdict: str
    effect_class: str


@dataclass(slots=True)
class _Effect:
    """What is known of one effect: where it belongs, and how each attempt ended (None: not yet)."""

    path: str
    tool: str
    is_write: bool
    attempts: list[str | None] = field(default_factory=list[str | None])

    @property
    def may_be_unknown(self) -> bool:
        """Some attempt is without an end, or ended as unknown, and none is done."""
        return "done" not in self.attempts and any(state in {None, "unknown"} for state in self.attempts)

    @property
    def is_unknown(self) -> bool:
        """A write whose last attempt is without an end, or ended as unknown, and none is done."""
        return self.is_write and self.may_be_unknown and self.attempts[-1] in {None, "unknown"}


@dataclass(slots=True)
class _Step:
    """What is known of one path."""

    decision: _Decision | None = None
    model_attempts: list[str | None] = field(default_factory=list[str | None])
    reads: list[str] = field(default_factory=list[str])


class RunOrder:
    """Follows one run stream from its first event and says what cannot stand where it stands."""

    def __init__(self, inbox: Inbox) -> None:
        self._inbox = inbox
        self._is_adopted = False
        self._is_begun = False
        self._accepted_by = ""
        self._unknown_at_end: frozenset[str] | None = None
        self._messages = 0
        self._folded = 0
        self._steps: dict[str, _Step] = {}
        self._effects: dict[str, _Effect] = {}
        self._requests: dict[str, Event] = {}
        self._tools: frozenset[str] | None = None

    def take(self, seq: int, last_epoch: int, epoch: int, events: Sequence[Event]) -> Iterator[Wrong]:
        """Take the events of the next entry; `last_epoch` is that of the entry before (0: there is none)."""
        yield from _epoch_of(seq, last_epoch, epoch, events)
        for event in events:
            yield from self._take_one(event)

    def _take_one(self, event: Event) -> Iterator[Wrong]:
        name = str(event["type"])
        if not self._is_begun and name != "RunCreated":
            yield "order", f"{name} stands before RunCreated"
        elif self._is_begun and not self._is_adopted and name not in {"RunAdopted", "RunCreated"}:
            yield "order", f"{name} stands before the first RunAdopted"
        yield from self._after_the_end(name, event)
        taker = _TAKERS.get(name)
        if taker is not None:
            yield from taker(self, event)

    def _after_the_end(self, name: str, event: Event) -> Iterator[Wrong]:
        if self._unknown_at_end is None or name in {"RunAdopted", "InboxFolded"}:
            return
        if name != "CallEnded":
            yield "order", f"{name} stands after RunEnded"
        elif event.get("effect") not in self._unknown_at_end or event["via"] not in _AFTER_THE_END:
            yield (
                "order",
                "after RunEnded a CallEnded needs an effect that was unknown, via late, person or probe",
            )

    def _created(self, event: Event) -> Iterator[Wrong]:
        if self._is_begun:
            yield "order", "RunCreated stands twice"
        self._is_begun = True
        self._accepted_by = event["release"]

    def _adopted(self, event: Event) -> Iterator[Wrong]:
        if "release" in event:
            if self._is_adopted:
                yield "order", "RunAdopted names a release although the run was begun before"
            elif event["release"] == self._accepted_by:
                yield "order", "RunAdopted names the release that accepted the run"
        self._is_adopted = True

    def _step(self, event: Event) -> _Step:
        return self._steps.setdefault(event["path"], _Step())

    def _tools_fixed(self, event: Event) -> Iterator[Wrong]:
        tools = frozenset[str](event["tools"])
        if self._tools is not None and not tools <= self._tools:
            yield "order", f"ToolsFixed at {event['path']} widens a tool set that was fixed before"
        self._tools = tools

    def _model_intended(self, event: Event) -> Iterator[Wrong]:
        attempts = self._step(event).model_attempts
        if event["attempt"] != len(attempts) + 1:
            yield (
                "order",
                f"ModelIntended at {event['path']} is attempt {event['attempt']} after {len(attempts)}",
            )
        if event["kept"] > self._messages:
            yield "order", f"ModelIntended keeps {event['kept']} messages of {self._messages}"
        attempts.append(None)
        self._messages = event["kept"] + len(event["added"])

    def _model_ended(self, event: Event) -> Iterator[Wrong]:
        attempts, number = self._step(event).model_attempts, event["attempt"]
        if number > len(attempts):
            yield "order", f"ModelEnded at {event['path']} has no ModelIntended of attempt {number}"
        elif attempts[number - 1] not in {None, "unknown"}:
            yield "order", f"attempt {number} of the model call at {event['path']} ends twice"
        else:
            attempts[number - 1] = event["state"]

    def _decided(self, event: Event) -> Iterator[Wrong]:
        self._step(event).decision = _Decision(event["verdict"], event["class"])
        yield from ()

    def _requested(self, event: Event) -> Iterator[Wrong]:
        self._requests[event["request"]] = event
        yield from ()

    def _settled(self, event: Event) -> Iterator[Wrong]:
        request = self._requests.get(event["request"])
        if request is None or request["path"] != event["path"]:
            yield "order", "ApprovalSettled has no ApprovalRequested of that request and path"
            return
        verdicts: list[str] = []
        for seq in event["inbox"]:
            given = self._given(seq, event["request"])
            if given is None:
                yield (
                    "inbox_reference",
                    f"ApprovalSettled counts inbox entry {seq}, which gives no such approval",
                )
            elif given["digest"] != request["digest"]:
                yield (
                    "inbox_reference",
                    f"ApprovalSettled counts inbox entry {seq}, given for another proposal",
                )
            else:
                verdicts.append(given["verdict"])
        if event["state"] == "granted" and (not event["inbox"] or "deny" in verdicts):
            yield "order", "ApprovalSettled is granted without an inbox entry, or over one, that says so"
        if event["state"] == "denied" and "deny" not in verdicts:
            yield "order", "ApprovalSettled is denied without an inbox entry that says so"

    def _given(self, seq: int, request: str) -> Event | None:
        entry = self._inbox(seq)
        events = entry.events if entry is not None else ()
        return next((e for e in events if e["type"] == "ApprovalGiven" and e["request"] == request), None)

    def _inbox_folded(self, event: Event) -> Iterator[Wrong]:
        entry = self._inbox(event["seq"])
        if entry is None:
            yield "inbox_reference", f"InboxFolded names inbox entry {event['seq']}, which is not there"
        elif entry.hash != event["hash"]:
            yield "inbox_reference", f"InboxFolded names inbox entry {event['seq']} with another hash"
        if event["seq"] <= self._folded:
            yield "order", f"InboxFolded names inbox entry {event['seq']} after {self._folded}"
        self._folded = max(self._folded, event["seq"])

    def _intended(self, event: Event) -> Iterator[Wrong]:
        decision = self._step(event).decision
        if decision is None or decision.verdict != "allow":
            yield "order", f"CallIntended at {event['path']} has no CallDecided that allows it"
        is_write = decision is not None and decision.effect_class in _SENT
        effect = self._effects.setdefault(event["effect"], _Effect(event["path"], event["tool"], is_write))
        if (effect.path, effect.tool) != (event["path"], event["tool"]):
            yield "order", "CallIntended names an effect of another path or tool"
        if "done" in effect.attempts:
            yield "order", "CallIntended names an effect that is done"
        if event["attempt"] != len(effect.attempts) + 1:
            yield "order", f"CallIntended is attempt {event['attempt']} after {len(effect.attempts)}"
        effect.attempts.append(None)

    def _call_ended(self, event: Event) -> Iterator[Wrong]:
        if "effect" in event:
            yield from self._effect_ended(event)
        else:
            yield from self._read_ended(event)

    def _effect_ended(self, event: Event) -> Iterator[Wrong]:
        effect, number = self._effects.get(event["effect"]), event["attempt"]
        if effect is None or number > len(effect.attempts):
            yield "order", f"CallEnded has no CallIntended of that effect and attempt {number}"
            return
        if (effect.path, effect.tool) != (event["path"], event["tool"]):
            yield "order", "CallEnded names an effect of another path or tool"
        if effect.attempts[number - 1] not in {None, "unknown"}:
            yield "order", f"attempt {number} of an effect at {event['path']} ends twice"
        effect.attempts[number - 1] = event["state"]

    def _read_ended(self, event: Event) -> Iterator[Wrong]:
        step = self._step(event)
        if step.decision is None:
            yield "order", f"CallEnded at {event['path']} has no CallDecided"
            return
        if event["state"] in {"done", "unknown"}:
            if step.decision.effect_class != "read":
                yield (
                    "order",
                    f"a call at {event['path']} that is no read is {event['state']} without an intent",
                )
            elif step.decision.verdict != "allow":
                yield (
                    "order",
                    f"a read at {event['path']} is {event['state']} without a CallDecided that allows it",
                )
        if event["via"] != "fallback" and event["attempt"] != len(step.reads) + 1:
            yield (
                "order",
                f"CallEnded at {event['path']} is attempt {event['attempt']} after {len(step.reads)}",
            )
        if "done" in step.reads:
            yield "order", f"the read at {event['path']} is done twice"
        step.reads.append(event["state"])

    def _ended(self, event: Event) -> Iterator[Wrong]:
        listed = frozenset(event["unknown"])
        must_be_listed = {key for key, effect in self._effects.items() if effect.is_unknown}
        may_be_listed = {key for key, effect in self._effects.items() if effect.may_be_unknown}
        if not must_be_listed <= listed <= may_be_listed:
            yield "order", "RunEnded does not list exactly the effects that are unknown"
        if listed and event["outcome"] in {"succeeded", "unverified"}:
            yield "order", f"RunEnded is {event['outcome']} although an effect is unknown"
        self._unknown_at_end = listed

    TAKERS: Final = {
        "RunCreated": _created,
        "RunAdopted": _adopted,
        "ModelIntended": _model_intended,
        "ModelEnded": _model_ended,
        "ToolsFixed": _tools_fixed,
        "CallDecided": _decided,
        "ApprovalRequested": _requested,
        "ApprovalSettled": _settled,
        "InboxFolded": _inbox_folded,
        "CallIntended": _intended,
        "CallEnded": _call_ended,
        "RunEnded": _ended,
    }


_TAKERS: Final[dict[str, Callable[[RunOrder, Event], Iterator[Wrong]]]] = RunOrder.TAKERS


def _epoch_of(seq: int, last_epoch: int, epoch: int, events: Sequence[Event]) -> Iterator[Wrong]:
    """Epochs start at 1, never fall, and rise by one exactly where a new owner adopts the run."""
    adoptions = [n for n, event in enumerate(events) if event["type"] == "RunAdopted"]
    if seq == 1:
        if epoch != 1:
            yield "epoch", f"the first epoch is {epoch}, not 1"
    elif epoch < last_epoch:
        yield "epoch", f"the epoch falls from {last_epoch} to {epoch}"
    elif adoptions and epoch != last_epoch + 1:
        yield "epoch", f"RunAdopted stands in epoch {epoch}, not one above {last_epoch}"
    elif not adoptions and epoch != last_epoch:
        yield "epoch", f"the epoch rises from {last_epoch} to {epoch} without RunAdopted"
    elif adoptions and adoptions != [0]:
        yield "order", "RunAdopted is not the first event of its entry"
    if any(events[n]["epoch"] != epoch for n in adoptions):
        yield "epoch", "RunAdopted names another epoch than its entry"


class TenantOrder:
    """Follows one tenant stream: the journal's birth comes first and once, and halts are counted."""

    def __init__(self, stream: str) -> None:
        self._is_default = stream == "tenant/default"
        self._events = 0
        self._halts = 0

    def take(self, events: Sequence[Event]) -> Iterator[Wrong]:
        """Take the events of the next entry."""
        for event in events:
            self._events += 1
            is_birth = event["type"] == "JournalCreated"
            if is_birth != (self._is_default and self._events == 1):
                yield (
                    "journal_created",
                    "JournalCreated is the first event of tenant/default and stands nowhere else",
                )
            if event["type"] in {"HaltRaised", "HaltLifted"}:
                if event["epoch"] != self._halts + 1:
                    yield "order", f"{event['type']} has epoch {event['epoch']} after {self._halts}"
                self._halts = event["epoch"]
