"""From addresses to a copy: which kind of store is behind each, and what is asked of it."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING

from answerable.errors import ConfigError
from answerable.journal import copy
from answerable.journal.opening import is_postgres, journal_path

if TYPE_CHECKING:
    from answerable.journal.copy import Copied, Progress
    from answerable.journal.copy_ports import Source, Target
    from answerable.journal.store import Finding


def open_source(url: str) -> Source:
    """The journal behind an address, to be read. Close it."""
    if is_postgres(url):
        from answerable.journal.postgres.copying import PostgresSource

        return PostgresSource(url)
    from answerable.journal.sqlite.copying import SqliteSource

    return SqliteSource(journal_path(url))


def open_target(url: str) -> Target:
    """The place behind an address, to be written. Close it."""
    if is_postgres(url):
        from answerable.journal.postgres.copying import PostgresTarget

        return PostgresTarget(url)
    from answerable.journal.sqlite.copying import SqliteTarget

    return SqliteTarget(journal_path(url))


def is_there(url: str) -> bool:
    """Whether there is a journal behind an address."""
    if is_postgres(url):
        from answerable.journal.postgres.copying import is_there

        return is_there(url)
    from answerable.journal.sqlite.copying import is_there

    return is_there(journal_path(url))


def migrate(source_url: str, target_url: str, *, progress: Progress) -> Copied:
    """Move a journal; see `copy.migrate`. What was cut off before its last step is brought to its end."""
    with closing(open_source(source_url)) as source:
        if is_there(target_url):
            with closing(open_source(target_url)) as there:
                finished = copy.finish(source, there)
                if finished is not None:
                    return finished
        with closing(open_target(target_url)) as target:
            return copy.migrate(source, target, progress=progress)


def backup(source_url: str, target_url: str, *, progress: Progress, now: int) -> Copied:
    """Copy a journal while it goes on; see `copy.backup`."""
    with closing(open_source(source_url)) as source, closing(open_target(target_url)) as target:
        return copy.backup(source, target, progress=progress, now=now)


def undo(source_url: str, target_url: str) -> None:
    """Let the source of a migration go on; see `copy.undo`.

    Raises `ConfigError` where it cannot be seen whether the target was used.
    """
    with closing(open_source(source_url)) as source:
        if not is_there(target_url):
            to = copy.moved_to(source)
            with closing(open_target(target_url)) as blank:
                if to is not None and blank.name != to:
                    raise ConfigError(f"`{source.name}` was moved to `{to}`", hint="name that one as TO")
            copy.undo(source, None)
            return
        with closing(open_source(target_url)) as target:
            copy.undo(source, target)


def findings(url: str) -> list[Finding]:
    """See `copy.findings_of`."""
    with closing(open_source(url)) as source:
        return copy.findings_of(source)
