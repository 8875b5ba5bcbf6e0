"""The independent reader on PostgreSQL: it finds what it finds in a file, and what was done to a database."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from tests.postgres_server import database, execute
from tests.unit.journal.verify.verify_builder import Journal, digest, encoded
from tests.unit.journal.verify.verify_museum import MUSEUM
from tests.unit.journal.verify.verify_stories import (
    GOOD,
    STREAM,
    approved_via_inbox,
    run_with_read,
    run_with_write,
    told,
)

from answerable.journal.verify import KINDS, Report, verify_postgres

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

psycopg = pytest.importorskip("psycopg")

COLUMNS = {
    "entry": ("stream", "seq", "time", "prev", "hash", "body"),
    "head": ("stream", "seq", "hash", "epoch", "time"),
    "payload": ("ref", "subject", "retention", "created", "size", "body", "erased"),
    "subject": ("ref", "key", "label"),
}
ONLY_IN_FILES = {"column_type", "utf8"}
"""A column of PostgreSQL has one type, and text is UTF-8."""


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    """One database for the whole module."""
    with database() as made:
        yield made


def write(journal: Journal, url: str) -> str:
    """Put the rows of a journal into the database, and nothing else."""
    tables = {
        "entry": [{**row, "body": bytes(row["body"]).decode()} for row in journal.rows],
        "head": journal.head_rows(),
        "payload": journal.payloads,
        "subject": journal.subjects,
    }
    with psycopg.connect(url) as db:
        for table, rows in tables.items():
            db.execute(f"TRUNCATE answerable.{table}")
            marks = ", ".join(["%s"] * len(COLUMNS[table]))
            values = [[row[name] for name in COLUMNS[table]] for row in rows]
            db.cursor().executemany(f"INSERT INTO answerable.{table} VALUES ({marks})", values)
    return url


def saved(head: dict[str, Any], path: Path) -> Path:
    """A head file that was kept elsewhere."""
    path.write_bytes(encoded(head))
    return path


def kinds(report: Report) -> set[str]:
    """The kinds of what was found."""
    assert report.could_not_read is None
    return {finding.kind for finding in report.findings}


@pytest.mark.parametrize("name", GOOD)
def test_a_good_journal_is_ok(name: str, url: str, tmp_path: Path) -> None:
    """With a head it is shown to be complete; the report names the database without a password."""
    journal = told(GOOD[name])
    head = saved(journal.head(), tmp_path / "head.json")

    report = verify_postgres(write(journal, url), head=head, key=journal.public_bytes)

    assert report.findings == ()
    assert report.is_ok
    assert len(journal.rows) == report.entries
    assert report.completeness.startswith("shown up to 2026-01-01T00:00:")
    assert "postgres@" not in report.path


def test_the_museum_is_found_for_what_it_is(url: str, tmp_path: Path) -> None:
    """Every exhibit that a database can hold gives the findings that the same rows give in a file."""
    shown = 0
    for name, build in MUSEUM.items():
        bad = build()
        try:
            write(bad.journal, url)
        except (psycopg.Error, UnicodeDecodeError, TypeError):  # no such row can be stored
            continue
        head = None
        if bad.head is not None:
            head = tmp_path / "head.json"
            head.write_text(json.dumps(bad.head))

        report = verify_postgres(url, head=head)

        expected = bad.expect - ({"payload_form"} if "inline" in name or "large" in name else set())
        assert expected <= kinds(report) | ONLY_IN_FILES, f"{name}: {report.to_text()}"
        assert kinds(report) <= KINDS.keys()
        shown += 1
    assert shown > len(MUSEUM) * 0.8


def test_one_changed_byte_is_found(url: str) -> None:
    """Anywhere in a body, the derived row left alone or not."""
    write(told(run_with_write), url)
    execute(
        url,
        f"UPDATE answerable.entry SET body = replace(body, '9', '8') WHERE stream = '{STREAM}' AND seq = 3",
    )

    report = verify_postgres(url)

    assert "hash" in kinds(report)
    assert {(finding.stream, finding.seq) for finding in report.findings if finding.kind == "hash"} == {
        (STREAM, 3)
    }


def test_two_swapped_entries_are_found(url: str) -> None:
    write(told(run_with_write), url)
    execute(url, f"UPDATE answerable.entry SET seq = -seq WHERE stream = '{STREAM}' AND seq IN (3, 4)")
    execute(url, f"UPDATE answerable.entry SET seq = 7 + seq WHERE stream = '{STREAM}' AND seq < 0")

    assert {"prev", "column_mismatch"} <= kinds(verify_postgres(url))


def test_a_deleted_middle_is_found(url: str) -> None:
    write(told(run_with_write), url)
    execute(url, f"DELETE FROM answerable.entry WHERE stream = '{STREAM}' AND seq = 3")

    report = verify_postgres(url)

    assert "seq" in kinds(report)
    assert any("entry 3 is missing" in finding.message for finding in report.findings)


def test_a_cut_tail_is_found_by_its_head_row_or_by_a_head(url: str, tmp_path: Path) -> None:
    """Whoever repairs the head row too is found by the head that was kept elsewhere, and by nothing else."""
    head = saved(told(run_with_read).head(), tmp_path / "head.json")
    write(told(run_with_read), url)
    execute(url, f"DELETE FROM answerable.entry WHERE stream = '{STREAM}' AND seq = 3")
    found = kinds(verify_postgres(url))
    journal = told(run_with_read)
    journal.rows.remove(journal.row(STREAM, 3))
    write(journal, url)

    assert found == {"head_row"}
    assert verify_postgres(url).is_ok
    assert kinds(verify_postgres(url, head=head)) == {"head_stream_shorter"}


def test_a_dropped_run_needs_a_head(url: str, tmp_path: Path) -> None:
    head = saved(told(run_with_read).head(), tmp_path / "head.json")
    write(told(run_with_read), url)
    execute(url, f"DELETE FROM answerable.entry WHERE stream = '{STREAM}'")
    found = kinds(verify_postgres(url))
    execute(url, f"DELETE FROM answerable.head WHERE stream = '{STREAM}'")

    assert found == {"head_row"}
    assert verify_postgres(url).is_ok
    assert kinds(verify_postgres(url, head=head)) == {"head_stream_missing"}


def test_yesterdays_database_needs_a_head(url: str, tmp_path: Path) -> None:
    today = told(approved_via_inbox)
    today.append("tenant/default", {"type": "HeadExported", "streams": 3, "digest": digest("h")})
    write(told(approved_via_inbox), url)

    assert verify_postgres(url).is_ok
    report = verify_postgres(url, head=saved(today.head(), tmp_path / "head.json"))
    assert kinds(report) == {"head_stream_shorter"}


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("ALTER TABLE answerable.entry ENABLE ROW LEVEL SECURITY", "DISABLE ROW LEVEL SECURITY"),
        ("CREATE TABLE answerable.heir () INHERITS (answerable.entry)", ""),
        ("ALTER TABLE answerable.entry ADD COLUMN note text", "DROP COLUMN note"),
        ("ALTER TABLE answerable.entry ALTER COLUMN seq TYPE numeric", "ALTER COLUMN seq TYPE bigint"),
    ],
)
def test_what_stands_between_a_reader_and_the_rows_is_said(url: str, before: str, after: str) -> None:
    """Policies, inheritance, further columns, other types."""
    write(told(run_with_read), url)
    execute(url, before)
    try:
        assert kinds(verify_postgres(url)) == {"schema"}
    finally:
        execute(url, f"ALTER TABLE answerable.entry {after}" if after else "DROP TABLE answerable.heir")
    assert verify_postgres(url).is_ok


def test_a_view_in_place_of_a_table_is_refused(url: str) -> None:
    write(told(run_with_read), url)
    execute(url, "ALTER TABLE answerable.entry RENAME TO kept")
    execute(url, "CREATE VIEW answerable.entry AS SELECT * FROM answerable.kept")
    try:
        assert kinds(verify_postgres(url)) == {"schema"}
    finally:
        execute(url, "DROP VIEW answerable.entry")
        execute(url, "ALTER TABLE answerable.kept RENAME TO entry")


@pytest.mark.parametrize(
    "address",
    [
        "postgresql://nobody:secret@127.0.0.1:1/none",
        "postgresql://u:secret@[half",
        "postgresql:///none?host=/nowhere",
    ],
)
def test_a_server_that_is_not_there_cannot_be_read(address: str) -> None:
    """Said in the report, not raised, and without the password."""
    report = verify_postgres(address)

    assert report.could_not_read
    assert "secret" not in report.to_text()


def test_a_database_without_a_journal_is_said_to_be_none() -> None:
    with database(blank=True) as blank:
        assert kinds(verify_postgres(blank)) == {"schema"}
