"""`answerable backup TO`: a consistent copy of a journal while it is in use."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from answerable.cli.common import AsJson, Db, journal_url

To = Annotated[Path, typer.Argument(metavar="TO", help="The file to write. It must not be there yet.")]


def backup(to: To, db: Db = None, *, as_json: AsJson = False) -> None:
    """Copy the journal into a file while it is in use.

    The copy is a journal: `answerable audit verify --db sqlite:///TO` checks it, `answerable migrate
    sqlite:///TO NEW` restores it. The key that signs heads is left out on purpose. Export heads elsewhere: they
    show when an old backup was restored.
    """
    from answerable.cli.migrate import say, take_backup
    from answerable.journal.opening import SQLITE

    say(take_backup(journal_url(db), f"{SQLITE}{to}"), as_json=as_json)
