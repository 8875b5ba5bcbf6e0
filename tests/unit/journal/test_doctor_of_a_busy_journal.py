"""`doctor` looks at a journal that is in use, and does not take what is written meanwhile for damage."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING

from answerable.journal.doctor import examine
from answerable.journal.sqlite import SqliteJournal
from answerable.testing import fixed_entropy
from answerable.testing.store_checking import append, do
from answerable.testing.store_events import intended, run_name, write_run

if TYPE_CHECKING:
    from pathlib import Path


async def opened(folder: Path) -> SqliteJournal:
    return await SqliteJournal.open(folder / "journal.db", entropy=fixed_entropy(), clock=lambda: 1)


async def bad(store: SqliteJournal) -> list[str]:
    return [
        each.message for each in await examine(store) if each.level == "bad" and each.name == "derived-tables"
    ]


async def test_what_is_written_while_it_looks_is_no_damage(tmp_path: Path) -> None:
    store, other = await opened(tmp_path), await opened(tmp_path)
    run, later = run_name(1), run_name(2)
    await write_run(store, run)

    class Busy:
        """The same journal, where somebody writes right after the stored tables were read."""

        def __getattr__(self, name: str) -> object:
            return getattr(store, name)

        async def derived_tables(self) -> object:
            stored = await store.derived_tables()
            await do(other, run, intended(run))
            await write_run(other, later)
            return stored

    assert await bad(Busy()) == []  # type: ignore[arg-type]
    assert len(await store.entries(f"run/{run}")) > 1
    await store.close()
    await other.close()


async def test_a_head_that_was_put_back_is_damage(tmp_path: Path) -> None:
    store = await opened(tmp_path)
    run = run_name(1)
    await write_run(store, run)
    before = await store.head(f"run/{run}")
    await append(store, f"run/{run}", before, intended(run))
    with closing(sqlite3.connect(store.path, isolation_level=None)) as db:
        db.execute(
            "UPDATE head SET seq = ?, hash = ? WHERE stream = ?", (before.seq, before.hash, f"run/{run}")
        )

    found = await bad(store)

    assert any(f"head `run/{run}`" in each for each in found), found
    await store.close()
