"""What SQLite alone costs: one row of one kilobyte per transaction, write-ahead log, synced.

The distance from here to a subject on SQLite is that subject's own doing.
"""

import json
import sqlite3
from contextlib import closing

from bench import contract
from bench.payload import one_kilobyte


def main() -> None:
    """Insert and commit, once a step."""
    asked = contract.order(contract.parser(__doc__).parse_args())
    meter = contract.meter(asked)
    path = asked.folder / "rows.db"
    with closing(sqlite3.connect(path, isolation_level=None)) as database:
        database.execute("PRAGMA journal_mode=WAL")
        database.execute("PRAGMA synchronous=FULL")
        database.execute("CREATE TABLE row (number INTEGER PRIMARY KEY, result BLOB NOT NULL)")

        def run(steps: int) -> None:
            for step in range(steps):
                meter.tick()
                result = json.dumps(one_kilobyte(step)).encode()
                database.execute("INSERT INTO row (result) VALUES (?)", (result,))

        run(asked.warmup)
        meter.start()
        run(asked.steps)
        meter.finish()
    contract.answer("sqlite_floor", asked, meter, options={}, packages=())


if __name__ == "__main__":
    main()
