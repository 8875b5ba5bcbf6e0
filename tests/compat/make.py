"""Writes the journal of this version: `python -m tests.compat.make`, once, when a version is released.

It is a dump in SQL, so that a difference can be read, with the key of its heads. What is in it is made up. The journal
of a version that was released is never written again: that later versions can go on from it is what it is for.
"""

from __future__ import annotations

import asyncio
import json
import sqlite3
import tempfile
from contextlib import closing
from pathlib import Path

from tests.compat.desk import Till, write

from answerable import __version__

HERE = Path(__file__).parent


def dump(path: Path) -> str:
    """A database as text."""
    with closing(sqlite3.connect(path)) as db:
        marks = [
            f"PRAGMA {name} = {db.execute(f'PRAGMA {name}').fetchone()[0]};"
            for name in ("application_id", "user_version")
        ]
        return "\n".join([*marks, *db.iterdump()]) + "\n"


def main() -> None:
    """Write it into the folder of this version."""
    folder = HERE / __version__
    folder.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as made:
        path = Path(made) / "journal.db"
        till = Till()
        runs = asyncio.run(write(f"sqlite:///{path}", till))
        (folder / "journal.sql").write_text(dump(path), "utf-8")
        (folder / "heads.key").write_bytes(path.with_name("journal.db.key").read_bytes())
    (folder / "runs.json").write_text(json.dumps({"runs": runs, "done": till.done}, indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    main()
