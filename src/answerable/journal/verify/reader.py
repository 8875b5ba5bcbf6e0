"""What the verifier asks of a store. Each kind of store has a small reader of its own, which answers nothing else.

Rows are tuples of columns as they are stored: an integer, `RawText` for text, bytes for binary content, or None.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from answerable.journal.verify.report import Findings

Row = tuple[Any, ...]


class CannotReadError(Exception):
    """The store cannot be read as a database. Never leaves this package."""


class RawText(bytes):
    """The bytes of a text value, so that they are not taken for binary content, nor trusted as UTF-8."""

    __slots__ = ()


class Reader(Protocol):
    """One journal, at one moment, opened so that nothing can be written."""

    inline_max: int | None
    """Bytes of content that a row may hold; more is in a file. None where all of it is in rows."""
    references_at_once: int
    """How many references are worth looking up together."""
    payloads_at_once: int
    """How many payloads are worth having in memory, to look up what they need together."""

    def check_shape(self, findings: Findings) -> bool:
        """Whether the rows can be read at all; says what is not as the specification has it."""
        ...

    def count(self) -> int:
        """How many entries the table holds, not asked of an index."""
        ...

    def entries(self) -> Iterator[Row]:
        """`stream, seq, time, prev, hash, body` of all entries, by stream (as bytes) and number."""
        ...

    def entry(self, stream: str, seq: int) -> Row | None:
        """The same of one entry."""
        ...

    def head_row(self, stream: str) -> Row | None:
        """`seq, hash, epoch, time` of a stream's derived head. Asked for in the order of the streams."""
        ...

    def heads_without_entries(self) -> Iterator[Row]:
        """`stream, seq` of derived heads whose stream has no entries."""
        ...

    def payload_rows(self) -> Iterator[Row]:
        """`ref, subject, retention, created, size, body, erased` of all payloads."""
        ...

    def known_payloads(self, refs: Sequence[str]) -> set[str]:
        """Those of these payloads that have a row."""
        ...

    def subject_keys(self, subjects: Sequence[str]) -> dict[str, Any]:
        """`key` of these subjects, for those that have a row."""
        ...

    def has_file(self, ref: str) -> bool:
        """Whether there is content of a payload outside of its row."""
        ...

    def file_chunks(self, ref: str) -> Iterator[bytes]:
        """That content. Raises `MalformedError` where it is not there, or is no plain content."""
        ...
