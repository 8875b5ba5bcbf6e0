"""absurd: a task on a queue whose steps leave checkpoints.

Nothing is governed: no schema, policy, budget or audit entry. It is what the engine does to keep
a step's result so that a restart does not run the step again.
"""

from contextlib import closing
from typing import Any

from absurd_sdk import Absurd
from absurdctl import BUNDLED_SCHEMA_SQL

from bench.database import connect

PACKAGES = ("absurd-sdk", "psycopg")
QUEUE = "bench"


def install(url: str) -> None:
    """Put the engine's schema and one queue into an empty database."""
    with closing(connect(url)) as connection:
        connection.execute(BUNDLED_SCHEMA_SQL)
    with closing(client(url)) as app:
        app.create_queue()


def client(url: str) -> Any:
    """Connect to the queue."""
    return Absurd(url, queue_name=QUEUE)
