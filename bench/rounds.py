"""Runs every subject once per round, each in a fresh process: A B C, A B C, A B C.

Interleaving is the point. A disk or a neighbour that is slow for a minute slows a whole round, and
the ratios are formed inside a round, so it does not decide who wins.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench.contract import MARK_STEPS, Answer, parse
from bench.lineup import Subject
from bench.offline import environment

Rounds = Sequence[Mapping[str, Answer]]
"""One mapping per round, from a subject's label to what it measured then."""

Place = Callable[[], AbstractContextManager[tuple[str, ...]]]
"""Lends a child what it needs beside its folder, as options of its command: such as an empty database."""

_PROJECT = Path(__file__).resolve().parent.parent
_TIMEOUT_S = 600
WARMUP = 200
"""Steps that get a process warm: by then, a step's time has stopped falling."""


class SubjectFailed(RuntimeError):
    """A child ended without its figures; the run is void, for a gap would bias the medians."""


@dataclass(frozen=True, slots=True)
class Length:
    """How many steps a child takes."""

    steps: int
    warmup: int = WARMUP
    marks: tuple[int, ...] = ()


def usual(steps: int, warmup: int) -> Callable[[Subject], Length]:
    """Return a length for every subject that does not bring its own."""
    return lambda subject: Length(subject.steps or steps, subject.warmup or warmup)


def up_to_marks(subject: Subject) -> Length:
    """Return a length that ends just after the subject's late mark."""
    if subject.marks is None:
        msg = f"`{subject.label}` has no marks to compare"
        raise SubjectFailed(msg)
    return Length(max(subject.marks) + MARK_STEPS // 2, marks=subject.marks)


@contextmanager
def nothing_else() -> Generator[tuple[str, ...]]:
    """Lend nothing: the folder is all that a child needs."""
    yield ()


def interleave(
    subjects: Sequence[Subject],
    rounds: int,
    length: Callable[[Subject], Length],
    *,
    scratch: Path,
    said: Callable[[str], None],
    place: Place = nothing_else,
) -> Iterator[dict[str, Answer]]:
    """Yield one round after another: every subject's answer, by label."""
    for number in range(1, rounds + 1):
        answers: dict[str, Answer] = {}
        for subject in subjects:
            said(f"round {number} of {rounds}: {subject.label}")
            answers[subject.label] = run(subject, length(subject), scratch=scratch, place=place)
        yield answers


def run(
    subject: Subject,
    length: Length,
    *,
    scratch: Path,
    under: Sequence[str] = (),
    place: Place = nothing_else,
) -> Answer:
    """Run one subject in a new process and an empty folder on the disk that `scratch` is on.

    What earlier children left unwritten is flushed first: it is their cost, not the next one's.
    `under` is a command that watches the child, such as a tracer.
    """
    with _empty_folders(scratch) as (data, home), place() as lent:
        os.sync()
        command = [*under, sys.executable, "-m", f"bench.subjects.{subject.module}"]
        command += ["--steps", str(length.steps), "--warmup", str(length.warmup)]
        command += ["--dir", str(data), "--marks", ",".join(map(str, length.marks))]
        try:
            child = subprocess.run(
                [*command, *lent, *subject.options],
                cwd=_PROJECT,
                env=environment(home),
                capture_output=True,
                check=True,
                text=True,
                timeout=_TIMEOUT_S,
            )
            return parse(child.stdout)
        except subprocess.CalledProcessError as error:
            msg = f"`{subject.label}` failed:\n{error.stderr}"
            raise SubjectFailed(msg) from error
        except (subprocess.TimeoutExpired, ValueError) as error:
            msg = f"`{subject.label}` gave no figures: {error}"
            raise SubjectFailed(msg) from error


@contextmanager
def _empty_folders(scratch: Path) -> Generator[tuple[Path, Path]]:
    """Lend a folder for the subject's data and a home without settings."""
    folder = Path(tempfile.mkdtemp(prefix="run-", dir=scratch))
    try:
        data, home = folder / "data", folder / "home"
        data.mkdir()
        home.mkdir()
        yield data, home
    finally:
        shutil.rmtree(folder)
