"""What we ask of absurd, statement by statement: its functions are its interface, and take many tasks at once.

The SQL of absurd comes with its package, pinned to one version, and is put into the database when the first worker
starts. Of its own tables we touch one: to read who had a task before, and to hand out early what sleeps.
"""

from __future__ import annotations

from typing import Any

import psycopg
from psycopg.conninfo import make_conninfo

from answerable.errors import ConfigError
from answerable.journal.postgres.connect import connect, conninfo, translate

QUEUE = "answerable"
CHANNEL = "answerable_dispatch"
TASK = "drive"
KEPT_S = 600
"""How long tasks that are done are kept. Until then their keys keep the same look from being taken again."""
FORGOTTEN_AT_ONCE = 1000
_PREPARING = 0x414E5351
_RECONCILING = 0x414E5352
FAILED = ("AB001", "AB002", "P0001")
"""absurd says that a task is not ours, or not running, any more."""

IS_THERE = "SELECT to_regclass('absurd.t_answerable') IS NOT NULL"
TELL = f"SELECT pg_notify('{CHANNEL}', '')"
LISTEN = f"LISTEN {CHANNEL}"


class Lane:
    """One queue of absurd, and what is said to it. Its tasks are handed out in the order in which they came."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.spawn = (
            "SELECT count(*) FILTER (WHERE s.created) FROM unnest(%s::text[], %s::text[]) AS d(run, mark),"
            f" LATERAL absurd.spawn_task('{name}', '{TASK}', jsonb_build_object('run', d.run, 'mark', d.mark),"
            " jsonb_build_object('idempotency_key', d.run || ':' || d.mark)) AS s"
        )
        self.claim = (
            "SELECT c.run_id::text, c.attempt, c.params->>'run', c.params->>'mark',"
            f" (SELECT array_agg(DISTINCT r.claimed_by) FROM absurd.r_{name} r"
            "  WHERE c.attempt > 1 AND r.task_id = c.task_id AND r.run_id <> c.run_id AND r.claimed_by IS NOT NULL)"
            f" FROM absurd.claim_task('{name}', %s, %s, %s) AS c"
        )
        self.extend = f"SELECT absurd.extend_claim('{name}', t::uuid, %s) FROM unnest(%s::text[]) AS t"
        self.complete = f"SELECT absurd.complete_run('{name}', %s::uuid)"
        # Given back with our name on it, so that whoever gets it next may take the run from us, ...
        self.give_back = (
            f"SELECT absurd.fail_run('{name}', %s::uuid, jsonb_build_object('name', 'given back'),"
            " clock_timestamp() + make_interval(secs => %s))"
        )
        # ... or without: we never had the run, and may be driving it by right when it is handed out again.
        self.put_back = (
            f"SELECT absurd.schedule_run('{name}', %s::uuid, clock_timestamp() + make_interval(secs => %s))"
        )
        # absurd has no way to hand out early what was given back for later; a new worker may be the one it waits for.
        self.awaken = f"UPDATE absurd.r_{name} SET available_at = clock_timestamp() WHERE state = 'sleeping' RETURNING 1"
        self.forget = f"SELECT absurd.cleanup_tasks('{name}', {KEPT_S}, {FORGOTTEN_AT_ONCE})"


NEW = Lane(QUEUE)
BEGUN = Lane(f"{QUEUE}_begun")
LANES = (BEGUN, NEW)
"""In the order in which they are asked: a run whose worker died, or that a person answered, does not stand behind a
thousand that nobody has begun."""
RECONCILE = f"SELECT pg_try_advisory_lock({_RECONCILING})"
SILENT_MS = 10_000
"""A reconciler that is silent for so long is disconnected by the server: one that is paused must not keep others out."""

# What is lost of a dispatcher's writes is found again: no commit of them waits for the disk.
_SETTINGS = (
    "SELECT set_config('synchronous_commit', 'off', false), set_config('statement_timeout', '{ms}', false),"
    " set_config('lock_timeout', '{ms}', false), set_config('search_path', 'pg_catalog', false),"
    " set_config('timezone', 'UTC', false), set_config('idle_session_timeout', '{silent}', false)"
)


def settings(timeout_s: float, *, silent_ms: int = 0) -> str:
    """The statement that sets up a connection whose answers are waited for so long."""
    return _SETTINGS.format(ms=int(timeout_s * 1000), silent=silent_ms)


def dial(url: str, purpose: str, timeout_s: float) -> psycopg.Connection[Any]:
    """A connection for a thread. Raises `psycopg.Error`."""
    db = psycopg.connect(_within(url, purpose, timeout_s), autocommit=True)
    db.execute(settings(timeout_s).encode())
    return db


async def dial_async(
    url: str, purpose: str, timeout_s: float, *, silent_ms: int = 0
) -> psycopg.AsyncConnection[Any]:
    """A connection for the event loop. Raises `psycopg.Error`."""
    db = await psycopg.AsyncConnection.connect(_within(url, purpose, timeout_s), autocommit=True)
    await db.execute(settings(timeout_s, silent_ms=silent_ms).encode())
    return db


def _within(url: str, purpose: str, timeout_s: float) -> str:
    return make_conninfo(conninfo(url, f"dispatch {purpose}"), connect_timeout=max(2, int(timeout_s)))


def prepare(url: str, name: str) -> None:
    """Put absurd and our queue into the database where they are not yet.

    Raises `ConfigError` for another version of it, or where we may not; `JournalError` where the database is not there.
    """
    from absurdctl import BUNDLED_SCHEMA_SQL

    try:
        with connect(url, "dispatch setup") as db:
            db.execute("SELECT pg_advisory_lock(%s)", (_PREPARING,))
            if db.execute("SELECT to_regnamespace('absurd') IS NULL").fetchone()[0]:
                with db.transaction():
                    db.execute(BUNDLED_SCHEMA_SQL)
            _refuse_other_version(db, name)
            for lane in LANES:
                db.execute("SELECT absurd.create_queue(%s)", (lane.name,))
    except psycopg.Error as error:
        raise translate(error, name) from error


def _refuse_other_version(db: psycopg.Connection[Any], name: str) -> None:
    from importlib.metadata import version

    found = db.execute("SELECT absurd.get_schema_version()").fetchone()
    wanted = version("absurdctl")
    if found is None or found[0] != wanted:
        raise ConfigError(
            f"`{name}` holds absurd {found[0] if found else '?'}, and this version works with {wanted}",
            hint="`absurdctl migrate` brings it there; stop the workers first",
        )
