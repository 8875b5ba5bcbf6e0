"""How many bytes a subject keeps in its folder, looked at from another process.

It is another process on purpose. Closing any handle on a database file drops every POSIX lock that
the same process holds on it, so a subject that looked at its own file could unlock it. And file
sizes alone mislead: a write-ahead log repeats pages that are in the main file too. So databases
are counted in pages by SQLite itself, and everything else by its size.
"""

import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

_SQLITE_MAGIC = b"SQLite format 3\x00"
_COMPANIONS = ("-wal", "-shm", "-journal")
_PROJECT = Path(__file__).resolve().parent.parent


def stored_bytes(folder: Path) -> int:
    """Return the bytes kept in `folder`, as an outside process sees them now."""
    command = [sys.executable, "-m", "bench.stored", str(folder)]
    answer = subprocess.run(command, cwd=_PROJECT, check=True, capture_output=True, timeout=60)
    return int(answer.stdout)


def count(folder: Path) -> int:
    """Add up every file in `folder`; a log or lock file that belongs to a database is no data."""
    return sum(
        _size(path) for path in folder.rglob("*") if path.is_file() and not path.name.endswith(_COMPANIONS)
    )


def _size(path: Path) -> int:
    with path.open("rb") as file:
        is_database = file.read(len(_SQLITE_MAGIC)) == _SQLITE_MAGIC
    if not is_database:
        return path.stat().st_size
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as database:
        (pages,) = database.execute("PRAGMA page_count").fetchone()
        (page_bytes,) = database.execute("PRAGMA page_size").fetchone()
    return int(pages) * int(page_bytes)


if __name__ == "__main__":
    print(count(Path(sys.argv[1])))
