"""DBOS on SQLite; see `bench.loops.dbos` for what is measured.

`--journal shipped` takes the engine's own database settings, which is SQLite's rollback journal.
`--journal wal` hands it a database engine that syncs a write-ahead log instead, which is the best
that a user who knows SQLite can do and the like-for-like comparison with other subjects here.
"""

import sqlite3
from typing import Any

import sqlalchemy as sa
from sqlalchemy import event

from bench import contract
from bench.loops import dbos


def synced_wal_engine(url: str) -> sa.Engine:
    """Return an engine as the peer makes its own, with the log mode changed and nothing else."""
    engine = sa.create_engine(url)

    @event.listens_for(engine, "connect")
    def prepare(connection: sqlite3.Connection, _record: Any) -> None:
        connection.isolation_level = "IMMEDIATE"
        connection.execute("PRAGMA busy_timeout=30000")
        connection.execute("PRAGMA foreign_keys=ON")
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=FULL")

    return engine


def main() -> None:
    """Measure one run."""
    parser = contract.parser(__doc__)
    parser.add_argument("--journal", choices=("shipped", "wal"), default="shipped")
    arguments = parser.parse_args()
    asked = contract.order(arguments)
    meter = contract.meter(asked)
    url = f"sqlite:///{asked.folder / 'dbos.sqlite'}"
    config = dbos.configuration(url)
    if arguments.journal == "wal":
        config["system_database_engine"] = synced_wal_engine(url)
    dbos.run(asked, meter, config)
    options = {"journal": arguments.journal}
    contract.answer("dbos_sqlite", asked, meter, options=options, packages=dbos.PACKAGES)


if __name__ == "__main__":
    main()
