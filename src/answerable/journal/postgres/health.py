"""What a PostgreSQL server has to say of its own health, as far as the journal depends on it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from answerable.journal.store import Finding

if TYPE_CHECKING:
    from collections.abc import Iterator

    from answerable.journal.postgres.reader import Reader
    from answerable.journal.store import Durability

OLDEST = 140000
"""The oldest version of the server that is tested for, as it numbers itself."""
_SERVER = (
    "SELECT current_setting('server_version'), current_setting('server_version_num')::int,"
    " current_setting('fsync'), current_setting('full_page_writes'), current_setting('synchronous_standby_names'),"
    " coalesce((SELECT ssl FROM pg_catalog.pg_stat_ssl WHERE pid = pg_backend_pid()), false),"
    " inet_client_addr() IS NULL,"
    " (SELECT count(*) FROM pg_catalog.pg_stat_replication WHERE sync_state IN ('sync', 'quorum')),"
    " (SELECT count(*) FROM pg_catalog.pg_stat_replication WHERE sync_state IS NULL)"
)


async def findings(reader: Reader, durability: Durability) -> list[Finding]:
    """Everything worth saying about the server."""
    row = (await reader.ask(_SERVER))[0]
    version, number, fsync, pages, names, is_encrypted, is_local, standbys, hidden = row
    return [
        _version(version, number),
        *_disk(fsync, pages),
        _durability(durability, names, standbys, hidden),
        *_connection(is_encrypted=is_encrypted, is_local=is_local),
    ]


def _version(version: str, number: int) -> Finding:
    if number < OLDEST:
        return Finding(
            name="server",
            level="warn",
            message=f"the server is PostgreSQL {version}",
            hint="use version 14 or later: it was not written for older ones",
        )
    return Finding(name="server", level="ok", message=f"the server is PostgreSQL {version}")


def _disk(fsync: str, pages: str) -> Iterator[Finding]:
    if fsync != "on":
        yield Finding(
            name="fsync",
            level="bad",
            message="the server runs with fsync=off: what is acknowledged is not on disk",
            hint="set fsync = on and restart the server",
        )
    if pages != "on":
        yield Finding(
            name="full-page-writes",
            level="warn",
            message="the server runs with full_page_writes=off: a power loss may tear pages",
            hint="set full_page_writes = on, unless the file system promises whole pages",
        )


def _durability(durability: Durability, names: str, standbys: int, hidden: int) -> Finding:
    if durability == "relaxed":
        return Finding(
            name="durability",
            level="warn",
            message="`relaxed`: what is acknowledged survives the death of a process, not a crash of the server",
            hint="use `full` or `group` where an acknowledged step must not be lost",
        )
    if not names:
        return Finding(
            name="durability",
            level="warn",
            message=f"`{durability}`: on the server's disk before anything is sent; no synchronous standby has it",
            hint="set synchronous_standby_names, if the loss of that disk must not lose entries",
        )
    if standbys:
        return Finding(
            name="durability",
            level="ok",
            message=f"`{durability}`: on disk, and with {standbys} synchronous standby(s), before anything is sent",
        )
    if hidden:
        return Finding(
            name="durability",
            level="warn",
            message=f"`{durability}`: standbys are asked for, but we may not see whether they follow",
            hint="GRANT pg_monitor TO the journal's user",
        )
    return Finding(
        name="durability",
        level="bad",
        message=f"`{durability}`: synchronous standbys are asked for (`{names}`) and none follows: commits wait",
        hint="start the standby, or change synchronous_standby_names",
    )


def _connection(*, is_encrypted: bool, is_local: bool) -> Iterator[Finding]:
    if not is_encrypted and not is_local:
        yield Finding(
            name="connection",
            level="warn",
            message="the connection to the server is not encrypted",
            hint="add sslmode=verify-full to the address",
        )
