"""A look at the health of a journal: what an operator should know, and what to do about it."""

from __future__ import annotations

import shutil
import stat
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from answerable.journal.derive import derive
from answerable.journal.heads import key_path, last_head_path, public_key_for

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from answerable.journal.sqlite import SqliteJournal
    from answerable.kernel.entry import Entry

LOW_DISK_BYTES = 500_000_000
DIFFERENCES_MAX = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that was looked at. `bad` means that something is wrong; `warn` that somebody should know."""

    name: str
    level: Literal["ok", "warn", "bad"]
    message: str
    hint: str = ""


async def examine(store: SqliteJournal) -> list[Finding]:
    """Everything worth saying about a journal, the worst not first but in a fixed order."""
    return [
        *_files(store),
        Finding(
            name="encryption",
            level="warn",
            message="content is not encrypted at rest yet: whoever can read the file can read the payloads",
            hint="put the journal on an encrypted volume",
        ),
        *(await _derived(store)),
        *(await _runs(store)),
        *(await _notices(store)),
        _head(store),
        _disk(store),
    ]


def _files(store: SqliteJournal) -> Iterator[Finding]:
    name = store.path.name
    beside = [
        store.path,
        key_path(store.path),
        *(store.path.with_name(name + end) for end in ("-wal", "-shm")),
    ]
    open_to_others = [
        path.name for path in beside if path.exists() and stat.S_IMODE(path.stat().st_mode) & 0o077
    ]
    if open_to_others:
        yield Finding(
            name="file-modes",
            level="bad",
            message=f"others can read {', '.join(open_to_others)}",
            hint=f"chmod 600 {' '.join(open_to_others)}",
        )
    else:
        yield Finding(
            name="file-modes", level="ok", message="database and key are readable by their owner only"
        )
    if not key_path(store.path).exists():
        yield Finding(
            name="signing-key",
            level="bad",
            message="the key that signs heads is missing",
            hint="restore it from where it is kept",
        )
    elif public_key_for(store.path, _never) != store.public_key:
        yield Finding(
            name="signing-key",
            level="bad",
            message="the key beside the journal is not the one that the journal names",
            hint="restore the journal's own .key file: heads signed with another one prove nothing",
        )


def _never(_count: int) -> bytes:
    raise AssertionError


async def _derived(store: SqliteJournal) -> list[Finding]:
    stored = await store.derived_tables()
    expected = derive(await _all_entries(store))
    differences: list[str] = []
    _compare("head", stored["head"], expected.heads, differences)
    _compare("run", stored["run"], expected.runs, differences)
    _compare("budget", stored["budget"], expected.budgets, differences)
    _compare("total", _nonzero(stored["total"]), _nonzero(expected.totals), differences)
    _compare("claim", stored["claim"], expected.claims, differences)
    _compare("halt", stored["halt"], expected.halts, differences)
    if not differences:
        return [Finding(name="derived-tables", level="ok", message="derived tables are what the entries say")]
    return [
        Finding(
            name="derived-tables",
            level="bad",
            message=difference,
            hint="somebody changed the database; `answerable audit verify` says whether the entries were changed too",
        )
        for difference in differences[:DIFFERENCES_MAX]
    ]


def _nonzero(rows: Mapping[Any, object]) -> dict[Any, object]:
    return {key: row for key, row in rows.items() if row != (0, 0)}


def _compare(
    table: str, stored: Mapping[Any, object], expected: Mapping[Any, object], into: list[str]
) -> None:
    into.extend(
        f"{table} `{key}`: stored {stored.get(key)}, the entries say {expected.get(key)}"
        for key in sorted({*stored, *expected}, key=str)
        if stored.get(key) != expected.get(key)
    )


async def _all_entries(store: SqliteJournal) -> list[Entry]:
    found: list[Entry] = []
    for stream in await store.streams():
        found += await store.entries(stream)
    return found


async def _runs(store: SqliteJournal) -> list[Finding]:
    rows = await store.runs(states=("created", "running", "waiting"))
    orphans = [
        row.run for row in rows if row.state != "waiting" and not (row.owner and store.is_alive(row.owner))
    ]
    late = [row.run for row in rows if row.wake_at is not None and row.wake_at < store.now()]
    unknown = await store.open_effects()
    findings = [
        Finding(
            name="open-runs",
            level="warn" if orphans else "ok",
            message=f"{len(rows)} runs are open; {len(orphans)} of them have no living owner",
            hint="`answerable resume --all` drives them" if orphans else "",
        )
    ]
    if late:
        findings.append(
            Finding(
                name="overdue",
                level="warn",
                message=f"{len(late)} waiting runs are past their deadline",
                hint="`answerable resume --all` settles them",
            )
        )
    if unknown:
        findings.append(
            Finding(
                name="unknown-effects",
                level="warn",
                message=f"{len(unknown)} effects may or may not have happened: {', '.join(sorted(set(unknown))[:5])}",
                hint="`answerable show RUN` says which; look at the system itself",
            )
        )
    return findings


async def _notices(store: SqliteJournal) -> list[Finding]:
    waiting = await store.notices()
    tried = [notice for notice in waiting if notice.attempts]
    if not tried:
        return []
    return [
        Finding(
            name="notices",
            level="warn",
            message=f"{len(tried)} messages could not be delivered yet",
            hint="check `[notify]` in answerable.toml",
        )
    ]


def _head(store: SqliteJournal) -> Finding:
    if last_head_path(store.path).exists():
        return Finding(name="heads", level="ok", message="a head was exported; keep it on another machine")
    return Finding(
        name="heads",
        level="warn",
        message="no head was exported: a cut tail or a restored old file could not be shown",
        hint="`answerable audit head --out FILE`, and keep the file elsewhere",
    )


def _disk(store: SqliteJournal) -> Finding:
    free = shutil.disk_usage(store.path.parent).free
    if free < LOW_DISK_BYTES:
        return Finding(
            name="disk",
            level="warn",
            message=f"{free // 1_000_000} MB are free",
            hint="make room: a full disk stops every run",
        )
    return Finding(name="disk", level="ok", message=f"{free // 1_000_000_000} GB are free")
