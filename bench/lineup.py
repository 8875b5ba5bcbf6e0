"""Who is measured, in which form, and against whom the ratios are formed.

To add a subject, write its module in `bench/subjects/` and name it here; nothing else knows it.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Subject:
    """One line of the tables: a module of `bench.subjects` with its options filled in."""

    label: str
    module: str
    options: tuple[str, ...] = ()
    marks: tuple[int, int] | None = None
    """The early and the late step compared by `growth`. A subject whose cost grows with the square
    of its steps gets a nearer late mark, so that the run ends; its table says which."""


LANGGRAPH = "LangGraph SqliteSaver, sync"
LANGGRAPH_DEFAULT = "LangGraph SqliteSaver, async (default)"
DBOS = "DBOS SQLite, as shipped"
DBOS_WAL = "DBOS SQLite, WAL and FULL"
READ = "answerable, read"
KEYED = "answerable, keyed write"
TWO_COMMITS = "answerable, write of two commits"
MANY_RUNS = "answerable, 64 runs, group"
FEW_RULES = "answerable, 5 rules"
MANY_RULES = "answerable, 500 rules"
UNSCOPED = "answerable, 500 rules without a tool"

STEPS = (
    Subject("floor: append and sync", "disk_floor"),
    Subject("floor: SQLite commit", "sqlite_floor"),
    Subject(LANGGRAPH, "langgraph_sqlite", ("--durability", "sync")),
    Subject(LANGGRAPH_DEFAULT, "langgraph_sqlite", ("--durability", "async")),
    Subject(DBOS, "dbos_sqlite", ("--journal", "shipped")),
    Subject(DBOS_WAL, "dbos_sqlite", ("--journal", "wal")),
    Subject(READ, "answerable_sqlite", ("--mode", "read")),
    Subject(KEYED, "answerable_sqlite", ("--mode", "keyed")),
    Subject(TWO_COMMITS, "answerable_sqlite", ("--mode", "two_commits")),
)
"""One step of each, back to back."""

BASES = (LANGGRAPH, LANGGRAPH_DEFAULT, DBOS, DBOS_WAL)
"""The peers that every other subject is divided by: durable like for like, and as shipped."""

GROWTH = (
    Subject(LANGGRAPH, "langgraph_sqlite", ("--state", "results"), marks=(50, 5000)),
    Subject(
        "LangGraph SqliteSaver, messages in state",
        "langgraph_sqlite",
        ("--state", "messages"),
        marks=(50, 500),
    ),
    Subject(DBOS, "dbos_sqlite", ("--journal", "shipped"), marks=(50, 5000)),
    Subject(KEYED, "answerable_sqlite", ("--mode", "keyed"), marks=(50, 5000)),
)
"""A late step of one long run against an early step of the same run."""

_RULES = ("--mode", "keyed", "--policies")
SCALE = (
    Subject(MANY_RUNS, "answerable_sqlite", ("--mode", "keyed", "--durability", "group", "--runs", "64")),
    Subject(FEW_RULES, "answerable_sqlite", (*_RULES, "5")),
    Subject(MANY_RULES, "answerable_sqlite", (*_RULES, "500")),
    Subject(UNSCOPED, "answerable_sqlite", (*_RULES, "500", "--scope", "any")),
)
"""Ours alone: many runs in one process, and many rules."""
