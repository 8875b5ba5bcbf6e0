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

STEPS = (
    Subject("floor: append and sync", "disk_floor"),
    Subject("floor: SQLite commit", "sqlite_floor"),
    Subject(LANGGRAPH, "langgraph_sqlite", ("--durability", "sync")),
    Subject(LANGGRAPH_DEFAULT, "langgraph_sqlite", ("--durability", "async")),
    Subject(DBOS, "dbos_sqlite", ("--journal", "shipped")),
    Subject("DBOS SQLite, WAL and FULL", "dbos_sqlite", ("--journal", "wal")),
)
"""One step of each, back to back."""

BASES = (LANGGRAPH, LANGGRAPH_DEFAULT, DBOS)
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
)
"""A late step of one long run against an early step of the same run."""
