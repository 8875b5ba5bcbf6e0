"""The schema in the database: made where there is none, refused where it is another's or of another version.

Migrations come in pairs, `NNNN_pre.sql` and `NNNN_post.sql`. A `pre` only adds: the version before it goes on
working. A `post` takes away what only the version before needed, once no process of it is left. So a database fits
when every `pre` that we know was applied, and no `post` that we do not know.
"""

from __future__ import annotations

from importlib.resources import files
from typing import Any

import psycopg

from answerable.errors import ConfigError, JournalError, JournalUnreadable
from answerable.journal.postgres.connect import connect, translate
from answerable.journal.postgres.statements import LOCK_OF_SCHEMA, LOCKS

_MIGRATION = (
    'CREATE TABLE answerable.migration (name text COLLATE "C" PRIMARY KEY,'
    " applied timestamptz NOT NULL DEFAULT clock_timestamp())"
)


def migrations() -> list[str]:
    """The names of the migrations that this version knows, in order."""
    folder = files("answerable.journal.postgres").joinpath("migrations")
    return sorted(each.name.removesuffix(".sql") for each in folder.iterdir() if each.name.endswith(".sql"))


def prepare(url: str, name: str, *, must_exist: bool) -> bool:
    """Make sure that the database holds a journal of this version; make one where there is nothing.

    Returns whether it was made. Many processes may do this at once.
    """
    try:
        with connect(url, "schema") as db:
            _refuse_replica(db, name)
            found = applied(db, name)
            if found is not None:
                check(found, name)
                return False
            if must_exist:
                raise JournalError(
                    f"there is no journal in `{name}`",
                    hint="name the right database; `answerable run` makes one",
                )
            return make(db, name)
    except psycopg.Error as error:
        raise translate(error, name) from error


def make(db: Any, name: str) -> bool:
    """Make the journal's tables, unless somebody else was faster. Returns whether they were made here."""
    with db.transaction():
        # Who waited here finds what the first one made: the next statement sees it.
        db.execute(f"SELECT pg_advisory_xact_lock({LOCKS}, {LOCK_OF_SCHEMA})")
        found = applied(db, name)
        if found is not None:
            check(found, name)
            return False
        encoding = db.execute("SHOW server_encoding").fetchone()[0]
        if encoding != "UTF8":
            raise ConfigError(
                f"the database `{name}` is encoded as {encoding}", hint="create one with ENCODING 'UTF8'"
            )
        db.execute("CREATE SCHEMA IF NOT EXISTS answerable")
        db.execute(_MIGRATION)
        for migration in migrations():
            apply(db, migration)
    return True


def apply(db: Any, migration: str) -> None:
    """Carry out one migration, inside the caller's transaction."""
    db.execute(
        files("answerable.journal.postgres").joinpath("migrations", f"{migration}.sql").read_text("utf-8")
    )
    db.execute("INSERT INTO answerable.migration (name) VALUES (%s)", (migration,))


def applied(db: Any, name: str) -> list[str] | None:
    """What was applied, or None where the schema is not there or empty. A foreign one is never touched."""
    tables = [
        row[0]
        for row in db.execute(
            "SELECT relname FROM pg_class JOIN pg_namespace ON pg_namespace.oid = relnamespace"
            " WHERE nspname = 'answerable'"
        )
    ]
    if not tables:
        return None
    if not {"migration", "entry", "head"} <= set(tables):
        raise JournalUnreadable(
            f"the schema `answerable` in `{name}` holds something else: {', '.join(sorted(tables)[:3])}",
            hint="name another database; nothing was changed in this one",
        )
    return [row[0] for row in db.execute("SELECT name FROM answerable.migration ORDER BY name")]


def check(applied: list[str], name: str) -> None:
    """Refuse a database of another version. Raises `JournalUnreadable`, which names both versions."""
    known = migrations()
    missing = [each for each in known if each.endswith("_pre") and each not in applied]
    unknown = [each for each in applied if each.endswith("_post") and each not in known]
    ours, theirs = _version(known), _version(applied)
    if unknown:
        raise JournalUnreadable(
            f"`{name}` is a journal of a newer version ({theirs}; this is {ours}): `{unknown[0]}` was applied",
            hint="use the version of answerable that runs elsewhere, or restore a backup of this version",
        )
    if missing:
        raise JournalUnreadable(
            f"`{name}` is a journal of an older version ({theirs}; this is {ours}): `{missing[0]}` is missing",
            hint="use the version of answerable that wrote it, or apply the migration first",
        )


def _version(names: list[str]) -> int:
    return max((int(each.partition("_")[0]) for each in names), default=0)


def _refuse_replica(db: Any, name: str) -> None:
    is_replica, is_read_only = db.execute(
        "SELECT pg_is_in_recovery(), current_setting('transaction_read_only') = 'on'"
    ).fetchone()
    if is_replica or is_read_only:
        what = "a replica" if is_replica else "read-only"
        raise JournalError(
            f"the journal `{name}` cannot be written: the server is {what}",
            hint="name the primary; with several hosts add target_session_attrs=read-write",
        )
