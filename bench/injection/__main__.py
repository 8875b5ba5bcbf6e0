"""The command: runs AgentDojo's tasks and attacks against the gates and says what came through, and at what price.

Talk goes to stderr, Markdown or JSON to stdout, and every case to a file in `bench/results/`. It exits 0, 1 where the row
without gates is not the known one (then no other row means anything), 2 (usage) or 3 (could not run).
"""

import asyncio
import json
import shlex
import sys
from argparse import ArgumentParser
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from rich.console import Console

from bench.injection.report import counted, curve, filed, table
from bench.injection.score import Scored, Tally, tallies
from bench.keep import RESULTS, keep
from bench.machine import this_machine

BASELINE = {"banking": (142, 144, 16, 16), "slack": (105, 105, 21, 21)}
"""Attacks that succeed with no gate at all, of how many, and tasks that are solved, of how many: as published for
AgentDojo v1.2.2 and this worst-case model. Whoever gets another row has another measurement."""
WRONG, COULD_NOT_RUN = 1, 3
SETTINGS = (
    "no gates",
    "permit all",
    "permit all + plan",
    "open",
    "open + plan",
    "standard",
    "standard + plan",
    "strict",
    "open + links",
    "standard + links",
)
CURVE = ("no gates", "open", "standard", "strict")
SUITES = ("banking", "slack")
PACKAGES = ("agentdojo", "answerable", "cedarpy", "pydantic")


def main(argv: Sequence[str] | None = None) -> int:
    """Run what was asked for; return the exit status."""
    given = sys.argv[1:] if argv is None else list(argv)
    asked = _arguments().parse_args(given)
    console = Console(stderr=True, highlight=False)
    try:
        from bench.injection.dojo import Suite
        from bench.injection.measure import measure
    except ModuleNotFoundError as error:
        console.print(f"error: {error}; run it with `make injection`", markup=False)
        return COULD_NOT_RUN
    settings = list(dict.fromkeys((SETTINGS[0], *(asked.setting or SETTINGS))))
    scored: list[Scored] = []
    for name in asked.suite or SUITES:
        suite = Suite(name)
        for setting in settings:
            console.print(f"{name}: {setting}", style="dim")
            scored += asyncio.run(measure(suite, setting))
    counts = sorted(tallies(scored), key=lambda each: settings.index(each.setting))
    is_known = is_baseline_known(counts)
    said = _published(
        counts, scored, f"python -m bench.injection {shlex.join(given)}".strip(), is_known=is_known
    )
    path = _kept(said, scored)
    if asked.json:
        print(json.dumps(said, indent=1))
    else:
        _print(said, counts)
    console.print(f"every case is in `bench/results/{path.name}`", style="dim")
    if not is_known:
        console.print("error: the row without gates is not the known one: the harness or AgentDojo changed")
    return 0 if is_known else WRONG


def is_baseline_known(counts: Sequence[Tally]) -> bool:
    """Whether everything that succeeds without gates is what is known to."""
    return all(
        (each.attacks.hits, each.attacks.cases, each.tasks.hits, each.tasks.cases) == BASELINE[each.suite]
        for each in counts
        if each.setting == SETTINGS[0] and each.suite in BASELINE
    )


def _published(
    counts: Sequence[Tally], scored: Sequence[Scored], command: str, *, is_known: bool
) -> dict[str, Any]:
    RESULTS.mkdir(exist_ok=True)
    now = datetime.now(UTC)
    return {
        "command": command,
        "date": now.isoformat(timespec="seconds"),
        "machine": asdict(this_machine(RESULTS)),
        "versions": {package: version(package) for package in PACKAGES},
        "is_baseline_known": is_known,
        "tallies": [counted(each) for each in counts],
        "attacks_through": [
            f"{each.setting}: {each.suite} {each.case}" + " (prepared)" * each.is_prepared
            for each in scored
            if each.is_attack and each.is_reached and each.setting not in SETTINGS[:3]
        ],
        "tasks_held_back": [
            f"{each.setting}: {each.suite} {each.case}"
            for each in scored
            if not each.is_attack and not each.is_solved_unasked
        ],
    }


def _kept(said: Mapping[str, Any], scored: Sequence[Scored]) -> Path:
    cases = [filed(each) for each in scored]
    return keep({**said, "cases": cases}, at=datetime.fromisoformat(said["date"]), name="injection")


def _print(said: Mapping[str, Any], counts: Sequence[Tally]) -> None:
    versions = ", ".join(f"{package} {known}" for package, known in said["versions"].items())
    print(f"`{said['command']}`, {said['date'][:10]}; shares with Wilson intervals of 95 %.  ")
    print(f"{this_machine(RESULTS)}.  ")
    print(f"{versions}.\n")
    print(table(counts).markdown())
    print(f"```\n{curve([each for each in counts if each.setting in CURVE])}\n```")


def _arguments() -> ArgumentParser:
    parser = ArgumentParser(prog="python -m bench.injection", description=__doc__)
    parser.add_argument("--suite", action="append", choices=SUITES, help="only this suite (may be repeated)")
    parser.add_argument(
        "--setting",
        action="append",
        choices=SETTINGS,
        help="only this setting (may be repeated), and no gates",
    )
    parser.add_argument("--json", action="store_true", help="print figures as JSON instead of Markdown")
    return parser


if __name__ == "__main__":
    sys.exit(main())
