"""Waiting for a halt that somebody raises."""

from __future__ import annotations

import asyncio

import pytest

listen = pytest.importorskip(
    "answerable.journal.postgres.listen", reason="the extra `postgres` is not installed"
)


@pytest.mark.parametrize("turns", range(5))
async def test_a_cancel_at_the_moment_of_a_signal_is_not_lost(turns: int) -> None:
    """A runtime that closes cancels whoever waits, once: a cancel that gets lost is a process that never ends."""
    listener = listen.Listener("postgresql://nowhere/nothing")
    listener._task = asyncio.create_task(asyncio.sleep(60))  # it listens already, and hears nothing
    waiting = asyncio.create_task(_for_ever(listener))
    await asyncio.sleep(0.01)
    listener._told.set()
    for _ in range(turns):
        await asyncio.sleep(0)

    waiting.cancel()
    done, _ = await asyncio.wait([waiting], timeout=1)
    was_lost = not done
    waiting.cancel()
    await listener.close()

    assert not was_lost


async def _for_ever(listener: listen.Listener) -> None:
    while True:
        await listener.changed()
