"""A journal of every released version: it is read, verified, moved and driven on to its end by this one."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from tests.compat.desk import LEA, Till, runtime_at
from tests.postgres_server import database, execute

from answerable import __version__
from answerable.errors import JournalUnreadable
from answerable.journal import copy_stores
from answerable.journal.doctor import examine
from answerable.journal.verify import verify_database, verify_postgres
from answerable.kernel.state import fold
from answerable.project import open_store

if TYPE_CHECKING:
    from collections.abc import Iterator

HERE = Path(__file__).parent
VERSIONS = sorted(path.parent.name for path in HERE.glob("*/journal.sql"))


def rebuilt(version: str, folder: Path) -> Path:
    """The journal of a version, as a file with its key beside it."""
    path = folder / "journal.db"
    with closing(sqlite3.connect(path)) as db:
        db.executescript((HERE / version / "journal.sql").read_text("utf-8"))
    path.with_name("journal.db.key").write_bytes((HERE / version / "heads.key").read_bytes())
    for made in folder.glob("journal.db*"):
        made.chmod(0o600)
    return path


def made(version: str) -> dict[str, Any]:
    """What was written when the version was released."""
    return json.loads((HERE / version / "runs.json").read_text("utf-8"))


@pytest.fixture(params=["sqlite", "postgres"])
def place(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Where the journal goes on; empty: where it is."""
    monkeypatch.setenv("ANSWERABLE_HOME", str(tmp_path / "home"))
    if request.param == "sqlite":
        yield ""
        return
    with database(blank=True) as url:
        yield url


def test_this_version_has_its_journal() -> None:
    """Whoever changes the version writes its journal: `python -m tests.compat.make`."""
    assert __version__ in VERSIONS


@pytest.mark.parametrize("version", VERSIONS)
async def test_a_journal_of_a_released_version_goes_on(version: str, tmp_path: Path, place: str) -> None:
    """Every run folds; the reader finds it sound; the approval is answered, and each run comes to its end, once."""
    path = rebuilt(version, tmp_path)
    url, said = place or f"sqlite:///{path}", made(version)
    runs: dict[str, str] = said["runs"]
    assert verify_database(path).is_ok
    if place:
        copy_stores.migrate(f"sqlite:///{path}", place, progress=lambda *_: None)
    store = await open_store(url, must_exist=True)
    states = {
        name: fold(await store.entries(f"run/{run}"), await store.entries(f"inbox/{run}"))
        for name, run in runs.items()
    }
    bad = [finding for finding in await examine(store) if finding.level == "bad"]
    await store.close()

    till = Till()
    till.done = list(said["done"])
    async with runtime_at(url, till, seed="later") as runtime:
        await runtime.answer(runs["parked"], "grant", approver="lea", private_key=LEA)
        outcomes = {outcome.run: outcome for outcome in await runtime.drive_all()}
        unknown = await runtime.drive(runs["unknown"])  # pyright: ignore[reportArgumentType]
    report = verify_postgres(place) if place else verify_database(path)

    assert bad == []
    assert {name: state.name for name, state in states.items()} == {
        "ended": "ended",
        "parked": "waiting",
        "unknown": "ended",
        "created": "created",
    }
    assert {outcomes[runs[name]].name for name in ("parked", "created")} == {"unverified"}
    assert (unknown.name, unknown.code, len(unknown.unknown)) == ("escalated", "effect_unknown", 1)
    assert till.done[: len(said["done"])] == said["done"]
    assert len(till.done) == len(said["done"]) + 4
    assert len(set(till.done)) == len(till.done)
    assert report.is_ok, report.to_text()


@pytest.mark.parametrize(("number", "word"), [(0, "an older"), (99, "a newer")])
async def test_a_journal_of_another_format_is_refused(number: int, word: str, tmp_path: Path) -> None:
    """With both versions, by whoever opens it and by whoever copies it; and nothing in it is touched."""
    path = rebuilt(__version__, tmp_path)
    with closing(sqlite3.connect(path)) as db:
        db.execute(f"PRAGMA user_version = {number}")
    before = path.read_bytes()

    with pytest.raises(JournalUnreadable, match=rf"{word} version \({number}; this is 1\)"):
        await open_store(f"sqlite:///{path}", must_exist=True)
    with pytest.raises(JournalUnreadable, match=rf"{word} version \({number}; this is 1\)"):
        copy_stores.open_source(f"sqlite:///{path}")

    assert path.read_bytes() == before
    assert {finding.kind for finding in verify_database(path).findings} == {"user_version"}


async def test_a_database_of_another_version_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same on PostgreSQL, by its migrations: one that is missing, and one that is not known."""
    monkeypatch.setenv("ANSWERABLE_HOME", str(tmp_path))
    with database(blank=True) as url:
        await (await open_store(url)).close()
        execute(url, "INSERT INTO answerable.migration (name) VALUES ('9999_post')")
        with pytest.raises(JournalUnreadable, match="a newer version"):
            await open_store(url, must_exist=True)
        execute(url, "DELETE FROM answerable.migration")
        with pytest.raises(JournalUnreadable, match="an older version"):
            copy_stores.open_source(url)
