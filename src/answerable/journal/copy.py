"""A journal copied from one store into another: the one mechanism behind migration, backup and restore.

The truth is read from one moment and written in one transaction; what is derived is rebuilt from the entries; all
of it is read back; and only then does the copy become a journal. Whatever breaks off before leaves nothing.

A *migration* closes the source in the same breath, because two journals with one id would go on as two truths. The
source is closed before the target is opened: if the process dies between the two, neither can be written, and the same
command again, or its undo, says which of them goes on. A *backup* leaves the source as it is, and is marked as one.
"""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal

import orjson

from answerable.errors import ConfigError, JournalBehindHead, JournalError, JournalMoved
from answerable.journal import copy_custody as custody
from answerable.journal.copy_check import Digest, Wanted, check_entries, check_table, read_entry
from answerable.journal.copy_derived import Rebuilt
from answerable.journal.copy_ports import BACKUP_OF, DERIVED, MOVED_TO, OF_THE_PLACE, TRUTH
from answerable.journal.store import Finding
from answerable.kernel.entry import parse_entry
from answerable.kernel.events import JournalCreated
from answerable.kernel.ids import tenant_stream

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from answerable.journal.copy_ports import Row, Rows, Source, Target
    from answerable.kernel.entry import Entry

    Progress = Callable[[str, int, int], None]

EVERY = 500
"""Rows between two signs of progress."""
NAMED_MAX = 5
"""Processes that an error names."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Copied:
    """What a copy came to."""

    journal: str
    source: str
    target: str
    streams: int
    entries: int
    payloads: int
    bytes: int
    """Of entries and content."""
    seconds: float
    kind: Literal["moved", "restored", "backup"]
    """`moved`: the source is closed. `restored`: it is a backup, and stays one. `backup`: it goes on."""
    key: str | None = None
    """Where the key that signs heads lies now, on this machine."""
    head: str | None = None
    """Where the last exported head lies now."""
    behind: tuple[str, ...] = ()
    """Streams in which the copy is behind the head that is kept for its place: it cannot be opened as it is."""

    def to_json(self) -> dict[str, Any]:
        """The same as plain values."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Birth:
    """What the first entry says."""

    journal: str
    key: str


def migrate(source: Source, target: Target, *, progress: Progress) -> Copied:
    """Move a journal. It goes on in the target, and the source can only be read from then on.

    A backup that nobody has written to since stays as it is: it can be restored from again.

    Raises `ConfigError` or `JournalError`; both stores are then as they were, unless the error says otherwise.
    """
    source.begin(alone=True)
    birth = birth_of(source)
    _refuse_moved(source, target.name)
    is_backup = _is_untouched_backup(source)
    if not is_backup:
        _refuse_living(source)
    _refuse_behind(source, birth)
    custody.check(source.custody, target.custody, birth.key)
    target.begin()
    copied = _copy(source, target, birth, progress)
    if not is_backup:
        _close_and_commit(source, target, birth)
    else:
        target.commit()
    return _handed_over(copied, source, target, birth, kind="restored" if is_backup else "moved")


def backup(source: Source, target: Target, *, progress: Progress, now: int) -> Copied:
    """Copy a journal while it goes on. Key and head are left out; the copy says what it is."""
    source.begin(alone=False)
    birth = birth_of(source)
    _refuse_behind(source, birth)
    target.begin()
    copied = _copy(source, target, birth, progress)
    mark = {"at": now, "entries": copied["entries"], "of": source.name}
    target.write("setting", iter([(BACKUP_OF, _text(mark))]))
    target.commit()
    return Copied(**copied, kind="backup")


def finish(source: Source, target: Rows) -> Copied | None:
    """Finish a migration that was cut off after both stores were done, but for key and head; None where none was."""
    if moved_to(source) != target.name:
        return None
    birth = birth_of(source)
    if birth_of(target) != birth:
        return None
    nothing = {"streams": 0, "entries": 0, "payloads": 0, "bytes": 0, "seconds": 0.0}
    custody.check(source.custody, target.custody, birth.key)
    copied = {"journal": birth.journal, "source": source.name, "target": target.name, **nothing}
    return _handed_over(copied, source, target, birth, kind="moved")


def undo(source: Source, target: Source | None) -> None:
    """Let the source of a migration go on. `target` is what it was moved to; None where that holds no journal.

    Raises `ConfigError` where the target was written to since, or is not the place that the source names.
    """
    source.begin(alone=True)
    birth, to = birth_of(source), moved_to(source)
    if to is None:
        raise ConfigError(f"`{source.name}` was not moved anywhere", hint="it can be used as it is")
    if target is not None:
        if target.name != to:
            raise ConfigError(f"`{source.name}` was moved to `{to}`", hint="name that one as TO")
        target.begin(alone=True)
        if birth_of(target) != birth:
            raise ConfigError(f"`{to}` holds another journal now", hint="look who uses that database")
        if target.size().entries != source.size().entries:
            raise ConfigError(
                f"`{to}` was written to since: to go on here would lose that",
                hint="move it back instead: `answerable migrate TO sqlite:///NEW-FILE`",
            )
        target.end_for_writing(_text({"to": source.name}))
    source.take_back()


def moved_to(rows: Rows) -> str | None:
    """Where a journal goes on, by its name; None where it goes on here."""
    said = rows.setting(MOVED_TO)
    return None if said is None else str(orjson.loads(said)["to"])


def findings_of(rows: Rows) -> list[Finding]:
    """What should be known of a place before somebody works there."""
    to, copied = moved_to(rows), rows.setting(BACKUP_OF)
    if to is not None:
        return [
            Finding(
                name="moved",
                level="warn",
                message=f"it goes on in {to}; here it can only be read",
                hint="name that one",
            )
        ]
    if copied is None:
        return []
    said = orjson.loads(copied)
    return [
        Finding(
            name="backup",
            level="warn",
            message=f"this is a backup of {said['of']}, with its first {said['entries']} entries",
            hint="two journals must not go on apart: work here only if that one is gone",
        )
    ]


def birth_of(rows: Rows) -> Birth:
    """The journal's id and key. Raises `JournalError` where it does not begin as a journal."""
    for row in rows.first(tenant_stream("default")):
        try:
            created = parse_entry(*row).events[0]
        except (ValueError, KeyError, TypeError, AttributeError, IndexError):
            break
        if isinstance(created, JournalCreated):
            return Birth(created.journal, created.key)
    raise JournalError(
        f"`{rows.name}` does not begin as a journal", hint="`answerable audit verify` names the place"
    )


# What is refused


def _refuse_moved(source: Source, to: str) -> None:
    before = moved_to(source)
    if before is not None and before != to:
        raise JournalMoved(
            f"the journal `{source.name}` was moved to `{before}`", hint="copy from there, where it goes on"
        )


def _refuse_living(source: Source) -> None:
    living = source.living()
    if living:
        raise ConfigError(
            f"`{source.name}` is being worked on by {', '.join(living[:NAMED_MAX])}"
            + (f" and {len(living) - NAMED_MAX} more" if len(living) > NAMED_MAX else ""),
            hint="stop them and try again; or take a copy while they go on: --while-running",
        )


def _refuse_behind(source: Source, birth: Birth) -> None:
    missing = custody.behind(source, source.custody.head, birth.key)
    if missing:
        raise JournalBehindHead(
            f"the journal `{source.name}` is older than the head exported from it: `{missing[0]}` is behind",
            hint="copy a newer one; or, knowing that those entries are lost, `answerable doctor --accept-loss` first",
        )


def _is_untouched_backup(source: Source) -> bool:
    said = source.setting(BACKUP_OF)
    return said is not None and orjson.loads(said)["entries"] == source.size().entries


# Copying


def _copy(source: Source, target: Target, birth: Birth, progress: Progress) -> dict[str, Any]:
    begun = time.monotonic()
    size = source.size()
    if target.payload_max is not None and size.payload_max > target.payload_max:
        raise ConfigError(
            f"a content of {size.payload_max} bytes is larger than `{target.name}` takes ({target.payload_max})",
            hint="let it go by retention first, or stay with a journal in a file",
        )
    rebuilt = Rebuilt()
    flow = _Flow(rebuilt, progress, size.entries)
    digests = {table: Digest() for table in TRUTH}
    try:
        target.write("entry", flow.entries(digests["entry"].through(source.truth("entry"))))
        rebuilt.finish()
        for table in ("payload", "subject", "notice"):
            target.write(table, flow.counted(digests[table].through(source.truth(table))))
        target.write("setting", digests["setting"].through(_kept(source)))
        for table in DERIVED:
            target.write(table, rebuilt.rows(table))
        _check(target, digests, rebuilt.linked(), lambda done: progress("checking", done, size.entries))
    finally:
        rebuilt.close()
    return {
        "journal": birth.journal,
        "source": source.name,
        "target": target.name,
        "streams": flow.streams,
        "entries": size.entries,
        "payloads": size.payloads,
        "bytes": flow.bytes,
        "seconds": round(time.monotonic() - begun, 3),
    }


def _kept(rows: Rows) -> Iterator[Row]:
    return (row for row in rows.truth("setting") if row[0] not in OF_THE_PLACE)


def _check(
    target: Target, digests: dict[str, Digest], linked: frozenset[str], said: Callable[[int], None]
) -> None:
    wanted = Wanted(linked)
    try:
        for done in check_entries(target, digests["entry"], wanted):
            if done % EVERY == 0:
                said(done)
        wanted.check(target)
    finally:
        wanted.close()
    for table in ("payload", "subject", "notice", "setting"):
        check_table(target, table, digests[table])


class _Flow:
    """Rows on their way, looked at as they pass."""

    def __init__(self, rebuilt: Rebuilt, progress: Progress, total: int) -> None:
        self.streams = 0
        self.bytes = 0
        self._rebuilt = rebuilt
        self._progress = progress
        self._total = total

    def entries(self, rows: Iterator[Row]) -> Iterator[Row]:
        """Entries, each checked against the one before it."""
        before: Entry | None = None
        for done, row in enumerate(rows, 1):
            entry = read_entry(row, before)
            self.streams += before is None or before.stream != entry.stream
            self.bytes += len(entry.body)
            self._rebuilt.take(entry)
            before = entry
            if done % EVERY == 0:
                self._progress("copying", done, self._total)
            yield row

    def counted(self, rows: Iterator[Row]) -> Iterator[Row]:
        """Other rows: the bytes of their content count."""
        for row in rows:
            self.bytes += sum(len(value) for value in row if isinstance(value, bytes))
            yield row


# The moment in which it changes hands


def _close_and_commit(source: Source, target: Target, birth: Birth) -> None:
    source.end_for_writing(_text({"to": target.name}))
    try:
        target.commit()
    except BaseException:
        if _has(target, birth) is False:
            source.take_back()
        raise


def _has(target: Target, birth: Birth) -> bool | None:
    """Whether the target holds the journal after all; None where that cannot be known now."""
    try:
        return target.holds(birth.journal)
    except Exception:  # noqa: BLE001 - whatever it is, we cannot know: the source stays closed
        return None


def _handed_over(
    copied: dict[str, Any], source: Source, target: Rows, birth: Birth, *, kind: Literal["moved", "restored"]
) -> Copied:
    key, head = custody.hand_over(source.custody, target.custody, birth.key)
    return Copied(
        **copied,
        kind=kind,
        key=None if key is None else str(key),
        head=None if head is None else str(head),
        behind=tuple(custody.behind(source, target.custody.head, birth.key)),
    )


def _text(value: dict[str, Any]) -> str:
    return orjson.dumps(value, option=orjson.OPT_SORT_KEYS).decode()
