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
    at_once: int = 1
    """Steps that share a commit, or runs that overlap."""
    steps: int | None = None
    """Steps of the run that counts, where it needs another number than its neighbours."""
    warmup: int | None = None
    """Steps that get it warm, likewise."""


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

POSTGRES_LANGGRAPH = "LangGraph PostgresSaver, sync"
POSTGRES_DBOS = "DBOS PostgreSQL, as shipped"
POSTGRES_ABSURD = "absurd PostgreSQL"
POSTGRES_READ = "answerable PostgreSQL, read"
POSTGRES_KEYED = "answerable PostgreSQL, keyed write"
POSTGRES_TWO_COMMITS = "answerable PostgreSQL, write of two commits"
POSTGRES_RUNS_16 = "answerable PostgreSQL, 16 runs, group"
POSTGRES_RUNS_64 = "answerable PostgreSQL, 64 runs, group"

_GROUP = ("--mode", "keyed", "--durability", "group", "--runs")


def _many(label: str, module: str, options: tuple[str, ...], at_once: int) -> Subject:
    return Subject(label, module, options, at_once=at_once, steps=1920, warmup=320)


POSTGRES = (
    Subject("floor: PostgreSQL commit", "postgres_floor"),
    _many("floor: 64 rows in a commit", "postgres_floor", ("--rows", "64"), 64),
    Subject(POSTGRES_LANGGRAPH, "langgraph_postgres", ("--durability", "sync")),
    Subject(POSTGRES_DBOS, "dbos_postgres"),
    Subject(POSTGRES_ABSURD, "absurd_postgres"),
    Subject(POSTGRES_READ, "answerable_postgres", ("--mode", "read")),
    Subject(POSTGRES_KEYED, "answerable_postgres", ("--mode", "keyed")),
    Subject(POSTGRES_TWO_COMMITS, "answerable_postgres", ("--mode", "two_commits")),
    _many(POSTGRES_RUNS_16, "answerable_postgres", (*_GROUP, "16"), 16),
    _many(POSTGRES_RUNS_64, "answerable_postgres", (*_GROUP, "64"), 64),
)
"""One step of each on one PostgreSQL server, back to back."""

POSTGRES_BASES = (POSTGRES_LANGGRAPH, POSTGRES_DBOS, POSTGRES_ABSURD)
"""The peers that every other subject is divided by."""

WORKERS = (1, 2)
OURS, DBOS_QUEUE, ABSURD_QUEUE = "answerable", "DBOS", "absurd"


def driven_by(who: str, workers: int) -> str:
    """Return the label of a queue of runs that so many processes work on."""
    return f"{who}, {workers} {'process' if workers == 1 else 'processes'}"


THROUGHPUT = tuple(
    Subject(driven_by(who, workers), module, ("--workers", str(workers)), steps=steps, warmup=120)
    for who, module, steps in (
        (OURS, "answerable_workers", 2400),
        (DBOS_QUEUE, "dbos_workers", 900),
        (ABSURD_QUEUE, "absurd_workers", 2400),
    )
    for workers in WORKERS
)
"""Many short runs that wait in a queue, driven by one and by two processes."""
