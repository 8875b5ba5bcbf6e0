"""absurd on PostgreSQL: one task whose steps run one after another; see `bench.loops.absurd`."""

from contextlib import closing
from typing import Any

from bench import contract
from bench.loops import absurd
from bench.payload import one_kilobyte


def main() -> None:
    """Measure one run."""
    asked = contract.order(contract.parser(__doc__).parse_args())
    meter = contract.meter(asked)
    absurd.install(asked.database)
    with closing(absurd.client(asked.database)) as app:

        @app.register_task("steps")
        def steps(params: Any, context: Any) -> None:
            def step(number: int) -> dict[str, int | str]:
                meter.tick()
                return one_kilobyte(number)

            for number in range(params["steps"]):
                context.step("step", lambda number=number: step(number))

        def run(count: int) -> None:
            app.spawn("steps", {"steps": count})
            app.work_batch()

        run(asked.warmup)
        meter.start()
        run(asked.steps)
        meter.finish()
    contract.answer("absurd_postgres", asked, meter, options={}, packages=absurd.PACKAGES)


if __name__ == "__main__":
    main()
