"""What the disk alone costs: append one kilobyte and wait until it is durable.

No durable step can be cheaper than this unless several share a sync. It runs in every round, so
that a slow round can be told from a slow subject.
"""

import json
import os

from bench import contract
from bench.payload import one_kilobyte


def main() -> None:
    """Append and sync, once a step."""
    asked = contract.order(contract.parser(__doc__).parse_args())
    meter = contract.meter(asked)
    file = os.open(asked.folder / "log", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)

    def run(steps: int) -> None:
        for step in range(steps):
            meter.tick()
            os.write(file, json.dumps(one_kilobyte(step)).encode())
            os.fdatasync(file)

    run(asked.warmup)
    meter.start()
    run(asked.steps)
    meter.finish()
    os.close(file)
    contract.answer("disk_floor", asked, meter, options={}, packages=())


if __name__ == "__main__":
    main()
