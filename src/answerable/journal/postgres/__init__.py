"""The journal in a PostgreSQL database: for more than one machine, or more than one process that must not wait."""

from answerable.errors import ConfigError

try:
    import psycopg as _psycopg
    import psycopg_pool as _pool
except ImportError as error:
    raise ConfigError(
        f"a journal in PostgreSQL needs a package that is not installed: `{error.name}`",
        hint='pip install "answerable[postgres]"',
    ) from None

from answerable.journal.postgres.copying import journal_exists
from answerable.journal.postgres.custody import custody_of
from answerable.journal.postgres.store import PostgresJournal

__all__ = ["PostgresJournal", "custody_of", "journal_exists"]

del _psycopg, _pool
