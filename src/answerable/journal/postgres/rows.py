"""The derived rows as values, and the tables that they are in.

A `Table` says what a table is called, how its rows are named and which columns they have. The SQL that reads and
writes it is made from that, so a column stands in one place beside the migration.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

PAYLOAD_BYTES_MAX = 64 << 20
"""What a row may hold of content. A server takes up to a gigabyte, but has it in memory several times."""

Key = Any
"""The name of a row: a text, or a tuple where the key has several columns."""


class Share(NamedTuple):
    """A row of a budget. In one that processes share: what a holder was granted, under which limit, and used of it."""

    granted: int
    reserved: int
    spent: int
    cap: int

    @property
    def used(self) -> int:
        """What counts against the limit."""
        return self.reserved + self.spent


class Claim(NamedTuple):
    """What a write holds of a target."""

    rule: str
    state: str
    run: str
    effect: str
    amount: int
    count: int  # pyright: ignore[reportIncompatibleMethodOverride]
    cap: int


class Total(NamedTuple):
    """A running total."""

    amount: int
    count: int  # pyright: ignore[reportIncompatibleMethodOverride]


class Effect(NamedTuple):
    """What an effect holds. `totals` is a JSON list of [key, amount]."""

    run: str
    path: str
    tool: str
    state: str
    claim: str | None
    rule: str | None
    amount: int
    totals: str
    undoes: str | None


class Run(NamedTuple):
    """One line of the list of runs."""

    agent: str
    tenant: str
    kind: str
    state: str
    outcome: str | None
    code: str | None
    created: int
    started: int | None
    ended: int | None
    steps: int
    cost: int
    is_cost_known: bool
    owner: str | None
    epoch: int
    waiting_for: str | None
    request: str | None
    wake_at: int | None
    subject: str
    scripted: bool


class HaltRow(NamedTuple):
    """A halt that is, or was, in force."""

    epoch: int
    is_active: bool
    by: str
    reason: str
    since: int


class HeadRow(NamedTuple):
    """Where a stream stands."""

    seq: int
    hash: str
    epoch: int
    time: int


@dataclass(frozen=True, slots=True)
class Table:
    """A table: its name, the columns of its key, the type of its rows, and a letter for each column's type.

    `t` is text, `i` bigint, `b` boolean, `y` bytea.
    """

    name: str
    key: tuple[str, ...]
    row: Any
    types: str

    @property
    def columns(self) -> tuple[str, ...]:
        """Key and row, in order."""
        return (*self.key, *self.row._fields)

    def split(self, values: tuple[Any, ...]) -> tuple[Key, Any]:
        """The key and the row in what was read."""
        width = len(self.key)
        return values[0] if width == 1 else values[:width], self.row(*values[width:])

    def joined(self, key: Key, row: tuple[Any, ...]) -> tuple[Any, ...]:
        """What is written for a key and its row."""
        return (key, *row) if len(self.key) == 1 else (*key, *row)


HEAD = Table("head", ("stream",), HeadRow, "titii")
RUN = Table("run", ("run",), Run, "tttttttiiiiibtittitb")
BUDGET = Table("budget", ("id", "holder", "unit"), Share, "tttiiii")
CLAIM = Table("claim", ("key",), Claim, "tttttiii")
TOTAL = Table("total", ("key",), Total, "tii")
EFFECT = Table("effect", ("effect",), Effect, "tttttttitt")
HALT = Table("halt", ("scope",), HaltRow, "tibtti")
TABLES = (HALT, BUDGET, HEAD, EFFECT, CLAIM, TOTAL, RUN)
"""In the order in which their rows are locked."""
