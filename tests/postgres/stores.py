"""Opening journals in tests, and what is appended to them."""

from __future__ import annotations

import os
import time
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from answerable.journal.store import Append
from answerable.testing.store_events import NOW, seen

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

SLOW_COMMIT = """
CREATE FUNCTION public.slow() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN PERFORM pg_sleep(0.6); RETURN NULL; END';
CREATE CONSTRAINT TRIGGER slow AFTER INSERT ON answerable.entry DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW EXECUTE FUNCTION public.slow();
"""
"""Makes each commit of an entry take a while."""


@asynccontextmanager
async def opened(url: str, **settings: Any) -> AsyncGenerator[Any]:
    """A journal that is closed again."""
    from answerable.journal.postgres import PostgresJournal

    store = await PostgresJournal.open(
        url, entropy=os.urandom, clock=lambda: time.time_ns() // 1000, **settings
    )
    try:
        yield store
    finally:
        await store.close()


def note(number: int = 0, stream: str = "agent/desk") -> Append:
    """Something that any process may append at any time."""
    return Append(stream=stream, events=(seen(f"{number:064x}"),), expect=None, epoch=0, now=NOW)
