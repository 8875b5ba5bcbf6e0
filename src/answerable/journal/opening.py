"""From a journal's address to an open store."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from answerable.errors import ConfigError
from answerable.journal.heads import check_not_behind, public_key_for
from answerable.journal.sqlite import SqliteJournal

if TYPE_CHECKING:
    from collections.abc import Callable

    from answerable.journal.store import Durability, JournalStore

DATABASE_VARIABLE = "ANSWERABLE_DATABASE_URL"
SQLITE = "sqlite:///"
POSTGRES = ("postgresql://", "postgres://")


def is_postgres(url: str) -> bool:
    """Whether the address is that of a PostgreSQL database."""
    return url.startswith(POSTGRES)


def journal_path(url: str) -> Path:
    """The file behind `sqlite:///PATH`. Raises `ConfigError` for another kind of address."""
    if is_postgres(url):
        raise ConfigError("this needs a journal in a file", hint="give --db sqlite:///PATH")
    if not url.startswith(SQLITE) or url == SQLITE:
        raise ConfigError(
            f"`{url}` is not a journal that this version can open",
            hint="write sqlite:///PATH or postgresql://USER@HOST/DATABASE",
        )
    return Path(url.removeprefix(SQLITE))


def choose_journal(db: str | None, default: str | None = None) -> str:
    """The journal's address: `--db` first, then the environment, then the project's own."""
    chosen = db or os.environ.get(DATABASE_VARIABLE) or default
    if not chosen:
        raise ConfigError("no journal is named", hint=f"give --db sqlite:///PATH, or set {DATABASE_VARIABLE}")
    return chosen


def resolve_journal(url: str, folder: Path) -> str:
    """The address that a project gives, with its file where the project is."""
    if is_postgres(url):
        return url
    path = journal_path(url)
    return url if path.is_absolute() else f"{SQLITE}{folder / path}"


async def open_store(
    url: str,
    *,
    entropy: Callable[[int], bytes],
    clock: Callable[[], int],
    durability: Durability = "full",
    must_exist: bool = False,
    accept_loss: bool = False,
) -> JournalStore:
    """Open a journal by its address, checked against the last head that was exported from it.

    Raises `ConfigError` for an address that leads nowhere, `JournalError` for a journal that cannot be used.
    """
    opened = _open_postgres if is_postgres(url) else _open_sqlite
    store = await opened(url, entropy, clock, durability, must_exist=must_exist)
    try:
        await check_not_behind(store, accept_loss=accept_loss)
    except BaseException:
        await store.close()
        raise
    return store


async def _open_sqlite(
    url: str,
    entropy: Callable[[int], bytes],
    clock: Callable[[], int],
    durability: Durability,
    *,
    must_exist: bool,
) -> JournalStore:
    from answerable.journal.sqlite.store import custody_of

    path = journal_path(url)
    if must_exist and not path.exists():
        raise ConfigError(f"there is no journal `{path}`", hint="name one that is there: --db sqlite:///PATH")
    key = public_key_for(custody_of(path), entropy, is_new=not path.exists())
    return await SqliteJournal.open(path, entropy=entropy, clock=clock, durability=durability, public_key=key)


async def _open_postgres(
    url: str,
    entropy: Callable[[int], bytes],
    clock: Callable[[], int],
    durability: Durability,
    *,
    must_exist: bool,
) -> JournalStore:
    from answerable.journal.postgres import PostgresJournal, custody_of, journal_exists

    is_new = not await journal_exists(url)
    custody = custody_of(url)
    if is_new and must_exist:
        raise ConfigError(
            f"there is no journal in `{custody.name}`",
            hint="`answerable worker` or `answerable run` makes one",
        )
    if is_new:
        custody.key.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    key = public_key_for(custody, entropy, is_new=is_new)
    return await PostgresJournal.open(
        url, entropy=entropy, clock=clock, durability=durability, public_key=key
    )
