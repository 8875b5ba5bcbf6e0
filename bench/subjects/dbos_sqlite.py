"""DBOS on SQLite: one workflow whose steps run one after another.

Nothing is governed: no schema, policy, budget or audit entry. It is what the engine does to record
a step's result so that a restart does not run the step again.

`--journal shipped` takes the engine's own database settings, which is SQLite's rollback journal.
`--journal wal` hands it a database engine that syncs a write-ahead log instead, which is the best
that a user who knows SQLite can do and the like-for-like comparison with other subjects here.
"""

import sqlite3
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from dbos import DBOS, DBOSConfig
from sqlalchemy import event

from bench import contract
from bench.contract import Order
from bench.meter import Meter
from bench.payload import one_kilobyte

PACKAGES = ("dbos", "sqlalchemy")


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


def configuration(folder: Path, journal: str) -> DBOSConfig:
    """Return the engine's configuration: defaults, but for the database and a quiet log."""
    url = f"sqlite:///{folder / 'dbos.sqlite'}"
    config: DBOSConfig = {"name": "bench", "system_database_url": url, "log_level": "ERROR"}
    if journal == "wal":
        config["system_database_engine"] = synced_wal_engine(url)
    return config


def run(asked: Order, meter: Meter, *, journal: str) -> None:
    """Run one workflow to get warm and one that counts."""

    @DBOS.step()
    def step(number: int) -> dict[str, int | str]:
        meter.tick()
        return one_kilobyte(number)

    @DBOS.workflow()
    def workflow(steps: int) -> None:
        for number in range(steps):
            step(number)

    DBOS(config=configuration(asked.folder, journal))
    DBOS.launch()
    workflow(asked.warmup)
    meter.start()
    workflow(asked.steps)
    meter.finish()
    DBOS.destroy()


def main() -> None:
    """Measure one run."""
    parser = contract.parser(__doc__)
    parser.add_argument("--journal", choices=("shipped", "wal"), default="shipped")
    arguments = parser.parse_args()
    asked = contract.order(arguments)
    meter = contract.meter(asked)
    run(asked, meter, journal=arguments.journal)
    contract.answer("dbos_sqlite", asked, meter, options={"journal": arguments.journal}, packages=PACKAGES)


if __name__ == "__main__":
    main()
