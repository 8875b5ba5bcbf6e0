"""One stored entry: how it is made from events, and how it is read back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

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


def parse_entry(stream: str, seq: int, time: int, prev: str, hash_: str, body: str) -> Entry:
    """The entry behind a stored row.

    Raises `ValueError` (also `UnknownEvent`) where the row does not hold an entry. It checks the form, not
    the chain: that is the verifier's work.
    """
    decoded: Any = decode(body)
    if not isinstance(decoded, dict) or decoded.get("v") != FORMAT:  # pyright: ignore[reportUnknownMemberType]
        message = f"{stream} {seq}: not an entry of format {FORMAT}"
        raise ValueError(message)
    events = tuple(from_json(event) for event in decoded["events"])  # pyright: ignore[reportUnknownArgumentType, reportUnknownVariableType]
    return Entry(stream, seq, time, prev, hash_, int(decoded["epoch"]), body, events)  # pyright: ignore[reportUnknownArgumentType]
