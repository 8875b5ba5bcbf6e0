"""DBOS: one workflow whose steps run one after another.

Nothing is governed: no schema, policy, budget or audit entry. It is what the engine does to record
a step's result so that a restart does not run the step again.
"""

from dbos import DBOS, DBOSConfig

from bench.contract import Order
from bench.meter import Meter
from bench.payload import one_kilobyte

PACKAGES = ("dbos", "sqlalchemy")


def configuration(url: str) -> DBOSConfig:
    """Return the engine's configuration: defaults, but for the database and a quiet log."""
    return {"name": "bench", "system_database_url": url, "log_level": "ERROR"}


def run(asked: Order, meter: Meter, config: DBOSConfig) -> None:
    """Run one workflow to get warm and one that counts."""

    @DBOS.step()
    def step(number: int) -> dict[str, int | str]:
        meter.tick()
        return one_kilobyte(number)

    @DBOS.workflow()
    def workflow(steps: int) -> None:
        for number in range(steps):
            step(number)

    DBOS(config=config)
    DBOS.launch()
    workflow(asked.warmup)
    meter.start()
    workflow(asked.steps)
    meter.finish()
    DBOS.destroy()
