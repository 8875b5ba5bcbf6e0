"""What can be wrong with the files of a SQLite journal."""

from __future__ import annotations

import shutil
import stat
from typing import TYPE_CHECKING

from answerable.journal.store import Finding

if TYPE_CHECKING:
    from pathlib import Path

LOW_DISK_BYTES = 500_000_000


def findings(path: Path) -> list[Finding]:
    """Who can read the files, and how much room there is for more."""
    return [_modes(path), _disk(path)]


def _modes(path: Path) -> Finding:
    beside = [path.with_name(path.name + end) for end in ("", ".key", "-wal", "-shm")]
    open_to_others = [
        file.name for file in beside if file.exists() and stat.S_IMODE(file.stat().st_mode) & 0o077
    ]
    if open_to_others:
        return Finding(
            name="file-modes",
            level="bad",
            message=f"others can read {', '.join(open_to_others)}",
            hint=f"chmod 600 {' '.join(open_to_others)}",
        )
    return Finding(name="file-modes", level="ok", message="database and key are readable by their owner only")


def _disk(path: Path) -> Finding:
    free = shutil.disk_usage(path.parent).free
    if free < LOW_DISK_BYTES:
        return Finding(
            name="disk",
            level="warn",
            message=f"{free // 1_000_000} MB are free",
            hint="make room: a full disk stops every run",
        )
    return Finding(name="disk", level="ok", message=f"{free // 1_000_000_000} GB are free")
