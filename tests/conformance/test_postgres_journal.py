"""The PostgreSQL journal keeps every promise of a journal store, in each of its durabilities."""

from __future__ import annotations

import os
import time
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, Self, get_args

import pytest
from tests.postgres_server import database

from answerable.journal.store import Durability
from answerable.testing import FaultyStore, check_journal_store
from answerable.testing.store_checks import STORE_CHECKS

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

postgres = pytest.importorskip("answerable.journal.postgres")


class Databases:
    """Opens journals of one durability, each in a database of its own."""

    def __init__(self, durability: Durability, wrap: Callable[[Any], Any] = lambda store: store) -> None:
        self._durability = durability
        self._wrap = wrap
        self._urls: dict[str, str] = {}
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    async def __call__(self, name: str) -> Any:
        if name not in self._urls:
            self._urls[name] = self._stack.enter_context(database())
        return self._wrap(
            await postgres.PostgresJournal.open(
                self._urls[name],
                entropy=os.urandom,
                clock=lambda: time.time_ns() // 1000,
                durability=self._durability,
            )
        )


@pytest.mark.parametrize("durability", get_args(Durability))
@pytest.mark.parametrize("name", STORE_CHECKS)
async def test_postgres_journal_keeps_the_promise(
    name: str, durability: Durability, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One promise, one durability."""
    monkeypatch.setenv("ANSWERABLE_HOME", str(tmp_path))
    with Databases(durability) as factory:
        await check_journal_store(factory, only=[name])


async def test_a_store_behind_the_fault_wrapper_keeps_every_promise(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The wrapper changes nothing while no fault is due."""
    monkeypatch.setenv("ANSWERABLE_HOME", str(tmp_path))
    with Databases("relaxed", FaultyStore) as factory:
        await check_journal_store(factory)
