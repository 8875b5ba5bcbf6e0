"""The command: runs a comparison and hands it to whoever reads it.

`steps` compares one step of each subject; `growth` compares a late step of each with an early one; `scale` looks
at our own calls under many runs and many rules; `postgres` compares steps and queues of runs on a database server.
Talk goes to stderr, Markdown to stdout, and every child's answer to a file in `bench/results/`.
"""

import shlex
import sys
from argparse import ArgumentParser, ArgumentTypeError, Namespace
from collections.abc import Callable, Mapping, Sequence

from rich.console import Console

from bench import lineup, report, targets
from bench.contract import Answer
from bench.keep import RESULTS
from bench.lineup import Subject
from bench.machine import IN_MEMORY, this_machine
from bench.publish import Comparison, publish
from bench.rounds import WARMUP, Rounds, SubjectFailed, interleave, up_to_marks, usual
from bench.server import serving
from bench.syncs import server_syncs_per_step, syncs_per_step
from bench.workers import CALLS_A_RUN

COULD_NOT_RUN = 3


def main(argv: Sequence[str] | None = None) -> int:
    """Run the comparison that was asked for; return the exit status."""
    given = sys.argv[1:] if argv is None else list(argv)
    asked = _arguments().parse_args(given)
    console = Console(stderr=True, highlight=False)
    RESULTS.mkdir(exist_ok=True)
    machine = this_machine(RESULTS)
    if machine.file_system in IN_MEMORY:
        console.print("error: `bench/results/` is in memory, where a sync costs nothing")
        return COULD_NOT_RUN

    def said(line: str) -> None:
        console.print(line, style="dim", markup=False)

    try:
        compared = asked.compare(asked, said)
    except SubjectFailed as error:
        console.print(f"error: {error}", markup=False)
        return COULD_NOT_RUN
    for table in compared.tables:
        table.show(console)
    path = publish(
        compared,
        command=f"python -m bench.harness {shlex.join(given)}",
        machine=machine,
        folder=RESULTS,
    )
    said(f"raw rounds are in `bench/results/{path.name}`")
    return 0


def compare_steps(asked: Namespace, said: Callable[[str], None]) -> Comparison:
    """Compare one step of each subject, and count the syncs it takes."""
    subjects = _chosen(lineup.STEPS, asked.subject)
    length = usual(asked.steps, asked.warmup)
    rounds = list(interleave(subjects, asked.rounds, length, scratch=RESULTS, said=said))
    syncs: dict[str, float | None] = {}
    for subject in subjects if asked.syncs else ():
        said(f"counting syncs: {subject.label}")
        syncs[subject.label] = syncs_per_step(subject, scratch=RESULTS)
    bases = [base for base in lineup.BASES if base in rounds[0]]
    ratios = [report.ratios_to(base, rounds) for base in bases]
    met = targets.against_targets(targets.STEPS, rounds)
    return Comparison(rounds, [report.cost_of_a_step(rounds, syncs), *ratios, met], syncs)


def compare_growth(asked: Namespace, said: Callable[[str], None]) -> Comparison:
    """Compare a late step of each subject with an early step of the same run."""
    subjects = _chosen(lineup.GROWTH, asked.subject)
    rounds = list(interleave(subjects, asked.rounds, up_to_marks, scratch=RESULTS, said=said))
    return Comparison(rounds, [report.growth(rounds), targets.growth_against_target(rounds)])


def compare_scale(asked: Namespace, said: Callable[[str], None]) -> Comparison:
    """Measure our own calls under many runs and many rules."""
    subjects = _chosen(lineup.SCALE, asked.subject)
    length = usual(asked.steps, asked.warmup)
    rounds = list(interleave(subjects, asked.rounds, length, scratch=RESULTS, said=said))
    met = targets.against_targets(targets.SCALE, rounds)
    return Comparison(rounds, [report.cost_of_a_step(rounds, {}), met])


def compare_postgres(asked: Namespace, said: Callable[[str], None]) -> Comparison:
    """Compare one step of each subject on one PostgreSQL server, and queues of runs on the same one."""
    subjects = _chosen((*lineup.POSTGRES, *lineup.THROUGHPUT), asked.subject)
    length = usual(asked.steps, asked.warmup)
    syncs: dict[str, float | None] = {}
    said("starting a server")
    with serving(RESULTS) as server:
        described, place = server.described(), server.empty_database
        rounds = list(interleave(subjects, asked.rounds, length, scratch=RESULTS, said=said, place=place))
        for subject in _chosen(lineup.POSTGRES, asked.subject) if asked.syncs else ():
            said(f"counting syncs: {subject.label}")
            syncs[subject.label] = server_syncs_per_step(subject, server, scratch=RESULTS)
    tables = list[report.Table]()
    if steps := _only(lineup.POSTGRES, rounds):
        tables.append(report.cost_on_a_server(steps, syncs))
        tables += [report.ratios_to(base, steps) for base in lineup.POSTGRES_BASES if base in steps[0]]
    if queues := _only(lineup.THROUGHPUT, rounds):
        tables.append(report.throughput(queues, CALLS_A_RUN))
    tables.append(targets.against_targets(targets.POSTGRES, rounds))
    return Comparison(rounds, tables, syncs, described)


def _only(subjects: Sequence[Subject], rounds: Rounds) -> Rounds:
    """Return the rounds with these subjects alone; nothing where none of them ran."""
    chosen = [subject.label for subject in subjects if subject.label in rounds[0]]
    return [_answers(answers, chosen) for answers in rounds] if chosen else []


def _answers(answers: Mapping[str, Answer], labels: Sequence[str]) -> dict[str, Answer]:
    return {label: answers[label] for label in labels}


def _chosen(subjects: Sequence[Subject], labels: Sequence[str]) -> Sequence[Subject]:
    """Return the subjects named, in the order of the lineup, or all."""
    return [subject for subject in subjects if not labels or subject.label in labels]


def _arguments() -> ArgumentParser:
    parser = ArgumentParser(prog="python -m bench.harness", description=__doc__)
    verbs = parser.add_subparsers(required=True, metavar="{steps,growth,scale,postgres}")
    steps = verbs.add_parser("steps", help="compare one step of each subject")
    steps.add_argument("--rounds", type=_at_least_one, default=9)
    steps.add_argument("--steps", type=int, default=300, help="steps of the run that counts")
    steps.add_argument("--warmup", type=int, default=WARMUP, help="steps of a run before")
    steps.add_argument("--no-syncs", dest="syncs", action="store_false", help="skip the tracer")
    steps.set_defaults(compare=compare_steps)
    growth = verbs.add_parser("growth", help="compare a late step of each with an early one")
    growth.add_argument("--rounds", type=_at_least_one, default=3)
    growth.set_defaults(compare=compare_growth)
    scale = verbs.add_parser("scale", help="measure ours under many runs and many rules")
    scale.add_argument("--rounds", type=_at_least_one, default=5)
    scale.add_argument("--steps", type=int, default=3200, help="steps that count, of all runs together")
    scale.add_argument("--warmup", type=int, default=640, help="steps before")
    scale.set_defaults(compare=compare_scale)
    postgres = verbs.add_parser("postgres", help="compare steps and queues of runs on a PostgreSQL server")
    postgres.add_argument("--rounds", type=_at_least_one, default=5)
    postgres.add_argument("--steps", type=int, default=300, help="steps of the run that counts")
    postgres.add_argument("--warmup", type=int, default=WARMUP, help="steps of a run before")
    postgres.add_argument("--no-syncs", dest="syncs", action="store_false", help="do not count syncs")
    postgres.set_defaults(compare=compare_postgres)
    for verb, subjects in (
        (steps, lineup.STEPS),
        (growth, lineup.GROWTH),
        (scale, lineup.SCALE),
        (postgres, (*lineup.POSTGRES, *lineup.THROUGHPUT)),
    ):
        labels = [subject.label for subject in subjects]
        verb.add_argument(
            "--subject",
            action="append",
            default=[],
            choices=labels,
            metavar="LABEL",
            help=f"only this one, of: {'; '.join(labels)}",
        )
    return parser


def _at_least_one(text: str) -> int:
    number = int(text)
    if number < 1:
        raise ArgumentTypeError("at least one is needed")
    return number


if __name__ == "__main__":
    sys.exit(main())
