"""Every event of the journal, as `spec/journal.md` section 5 lists them.

An event is a frozen value whose fields are already in their journal form: text, integers, booleans, tuples
and mappings of these. Encoding is therefore generic, and there is no second description to keep alike.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, cast, get_args

if TYPE_CHECKING:
    from collections.abc import Callable

Reserve = tuple[str, str, int, int]
"""budget, unit, amount, limit"""
Settle = tuple[str, str, int, int]
"""budget, unit, reserved, spent"""
TotalMove = tuple[str, str, int, int, int]
"""key, name, amount in micros, seen amount in micros, seen count"""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunCreated:
    """A run was accepted."""

    journal: str
    agent: str
    tenant: str
    kind: str
    release: str
    autonomy: str
    subject: str
    task: str
    source: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RunAdopted:
    """An owner took the run; older owners can append nothing from here on.

    `release` is the one that begins the run, where another one accepted it.
    """

    epoch: int
    owner: str
    cause: str
    limits: tuple[tuple[str, str, int], ...] = ()
    release: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ValueTaken:
    """The run asked for the time, a random number or an id, and got this."""

    path: str
    kind: str
    value: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelIntended:
    """A model call is about to be sent. `kept` and `added` describe its messages."""

    path: str
    attempt: int
    model: str
    kept: int
    added: tuple[str, ...]
    offer: str
    reserve: tuple[Reserve, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelEnded:
    """A model call replied, failed, or nobody knows."""

    path: str
    attempt: int
    state: str
    tokens_in: int
    tokens_out: int
    table: str
    scripted: bool
    settle: tuple[Settle, ...] = ()
    reply: str | None = None
    failure: str | None = None
    cost: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CallDecided:
    """The gates answered a proposed tool call."""

    path: str
    tool: str
    cls: str
    digest: str
    verdict: str
    gate: str
    policy: str
    rules: tuple[str, ...] = ()
    labels: dict[str, tuple[str, ...]]
    facts: dict[str, str]
    totals: dict[str, tuple[int, int]]
    discharged: tuple[str, ...] = ()
    args: str | None = None
    code: str | None = None
    why: str | None = None
    now: int | None = None
    """The time that the rules were told, in microseconds."""
    autonomy: str | None = None
    left: dict[str, int] | None = None
    """Unit → what was left of the budgets."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolsFixed:
    """From here on the run may use these tools and no others."""

    path: str
    tools: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceRead:
    """The run's code took in something that no tool gave: a memory, a message from another agent."""

    path: str
    source: str
    trusted: bool
    cls: str
    value: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Endorsed:
    """The run's code vouches for a value, and says why."""

    path: str
    value: str
    why: str
    kind: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Declassified:
    """The run's code says that what the run writes from here on holds nothing of these data classes."""

    path: str
    classes: tuple[str, ...]
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ApprovalRequested:
    """People were asked. `needs` holds rule, roles and how many."""

    path: str
    request: str
    digest: str
    needs: tuple[tuple[str, tuple[str, ...], int], ...]
    expires: int
    preview: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ApprovalSettled:
    """A request for approval came to its end. `inbox` names the entries that counted."""

    path: str
    request: str
    state: str
    inbox: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class InboxFolded:
    """The owner took in the inbox up to here."""

    seq: int
    hash: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CallIntended:
    """A tool call is about to be sent."""

    path: str
    effect: str
    attempt: int
    tool: str
    mode: str
    halt_epoch: int
    send_by: int
    reserve: tuple[Reserve, ...] = ()
    totals: tuple[TotalMove, ...] = ()
    claim: dict[str, Any] | None = None
    undoes: str | None = None
    undo: str | None = None
    """The tool that takes it back."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CallEnded:
    """A tool call came to an end, or nobody knows."""

    path: str
    attempt: int
    tool: str
    state: str
    via: str
    cost: int
    us: int
    settle: tuple[Settle, ...] = ()
    effect: str | None = None
    result: str | None = None
    failure: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RunParked:
    """The run waits and holds nothing."""

    waiting_for: str
    request: str | None = None
    wake_at: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RunEnded:
    """The run has its outcome."""

    outcome: str
    rules: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()
    code: str | None = None
    answer: str | None = None
    check: str | None = None
    packet: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ApprovalGiven:
    """A person answered a request, and signed the answer."""

    request: str
    verdict: str
    approver: str
    digest: str
    rules: tuple[str, ...]
    expires: int
    nonce: str
    signature: str
    note: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class EffectReported:
    """What a person, or a late reply, says of an effect that was unknown."""

    effect: str
    state: str
    by: str
    result: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class JournalCreated:
    """The first event of a journal."""

    journal: str
    key: str
    format: int


@dataclass(frozen=True, slots=True, kw_only=True)
class HaltRaised:
    """An operator stopped something."""

    scope: str
    epoch: int
    by: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class HaltLifted:
    """An operator let it go on."""

    scope: str
    epoch: int
    by: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class HeadExported:
    """A signed head left the journal."""

    streams: int
    digest: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RetentionApplied:
    """Payloads of a class that were older than `before` are gone."""

    cls: str
    before: int
    count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class DiscontinuityAccepted:
    """An operator accepted that entries after an exported head are lost."""

    by: str
    head: str
    behind: tuple[str, ...]
    signature: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ReleaseSeen:
    """An agent ran with this release for the first time."""

    release: str
    agent: str


Event = (
    RunCreated
    | RunAdopted
    | ValueTaken
    | ModelIntended
    | ModelEnded
    | CallDecided
    | ToolsFixed
    | SourceRead
    | Endorsed
    | Declassified
    | ApprovalRequested
    | ApprovalSettled
    | InboxFolded
    | CallIntended
    | CallEnded
    | RunParked
    | RunEnded
    | ApprovalGiven
    | EffectReported
    | JournalCreated
    | HaltRaised
    | HaltLifted
    | HeadExported
    | RetentionApplied
    | DiscontinuityAccepted
    | ReleaseSeen
)

_RENAMED = {"cls": "class"}
"""`class` is a word of the language; only its field is spelt otherwise."""
_KINDS: dict[str, type[Event]] = {kind.__name__: kind for kind in get_args(Event)}
_FIELDS: dict[type[Event], tuple[tuple[str, str], ...]] = {
    kind: tuple((field.name, _RENAMED.get(field.name, field.name)) for field in fields(kind))
    for kind in _KINDS.values()
}


_SPELT: dict[type[Event], frozenset[str]] = {
    kind: frozenset(spelt for _, spelt in named) for kind, named in _FIELDS.items()
}


class UnknownEvent(ValueError):
    """An event that this version does not know. It is refused, never skipped."""


def to_json(event: Event) -> dict[str, Any]:
    """The event as a JSON object; fields without a value are left out."""
    kind = type(event)
    encoded: dict[str, Any] = {"type": kind.__name__}
    for name, spelt in _FIELDS[kind]:
        value = getattr(event, name)
        if value is not None:
            encoded[spelt] = value
    return encoded


def from_json(encoded: object) -> Event:
    """The event behind `to_json`.

    Raises `UnknownEvent` for an unknown type or field, a missing field, or one that is null.
    """
    if not isinstance(encoded, dict):
        message = "an event is an object"
        raise UnknownEvent(message)
    given = cast("dict[str, object]", encoded)
    kind = _KINDS.get(str(given.get("type")))
    if kind is None:
        message = f"the event type `{given.get('type')}` is not known to this version"
        raise UnknownEvent(message)
    values = _as_mapping(given)
    del values["type"]
    if not _SPELT[kind].issuperset(values):
        unknown = sorted(set(values) - _SPELT[kind])
        message = f"`{kind.__name__}` has unknown fields: {', '.join(unknown)}"
        raise UnknownEvent(message)
    if None in values.values():
        message = f"`{kind.__name__}` has a field that is null"
        raise UnknownEvent(message)
    for name, spelt in _RENAMED.items():
        if spelt in values:
            values[name] = values.pop(spelt)
    try:
        return kind(**values)
    except TypeError as error:
        raise UnknownEvent(str(error)) from None


def _as_tuple(items: list[Any]) -> tuple[Any, ...]:
    """A list as it is kept. Most hold plain values only, of which there are very many: nothing is done for each."""
    if _NESTED.isdisjoint(map(type, items)):
        return tuple(items)
    return tuple([_KEPT[type(item)](item) if type(item) in _NESTED else item for item in items])


def _as_mapping(given: dict[str, Any]) -> dict[str, Any]:
    return {key: _KEPT[type(item)](item) if type(item) in _NESTED else item for key, item in given.items()}


_KEPT: dict[type, Callable[[Any], Any]] = {list: _as_tuple, dict: _as_mapping}
"""How what is nested in JSON is kept in an event."""
_NESTED = frozenset(_KEPT)
