"""One stream, entry by entry: columns, encoding, hash, place, and then the events in their order."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any, Final, NamedTuple, cast

from answerable.journal.verify.canonical import BODY_BYTES_MAX, MalformedError, decode_canonical
from answerable.journal.verify.events import check_event
from answerable.journal.verify.fields import is_count, is_digest
from answerable.journal.verify.order import Event, RunOrder, TenantOrder
from answerable.journal.verify.reader import RawText
from answerable.journal.verify.report import shown

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from answerable.journal.verify.canonical import JsonValue
    from answerable.journal.verify.order import Inbox, Wrong

ZEROS: Final = "0" * 64
_MEMBERS: Final = frozenset({"epoch", "events", "prev", "seq", "stream", "time", "v"})


class Columns(NamedTuple):
    """The columns of one entry, each of its storage type."""

    stream: str
    seq: int
    time: int
    prev: str
    hash: str
    body: bytes


class Body(NamedTuple):
    """What a sound body holds, besides what the columns repeat."""

    epoch: int
    events: list[JsonValue]


class Tail(NamedTuple):
    """Where a stream stands, as far as it was read."""

    seq: int
    hash: str
    epoch: int | None
    """None where the last entry could not be understood."""
    time: int


def columns_of(row: tuple[Any, ...]) -> Columns | str:
    """The row as columns, or what is wrong with its storage types."""
    stream, seq, time, prev, digest, body = row
    for name, value in (("seq", seq), ("time", time)):
        if type(value) is not int:
            return f"`{name}` is no INTEGER: {shown(value)}"
    for name, value in (("stream", stream), ("prev", prev), ("hash", digest), ("body", body)):
        if not isinstance(value, RawText):
            return f"`{name}` is no TEXT: {shown(value)}"
    try:
        return Columns(stream.decode(), seq, time, prev.decode(), digest.decode(), bytes(body))
    except UnicodeDecodeError:
        return "`stream`, `prev` or `hash` is not UTF-8"


class StreamReader:
    """Reads one stream from its first entry. What it says about an entry depends only on those before it."""

    def __init__(self, stream: str, inbox: Inbox) -> None:
        self.tail: Tail | None = None
        self._stream = stream
        self._run = RunOrder(inbox) if stream.startswith("run/") else None
        self._tenant = TenantOrder(stream) if stream.startswith("tenant/") else None
        self._has_gap = False
        """Something could not be understood, so what follows cannot be held against what came before."""
        self._prev: tuple[str, ...] = (ZEROS,)
        """The hash that the next entry must name: of the body before, and as its column has it (where the two
        differ, that was said there). Empty where it cannot be known."""
        self.events: list[Event] = []
        """The sound events of the entry taken last."""

    def take(self, columns: Columns) -> Iterator[Wrong]:
        """Take the next row and say everything that is wrong with it."""
        self.events = []
        yield from self._check_place(columns)
        computed = hashlib.sha256(columns.body).hexdigest()
        if columns.hash != computed:
            yield "hash", "the column `hash` is not the SHA-256 of the body"
        body: Body | None = None
        try:
            body = read_body(columns)
        except MalformedError as error:
            self._has_gap = True
            yield error.kind, f"the body {error.message}"
        last = self.tail
        self.tail = Tail(columns.seq, computed, None if body is None else body.epoch, columns.time)
        self._prev = (computed, columns.hash)
        if body is not None:
            yield from self._check_events(columns.seq, last, body)

    def _check_place(self, columns: Columns) -> Iterator[Wrong]:
        expected = 1 if self.tail is None else self.tail.seq + 1
        if columns.seq != expected:
            self._has_gap = True
            self._prev = () if columns.seq > 1 else (ZEROS,)
            yield "seq", _gap(expected, columns.seq)
        if self._prev and columns.prev not in self._prev:
            yield "prev", "the column `prev` is not the hash of the entry before"
        if self.tail is not None and columns.time < self.tail.time:
            yield "time", f"time falls from {self.tail.time} to {columns.time}"

    def _check_events(self, seq: int, last: Tail | None, body: Body) -> Iterator[Wrong]:
        if self._run is None and body.epoch != 0:
            yield "epoch", f"the epoch is {body.epoch}, and 0 in every stream that is not a run's"
        problems = [problem for event in body.events for problem in check_event(self._stream, event)]
        if problems:
            self._has_gap = True
            yield from problems
            return
        self.events = cast("list[Event]", body.events)
        if self._has_gap:
            return
        if self._run is not None:
            last_epoch = 0 if last is None or last.epoch is None else last.epoch
            yield from self._run.take(seq, last_epoch, body.epoch, self.events)
        elif self._tenant is not None:
            yield from self._tenant.take(self.events)
        elif self._stream.startswith("agent/"):
            yield from _check_agent(self._stream, self.events)


def read_body(columns: Columns) -> Body:
    """The body, held against its own encoding and against the columns that repeat it; or `MalformedError`."""
    if len(columns.body) > BODY_BYTES_MAX:
        raise MalformedError(
            "too_long", f"has {len(columns.body)} bytes, and at most {BODY_BYTES_MAX} may be"
        )
    body = decode_canonical(columns.body)
    if not isinstance(body, dict):
        raise MalformedError("envelope", "is no object")
    if body.keys() != _MEMBERS:
        odd = sorted(body.keys() ^ _MEMBERS)
        raise MalformedError("envelope", f"lacks or adds members: {shown(odd)}")
    epoch, events = body["epoch"], body["events"]
    if body["v"] is True or body["v"] != 1:
        raise MalformedError("envelope", "is not of version 1")
    if not (is_count(body["seq"]) and is_count(body["time"]) and is_count(epoch)):
        raise MalformedError("envelope", "has a `seq`, `time` or `epoch` that is no integer from 0")
    if not is_digest(body["prev"]):
        raise MalformedError("envelope", "has a `prev` that is not 64 hexadecimal digits")
    if not isinstance(events, list) or not events:
        raise MalformedError("envelope", "has no list of one or more events")
    for name in ("stream", "seq", "time", "prev"):
        if body[name] != getattr(columns, name):
            raise MalformedError("column_mismatch", f"has another `{name}` than the column")
    return Body(epoch, events)


def _gap(expected: int, seq: int) -> str:
    if seq == expected + 1:
        return f"entry {expected} is missing"
    if seq > expected:
        return f"entries {expected} to {seq - 1} are missing"
    return f"entry {seq} stands where {expected} is due"


def _check_agent(stream: str, events: Sequence[Event]) -> Iterator[Wrong]:
    for event in events:
        if f"agent/{event['agent']}" != stream:
            yield "order", f"{event['type']} of another agent"
