"""A look at the health of a journal: what an operator should know, and what to do about it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from answerable.journal.derive import derive
from answerable.journal.heads import public_key_for
from answerable.journal.store import Finding

if TYPE_CHECKING:
    from collections.abc import Mapping

    from answerable.journal.store import JournalStore
    from answerable.kernel.entry import Entry

DIFFERENCES_MAX = 10


async def examine(store: JournalStore) -> list[Finding]:
    """Everything worth saying about a journal, the worst not first but in a fixed order."""
    return [
        *(await store.findings()),
        *_key(store),
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
    ]


def _key(store: JournalStore) -> list[Finding]:
    if not store.custody.key.exists():
        return [
            Finding(
                name="signing-key",
                level="bad",
                message="the key that signs heads is missing",
                hint="restore it from where it is kept",
            )
        ]
    if public_key_for(store.custody, _never, is_new=False) != store.public_key:
        return [
            Finding(
                name="signing-key",
                level="bad",
                message="the key beside the journal is not the one that the journal names",
                hint="restore the journal's own .key file: heads signed with another one prove nothing",
            )
        ]
    return []


def _never(_count: int) -> bytes:
    raise AssertionError


async def _derived(store: JournalStore) -> list[Finding]:
    stored = await store.derived_tables()
    heads = {str(stream): row for stream, row in stored["head"].items()}
    differences: list[str] = []
    expected = derive(await _entries_until(store, heads, differences))
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


async def _entries_until(
    store: JournalStore, heads: Mapping[str, Any], differences: list[str]
) -> list[Entry]:
    """The entries behind these heads. A journal in use goes on meanwhile; then its heads do, too."""
    found: list[Entry] = []
    for stream, (seq, *_) in heads.items():
        entries = await store.entries(stream)
        found += [entry for entry in entries if entry.seq <= seq]
        if entries and entries[-1].seq > seq and (await store.head(stream)).seq < entries[-1].seq:
            differences.append(f"head `{stream}`: stored {seq}, the entries go on to {entries[-1].seq}")
    return found


async def _runs(store: JournalStore) -> list[Finding]:
    rows = await store.runs(states=("created", "running", "waiting"))
    orphans = [
        row.run
        for row in rows
        if row.state != "waiting" and not (row.owner and await store.is_alive(row.owner))
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


async def _notices(store: JournalStore) -> list[Finding]:
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


def _head(store: JournalStore) -> Finding:
    if store.custody.head.exists():
        return Finding(name="heads", level="ok", message="a head was exported; keep it on another machine")
    return Finding(
        name="heads",
        level="warn",
        message="no head was exported: a cut tail or a restored old file could not be shown",
        hint="`answerable audit head --out FILE`, and keep the file elsewhere",
    )
