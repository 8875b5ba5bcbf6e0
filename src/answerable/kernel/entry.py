"""One stored entry: how it is made from events, and how it is read back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

from answerable.kernel.encoding import ZERO_HASH, decode, encode_entry, sha256_hex
from answerable.kernel.events import from_json, to_json

if TYPE_CHECKING:
    from collections.abc import Sequence

    from answerable.kernel.events import Event

FORMAT = 1


@dataclass(frozen=True, slots=True)
class Head:
    """Where a stream stands: what an append must have seen."""

    seq: int
    hash: str
    epoch: int
    time: int


EMPTY = Head(seq=0, hash=ZERO_HASH, epoch=0, time=0)
"""The head of a stream without entries."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A stored entry. `body` is the truth; the rest is what it says."""

    stream: str
    seq: int
    time: int
    prev: str
    hash: str
    epoch: int
    body: str
    events: tuple[Event, ...]

    @property
    def head(self) -> Head:
        """The head of the stream once this entry is the last."""
        return Head(seq=self.seq, hash=self.hash, epoch=self.epoch, time=self.time)


def make_entry(stream: str, head: Head, epoch: int, now: int, events: Sequence[Event]) -> Entry:
    """The entry that follows `head`. Its time never falls behind the one before it.

    Raises `NotEncodable` where an event has no canonical form or the entry is too large.
    """
    seq, time = head.seq + 1, max(head.time, now)
    body = encode_entry(
        {
            "v": FORMAT,
            "stream": stream,
            "seq": seq,
            "time": time,
            "prev": head.hash,
            "epoch": epoch,
            "events": [to_json(event) for event in events],
        }
    )
    return Entry(stream, seq, time, head.hash, sha256_hex(body), epoch, body.decode(), tuple(events))


def parse_entry(stream: str, seq: int, time: int, prev: str, hash_: str, body: str) -> Entry:  # noqa: PLR0917 - the columns, as stored
    """The entry behind a stored row.

    Raises `ValueError` (also `UnknownEvent`) where the row does not hold an entry, or says something else than
    its body. It does not look at the chain: that is the verifier's work.
    """
    decoded = decode(body)
    found = cast("dict[str, object]", decoded if isinstance(decoded, dict) else {})
    epoch, events = found.pop("epoch", None), found.pop("events", None)
    said = {"v": FORMAT, "stream": stream, "seq": seq, "time": time, "prev": prev}
    if found != said or type(epoch) is not int or not isinstance(events, list):
        message = f"{stream} {seq}: not an entry of format {FORMAT}, or not the one that its row says"
        raise ValueError(message)
    if sha256_hex(body.encode()) != hash_:
        message = f"{stream} {seq}: the body is not what its hash says"
        raise ValueError(message)
    parsed = tuple(map(from_json, cast("list[object]", events)))
    return Entry(stream, seq, time, prev, hash_, epoch, body, parsed)
