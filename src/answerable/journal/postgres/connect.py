"""Connections: how they are set, and what PostgreSQL's errors mean to us.

Settings, prepared statements and LISTEN belong to a session. A pooler in between must pool by session.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from answerable.errors import (
    AnswerableError,
    ConfigError,
    JournalBusy,
    JournalError,
    JournalFull,
    JournalMoved,
    JournalUnreadable,
)

if TYPE_CHECKING:
    from answerable.journal.store import Durability

CONNECT_S = 10
STATEMENT_MS = 30_000
LOCK_MS = 10_000
"""How long a row that another process holds is waited for."""
PAUSED_MS = 3_000
"""How long a transaction may stand still between its statements: a process that is stopped there holds rows, and
keeps halts from being raised. The server ends it; nothing of it was written."""

_DEFAULTS = {
    "connect_timeout": CONNECT_S,
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 20_000,
}
# Every row is found by its name. A plan that was made while a table was small must not read all of it later.
_SETTINGS = {
    "client_encoding": "UTF8",
    "timezone": "UTC",
    "statement_timeout": str(STATEMENT_MS),
    "lock_timeout": str(LOCK_MS),
    "idle_in_transaction_session_timeout": str(PAUSED_MS),
    "default_transaction_isolation": "read committed",
    "enable_seqscan": "off",
    "search_path": "pg_catalog",
}
RACED = frozenset({"23505", "40001", "40P01"})
"""Another process was faster: what was read is not so any more, and it is read again."""
LOST = frozenset({"57P01", "57P02", "57P03", "25P03", "57P05"})
"""The server ended the connection, or does not take any yet."""


def conninfo(url: str, purpose: str) -> str:
    """The address with what we set for every connection, where it does not say otherwise."""
    said = conninfo_to_dict(url)
    given = {name: value for name, value in _DEFAULTS.items() if name not in said}
    return make_conninfo(url, application_name=f"answerable {purpose}", **given)


def settings(durability: Durability, *, is_writer: bool = False) -> bytes:
    """The statement that sets up a connection."""
    values = {**_SETTINGS, "synchronous_commit": "off" if durability == "relaxed" else "on"}
    if is_writer:
        # It finds rows by their names, and waits for locks and for the commit only. A statement_timeout would cut the
        # wait for a synchronous standby short, and PostgreSQL then answers as if the standby had the commit.
        values.update(plan_cache_mode="force_generic_plan", statement_timeout="0")
    # A stricter setting of the database stays: remote_apply, say, waits for more than `on` does.
    calls = [
        f"set_config('{name}', '{value}', false)"
        if (name, value) != ("synchronous_commit", "on")
        else "set_config('synchronous_commit', CASE current_setting('synchronous_commit')"
        " WHEN 'remote_apply' THEN 'remote_apply' ELSE 'on' END, false)"
        for name, value in values.items()
    ]
    return f"SELECT {', '.join(calls)}".encode()


def connect(url: str, purpose: str, durability: Durability = "full", *, is_writer: bool = False) -> Any:
    """A connection in autocommit mode: transactions are begun by name."""
    db = psycopg.connect(conninfo(url, purpose), autocommit=True)
    try:
        db.execute(settings(durability, is_writer=is_writer))
    except BaseException:
        db.close()
        raise
    return db


def is_lost(error: BaseException) -> bool:
    """Whether an error means that the connection is gone, and not that the statement was refused."""
    if not isinstance(error, psycopg.OperationalError | psycopg.InterfaceError):
        return False
    return error.sqlstate is None or error.sqlstate in LOST or error.sqlstate.startswith("08")


def translate(error: psycopg.Error, name: str) -> AnswerableError:
    """Our error for one of PostgreSQL's, which says what to do."""
    state = error.sqlstate or _state_in(str(error))
    text = (error.diag.message_primary or str(error)).strip().split("\n")[0]
    for states, kind, message, hint in _MEANINGS:
        if state in states or (state[:2] in states):
            return kind(f"the journal `{name}` {message}: {_without_password(text)}", hint=hint)
    return JournalError(
        f"the journal `{name}` failed: {_without_password(text)}", hint="`answerable doctor` looks closer"
    )


_MEANINGS: tuple[tuple[frozenset[str], type[AnswerableError], str, str], ...] = (
    (
        frozenset({"53100", "53400"}),
        JournalFull,
        "cannot be written",
        "make room on the database server, then resume; nothing was written",
    ),
    (
        frozenset({"53300"}),
        JournalBusy,
        "takes no more connections",
        "each process needs up to seven: raise max_connections, or run fewer processes",
    ),
    (
        frozenset({"55P03", "57014"}),
        JournalBusy,
        f"did not answer in {LOCK_MS // 1000} to {STATEMENT_MS // 1000} s",
        "look in pg_stat_activity who holds it; nothing was written",
    ),
    (
        RACED,
        JournalBusy,
        "is contended",
        "nothing was written; try again",
    ),
    (
        frozenset({*LOST, "08"}),
        JournalBusy,
        "is not there",
        "the server was stopped or is starting, or the network is cut; try again when it is back",
    ),
    (
        frozenset({"AN001"}),
        JournalMoved,
        "was moved and can only be read here",
        "name the other one with --db; `answerable migrate --help` says how to go back",
    ),
    (
        frozenset({"25006"}),
        JournalError,
        "cannot be written here: the server is read-only, perhaps a replica",
        "name the primary; with several hosts add target_session_attrs=read-write",
    ),
    (
        frozenset({"28"}),
        ConfigError,
        "does not let us in",
        "check user and password, and pg_hba.conf on the server",
    ),
    (
        frozenset({"3D000"}),
        ConfigError,
        "has no such database",
        "create it: createdb NAME",
    ),
    (
        frozenset({"42501"}),
        ConfigError,
        "does not permit it",
        "the user needs CREATE on the database once, and all rights on the schema `answerable`",
    ),
    (
        frozenset({"42P01", "42703", "3F000"}),
        JournalUnreadable,
        "lacks a table or column that it must have",
        "restore it from a backup: somebody changed the schema `answerable`",
    ),
    (
        frozenset({"XX"}),
        JournalUnreadable,
        "is damaged",
        "restore it from a backup; `answerable audit verify` says how far it can be read",
    ),
)


def _state_in(text: str) -> str:
    """The state of an error that came before there was a connection: libpq only passes on the words."""
    for pattern, state in (
        (r"database .* does not exist", "3D000"),
        (
            r"password authentication failed|no pg_hba.conf entry|no password supplied|role .* does not exist",
            "28000",
        ),
        (r"too many (clients|connections)|remaining connection slots", "53300"),
        (r"starting up|shutting down|recovery mode|not yet accepting", "57P03"),
        (r"connection|could not|timeout|closed|server|resolve|SSL", "08006"),
    ):
        if re.search(pattern, text, re.IGNORECASE):
            return state
    return ""


def _without_password(text: str) -> str:
    return re.sub(r"password=\S+|://[^@\s/]*:[^@\s/]*@", "...", text)
