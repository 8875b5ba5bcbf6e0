"""The journal in one SQLite file: the default store."""

from answerable.journal.sqlite.store import SqliteJournal

__all__ = ["SqliteJournal"]
