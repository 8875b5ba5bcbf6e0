"""absurd on PostgreSQL with a queue of short tasks and one worker or more, with the SDK's own settings."""

from contextlib import closing
from threading import Thread
from typing import Any

from bench import contract
from bench.database import connect
from bench.loops import absurd
from bench.payload import one_kilobyte
from bench.workers import CALLS_A_RUN, Crew, Share, Signals

_OPEN = (
    f"SELECT count(*) FROM absurd.t_{absurd.QUEUE} WHERE state NOT IN ('completed', 'failed', 'cancelled')"
)
_DONE = f"SELECT count(*) FROM absurd.t_{absurd.QUEUE} WHERE state = 'completed' AND params ? 'counts'"


def work(share: Share, signals: Signals) -> None:
    """Work on tasks until none is left."""
    with closing(absurd.client(share.database)) as app:

        @app.register_task("run")
        def run(params: Any, context: Any) -> None:
            def step(number: int) -> dict[str, int | str]:
                signals.tick()
                return one_kilobyte(number)

            for number in range(params["first"], params["first"] + CALLS_A_RUN):
                context.step("step", lambda number=number: step(number))

        for number in range(share.warmup_runs):
            app.spawn("run", {"first": number})
            app.work_batch()
        signals.ready_and_go()
        worker = Thread(target=app.start_worker, kwargs={"worker_id": f"worker-{share.number}"})
        worker.start()
        signals.wait_until_over()
        signals.done()
        app.stop_worker()
        worker.join()


def main() -> None:
    """Measure a queue that is emptied."""
    parser = contract.parser(__doc__)
    parser.add_argument("--workers", type=int, default=1)
    arguments = parser.parse_args()
    asked = contract.order(arguments)
    absurd.install(asked.database)
    crew = Crew(asked, work, arguments.workers)
    with closing(absurd.client(asked.database)) as app, closing(connect(asked.database)) as watcher:

        def enqueue(runs: int) -> None:
            for number in range(runs):
                app.spawn("run", {"first": number * CALLS_A_RUN, "counts": True}, queue=absurd.QUEUE)

        crew.measure(enqueue, lambda: watcher.execute(_OPEN).fetchone()[0])
        crew.require(watcher.execute(_DONE).fetchone()[0])
    options = {"workers": arguments.workers}
    contract.answer("absurd_workers", asked, crew, options=options, packages=absurd.PACKAGES)


if __name__ == "__main__":
    main()
