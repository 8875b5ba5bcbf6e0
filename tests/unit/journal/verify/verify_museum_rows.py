"""Exhibits: rows that were touched, heads, and payloads."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tests.unit.journal.verify.verify_builder import digest, edited, sha, word
from tests.unit.journal.verify.verify_frame import exhibit, replaced
from tests.unit.journal.verify.verify_stories import STREAM, run_with_read, told

if TYPE_CHECKING:
    from tests.unit.journal.verify.verify_builder import Journal

Json = dict[str, Any]


# -------------------------------------------------------------------- rows that were touched


@exhibit("hash")
def byte_of_a_body_changed() -> Journal:
    """One digit of a duration was changed in the body; nothing else."""
    journal = told(run_with_read)
    row = journal.row(STREAM, 2)
    row["body"] = row["body"].replace(b'"us":1500', b'"us":1501')
    return journal


@exhibit("hash")
def byte_of_a_hash_changed() -> Journal:
    """One digit of the column `hash` was changed."""
    journal = told(run_with_read)
    heads = journal.head_rows()
    row = journal.row(STREAM, 2)
    row["hash"] = ("1" if row["hash"][0] == "0" else "0") + row["hash"][1:]
    journal.heads = heads
    return journal


@exhibit("column_mismatch", "prev")
def column_prev_changed() -> Journal:
    """The column `prev` names another hash than the body."""
    journal = told(run_with_read)
    journal.row(STREAM, 2)["prev"] = digest("elsewhere")
    return journal


@exhibit("column_mismatch")
def column_time_changed() -> Journal:
    """The column `time` is a microsecond later than in the body."""
    journal = told(run_with_read)
    journal.row(STREAM, 2)["time"] += 1
    return journal


@exhibit("column_mismatch", "prev", "head_row")
def entries_swapped() -> Journal:
    """Entries 2 and 3 changed places."""
    journal = told(run_with_read)
    journal.heads = journal.head_rows()
    second, third = journal.row(STREAM, 2), journal.row(STREAM, 3)
    for name in ("prev", "hash", "body"):
        second[name], third[name] = third[name], second[name]
    return journal


@exhibit("seq")
def middle_entry_deleted() -> Journal:
    """Entry 2 of a run is gone."""
    journal = told(run_with_read)
    journal.rows.remove(journal.row(STREAM, 2))
    return journal


@exhibit("seq")
def first_entry_deleted() -> Journal:
    """A run that begins with entry 2."""
    journal = told(run_with_read)
    journal.rows.remove(journal.row(STREAM, 1))
    return journal


@exhibit("prev", "order")
def last_entry_made_the_first() -> Journal:
    """All but the end of a run is gone, and the end was given the number 1 and a new hash."""
    journal = told(run_with_read)
    row = journal.row(STREAM, 3)
    journal.rows = [other for other in journal.rows if other["stream"] != STREAM or other is row]
    row["body"] = edited(lambda body: body.update(seq=1))(row["body"])
    row |= {"seq": 1, "hash": sha(row["body"])}
    return journal


@exhibit("head_row")
def tail_cut_head_row_kept() -> Journal:
    """The last entry of a run is gone; its row in the derived table still says that it was there."""
    journal = told(run_with_read)
    journal.heads = journal.head_rows()
    journal.rows.remove(journal.row(STREAM, 3))
    return journal


@exhibit("head_row")
def run_dropped_head_row_kept() -> Journal:
    """A whole run is gone; its row in the derived table still says that it was there."""
    journal = told(run_with_read)
    journal.heads = journal.head_rows()
    journal.rows = [row for row in journal.rows if row["stream"] != STREAM]
    return journal


@exhibit("column_mismatch")
def entry_transplanted() -> Journal:
    """The first entry of a run was copied, hash and all, to be the first of another run."""
    journal = told(run_with_read)
    journal.rows.append(journal.row(STREAM, 1) | {"stream": "run/run_" + word("another run")})
    return journal


@exhibit("column_type")
def body_is_a_blob() -> Journal:
    """The last body was stored as a BLOB, so that text comparisons no longer see it."""
    journal = told(run_with_read)
    journal.heads = [head for head in journal.head_rows() if head["stream"] != STREAM]
    second, third = journal.row(STREAM, 2), journal.row(STREAM, 3)
    journal.heads.append({name: second[name] for name in ("stream", "seq", "hash", "epoch", "time")})
    third["body"] = memoryview(third["body"])
    return journal


@exhibit("stream_name", "wrong_stream")
def stream_of_no_kind() -> Journal:
    """A stream of a kind that does not exist."""
    journal = told(run_with_read)
    event = {"type": "ReleaseSeen", "release": "rel-1", "agent": "refund-desk"}
    journal.append("agents/refund-desk", event)
    return journal


# -------------------------------------------------------------------- heads


@exhibit("head_stream_shorter")
def tail_cut_head_row_repaired() -> tuple[Journal, Json]:
    """The tail was cut and the derived table repaired: only a head that was kept elsewhere shows it."""
    journal = told(run_with_read)
    head = journal.head()
    journal.rows.remove(journal.row(STREAM, 3))
    return journal, head


@exhibit("head_stream_missing")
def run_dropped() -> tuple[Journal, Json]:
    """A whole run was deleted with its derived row: only a head shows it."""
    journal = told(run_with_read)
    head = journal.head()
    journal.rows = [row for row in journal.rows if row["stream"] != STREAM]
    return journal, head


@exhibit("head_stream_differs")
def rewritten_with_hashes() -> tuple[Journal, Json]:
    """Somebody changed a duration and recomputed every hash: only a head shows it."""
    head = told(run_with_read).head()
    return replaced('"us":1500', '"us":1501'), head


@exhibit("head_signature")
def head_time_changed() -> tuple[Journal, Json]:
    """The head was edited after it was signed."""
    journal = told(run_with_read)
    head = journal.head()
    return journal, head | {"time": head["time"] + 1}


@exhibit("head_key")
def head_of_another_key() -> tuple[Journal, Json]:
    """Somebody signed a head of their own."""
    journal = told(run_with_read)
    return journal, journal.head(secret=bytes(range(32)))


@exhibit("head_journal")
def head_of_another_journal() -> tuple[Journal, Json]:
    """The head is signed with the right key, but names another journal."""
    journal = told(run_with_read)
    return journal, journal.head(journal="jnl_" + word("another journal"))


@exhibit("head_unreadable")
def head_not_sorted() -> tuple[Journal, Json]:
    """The head's streams are not sorted by name."""
    journal = told(run_with_read)
    return journal, journal.head(streams=journal.head()["streams"][::-1])


# -------------------------------------------------------------------- payloads


@exhibit("payload_altered")
def payload_edited() -> Journal:
    """The task was edited in place, with its length kept."""
    journal = told(run_with_read)
    journal.payloads[0]["body"] = journal.payloads[0]["body"].replace(b"A-1001", b"A-1002")
    return journal


@exhibit("payload_missing")
def payload_deleted() -> Journal:
    """The row of a payload was deleted; an erasure would have kept it."""
    journal = told(run_with_read)
    journal.payloads.pop(0)
    return journal


@exhibit("payload_missing")
def payload_emptied() -> Journal:
    """The content is gone, in the table and as a file, and no erasure is recorded."""
    journal = told(run_with_read)
    journal.payloads[0]["body"] = None
    return journal


@exhibit("payload_form")
def payload_not_really_erased() -> Journal:
    """A payload is marked as erased, and its content is still there."""
    journal = told(run_with_read)
    journal.payloads[0]["erased"] = journal.time
    return journal


@exhibit("subject")
def subject_row_deleted() -> Journal:
    """The row of a subject was deleted; a destroyed key would have kept it."""
    journal = told(run_with_read)
    journal.subjects.clear()
    return journal
