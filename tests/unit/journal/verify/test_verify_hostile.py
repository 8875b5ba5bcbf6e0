"""Files that are not journals, or that want to hurt their reader: a report each time, never an exception."""

from __future__ import annotations

import ast
import os
import shutil
import sqlite3
import sys
from contextlib import closing
from pathlib import Path

import pytest
from tests.unit.journal.verify.verify_builder import DDL, Journal, encoded
from tests.unit.journal.verify.verify_stories import STREAM, run_with_read, told

import answerable.journal.verify as package
from answerable.journal.verify import Report, verify_database

LOOSE = DDL.replace(" NOT NULL", "").replace(" TEXT", "").replace(" INTEGER", "").replace(" BLOB", "")
"""The same tables without any types, so that every column takes everything."""


def kinds(report: Report) -> set[str]:
    """The kinds of what was found."""
    return {finding.kind for finding in report.findings}


def made(path: Path, script: str, rows: list[tuple[object, ...]] | None = None) -> Path:
    """A database from a script, with rows of table `entry`."""
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(script)
        connection.executemany("INSERT INTO entry VALUES(?, ?, ?, ?, ?, ?)", rows or [])
        connection.commit()
    return path


def journal_file(path: Path) -> Path:
    """A sound journal."""
    return told(run_with_read).write(path)


@pytest.mark.parametrize("content", [b"garbage" * 1000, b"SQLite format 3\0" + b"\xff" * 5000])
def test_a_file_that_is_no_database_cannot_be_read(content: bytes, tmp_path: Path) -> None:
    """Said in the report, not raised."""
    path = tmp_path / "j.db"
    path.write_bytes(content)

    report = verify_database(path)

    assert report.could_not_read is not None
    assert not report.is_ok
    assert "could not be read" in report.to_text()


@pytest.mark.parametrize("name", ["missing.db", ".", "a\0b"])
def test_a_path_that_is_no_file_cannot_be_read(name: str, tmp_path: Path) -> None:
    """Neither a missing file, nor a folder, nor a name that no file can have."""
    assert verify_database(tmp_path / name).could_not_read is not None


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    """A named pipe would block whoever opens it."""
    os.mkfifo(tmp_path / "j.db")

    assert verify_database(tmp_path / "j.db").could_not_read is not None


def test_an_empty_or_foreign_database_is_refused(tmp_path: Path) -> None:
    """No marks and no tables: somebody else's file."""
    (tmp_path / "empty.db").touch()
    foreign = made(tmp_path / "foreign.db", "CREATE TABLE entry(a, b, c, d, e, f);")

    assert {"application_id", "user_version", "schema"} == kinds(verify_database(tmp_path / "empty.db"))
    assert {"application_id", "user_version", "schema"} == kinds(verify_database(foreign))


def test_a_journal_of_a_later_version_is_refused(tmp_path: Path) -> None:
    """Also where the rest could be read."""
    path = journal_file(tmp_path / "j.db")
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA user_version = 2")

    assert {"user_version"} == kinds(verify_database(path))


@pytest.mark.parametrize("part", [0.05, 0.3, 0.6, 0.95])
def test_a_truncated_file_is_found(part: float, tmp_path: Path) -> None:
    """Cut anywhere, it is not taken for a whole one."""
    path = journal_file(tmp_path / "j.db")
    raw = path.read_bytes()
    path.write_bytes(raw[: int(len(raw) * part)])

    assert not verify_database(path).is_ok


def test_a_view_in_place_of_the_table_is_refused(tmp_path: Path) -> None:
    """A view could compute rows without end."""
    endless = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT i, i, i, i, i, i FROM n"
    path = tmp_path / "j.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(DDL.replace("CREATE TABLE entry", "CREATE TABLE other"))
        connection.execute(f"CREATE VIEW entry(stream, seq, time, prev, hash, body) AS {endless}")

    assert {"schema"} == kinds(verify_database(path))


@pytest.mark.parametrize(
    "row",
    [
        (None, None, None, None, None, None),
        (STREAM, None, 1, "", "", "{}"),
        (b"run/x", 1, 1, "", "", "{}"),
        (STREAM, "1", 1, "", "", "{}"),
        (STREAM, 1, 1.5, "", "", "{}"),
        (STREAM, 1, 1, b"", "", "{}"),
        (STREAM, 1, 1, "", None, "{}"),
        (STREAM, 1, 1, "", "", b"{}"),
    ],
)
def test_columns_of_another_storage_type_are_found(row: tuple[object, ...], tmp_path: Path) -> None:
    """NULL, blobs in place of text, text in place of numbers, fractions."""
    keyless = LOOSE.replace("WITHOUT ROWID", "")
    path = made(tmp_path / "j.db", keyless, [row])

    assert "column_type" in kinds(verify_database(path))


@pytest.mark.parametrize("seq", [-1, 0, 2**63 - 1, -(2**63)])
def test_absurd_numbers_are_found(seq: int, tmp_path: Path) -> None:
    """The extremes of what SQLite can hold."""
    path = made(tmp_path / "j.db", DDL, [(STREAM, seq, seq, "0" * 64, "0" * 64, "{}")])

    assert {"seq", "hash", "envelope"} <= kinds(verify_database(path))


@pytest.mark.parametrize(
    "body",
    [
        "",
        "null",
        "[]",
        "{}",
        "NaN",
        "1e999",
        "9" * 8000,
        '"\\ud800"',
        "\x00",
        '{"a":' * 1300 + "1" + "}" * 1300,
        '{"epoch":[],"events":{},"prev":1,"seq":true,"stream":null,"time":"","v":[]}',
        '{"epoch":0,"events":[1],"prev":"' + "0" * 64 + f'","seq":1,"stream":"{STREAM}","time":1,"v":1}}',
        '{"epoch":0,"events":[{"type":[]}],"prev":"'
        + "0" * 64
        + f'","seq":1,"stream":"{STREAM}","time":1,"v":1}}',
        "x" * 100_000,
    ],
)
def test_absurd_bodies_are_found(body: str, tmp_path: Path) -> None:
    """Whatever stands in a body becomes findings."""
    path = made(tmp_path / "j.db", DDL, [(STREAM, 1, 1, "0" * 64, "0" * 64, body)])

    report = verify_database(path)

    assert "hash" in kinds(report)
    assert len(kinds(report)) > 2
    assert report.could_not_read is None


def test_stream_names_cannot_write_to_the_terminal(tmp_path: Path) -> None:
    """Control characters of a hostile name are shown as escapes."""
    path = made(tmp_path / "j.db", DDL, [("run/\x1b[2J\n\u202e", 1, 1, "0" * 64, "0" * 64, "{}")])

    report = verify_database(path)

    assert "stream_name" in kinds(report)
    assert report.to_text().isascii()
    assert "\x1b" not in report.to_text()


def test_findings_do_not_fill_the_memory(tmp_path: Path) -> None:
    """A thousand findings are listed, the rest is counted."""
    rows = [(STREAM, n, 1, "", "", "{}") for n in range(1, 1501)]
    path = made(tmp_path / "j.db", DDL, [*rows])

    report = verify_database(path)

    assert len(report.findings) == 1000
    assert report.findings_left_out > 2000
    assert "more findings that are not listed" in report.to_text()


@pytest.mark.parametrize(
    "head", [b"", b"{}", b"[" * 100_000, b"\xff", b'{"journal":1}', b'{"a":1.5}', b'{"a":1,"a":1}', None]
)
def test_absurd_head_files_are_found(head: bytes | None, tmp_path: Path) -> None:
    """A head that cannot be read shows nothing, and is said."""
    path = journal_file(tmp_path / "j.db")
    file = tmp_path / "head.json"
    if head is not None:
        file.write_bytes(head)

    assert {"head_unreadable"} == kinds(verify_database(path, head=file))


@pytest.mark.parametrize(
    "member",
    [{"v": True}, {"time": "now"}, {"streams": [["run/x", 1, "0"]]}, {"streams": {}}, {"key": "AA=="}],
)
def test_heads_with_wrong_members_are_found(member: dict[str, object], tmp_path: Path) -> None:
    """Signed or not: a head is of version 1 as the specification has it."""
    journal = told(run_with_read)
    file = tmp_path / "head.json"
    file.write_bytes(encoded(journal.head() | member))

    assert {"head_unreadable"} == kinds(verify_database(journal.write(tmp_path / "j.db"), head=file))


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE payload SET ref = 'x' WHERE size = (SELECT min(size) FROM payload)",
        "UPDATE payload SET subject = '../../etc'",
        "UPDATE payload SET size = -1",
        "UPDATE payload SET size = size + 1",
        "UPDATE payload SET body = CAST(body AS TEXT)",
        "UPDATE payload SET erased = 'yes'",
        "UPDATE subject SET key = x'00'",
        "UPDATE subject SET key = 'text'",
    ],
)
def test_absurd_payload_rows_are_found(statement: str, tmp_path: Path) -> None:
    """Nothing that a row says is used before it was looked at."""
    path = journal_file(tmp_path / "j.db")
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(statement)
        connection.commit()

    report = verify_database(path)

    assert kinds(report) <= {"payload_form", "payload_missing", "subject"}
    assert not report.is_ok


def test_a_key_that_is_no_key_is_found(tmp_path: Path) -> None:
    """An expected key of a wrong length matches nothing."""
    assert {"head_key"} == kinds(verify_database(journal_file(tmp_path / "j.db"), key=b"short"))


def test_it_reads_beside_a_writer(tmp_path: Path) -> None:
    """What others have not committed is not seen, and what is only in the write-ahead log is."""
    path = journal_file(tmp_path / "j.db")
    with closing(sqlite3.connect(path)) as writer:
        writer.execute("INSERT INTO subject VALUES('tenant:default', NULL, NULL)")
        writer.commit()
        writer.execute("DELETE FROM entry")
        before = path.read_bytes()

        report = verify_database(path)

        assert report.is_ok
        assert report.entries == 4
        assert before == path.read_bytes()


def test_a_copy_that_stands_alone_is_read_where_nothing_can_be_written(tmp_path: Path) -> None:
    """SQLite wants files beside such a database; where it cannot have them, reading still works."""
    path = journal_file(tmp_path / "source.db")
    copy = tmp_path / "copy.db"
    shutil.copy(path, copy)
    (tmp_path / "copy.db-shm").symlink_to("/nonexistent/shm")

    assert verify_database(copy).is_ok


def test_unfinished_work_that_cannot_be_read_is_not_passed_over(tmp_path: Path) -> None:
    """Where the side file cannot be used, an older state must not be taken for the journal."""
    copy = tmp_path / "copy.db"
    shutil.copy(journal_file(tmp_path / "source.db"), copy)
    (tmp_path / "copy.db-shm").symlink_to("/nonexistent/shm")
    (tmp_path / "copy.db-wal").write_bytes(b"work")

    assert "side file" in (verify_database(copy).could_not_read or "")


def test_progress_is_told(tmp_path: Path) -> None:
    """How many entries were read, of how many."""
    told_progress: list[tuple[int, int]] = []
    journal = Journal()
    for number in range(1000):
        event = {"type": "RetentionApplied", "class": "x", "before": 0, "count": number}
        journal.append("tenant/default", event)
    path = journal.write(tmp_path / "j.db")

    verify_database(path, progress=lambda done, total: told_progress.append((done, total)))

    assert told_progress == [(1000, 1001), (1001, 1001)]


def test_it_shares_no_code_with_the_writer() -> None:
    """Only the standard library, `cryptography` for Ed25519, `psycopg` where PostgreSQL is read, and itself."""
    for file in Path(package.__file__).parent.glob("*.py"):
        allowed = {
            *sys.stdlib_module_names,
            "cryptography",
            *(["psycopg"] if file.stem == "postgres" else []),
        }
        for node in ast.walk(ast.parse(file.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            for name in names:
                assert name.split(".")[0] in allowed or name.startswith("answerable.journal.verify"), file
