"""The long runs on PostgreSQL: `python -m tests.soak storm|halt|waiting`. Each ends with its figures; 1 where one is wrong."""

from __future__ import annotations

import argparse
import asyncio
import sys

from tests.soak import halt, storm, waiting

LONG_RUNS = {"storm": storm.run, "halt": halt.run, "waiting": waiting.run}


def main() -> int:
    """Run what was asked for."""
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description=__doc__)
    parser.add_argument("which", nargs="*", choices=[*LONG_RUNS, []], default=list(LONG_RUNS))
    parser.add_argument("--small", action="store_true", help="a tenth of it: to see that it works")
    asked = parser.parse_args()
    wrong = 0
    for which in asked.which:
        wrong += bool(asyncio.run(LONG_RUNS[which](is_small=asked.small)))
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
