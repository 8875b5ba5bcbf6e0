"""`answerable backup TO`: a consistent copy of a journal while it is in use."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from answerable.cli.common import AsJson, Db, journal_url, opened, print_json, run_async

To = Annotated[Path, typer.Argument(metavar="TO", help="The file to write. It must not be there yet.")]


def backup(to: To, db: Db = None, *, as_json: AsJson = False) -> None:
    """Copy the journal while it is in use.

    The copy can be verified by itself: `answerable audit verify --db sqlite:///TO`. The key that signs heads
    is left out on purpose. Export heads elsewhere: they show when an old backup was restored.
    """
    from answerable.journal.backup import backup as copy
    from answerable.journal.sqlite import SqliteJournal

    async def write() -> dict[str, object]:
        async with opened(journal_url(db)) as store:
            assert isinstance(store, SqliteJournal)
            return await copy(store, to)

    said = run_async(write())
    if as_json:
        print_json(said)
    else:
        typer.echo(f"copied {said['entries']} entries to {to}, {said['bytes']} bytes")
