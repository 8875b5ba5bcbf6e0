"""Exhibits: bodies that no reader may accept, in journals whose every hash was recomputed."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from tests.unit.journal.verify.verify_builder import edited
from tests.unit.journal.verify.verify_frame import exhibit, replaced, rewritten, with_event
from tests.unit.journal.verify.verify_stories import given, run_with_read, told

if TYPE_CHECKING:
    from tests.unit.journal.verify.verify_builder import Journal


# -------------------------------------------------------------------- encoding, with hashes recomputed


@exhibit("number")
def number_with_a_fraction() -> Journal:
    """A float, although its value is a whole number."""
    return replaced('"us":1500', '"us":1500.0')


@exhibit("number")
def number_too_large() -> Journal:
    """2^53: one more than allowed."""
    return replaced('"us":1500', '"us":9007199254740992')


@exhibit("not_canonical")
def minus_zero() -> Journal:
    """-0 is read as 0, and so is not the encoding of its value."""
    return replaced('"cost":0', '"cost":-0')


@exhibit("duplicate_member")
def member_twice() -> Journal:
    """Two members of one name: readers would disagree which one counts."""
    return replaced('"cost":0', '"cost":0,"cost":0')


@exhibit("not_canonical")
def members_not_sorted() -> Journal:
    """The members of the body stand in another order."""
    return rewritten(
        lambda raw: json.dumps(dict(reversed(json.loads(raw).items())), separators=(",", ":")).encode()
    )


@exhibit("not_canonical")
def white_space() -> Journal:
    """One space behind a colon."""
    return replaced('"cost":0', '"cost": 0')


@exhibit("not_canonical")
def line_break_at_the_end() -> Journal:
    """A line break after the body."""
    return rewritten(lambda raw: raw + b"\n")


@exhibit("not_canonical")
def escaped_without_need() -> Journal:
    """A plain letter written as an escape."""
    return replaced("get_order", "get\\u005forder")


@exhibit("not_canonical")
def slash_escaped() -> Journal:
    """A slash may be escaped in JSON, and must not be here."""
    return replaced("host-1/42", "host-1\\/42", seq=1)


@exhibit("surrogate")
def lone_surrogate() -> Journal:
    """Half of a pair, escaped."""
    return replaced("get_order", "get_\\ud800order")


@exhibit("key_not_ascii")
def key_with_an_umlaut() -> Journal:
    """A key that is not ASCII."""
    return replaced('"order_id":["tr', '"örder_id":["tr')


@exhibit("too_long")
def body_too_long() -> Journal:
    """A body of more than 8,192 bytes."""
    return with_event(0, lambda event: event.update(rules=["r" * 100] * 100))


@exhibit("utf8")
def body_not_utf8() -> Journal:
    """A byte that no UTF-8 text has."""
    return rewritten(lambda raw: raw.replace(b"get_order", b"get_\xfforder", 1))


@exhibit("json")
def body_cut_short() -> Journal:
    """A body without its last bracket."""
    return rewritten(lambda raw: raw[:-1])


@exhibit("json")
def nested_a_thousandfold() -> Journal:
    """Brackets upon brackets: refused, not crashed upon."""
    return rewritten(lambda _raw: b"[" * 4000 + b"]" * 4000)


# ----------------------------------------------------------------- members and events, with hashes recomputed


@exhibit("envelope")
def version_two() -> Journal:
    """A body of a later version."""
    return rewritten(edited(lambda body: body.update(v=2)))


@exhibit("envelope")
def member_added() -> Journal:
    """A member that version 1 does not have."""
    return rewritten(edited(lambda body: body.update(note=1)))


@exhibit("envelope")
def no_events() -> Journal:
    """An entry in which nothing happened."""
    return rewritten(edited(lambda body: body.update(events=[])))


@exhibit("unknown_event")
def event_unknown() -> Journal:
    """An event that version 1 does not have."""
    return with_event(0, lambda event: event.update(type="CallGuessed"))


@exhibit("unknown_field")
def field_unknown() -> Journal:
    """A field that version 1 does not have: content could hide there."""
    return with_event(1, lambda event: event.update(text="hello"))


@exhibit("missing_field")
def field_missing() -> Journal:
    """A call ended without a word on what it cost."""
    return with_event(1, lambda event: event.pop("cost"))


@exhibit("field_type")
def boolean_as_a_number() -> Journal:
    """A boolean where a number is due: 1 to some readers."""
    return with_event(1, lambda event: event.update(attempt=True))


@exhibit("field_type")
def null_as_a_value() -> Journal:
    """A null where a field should have been left out."""
    return with_event(1, lambda event: event.update(failure=None))


@exhibit("field_type")
def state_unknown_to_the_list() -> Journal:
    """A state that is not of the closed list."""
    return with_event(1, lambda event: event.update(state="succeeded"))


@exhibit("field_type")
def ref_in_upper_case() -> Journal:
    """A payload ref with upper-case digits."""
    return with_event(1, lambda event: event.update(result=event["result"].upper()))


@exhibit("field_type")
def label_without_trust() -> Journal:
    """An argument's sources do not begin with whether they are trusted."""
    return with_event(0, lambda event: event.update(labels={"order_id": ["task"]}))


@exhibit("wrong_stream")
def approval_in_the_run() -> Journal:
    """A run that writes its own approval: only others may, into its inbox."""
    return rewritten(edited(lambda body: body["events"].append(given())))


@exhibit("time")
def time_falls() -> Journal:
    """An entry that is earlier than the one before it."""
    journal = told(run_with_read)
    journal.time -= 60_000_000
    journal.append("tenant/default", {"type": "RetentionApplied", "class": "x", "before": 0, "count": 0})
    return journal
