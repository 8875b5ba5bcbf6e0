"""The walk: the store, its streams, its derived heads, its payloads, and the head that was kept elsewhere."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, Final

from answerable.journal.verify.canonical import MalformedError
from answerable.journal.verify.chain import StreamReader, columns_of, read_body
from answerable.journal.verify.events import check_event, payload_refs
from answerable.journal.verify.fields import from_base64, is_journal_id, is_stream
from answerable.journal.verify.heads import read_head
from answerable.journal.verify.order import InboxEntry
from answerable.journal.verify.payloads import PayloadReader
from answerable.journal.verify.reader import CannotReadError, RawText
from answerable.journal.verify.report import Findings, Report, plain, shown

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager
    from pathlib import Path

    from answerable.journal.verify.chain import Columns, Tail
    from answerable.journal.verify.heads import Head
    from answerable.journal.verify.order import Event
    from answerable.journal.verify.reader import Reader

_PROGRESS_EVERY: Final = 1000
_BIRTH_STREAM: Final = "tenant/default"
_KEY_BYTES: Final = 32


class Verifier:
    """One verification of one journal. Use once."""

    def __init__(
        self,
        name: str,
        opened: Callable[[], AbstractContextManager[Reader]],
        head: Path | None,
        key: bytes | None,
        progress: Callable[[int, int], None] | None,
    ) -> None:
        self._name = name
        self._opened = opened
        self._head_path = head
        self._key = key
        self._progress = progress
        self._findings = Findings()
        self._could_not_read: str | None = None
        self._head: Head | None = None
        self._head_left: dict[str, tuple[int, str]] = {}
        """Streams of the head that were not yet met at the entry it names."""
        self._birth: Event = {}
        self._payloads: PayloadReader | None = None
        self._streams = 0
        self._entries = 0

    def report(self) -> Report:
        """Verify, and say what was found. Raises nothing, whatever the store holds."""
        try:
            self._read_head_file()
            with self._opened() as reader:
                self._read(reader)
        except CannotReadError as error:
            self._could_not_read = plain(str(error))
        except Exception as error:  # noqa: BLE001 - whatever it is, it was not read to its end
            self._could_not_read = plain(f"reading broke off: {error}")
        return self._made_report()

    def _made_report(self) -> Report:
        payloads, journal = self._payloads, self._birth.get("journal")
        return Report(
            path=self._name,
            journal=journal if is_journal_id(journal) else None,
            streams=self._streams,
            entries=self._entries,
            payloads_checked=payloads.checked if payloads else 0,
            payloads_erased=payloads.erased if payloads else 0,
            payloads_key_missing=payloads.key_missing if payloads else 0,
            findings=tuple(self._findings.kept),
            findings_left_out=self._findings.left_out,
            head_digest=self._head.digest if self._head else None,
            head_time=self._head.time if self._head else None,
            could_not_read=self._could_not_read,
        )

    def _read(self, reader: Reader) -> None:
        if not reader.check_shape(self._findings):
            return
        self._read_birth(reader)
        self._payloads = PayloadReader(reader, self._findings)
        self._read_entries(reader, self._payloads)
        self._payloads.check_references()
        self._check_heads_without_entries(reader)
        self._payloads.check_rows()
        self._check_head_left()

    # ------------------------------------------------------------- the journal's birth, the head's own claims

    def _read_birth(self, reader: Reader) -> None:
        """Read `JournalCreated` ahead of its turn: run streams come before the tenant's."""
        entry = _find_entry(reader, _BIRTH_STREAM, 1)
        if entry is None or not entry.events or entry.events[0]["type"] != "JournalCreated":
            self._findings.add("journal_created", _BIRTH_STREAM, None, "JournalCreated cannot be read")
        else:
            self._birth = entry.events[0]
        key = from_base64(self._birth.get("key"), _KEY_BYTES)
        if self._key is not None and self._key != key:
            self._findings.add("head_key", None, None, "the journal's key is not the one that was expected")
        if self._head is not None and self._head.journal != self._birth.get("journal"):
            self._findings.add("head_journal", None, None, f"the head is of journal {self._head.journal}")
        elif self._head is not None and self._head.key != key:
            self._findings.add(
                "head_key", None, None, "the head is signed with another key than the journal's"
            )

    def _read_head_file(self) -> None:
        if self._head_path is None:
            return
        try:
            self._head = read_head(self._head_path)
        except MalformedError as error:
            self._findings.add(error.kind, None, None, error.message)
            return
        self._head_left = dict(self._head.streams)
        if self._key is not None and self._head.key != self._key:
            self._findings.add("head_key", None, None, "the head is signed with a key that was not expected")

    def _check_head_left(self) -> None:
        for stream, (seq, _) in self._head_left.items():
            self._findings.add("head_stream_missing", stream, None, f"the head has it at entry {seq}")

    # ----------------------------------------------------------------- entries

    def _read_entries(self, store: Reader, payloads: PayloadReader) -> None:
        total = store.count()
        reader, stream = None, ""
        for row in store.entries():
            self._entries += 1
            columns = columns_of(row)
            if isinstance(columns, str):
                self._refuse_row(row, columns)
                continue
            if reader is None or columns.stream != stream:
                self._end_stream(store, stream, reader.tail if reader else None)
                stream = columns.stream
                reader = self._begin_stream(store, stream)
            self._read_entry(reader, columns, payloads)
            if self._progress is not None and self._entries % _PROGRESS_EVERY == 0:
                self._progress(self._entries, total)
        self._end_stream(store, stream, reader.tail if reader else None)
        if self._entries != total:
            words = f"the table holds {total} entries, and {self._entries} were found by their key"
            self._findings.add("damaged", None, None, words)
        if self._progress is not None:
            self._progress(self._entries, total)

    def _refuse_row(self, row: tuple[object, ...], why: str) -> None:
        stream, seq = row[0], row[1]
        name = stream.decode("utf-8", "replace") if isinstance(stream, RawText) else None
        self._findings.add(
            "column_type", name if is_stream(name) else None, seq if type(seq) is int else None, why
        )

    def _begin_stream(self, store: Reader, stream: str) -> StreamReader:
        self._streams += 1
        if not is_stream(stream):
            self._findings.add("stream_name", None, None, f"{shown(stream)} names no stream")
        kind, _, run = stream.partition("/")
        if kind == "inbox" and _find_entry(store, f"run/{run}", 1) is None:
            self._findings.add("inbox_without_run", stream, None, f"there is no entry 1 of run/{run}")
        return StreamReader(stream, partial(_find_entry, store, f"inbox/{run}"))

    def _read_entry(self, reader: StreamReader, columns: Columns, payloads: PayloadReader) -> None:
        stream, seq = columns.stream, columns.seq
        for kind, message in reader.take(columns):
            self._findings.add(kind, stream if is_stream(stream) else None, seq, message)
        for event in reader.events:
            if event["type"] == "RunCreated":
                self._check_journal_of(stream, seq, event)
                payloads.check_subject(stream, seq, event["subject"])
            for field, ref in payload_refs(event):
                payloads.check_reference(stream, seq, field, ref)
        expected = self._head_left.get(stream)
        if expected is not None and expected[0] == seq and reader.tail is not None:
            del self._head_left[stream]
            if expected[1] != reader.tail.hash:
                self._findings.add(
                    "head_stream_differs", stream, seq, "the entry has another hash than in the head"
                )

    def _check_journal_of(self, stream: str, seq: int, event: Event) -> None:
        if self._birth and event["journal"] != self._birth["journal"]:
            self._findings.add(
                "journal_id", stream, seq, f"the run was written for journal {event['journal']}"
            )

    def _end_stream(self, store: Reader, stream: str, tail: Tail | None) -> None:
        if tail is None:
            return
        expected = self._head_left.pop(stream, None)
        if expected is not None and expected[0] > tail.seq:
            words = f"it ends at entry {tail.seq}, and the head has it at {expected[0]}: its tail was cut"
            self._findings.add("head_stream_shorter", stream, tail.seq, words)
        elif expected is not None:
            words = f"the head names entry {expected[0]}, which is not there"
            self._findings.add("head_stream_differs", stream, expected[0], words)
        problem = _head_row_problem(store.head_row(stream), tail)
        if problem is not None:
            self._findings.add("head_row", stream if is_stream(stream) else None, tail.seq, problem)

    def _check_heads_without_entries(self, store: Reader) -> None:
        for stream, seq in store.heads_without_entries():
            words = f"the head row of {shown(stream)} says entry {shown(seq)}, but the stream has no entries"
            self._findings.add("head_row", None, None, words)


def _head_row_problem(row: tuple[Any, ...] | None, tail: Tail) -> str | None:
    if row is None:
        return "there is no head row for the stream"
    seq, digest, epoch, time = row
    if (
        type(seq) is not int
        or type(epoch) is not int
        or type(time) is not int
        or not isinstance(digest, RawText)
    ):
        return "a column of the head row is not of its storage type"
    if seq > tail.seq:
        return f"the entries end at {tail.seq}, but the head row says {seq}: the tail was cut"
    is_same = (seq, bytes(digest), time) == (tail.seq, tail.hash.encode(), tail.time)
    return None if is_same and tail.epoch in {None, epoch} else "the head row differs from the last entry"


def _find_entry(store: Reader, stream: str, seq: int) -> InboxEntry | None:
    """An entry out of its turn; without its events where they are not sound, which its own stream says."""
    row = store.entry(stream, seq)
    columns = columns_of(row) if row is not None else ""
    if isinstance(columns, str):
        return None
    try:
        body = read_body(columns)
    except MalformedError:
        return InboxEntry(columns.hash, ())
    if any(True for event in body.events for _ in check_event(stream, event)):
        return InboxEntry(columns.hash, ())
    return InboxEntry(columns.hash, [event for event in body.events if isinstance(event, dict)])
