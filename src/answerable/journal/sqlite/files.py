"""The files around the database: who may read them, who owns a run, where large content lies."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

PRIVATE = 0o600


def create_private(path: Path) -> None:
    """Create an empty file that only its owner can read. Raises `FileExistsError` if it is there."""
    os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, PRIVATE))


def write_private(path: Path, content: bytes) -> None:
    """Write a file so that it is either there whole and durable, or not there."""
    aside = path.with_name(f"{path.name}.{os.getpid()}.part")
    descriptor = os.open(aside, os.O_CREAT | os.O_TRUNC | os.O_WRONLY, PRIVATE)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    aside.replace(path)
    sync_folder(path.parent)


def publish_private(path: Path, content: bytes) -> None:
    """As `write_private`, but the first to do it wins: a file that is there stays as it is."""
    aside = path.with_name(f"{path.name}.{os.getpid()}-{threading.get_ident()}.new")
    write_private(aside, content)
    try:
        os.link(aside, path)
    except FileExistsError:
        pass
    finally:
        aside.unlink()
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Make a rename in `folder` durable."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


class OwnerLock:
    """Proof that a process is alive: a file lock that the kernel lets go of when the process dies.

    No lease and no heartbeat is needed on one machine; a paused process keeps its lock, and so its runs.
    """

    def __init__(self, folder: Path, owner: str, about: Mapping[str, object] | None = None) -> None:
        folder.mkdir(mode=0o700, exist_ok=True)
        self.owner = owner
        self._path = folder / f"{owner}.lock"
        self._descriptor = -1
        while self._descriptor < 0:
            descriptor = os.open(self._path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, PRIVATE)
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            # A sweep may have removed the file between the open and the lock: then the lock proves nothing.
            if _is_file(self._path, descriptor):
                self._descriptor = descriptor
            else:
                os.close(descriptor)
        os.pwrite(self._descriptor, json.dumps(dict(about or {})).encode(), 0)

    def release(self) -> None:
        """Let go; whoever looks next sees a dead owner."""
        if self._descriptor >= 0:
            with contextlib.suppress(FileNotFoundError):
                self._path.unlink()
            os.close(self._descriptor)
            self._descriptor = -1


def _is_file(path: Path, descriptor: int) -> bool:
    """Whether the open file is the one that has this name now."""
    try:
        return path.stat().st_ino == os.fstat(descriptor).st_ino
    except FileNotFoundError:
        return False


def is_alive(folder: Path, owner: str) -> bool:
    """Whether the process holding `owner`'s lock still exists."""
    try:
        descriptor = os.open(folder / f"{owner}.lock", os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


def owners(folder: Path) -> dict[str, dict[str, Any]]:
    """What each living owner says of itself. One that is just writing it is left out."""
    found: dict[str, dict[str, Any]] = {}
    for path in sorted(folder.glob("*.lock")) if folder.exists() else ():
        if is_alive(folder, path.stem):
            with contextlib.suppress(FileNotFoundError, ValueError):
                about = json.loads(path.read_bytes())
                if about:
                    found[path.stem] = about
    return found


def sweep(folder: Path) -> None:
    """Remove the lock files of dead owners."""
    for path in folder.glob("*.lock") if folder.exists() else ():
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        except FileNotFoundError:
            continue
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # Removed while we hold it: an owner that was waiting for it sees that its file is gone, and makes another.
            if _is_file(path, descriptor):
                path.unlink(missing_ok=True)
        except BlockingIOError:
            continue
        finally:
            os.close(descriptor)
