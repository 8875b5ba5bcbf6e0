"""A copy of a journal that can be restored, taken while it is in use."""

from __future__ import annotations

import asyncio
import shutil
import sqlite3
from typing import TYPE_CHECKING

from answerable.errors import ConfigError
from answerable.journal.sqlite.connect import connect, translated
from answerable.journal.sqlite.files import PRIVATE, create_private, sync_folder

if TYPE_CHECKING:
    from pathlib import Path

    from answerable.journal.sqlite import SqliteJournal


async def backup(store: SqliteJournal, to: Path) -> dict[str, object]:
    """Copy the journal and its blobs to `to`. The signing key is left out on purpose: keep it elsewhere.

    Raises `ConfigError` where `to` exists: a backup never overwrites one.
    """
    return await asyncio.to_thread(_copy, store, to)


def _copy(store: SqliteJournal, to: Path) -> dict[str, object]:
    if to.exists():
        raise ConfigError(f"`{to}` is there already", hint="name a new file")
    if not to.parent.is_dir():
        raise ConfigError(f"there is no folder `{to.parent}`", hint="create it")
    part = to.with_name(f"{to.name}.part")
    part.unlink(missing_ok=True)
    create_private(part)
    with translated(store.path):
        source = connect(store.path, synchronous="FULL", read_only=True)
        target = sqlite3.connect(part)
        try:
            source.backup(target)
            entries = target.execute("SELECT count(*) FROM entry").fetchone()[0]
            fine = target.execute("PRAGMA integrity_check").fetchone()[0]
        finally:
            target.close()
            source.close()
    if fine != "ok":
        part.unlink(missing_ok=True)
        raise ConfigError(
            f"the copy is damaged: {fine}", hint="`answerable doctor` looks at the journal itself"
        )
    blobs = store.path.with_name(f"{store.path.name}.blobs")
    count = 0
    if blobs.is_dir():
        target_blobs = to.with_name(f"{to.name}.blobs")
        target_blobs.mkdir(mode=0o700)
        for blob in blobs.iterdir():
            shutil.copyfile(blob, target_blobs / blob.name)
            (target_blobs / blob.name).chmod(PRIVATE)
            count += 1
    part.replace(to)
    sync_folder(to.parent)
    return {
        "to": str(to),
        "entries": entries,
        "blobs": count,
        "bytes": to.stat().st_size,
        "key_included": False,
    }
