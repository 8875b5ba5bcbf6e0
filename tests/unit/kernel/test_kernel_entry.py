"""An entry is made, stored as a row, and read back; a row that says something else is refused."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from answerable.kernel.encoding import ZERO_HASH, encode_entry, sha256_hex
from answerable.kernel.entry import EMPTY, Entry, Head, make_entry, parse_entry
from answerable.kernel.events import HaltLifted, HaltRaised, ReleaseSeen, UnknownEvent, from_json

RAISED = HaltRaised(scope="all", epoch=1, by="ann", reason="")


def read(entry: Entry) -> Entry:
    """The row of `entry`, read back."""
    return parse_entry(entry.stream, entry.seq, entry.time, entry.prev, entry.hash, entry.body)


def altered(entry: Entry, **members: Any) -> Entry:
    """`entry` with another body, and the hash that fits it."""
    body = encode_entry({**json.loads(entry.body), **members})
    return replace(entry, body=body.decode(), hash=sha256_hex(body))


def test_entries_follow_each_other_and_come_back_from_their_rows() -> None:
    """Sequence, hash and time go on from the head before."""
    first = make_entry("tenant/default", EMPTY, 0, 50, [RAISED])
    second = make_entry(
        "tenant/default", first.head, 0, 40, [HaltLifted(scope="all", epoch=2, by="ann", reason="ok")]
    )
    assert (first.seq, first.prev, first.time) == (1, ZERO_HASH, 50)
    assert (second.seq, second.prev) == (2, first.hash)
    assert second.time == 50, "the clock went backwards, the journal does not"
    assert second.head == Head(seq=2, hash=second.hash, epoch=0, time=50)
    assert [read(first), read(second)] == [first, second]


@pytest.mark.parametrize(
    "column", [{"stream": "tenant/other"}, {"seq": 2}, {"time": 51}, {"prev": "1" * 64}, {"hash": "0" * 64}]
)
def test_a_row_that_differs_from_its_body_is_refused(column: dict[str, Any]) -> None:
    """The columns only repeat the body; whoever edits one is found when it is read."""
    entry = make_entry("tenant/default", EMPTY, 0, 50, [RAISED])
    with pytest.raises(ValueError, match="tenant/"):
        read(replace(entry, **column))


def test_an_edited_body_is_refused() -> None:
    """A byte that was changed in place does not fit the hash."""
    entry = make_entry("tenant/default", EMPTY, 0, 50, [RAISED])
    with pytest.raises(ValueError, match="not what its hash says"):
        read(replace(entry, body=entry.body.replace("ann", "bob")))


@pytest.mark.parametrize(
    "members",
    [{"v": 2}, {"epoch": "1"}, {"epoch": True}, {"events": {}}, {"events": None}, {"extra": 1}, {"seq": "1"}],
)
def test_a_body_of_another_form_is_refused(members: dict[str, Any]) -> None:
    """A later format, an unknown member, a wrong type: never guessed at."""
    entry = make_entry("tenant/default", EMPTY, 0, 50, [RAISED])
    with pytest.raises(ValueError, match="not an entry of format 1"):
        read(altered(entry, **members))


@pytest.mark.parametrize("body", ["[]", "1", "null", "{}", "{", "", '{"v":1'])
def test_a_body_that_is_no_entry_is_refused(body: str) -> None:
    """Whatever stands there, it is a `ValueError`."""
    with pytest.raises(ValueError):
        parse_entry("tenant/default", 1, 0, ZERO_HASH, sha256_hex(body.encode()), body)


@pytest.mark.parametrize(
    ("event", "why"),
    [
        ({"type": "RunResurrected"}, "not known"),
        ({"type": ["ReleaseSeen"]}, "not known"),
        ({}, "not known"),
        ("ReleaseSeen", "is an object"),
        ({"type": "ReleaseSeen", "release": "r", "agent": "a", "note": "n"}, "unknown fields: note"),
        ({"type": "ReleaseSeen", "release": "r", "agent": None}, "null"),
        ({"type": "ReleaseSeen", "release": "r"}, "agent"),
        ({"type": "RetentionApplied", "cls": "c", "before": 1, "count": 1}, "unknown fields: cls"),
    ],
)
def test_an_event_that_is_not_known_to_the_letter_is_refused(event: object, why: str) -> None:
    """A field that was skipped could be the one that mattered."""
    with pytest.raises(UnknownEvent, match=why):
        from_json(event)


def test_an_event_needs_nothing_but_its_fields() -> None:
    """The smallest round trip."""
    assert from_json({"type": "ReleaseSeen", "release": "r", "agent": "a"}) == ReleaseSeen(
        release="r", agent="a"
    )
