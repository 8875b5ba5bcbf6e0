"""What is kept of a journal outside of its database, when the journal changes its place.

Key and last head go along on this machine, and nowhere else: nothing here is ever sent.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from answerable.errors import ConfigError
from answerable.journal.heads import read_head, signing_key
from answerable.journal.sqlite.files import publish_private, write_private

if TYPE_CHECKING:
    from pathlib import Path

    from answerable.journal.copy_ports import Rows
    from answerable.journal.store import Custody


def check(source: Custody, target: Custody, public_key: str) -> None:
    """Refuse a place whose key or head is another journal's. Raises `ConfigError`."""
    if target.key.exists() and public_key and signing_key(target).public_text != public_key:
        raise ConfigError(
            f"`{target.key}` is the key of another journal",
            hint="move it, and the .head file beside it, to where that journal is; then try again",
        )
    if target.head.exists():
        read_head(target.head, public_key)
    if source.head.exists():
        read_head(source.head, public_key)


def hand_over(source: Custody, target: Custody, public_key: str) -> tuple[Path | None, Path | None]:
    """Let key and last head lie where the target's are looked for: their places, or None where there is none.

    A newer head that is there already stays: an older journal must not pass for a whole one.
    """
    is_ours = source.key.exists() and signing_key(source).public_text == public_key
    if is_ours and not target.key.exists():
        target.key.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        publish_private(target.key, source.key.read_bytes())
    if source.head.exists() and _time(source.head, public_key) > _time(target.head, public_key):
        write_private(target.head, source.head.read_bytes())
    return (target.key if target.key.exists() else None), (target.head if target.head.exists() else None)


def _time(head: Path, public_key: str) -> int:
    return int(read_head(head, public_key)["time"]) if head.exists() else -1


def behind(rows: Rows, head: Path, public_key: str) -> list[str]:
    """The streams in which these rows are behind a head, or other than it; none where there is no head."""
    if not head.exists():
        return []
    streams = read_head(head, public_key)["streams"]
    return [name for name, seq, hash_ in streams if rows.entry_hash(name, seq) != hash_]
