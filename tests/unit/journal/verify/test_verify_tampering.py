"""Stories of tampering, and of what cannot be seen without a head that was kept elsewhere."""

from __future__ import annotations

import json
import random
import shutil
import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.unit.journal.verify.verify_builder import Journal, digest, edited, encoded, sha, write_database
from tests.unit.journal.verify.verify_stories import (
    GOOD,
    INBOX,
    STREAM,
    approved_via_inbox,
    run_with_read,
    run_with_write,
    told,
)

from answerable.journal.verify import Report, verify_database

if TYPE_CHECKING:
    from pathlib import Path

_TEXTS = ("stream", "prev", "hash", "body")


def kinds(report: Report) -> set[str]:
    """The kinds of what was found."""
    return {finding.kind for finding in report.findings}


def execute(path: Path, *statements: str) -> None:
    """What somebody with write access does."""
    with closing(sqlite3.connect(path)) as connection:
        for statement in statements:
            connection.execute(statement)
        connection.commit()


def saved(head: dict[str, Any], path: Path) -> Path:
    """A head file that was kept elsewhere."""
    path.write_bytes(encoded(head))
    return path


def flipped(raw: bytes, at: int, bit: int) -> bytes:
    """One bit of one byte turned over."""
    return raw[:at] + bytes([raw[at] ^ (1 << bit)]) + raw[at + 1 :]


@pytest.mark.parametrize("column", _TEXTS)
@pytest.mark.parametrize("row", range(4))
def test_a_flipped_byte_in_any_text_column_is_found(column: str, row: int, tmp_path: Path) -> None:
    """First, middle and last entry, at the beginning, in the middle and at the end of every text column."""
    for place in (0, 0.5, 1):
        journal = told(run_with_read)
        heads, victim = journal.head_rows(), journal.rows[row]
        raw = victim[column] if column == "body" else victim[column].encode()
        changed = flipped(raw, int(place * (len(raw) - 1)), 0)
        victim[column] = changed if column == "body" else changed.decode()
        path = tmp_path / f"{place}.db"
        write_database(path, journal.rows, heads, journal.payloads, journal.subjects)

        assert not verify_database(path).is_ok


@pytest.mark.parametrize("column", ["seq", "time"])
@pytest.mark.parametrize("row", range(4))
@pytest.mark.parametrize("bit", [3, 7, 40])
def test_a_flipped_bit_in_any_number_is_found(column: str, row: int, bit: int, tmp_path: Path) -> None:
    """`seq` and `time` repeat what is in the body, so that neither can be changed alone."""
    journal = told(run_with_read)
    heads = journal.head_rows()
    journal.rows[row][column] ^= 1 << bit
    write_database(tmp_path / "j.db", journal.rows, heads, journal.payloads, journal.subjects)

    assert not verify_database(tmp_path / "j.db").is_ok


def test_every_single_byte_of_a_body_counts(tmp_path: Path) -> None:
    """Hash and derived row may be repaired with it: a changed body never passes the head file."""
    head = saved(told(run_with_write).head(), tmp_path / "head.json")
    length = len(told(run_with_write).row(STREAM, 5)["body"])
    path = tmp_path / "j.db"
    for at in range(0, length, 7):
        journal = told(run_with_write)
        row = journal.row(STREAM, 5)
        row["body"] = flipped(row["body"], at, 1)
        row["hash"] = sha(row["body"])
        path.unlink(missing_ok=True)

        report = verify_database(journal.write(path), head=head)

        assert "head_stream_differs" in kinds(report)


def test_a_cut_tail_is_found_by_its_head_row(tmp_path: Path) -> None:
    """Whoever cuts a tail and forgets the derived table is found without any head file; the words say so."""
    path = told(run_with_read).write(tmp_path / "j.db")
    execute(path, f"DELETE FROM entry WHERE stream = '{STREAM}' AND seq > 1")

    report = verify_database(path)

    (finding,) = report.findings
    assert (finding.kind, finding.stream, finding.seq) == ("head_row", STREAM, 1)
    assert finding.message == "the entries end at 1, but the head row says 3: the tail was cut"


def test_a_cut_tail_with_a_repaired_head_row_needs_a_head(tmp_path: Path) -> None:
    """Cut and covered up: internally consistent, and the report says that completeness is not shown."""
    head = saved(told(run_with_read).head(), tmp_path / "head.json")
    journal = told(run_with_read)
    journal.rows.remove(journal.row(STREAM, 3))
    path = journal.write(tmp_path / "j.db")

    without, with_head = verify_database(path), verify_database(path, head=head)

    assert without.is_ok
    assert "completeness not shown" in without.to_text()
    assert {"head_stream_shorter"} == kinds(with_head)
    assert with_head.completeness == "not shown"


def test_a_dropped_run_needs_a_head(tmp_path: Path) -> None:
    """A run that was deleted from every table leaves no trace inside the file."""
    head = saved(told(run_with_read).head(), tmp_path / "head.json")
    path = told(run_with_read).write(tmp_path / "j.db")
    execute(path, f"DELETE FROM entry WHERE stream = '{STREAM}'")

    forgotten = verify_database(path)
    execute(path, f"DELETE FROM head WHERE stream = '{STREAM}'")

    assert {"head_row"} == kinds(forgotten)
    assert verify_database(path).is_ok
    assert {"head_stream_missing"} == kinds(verify_database(path, head=head))


def test_yesterdays_file_needs_a_head(tmp_path: Path) -> None:
    """A backup of yesterday, put back in place, is a perfect journal; only today's head knows better."""
    yesterday = told(approved_via_inbox)
    today = told(approved_via_inbox)
    today.append("tenant/default", {"type": "HeadExported", "streams": 3, "digest": digest("h")})
    path = yesterday.write(tmp_path / "j.db")

    report = verify_database(path, head=saved(today.head(), tmp_path / "head.json"))

    assert verify_database(path).is_ok
    assert {"head_stream_shorter"} == kinds(report)
    assert report.findings[0].stream == "tenant/default"


def test_what_was_appended_after_the_head_is_fine(tmp_path: Path) -> None:
    """A head shows completeness up to its own moment; the journal may have grown since."""
    journal = told(approved_via_inbox)
    head = saved(journal.head(), tmp_path / "head.json")
    journal.append("tenant/default", {"type": "HeadExported", "streams": 3, "digest": digest("h")})

    report = verify_database(journal.write(tmp_path / "j.db"), head=head)

    assert report.is_ok
    assert report.completeness.startswith("shown up to ")


def test_a_rewrite_with_recomputed_hashes_needs_a_head(tmp_path: Path) -> None:
    """The whole journal was written anew with another amount: consistent, and not what the head signed."""
    head = saved(told(run_with_write).head(), tmp_path / "head.json")
    change = edited(lambda body: body["events"][0].update(us=9999))
    path = told(run_with_write, changes={(STREAM, 4): change}).write(tmp_path / "j.db")

    assert verify_database(path).is_ok
    assert {"head_stream_differs"} == kinds(verify_database(path, head=head))


def test_a_rewrite_under_a_key_of_ones_own_needs_the_trusted_key(tmp_path: Path) -> None:
    """Who forges journal, birth and head alike is found by the key that one holds oneself."""
    forged = told(run_with_write, secret=bytes(range(32)))
    head = saved(forged.head(), tmp_path / "head.json")
    path = forged.write(tmp_path / "j.db")

    assert verify_database(path, head=head).is_ok
    assert {"head_key"} == kinds(verify_database(path, head=head, key=Journal().public_bytes))
    assert {"head_key"} == kinds(verify_database(path, key=Journal().public_bytes))


def test_a_transplanted_inbox_entry_is_found(tmp_path: Path) -> None:
    """A grant that was given to one run is copied into the inbox of another."""
    journal = told(approved_via_inbox)
    other = INBOX[:-1] + "a"
    journal.rows.append(journal.row(INBOX, 1) | {"stream": other})

    assert {"column_mismatch", "inbox_without_run"} == kinds(
        verify_database(journal.write(tmp_path / "j.db"))
    )


def test_a_destroyed_subject_key_is_an_erasure_and_no_defect(tmp_path: Path) -> None:
    """The key is gone, the contents are gone: counted as such, and every hash still holds."""
    path = told(run_with_write).write(tmp_path / "j.db")
    checked = verify_database(path).payloads_checked
    execute(
        path, "UPDATE subject SET key = NULL", "UPDATE payload SET body = NULL, erased = 1 WHERE size < 30"
    )

    report = verify_database(path)

    assert report.is_ok
    assert report.payloads_erased > 0
    assert checked == report.payloads_erased + report.payloads_key_missing


def test_large_content_is_checked_in_its_file(tmp_path: Path) -> None:
    """Content of more than 1 MiB lies in a file beside the database, and counts as much as any other."""
    journal = told(run_with_read)
    ref = journal.payload(journal.subjects[0]["ref"], {"text": "x" * 1_100_000})
    row = next(row for row in journal.payloads if row["ref"] == ref)
    content, row["body"] = row["body"], None
    path = journal.write(tmp_path / "j.db")
    blob = tmp_path / "j.db.blobs" / ref
    blob.parent.mkdir()
    blob.write_bytes(content)

    intact = verify_database(path)
    blob.write_bytes(content[:-3] + b'y"}')
    altered = verify_database(path)
    blob.unlink()
    blob.mkdir()
    replaced = verify_database(path)
    blob.rmdir()

    assert intact.is_ok
    assert {"payload_altered"} == kinds(altered)
    assert {"payload_missing"} == kinds(replaced)
    assert {"payload_missing"} == kinds(verify_database(path))


def test_rows_of_another_index_do_not_answer(tmp_path: Path) -> None:
    """An index over all columns could show the reader other rows than the table holds; it is refused."""
    path = told(run_with_read).write(tmp_path / "j.db")
    execute(path, "CREATE INDEX quick ON entry(stream, seq, time, prev, hash, body)")

    assert {"schema"} == kinds(verify_database(path))


_ENTRY = ("stream", "seq", "time", "prev", "hash", "body")
_HEAD = ("stream", "seq", "hash", "epoch", "time")
_PAYLOAD = ("ref", "subject", "size", "body")


def mutated(value: Any, chance: random.Random) -> Any:
    """The value with one random bit turned over; text that is no UTF-8 any more stays bytes."""
    if isinstance(value, int):
        return value ^ (1 << chance.randrange(50))
    raw = value if isinstance(value, bytes) else value.encode()
    return flipped(raw, chance.randrange(len(raw)), chance.randrange(8))


@settings(max_examples=150, deadline=None)
@given(story=st.sampled_from(sorted(GOOD)), more=st.integers(0, 3), seed=st.integers(0, 2**32))
def test_a_random_flip_in_a_random_place_is_always_found(
    tmp_path_factory: pytest.TempPathFactory, story: str, more: int, seed: int
) -> None:
    """Whatever journal, whatever row of entries, derived heads or payloads, whatever byte of a column."""
    chance = random.Random(seed)
    journal = told(GOOD[story])
    for number in range(more):
        event = {"type": "RetentionApplied", "class": f"class-{number}", "before": seed, "count": number}
        journal.append("tenant/default", event)
    heads = journal.head_rows()
    tables = [(journal.rows, _ENTRY), (heads, _HEAD)]
    intact = [row for row in journal.payloads if row["erased"] is None]
    rows, columns = chance.choice([*tables, (intact, _PAYLOAD)] if intact else tables)
    victim, column = chance.choice(rows), chance.choice(columns)
    victim[column] = mutated(victim[column], chance)
    path = tmp_path_factory.mktemp("flip") / "j.db"
    try:
        write_database(path, journal.rows, heads, journal.payloads, journal.subjects)
    except sqlite3.IntegrityError:
        return  # there is another row of that key: the database itself refuses the flip

    report = verify_database(path)

    assert not report.is_ok, f"{column} of {victim}"
    assert report.could_not_read is None
    shutil.rmtree(path.parent)


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**32))
def test_flips_in_the_file_itself_never_raise(tmp_path_factory: pytest.TempPathFactory, seed: int) -> None:
    """Bytes of the file, header, pages and all: found or harmless, and nothing is ever raised."""
    chance = random.Random(seed)
    path = told(approved_via_inbox).write(tmp_path_factory.mktemp("bytes") / "j.db")
    raw = path.read_bytes()
    for _ in range(20):
        raw = flipped(raw, chance.randrange(len(raw)), chance.randrange(8))
    path.write_bytes(raw)

    report = verify_database(path)

    assert json.dumps(report.to_json())
    assert report.to_text()
    shutil.rmtree(path.parent)
