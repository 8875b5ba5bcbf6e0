"""The SQLite journal keeps every promise of a journal store, in each of its durabilities."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, get_args

import pytest

from answerable.errors import JournalConflict
from answerable.journal.sqlite import SqliteJournal
from answerable.journal.store import Durability
from answerable.testing import FaultyStore, StoreCheckFailed, check_journal_store
from answerable.testing.store_checks import STORE_CHECKS

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from typing import Any


def factory(folder: Path, durability: Durability, wrap: Callable[[SqliteJournal], Any] = lambda store: store):
    """Opens journals of one durability in a folder."""

    async def open_journal(name: str):
        return wrap(
            await SqliteJournal.open(
                folder / f"{name}.db",
                entropy=os.urandom,
                clock=lambda: time.time_ns() // 1000,
                durability=durability,
            )
        )

    return open_journal


@pytest.mark.parametrize("durability", get_args(Durability))
@pytest.mark.parametrize("name", STORE_CHECKS)
async def test_sqlite_journal_keeps_the_promise(name: str, durability: Durability, tmp_path: Path) -> None:
    """One promise, one durability."""
    await check_journal_store(factory(tmp_path, durability), only=[name])


async def test_a_store_behind_the_fault_wrapper_keeps_every_promise(tmp_path: Path) -> None:
    """The wrapper changes nothing while no fault is due."""
    await check_journal_store(factory(tmp_path, "relaxed", FaultyStore))


class Forgetful(FaultyStore):
    """Acknowledges what it does not write."""

    async def append(self, *appends: Any) -> Any:
        entries = await self.inside.append(*appends)
        return tuple(entry for entry in entries for _ in [0])[:1] if len(entries) > 1 else entries


class Unfenced(FaultyStore):
    """Calls every refusal a conflict."""

    async def append(self, *appends: Any) -> Any:
        try:
            return await self.inside.append(*appends)
        except Exception as error:
            raise JournalConflict("something") from error


@pytest.mark.parametrize(
    ("wrong", "check"),
    [
        (Forgetful, "all_appends_of_a_transaction_or_none"),
        (Unfenced, "an_older_owner_is_fenced"),
        (Unfenced, "a_budget_is_never_overspent"),
    ],
)
async def test_a_store_that_breaks_a_promise_is_found_out(
    wrong: type[FaultyStore], check: str, tmp_path: Path
) -> None:
    """The suite itself is tested: it names the promise that a wrong store breaks."""
    with pytest.raises(StoreCheckFailed, match=check):
        await check_journal_store(factory(tmp_path, "relaxed", wrong), only=[check])
