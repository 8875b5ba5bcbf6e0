"""The simulated journal keeps every promise of a journal store, in the simulation's own time."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from answerable.testing import check_journal_store
from answerable.testing.simulation import CALM, SimJournal, World
from answerable.testing.simulation.wire import Wire
from answerable.testing.store_checks import STORE_CHECKS

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize("name", STORE_CHECKS)
def test_simulated_journal_keeps_the_promise(name: str, tmp_path: Path) -> None:
    """One promise; each store that is opened is a view of one shared journal."""
    world = World(1, (), CALM, tmp_path)

    async def factory(_name: str) -> SimJournal:
        process = world.loop.process("view")
        return SimJournal(world.ledger, Wire(world, process, world.clock.now_us, is_fragile=False))

    try:
        world.loop.run_until_complete(check_journal_store(factory, only=[name]))
    finally:
        world.loop.close()
        world.ledger.dispose()
