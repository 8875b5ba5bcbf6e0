"""What the writer says to the server: prepared statements, several in one round trip, arrays in binary form.

psycopg's own cursors are pleasant and cost as much for each statement as the server does. A batch is a dozen
statements with a handful of array parameters, so this goes by libpq's pipeline, which psycopg exposes as `pq`.
"""

from __future__ import annotations

import select
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg import pq

Row = tuple[Any, ...]

_ARRAY = struct.Struct("!iiIii")
_LENGTH = struct.Struct("!i")
_BIGINT = struct.Struct("!iq")
_BOOLEAN = struct.Struct("!i?")
_NULL = _LENGTH.pack(-1)
_OIDS = {"t": (25, 1009), "i": (20, 1016), "b": (16, 1000), "y": (17, 1001)}
"""Of each type (text, bigint, boolean, bytea): the type's number in the server, and that of its array."""
COMMIT = "COMMIT"
"""A commit is answered with this word, or with `ROLLBACK` where the transaction had failed before."""
_BINARY = 1
_TEXT = 0


@dataclass(frozen=True, slots=True)
class Statement:
    """One statement. `takes` and `gives` have a letter for each parameter and column: a capital is an array."""

    name: str
    sql: str
    takes: str = ""
    gives: str = ""

    @property
    def oids(self) -> tuple[int, ...]:
        """The types of the parameters, as the server numbers them."""
        return tuple(_OIDS[kind.lower()][kind.isupper()] for kind in self.takes)


def array(kind: str, values: Sequence[Any]) -> bytes:
    """An array of one type as the server reads it. None is NULL."""
    parts = [_ARRAY.pack(1, 1, _OIDS[kind][0], len(values), 1)]
    for value in values:
        if value is None:
            parts.append(_NULL)
        elif kind == "i":
            parts.append(_BIGINT.pack(8, value))
        elif kind == "b":
            parts.append(_BOOLEAN.pack(1, value))
        else:
            encoded = value.encode() if kind == "t" else value
            parts += (_LENGTH.pack(len(encoded)), encoded)
    return b"".join(parts)


def parameter(kind: str, value: Any) -> bytes:
    """One parameter as the server reads it."""
    if kind.isupper():
        return array(kind.lower(), value)
    return value.encode() if kind == "t" else struct.pack("!q", value)


_READ: dict[str, Callable[[bytes], Any]] = {
    "t": bytes.decode,
    "i": int,
    "b": b"t".__eq__,
}


Asked = tuple[Statement, tuple[Any, ...]]


class Wire:
    """A connection in pipeline mode. One thread only."""

    def __init__(self, db: psycopg.Connection[Any]) -> None:
        self._db = db
        self._pg = db.pgconn
        self._pg.enter_pipeline_mode()
        self._pg.nonblocking = 1
        self._poll = select.poll()
        self._poll.register(self._pg.socket, select.POLLIN)
        self._prepared = set[str]()

    @property
    def is_lost(self) -> bool:
        """Whether the connection is gone."""
        return self._pg.status != pq.ConnStatus.OK

    @property
    def is_in_transaction(self) -> bool:
        """Whether a transaction is open, or failed and not ended."""
        return self._pg.transaction_status in (
            pq.TransactionStatus.INTRANS,
            pq.TransactionStatus.INERROR,
            pq.TransactionStatus.ACTIVE,
        )

    def ask(self, asked: Sequence[Asked]) -> list[list[Row]]:
        """Send statements together and wait for all answers: the rows of each.

        Raises the first error as psycopg's; the statements behind it were not carried out.
        """
        # All is encoded before anything is sent: what has no encoding must not leave half a batch on the way.
        encoded = [
            [parameter(kind, value) for kind, value in zip(statement.takes, values, strict=True)]
            for statement, values in asked
        ]
        waiting: list[tuple[Statement, bool]] = []
        on_the_way = set(self._prepared)
        for (statement, _), values in zip(asked, encoded, strict=True):
            if statement.name not in on_the_way:
                on_the_way.add(statement.name)
                name = statement.name.encode()
                self._pg.send_prepare(name, statement.sql.encode(), statement.oids)
                waiting.append((statement, True))
            self._pg.send_query_prepared(
                statement.name.encode(), values, [_BINARY] * len(values), result_format=_TEXT
            )
            waiting.append((statement, False))
        self._pg.pipeline_sync()
        self._flush()
        answers: list[list[Row]] = []
        failed: psycopg.Error | None = None
        for statement, is_preparation in waiting:
            result = self._next(failed)
            if result.status == pq.ExecStatus.COMMAND_OK and is_preparation:
                self._prepared.add(statement.name)
            elif result.status in (pq.ExecStatus.TUPLES_OK, pq.ExecStatus.COMMAND_OK):
                if statement.sql == COMMIT and result.command_status != COMMIT.encode():
                    failed = failed or psycopg.InternalError("the server rolled back instead of committing")
                answers.append(_rows(result, statement.gives))
            elif failed is None:
                failed = psycopg.errors.error_from_result(result)
        self._next(failed)  # the end of the round trip
        if failed is not None:
            raise failed
        return answers

    def _flush(self) -> None:
        """Send everything. What the server says meanwhile is taken in, or it might stop listening."""
        while self._pg.flush():
            self._poll.modify(self._pg.socket, select.POLLIN | select.POLLOUT)
            for _, event in self._poll.poll():
                if event & ~select.POLLOUT:
                    self._pg.consume_input()
            self._poll.modify(self._pg.socket, select.POLLIN)

    def _next(self, failed: psycopg.Error | None) -> pq.abc.PGresult:
        """The next answer; each is followed by an empty one, but for the last of a round trip.

        The wait is a poll and not libpq's own, which would keep every other thread of the process waiting too.
        """
        while True:
            while self._pg.is_busy():
                self._poll.poll()
                self._pg.consume_input()
            result = self._pg.get_result()
            if self._pg.status != pq.ConnStatus.OK:
                said = psycopg.errors.error_from_result(result) if result is not None else None
                raise failed or said or psycopg.OperationalError("the server closed the connection")
            if result is not None:
                return result

    def close(self) -> None:
        """Let go of the connection."""
        self._db.close()


def _rows(result: pq.abc.PGresult, kinds: str) -> list[Row]:
    readers = [_READ[kind] for kind in kinds]
    return [
        tuple(
            None if (value := result.get_value(row, column)) is None else read(value)
            for column, read in enumerate(readers)
        )
        for row in range(result.ntuples)
    ]
