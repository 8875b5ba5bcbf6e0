"""Which engine goes with a journal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from answerable.engine.dispatch.in_process import InProcess
from answerable.journal.opening import is_postgres

if TYPE_CHECKING:
    from answerable.engine.dispatch.port import Dispatcher
    from answerable.journal.store import JournalStore


def dispatcher_for(store: JournalStore, url: str, owner: str = "") -> Dispatcher:
    """The queue absurd where the journal is in PostgreSQL, in-process otherwise. Nothing is connected until it is used."""
    if not is_postgres(url):
        return InProcess(store)
    from answerable.engine.dispatch.absurd import Absurd

    return Absurd(store, url, owner)
