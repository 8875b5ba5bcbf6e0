"""The independent reader: verifies a journal from `spec/journal.md` alone.

It shares no code with the writer, on purpose: a mistake that both made would otherwise prove itself right.
Nothing here imports from the rest of the package.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from answerable.journal.verify.database import opened
from answerable.journal.verify.report import KINDS, Finding, Report
from answerable.journal.verify.verifier import Verifier

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["KINDS", "Finding", "Report", "verify_database", "verify_postgres"]


def verify_database(
    path: Path,
    *,
    head: Path | None = None,
    key: bytes | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Report:
    """Verify the SQLite journal at `path`, opened so that nothing can be written, in one read transaction.

    `head` is a head file that was kept elsewhere: with it, a cut tail, a dropped stream and an older state
    are found too. `key` is the Ed25519 public key (32 bytes) that the caller trusts; without it a head counts
    for as much as the place it was kept in. `progress` is called with entries read and entries in all; it
    must not raise.

    Raises nothing, whatever the files hold: what is wrong is in the report.
    """
    path = Path(path)
    return Verifier(
        str(path), partial(opened, path), None if head is None else Path(head), key, progress
    ).report()


def verify_postgres(
    url: str,
    *,
    head: Path | None = None,
    key: bytes | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Report:
    """Verify the journal in the PostgreSQL database at `url`, in one read-only transaction.

    The same as `verify_database`, with one difference: the server that answers is trusted to answer with what it
    stores. To be independent of it, verify a backup.
    """
    from answerable.journal.verify.postgres import name_of, opened

    return Verifier(
        name_of(url), partial(opened, url), None if head is None else Path(head), key, progress
    ).report()
