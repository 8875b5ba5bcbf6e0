"""A move that is cut off leaves no half journal, and never two that can be written."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from tests.migrate.kill_child import POINTS
from tests.migrate.stories import export, moved, opened, truth_of, write_story
from tests.migrate.test_copy import append_to, verified

from answerable.errors import JournalMoved
from answerable.journal import copy_stores

ROOT = Path(__file__).parents[2]
CLOSED = ("closed", "done")
"""Points after the source was closed: then it stays closed until somebody says which of the two goes on."""


async def is_open(url: str) -> bool:
    """Whether the journal can be written."""
    store = await opened(url)
    try:
        await append_to(store)
    except JournalMoved:
        return False
    finally:
        await store.close()
    return True


@pytest.mark.parametrize("kind", ["postgres", "sqlite"])
async def test_a_move_is_killed_anywhere(
    kind: str, tmp_path: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was not whole is gone; the source goes on, or is closed and the same command ends what was begun."""
    monkeypatch.setenv("ANSWERABLE_HOME", str(tmp_path / "home"))
    target = (
        request.getfixturevalue("blank_url") if kind == "postgres" else f"sqlite:///{tmp_path / 'other.db'}"
    )
    source = f"sqlite:///{tmp_path / 'one.db'}"
    await write_story(source)
    await export(source)
    for point in POINTS:
        done = subprocess.run(
            [sys.executable, "-m", "tests.migrate.kill_child", source, target, point],
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": f"{ROOT / 'src'}:{ROOT}"},
            capture_output=True,
            text=True,
        )

        assert done.returncode == -signal.SIGKILL, f"{point}: {done.stderr}"
        assert verified(source).is_ok
        assert copy_stores.is_there(target) == (point == "done"), point
        assert await is_open(source) == (point not in CLOSED), point
        if point == "closed":
            copy_stores.undo(source, target)
            assert await is_open(source)
    entries = truth_of(source)["entry"]

    copied = moved(source, target)

    assert (copied.kind, copied.behind) == ("moved", ())
    assert copied.key is not None
    assert copied.head is not None
    assert truth_of(target)["entry"] == entries
    assert verified(target).is_ok
    assert await is_open(target)
    assert not await is_open(source)
    assert not [path.name for path in tmp_path.iterdir() if ".part" in path.name]
