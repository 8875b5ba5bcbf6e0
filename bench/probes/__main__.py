"""The command: puts every probe to every product in one run, and prints who held.

`python -m bench.probes` prints a table; `--json` prints everything that was seen instead. Either way it is kept in
`bench/results/`, with the command, the date and the class of hardware. It needs the dependency group `probes`
(`make probes` installs it into an environment of its own). It exits 0, 1 where *we* did not hold, 2 (usage) or 3
(could not run).

A cell says what became of the call. `HELD` words: `denied` (the product said no), `refused` (the rules, or the tool,
were refused before any call), `waits` (for a person), `failed` (an error that is no decision; nothing was done). `DONE`
is an effect that should not have been; `-` means that the product has no place for the question.
"""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
import tempfile
from argparse import ArgumentParser
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.keep import RESULTS, keep
from bench.machine import this_machine
from bench.offline import environment
from bench.probes.cases import CASES, Case

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

ROOT = Path(__file__).resolve().parents[2]
COULD_NOT_RUN = 3
TIMEOUT_S = 300
WORDS = {"refused at load": "refused", "not applicable": "-"}


@dataclass(frozen=True, slots=True)
class Subject:
    """A product under one style of rules, and the module that asks it."""

    label: str
    module: str
    options: tuple[str, ...] = ()


SUBJECTS = (
    Subject("AGT, default allow", "bench.probes.agt", ("--style", "tutorial")),
    Subject("AGT, default deny", "bench.probes.agt", ("--style", "allow-list")),
    Subject("CTRLRun, bands", "bench.probes.ctrl", ("--style", "bands")),
    Subject("CTRLRun, deny first", "bench.probes.ctrl", ("--style", "deny-first")),
    Subject("Answerable, permit all", "bench.probes.ours"),
)
OURS = SUBJECTS[-1].label


class CouldNotRun(Exception):
    """A subject that gave no answer voids the run: a gap would look like an answer."""


def ask(subject: Subject) -> dict[str, Any]:
    """Everything that one subject did, from a process of its own."""
    with tempfile.TemporaryDirectory() as home:
        done = subprocess.run(
            [sys.executable, "-m", subject.module, *subject.options],
            cwd=ROOT,
            env=environment(Path(home)),
            capture_output=True,
            text=True,
            timeout=TIMEOUT_S,
            check=False,
        )
    lines = done.stdout.strip().splitlines()
    if done.returncode or not lines:
        raise CouldNotRun(f"{subject.label}: {done.stderr.strip()[-400:] or 'it printed nothing'}")
    return json.loads(lines[-1])


def verdict(case: Case, seen: Mapping[str, Any]) -> str:
    """What became of a case, in a word: see the module."""
    if case.is_control:
        return "done" if seen["effects"] == case.done_max else f"NOT DONE ({seen['did']})"
    if seen["effects"] > case.done_max:
        return "DONE"
    if seen["did"] == "done":  # as often as it was right to, and not once more
        return "held"
    return WORDS.get(seen["did"], seen["did"])


def verdicts(answers: Mapping[str, dict[str, Any]]) -> dict[str, dict[str, str]]:
    """Case → subject → verdict."""
    return {
        case.id: {label: verdict(case, answer["seen"][case.id]) for label, answer in answers.items()}
        for case in CASES
    }


def slips(found: Mapping[str, Mapping[str, str]], label: str) -> tuple[int, int]:
    """How many cases got through, of how many that have an answer; controls are not counted."""
    asked = [found[case.id][label] for case in CASES if not case.is_control]
    answered = [each for each in asked if each != "-"]
    return answered.count("DONE"), len(answered)


def table(answers: Mapping[str, dict[str, Any]]) -> str:
    """The table, as text."""
    found = verdicts(answers)
    head = ["", "asked", *answers]
    rows = [[case.id, case.asked, *(found[case.id][label] for label in answers)] for case in CASES]
    counts = {label: slips(found, label) for label in answers}
    rows.append(
        ["", "got through, of the cases with an answer", *(f"{n} of {of}" for n, of in counts.values())]
    )
    widths = [max(len(row[column]) for row in (head, *rows)) for column in range(len(head))]
    lines = [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in (head, *rows)
    ]
    return "\n".join([lines[0], "-" * max(map(len, lines)), *lines[1:]])


def main(argv: Sequence[str] | None = None) -> int:
    """Ask everybody, print and keep what came of it; return the exit status."""
    given = sys.argv[1:] if argv is None else list(argv)
    parser = ArgumentParser(prog="python -m bench.probes", description=__doc__)
    parser.add_argument("--json", action="store_true", help="print everything that was seen, as JSON")
    asked = parser.parse_args(given)
    RESULTS.mkdir(exist_ok=True)
    answers: dict[str, dict[str, Any]] = {}
    for subject in SUBJECTS:
        print(f"asking {subject.label} ...", file=sys.stderr)
        try:
            answers[subject.label] = ask(subject)
        except (CouldNotRun, subprocess.TimeoutExpired) as error:
            print(
                f"error: {error}\n  hint: `make probes` sets up the environment that this needs",
                file=sys.stderr,
            )
            return COULD_NOT_RUN
    now = datetime.now(UTC)
    found = verdicts(answers)
    kept = {
        "command": f"python -m bench.probes {shlex.join(given)}".strip(),
        "date": now.isoformat(timespec="seconds"),
        "machine": asdict(this_machine(RESULTS)),
        "versions": dict(
            sorted({k: v for each in answers.values() for k, v in each["versions"].items()}.items())
        ),
        "cases": {case.id: asdict(case) for case in CASES},
        "subjects": answers,
        "verdicts": found,
    }
    path = keep(kept, at=now)
    if asked.json:
        print(json.dumps(kept, indent=1))
    else:
        said = ", ".join(f"{package} {number}" for package, number in kept["versions"].items())
        print(f"{kept['command']}, {now.date()}\n{this_machine(RESULTS)}\n{said}\n")
        print(table(answers))
    print(f"everything that was seen is in `bench/results/{path.name}`", file=sys.stderr)
    is_kept = slips(found, OURS)[0] == 0 and all(found[c.id][OURS] == "done" for c in CASES if c.is_control)
    return 0 if is_kept else 1


if __name__ == "__main__":
    sys.exit(main())
