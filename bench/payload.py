"""The one result that every subject stores, so that nobody is measured on a lighter load."""

import json

BYTES = 1024
"""Size of a step's result as JSON."""


def one_kilobyte(step: int) -> dict[str, int | str]:
    """Return a small dict whose JSON is exactly `BYTES` long, whatever the step's number is.

    The text differs from step to step: a store that kept equal results once would otherwise look
    cheaper than it is in real use.
    """
    empty = len(json.dumps({"step": step, "note": ""}))
    note = f"{step:08d} the order was looked up and is eligible; ".ljust(BYTES - empty, ".")
    return {"step": step, "note": note}
