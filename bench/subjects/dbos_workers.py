"""DBOS on PostgreSQL with a queue of short workflows and one executor or more.

An executor takes all that waits in a queue at once, so each has a queue of its own and the workflows are dealt
out between them. A queue opens when the clock may start, and is looked at every 0.1 s instead of every second.
All else is as shipped.
"""

from contextlib import closing

from dbos import DBOS, DBOSClient, run_dbos_database_migrations

from bench import contract
from bench.database import connect
from bench.loops import dbos
from bench.payload import one_kilobyte
from bench.workers import CALLS_A_RUN, Crew, Share, Signals

_OPEN = "SELECT count(*) FROM dbos.workflow_status WHERE status IN ('ENQUEUED', 'PENDING', 'DELAYED')"
_DONE = "SELECT count(*) FROM dbos.workflow_status WHERE status = 'SUCCESS' AND queue_name LIKE 'bench-%'"
_POLL_S = 0.1


def queue_of(number: int) -> str:
    """Return the name of a worker's queue."""
    return f"bench-{number}"


def work(share: Share, signals: Signals) -> None:
    """Execute workflows until none is left."""

    @DBOS.step()
    def step(number: int) -> dict[str, int | str]:
        signals.tick()
        return one_kilobyte(number)

    @DBOS.workflow(name="run")
    def run(first: int) -> None:
        for number in range(first, first + CALLS_A_RUN):
            step(number)

    config = dbos.configuration(share.database)
    config["executor_id"] = f"executor-{share.number}"
    config["application_version"] = "bench"
    DBOS(config=config)
    DBOS.listen_queues([queue_of(share.number)])
    DBOS.launch()
    queue = DBOS.register_queue(queue_of(share.number), worker_concurrency=0, polling_interval_sec=_POLL_S)
    for number in range(share.warmup_runs):
        run(number)
    signals.ready_and_go()
    queue.set_worker_concurrency(None)
    signals.wait_until_over()
    signals.done()
    DBOS.destroy()


def main() -> None:
    """Measure a queue that is emptied."""
    parser = contract.parser(__doc__)
    parser.add_argument("--workers", type=int, default=1)
    arguments = parser.parse_args()
    asked = contract.order(arguments)
    run_dbos_database_migrations(asked.database)
    crew = Crew(asked, work, arguments.workers)
    client = DBOSClient(system_database_url=asked.database)

    def enqueue(runs: int) -> None:
        for number in range(runs):
            queue = queue_of(number % arguments.workers)
            client.enqueue({"workflow_name": "run", "queue_name": queue}, number * CALLS_A_RUN)

    with closing(connect(asked.database)) as watcher:
        crew.measure(enqueue, lambda: watcher.execute(_OPEN).fetchone()[0])
        crew.require(watcher.execute(_DONE).fetchone()[0])
    client.destroy()
    options = {"workers": arguments.workers}
    contract.answer("dbos_workers", asked, crew, options=options, packages=(*dbos.PACKAGES, "psycopg"))


if __name__ == "__main__":
    main()
