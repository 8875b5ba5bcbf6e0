"""What a verification says: findings as values, what was looked at, and what was not shown."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Final

FINDINGS_MAX: Final = 1000
"""Findings kept one by one; more are only counted, so that a hostile file cannot fill the memory."""
SHOWN_CHARS_MAX: Final = 80

KINDS: Final = {
    "application_id": "the file is not marked as a journal",
    "user_version": "the journal is of another version",
    "schema": "a table, a column or an index is not as the specification has it",
    "damaged": "SQLite finds its own file damaged",
    "unreadable": "reading broke off here; what comes after was not looked at",
    "column_type": "a column holds another storage type",
    "column_mismatch": "a column differs from the body",
    "stream_name": "no stream has such a name",
    "too_long": "the body is longer than 8,192 bytes",
    "utf8": "the body is not UTF-8",
    "json": "the body is not JSON",
    "duplicate_member": "an object of the body has a member twice",
    "key_not_ascii": "a key of the body is not ASCII",
    "number": "a number of the body is not an integer of at most 2^53 - 1",
    "surrogate": "the body holds a lone surrogate",
    "not_canonical": "the body is not byte for byte the encoding of its own value",
    "envelope": "the body's own members are missing, unknown or of a wrong type",
    "hash": "the hash is not that of the body",
    "prev": "the entry does not name the hash of the entry before it",
    "seq": "entries are missing, or stand where none can",
    "time": "time falls within the stream",
    "epoch": "the epoch is not one the stream can be in here",
    "unknown_event": "no such event in version 1",
    "wrong_stream": "the event does not belong into this stream",
    "unknown_field": "the event has no such field in version 1",
    "missing_field": "a field of the event is missing",
    "field_type": "a field of the event is not of its type, format or closed list",
    "order": "the event cannot stand here, after the ones before it",
    "inbox_reference": "the run names an inbox entry that is not there, or is another",
    "inbox_without_run": "an inbox whose run has no entries",
    "journal_created": "`tenant/default` does not begin with the journal's birth",
    "journal_id": "the run was written for another journal",
    "head_row": "the derived row of `head` and the entries disagree",
    "subject": "a subject that is referred to has no row, or a key that cannot be one",
    "payload_missing": "a payload is referred to, but it is gone and was not erased",
    "payload_altered": "a payload is not what its ref commits to",
    "payload_form": "a payload's row is not as the specification has it",
    "head_unreadable": "the head file cannot be read",
    "head_signature": "the head's signature does not hold",
    "head_key": "the head is signed with another key",
    "head_journal": "the head is of another journal",
    "head_stream_missing": "a stream of the head is missing",
    "head_stream_shorter": "a stream is shorter than in the head",
    "head_stream_differs": "a stream has another hash than in the head",
}
"""Every kind of finding, and what it means. Names are part of the contract: vectors and scripts use them."""

_ABOUT_PAYLOADS: Final = frozenset({"subject", "payload_missing", "payload_altered", "payload_form"})
"""Kinds that say nothing about whether entries are missing."""

_NOT_PLAIN: Final = re.compile(r"[^\x20-\x7e]")
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong, and where. `stream` and `seq` are None where no entry can be named."""

    kind: str
    stream: str | None
    seq: int | None
    message: str

    def __str__(self) -> str:
        """The place, the kind and the words, on one line."""
        place = self.stream or "journal"
        number = "" if self.seq is None else f" entry {self.seq}"
        return f"{place}{number}: {self.kind}: {self.message}"

    def to_json(self) -> dict[str, object]:
        """The finding as plain values."""
        return {"kind": self.kind, "stream": self.stream, "seq": self.seq, "message": self.message}


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What was looked at, what was found, and up to where completeness is shown."""

    path: str
    journal: str | None = None
    """The id from `JournalCreated`, where it could be read."""
    streams: int = 0
    entries: int = 0
    payloads_checked: int = 0
    payloads_erased: int = 0
    payloads_key_missing: int = 0
    findings: tuple[Finding, ...] = ()
    findings_left_out: int = 0
    head_digest: str | None = None
    """SHA-256 of the head's signed bytes; None where no head was given or it could not be read."""
    head_time: int | None = None
    could_not_read: str | None = None
    """Why the file could not be read at all, or not to its end."""

    @property
    def is_ok(self) -> bool:
        """Nothing was found and everything was read. Says nothing about completeness."""
        return self.could_not_read is None and not self.findings

    @property
    def completeness(self) -> str:
        """`shown up to TIME by head with digest DIGEST`, or `not shown`."""
        doubts = (finding for finding in self.findings if finding.kind not in _ABOUT_PAYLOADS)
        is_in_doubt = self.could_not_read is not None or self.findings_left_out > 0 or any(doubts)
        if is_in_doubt or self.head_digest is None or self.head_time is None:
            return "not shown"
        return f"shown up to {_utc(self.head_time)} by head with digest {self.head_digest}"

    def to_json(self) -> dict[str, object]:
        """The report as plain values, for `--json`."""
        return {
            "is_ok": self.is_ok,
            "path": self.path,
            "journal": self.journal,
            "could_not_read": self.could_not_read,
            "streams": self.streams,
            "entries": self.entries,
            "payloads": {
                "checked": self.payloads_checked,
                "erased": self.payloads_erased,
                "key_missing": self.payloads_key_missing,
            },
            "completeness": self.completeness,
            "head": self.head_digest,
            "findings": [finding.to_json() for finding in self.findings],
            "findings_left_out": self.findings_left_out,
        }

    def to_text(self) -> str:
        """The report in plain language, ending without a line break."""
        lines = [
            f"journal {self.journal or '(unknown)'} in {plain(self.path)}",
            f"  looked at {self.entries} entries in {self.streams} streams",
            f"  payloads: {self._payloads()}",
        ]
        if self.could_not_read is not None:
            lines.append(f"could not be read: {self.could_not_read}")
        lines += [f"  {finding}" for finding in self.findings]
        if self.findings_left_out:
            lines.append(f"  and {self.findings_left_out} more findings that are not listed")
        lines.append(self._verdict())
        return "\n".join(lines)

    def _payloads(self) -> str:
        checked, erased, missing = self.payloads_checked, self.payloads_erased, self.payloads_key_missing
        return f"{checked} checked, {erased} erased, {missing} with their key destroyed"

    def _verdict(self) -> str:
        if not self.is_ok:
            return f"NOT OK: {len(self.findings) + self.findings_left_out} findings; completeness not shown"
        return f"internally consistent; completeness {self.completeness}"


@dataclass(slots=True)
class Findings:
    """Collects findings in order, and only counts them past the limit."""

    kept: list[Finding] = field(default_factory=list[Finding])
    left_out: int = 0

    def add(self, kind: str, stream: str | None, seq: int | None, message: str) -> None:
        """Note one finding."""
        if len(self.kept) < FINDINGS_MAX:
            self.kept.append(Finding(kind, stream, seq, plain(message)))
        else:
            self.left_out += 1


def plain(text: str) -> str:
    """Words that may quote a hostile file, with everything but printable ASCII escaped."""
    return _NOT_PLAIN.sub(lambda match: ascii(match.group())[1:-1], text)


def shown(value: object) -> str:
    """A value from a hostile file, safe and short enough for one line of a terminal."""
    text = ascii(bytes(value) if isinstance(value, bytes) else value)
    return text if len(text) <= SHOWN_CHARS_MAX else f"{text[: SHOWN_CHARS_MAX - 3]}..."


def _utc(microseconds: int) -> str:
    try:
        moment = _EPOCH + timedelta(microseconds=microseconds)
    except OverflowError:
        return f"{microseconds} us"
    return moment.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
