"""What PostgreSQL alone costs: rows of one kilobyte, committed one by one or so many in one statement.

The distance from here to a subject on PostgreSQL is that subject's own doing. A step is a row.
"""

import json
from contextlib import closing

from bench import contract
from bench.database import connect
from bench.payload import one_kilobyte


def main() -> None:
    """Insert and commit."""
    parser = contract.parser(__doc__)
    parser.add_argument("--rows", type=int, default=1, help="rows that share a commit")
    arguments = parser.parse_args()
    asked = contract.order(arguments)
    meter = contract.meter(asked)
    with closing(connect(asked.database)) as database:
        database.execute(
            "CREATE TABLE result (number bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, result bytea NOT NULL)"
        )

        def commit(results: list[bytes]) -> None:
            if len(results) == 1:
                database.execute("INSERT INTO result (result) VALUES (%b)", results)
            else:
                database.execute("INSERT INTO result (result) SELECT unnest(%b::bytea[])", (results,))

        def run(steps: int) -> None:
            waiting: list[bytes] = []
            for step in range(steps):
                meter.tick()
                waiting.append(json.dumps(one_kilobyte(step)).encode())
                if len(waiting) == arguments.rows or step == steps - 1:
                    commit(waiting)
                    waiting = []

        run(asked.warmup)
        meter.start()
        run(asked.steps)
        meter.finish()
    options = {"rows": arguments.rows}
    contract.answer("postgres_floor", asked, meter, options=options, packages=("psycopg",))


if __name__ == "__main__":
    main()
