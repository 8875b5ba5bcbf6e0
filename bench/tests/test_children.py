"""What surrounds a child: its environment, its network, its folder, its failures."""

import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Generator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from bench import stored
from bench.database import descendants, process_cpu_ns
from bench.lineup import GROWTH, POSTGRES, SCALE, STEPS, THROUGHPUT, Subject
from bench.machine import file_system
from bench.offline import environment, is_local
from bench.rounds import Length, SubjectFailed, interleave, run, usual


def test_the_environment_is_built_not_inherited(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A key in the shell must not switch somebody's tracing on."""
    monkeypatch.setenv("LANGSMITH_API_KEY", "a-key")
    monkeypatch.setenv("LANGSMITH_TRACING", "true")

    child = environment(tmp_path)

    assert "LANGSMITH_API_KEY" not in child
    assert child["LANGSMITH_TRACING"] == "false"


@pytest.mark.parametrize(
    ("family", "address", "local"),
    [
        (socket.AF_UNIX, "/run/socket", True),
        (socket.AF_INET, ("127.0.0.1", 80), True),
        (socket.AF_INET, ("localhost", 80), True),
        (socket.AF_INET6, ("::1", 80, 0, 0), True),
        (socket.AF_INET, ("192.0.2.1", 443), False),
        (socket.AF_INET, ("example.com", 443), False),
        (socket.AF_INET, None, False),
    ],
)
def test_only_this_machine_is_local(family: int, address: object, *, local: bool) -> None:
    """A name that is not known to be this machine is somewhere else."""
    assert local is is_local(family, address)


def test_a_page_in_the_log_is_counted_once(tmp_path: Path) -> None:
    """A database is counted in pages, so its write-ahead log is not added on top."""
    (tmp_path / "blob").write_bytes(b"x" * 10)
    with closing(sqlite3.connect(tmp_path / "a.db", isolation_level=None)) as database:
        database.execute("PRAGMA journal_mode=WAL")
        database.execute("CREATE TABLE t (b BLOB)")
        database.execute("INSERT INTO t VALUES (zeroblob(100000))")
        (pages,) = database.execute("PRAGMA page_count").fetchone()

        assert 10 + pages * 4096 == stored.count(tmp_path)


def test_the_longest_mount_point_wins(tmp_path: Path) -> None:
    """A disk mounted inside another is the one that is written to."""
    mounts = tmp_path / "mounts"
    mounts.write_text("/dev/a / ext4 rw 0 0\nnone /tmp tmpfs rw 0 0\n")

    assert file_system(Path("/tmp/here"), mounts) == "tmpfs"
    assert file_system(Path("/srv"), mounts) == "ext4"


def test_rounds_interleave_and_leave_nothing_behind(tmp_path: Path) -> None:
    """A B, A B: and every child's folder is gone."""
    floor = Subject("a", "disk_floor"), Subject("b", "sqlite_floor")
    said: list[str] = []

    rounds = list(interleave(floor, 2, lambda _: Length(50, 1), scratch=tmp_path, said=said.append))

    assert [line[-1] for line in said] == ["a", "b", "a", "b"]
    assert rounds[0]["a"].figures.bytes_per_step == 1024
    assert list(tmp_path.iterdir()) == []


def test_a_place_is_lent_for_one_child_and_taken_back(tmp_path: Path) -> None:
    """What is lent comes as options, in every round anew."""
    lent: list[str] = []

    @contextmanager
    def place() -> Generator[tuple[str, ...]]:
        lent.append("taken")
        yield ("--marks", "25")
        lent.append("given back")

    subject = Subject("a", "disk_floor")
    (answers,) = interleave((subject,), 1, usual(50, 1), scratch=tmp_path, said=str, place=place)

    assert list(answers["a"].marks) == [25]
    assert lent == ["taken", "given back"]


def test_a_subject_may_bring_its_own_length() -> None:
    """Steps that share a commit need more of them."""
    length = usual(300, 200)

    assert Length(300, 200) == length(Subject("a", "a"))
    assert Length(3200, 640) == length(Subject("b", "b", steps=3200, warmup=640))


def test_a_server_is_all_that_descends_from_its_first_process() -> None:
    """Neighbours are left out, also where they have the same parent."""
    parents = {1: 0, 7: 1, 8: 7, 9: 8, 10: 1, 11: 10}

    assert descendants(7, parents) == {7, 8, 9}
    assert descendants(12, parents) == set()


@pytest.mark.skipif(sys.platform != "linux", reason="another process's clock can be read on Linux only")
def test_the_clock_of_another_process_can_be_read() -> None:
    """One that is gone has worked no more."""
    child = subprocess.Popen([sys.executable, "-c", "sum(range(10**6)); input()"], stdin=subprocess.PIPE)
    deadline = time.monotonic() + 30
    while not process_cpu_ns(child.pid) and time.monotonic() < deadline:
        time.sleep(0.01)

    assert process_cpu_ns(child.pid) > 0
    child.communicate(b"\n")
    assert process_cpu_ns(child.pid) == 0


def test_a_child_that_fails_voids_the_run(tmp_path: Path) -> None:
    """A gap in the rounds is not papered over."""
    with pytest.raises(SubjectFailed, match="no_such_module"):
        run(Subject("missing", "no_such_module"), Length(1, 1), scratch=tmp_path)


def test_every_subject_is_there_and_named_once() -> None:
    """A label is the key of a round; two alike would overwrite each other."""
    for lineup in (STEPS, GROWTH, SCALE, (*POSTGRES, *THROUGHPUT)):
        assert len(lineup) == len({subject.label for subject in lineup})
    for subject in (*STEPS, *GROWTH, *SCALE, *POSTGRES, *THROUGHPUT):
        module = subject.module.rpartition(".")[2]
        assert (Path(__file__).parent.parent / "subjects" / f"{module}.py").is_file()
