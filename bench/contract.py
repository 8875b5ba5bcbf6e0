"""What the harness asks of a subject, and the one line of JSON with which a subject answers."""

import json
import sqlite3
import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from importlib.metadata import version
from pathlib import Path
from typing import Protocol, cast

from bench.database import Address, Database
from bench.meter import Figures, Folder, Meter, Watched, Window
from bench.offline import refuse_the_network

MARK_STEPS = 50
"""How many steps around a mark are looked at: few enough to be local, enough for a median."""


class BadAnswer(ValueError):
    """A subject printed something else than the one line it owes."""


@dataclass(frozen=True, slots=True)
class Order:
    """What one child is to do: a run of `warmup` steps to get warm, then one of `steps`."""

    steps: int
    warmup: int
    folder: Path
    marks: tuple[int, ...]
    server: Address | None = None
    """An empty database, for the subjects that work on a server."""

    @property
    def database(self) -> str:
        """The connection string of the empty database."""
        if self.server is None:
            raise SystemExit("this subject needs a database: give --database and --postmaster")
        return self.server.url

    @property
    def counted(self) -> Window:
        """All the steps that count."""
        return Window(1, self.steps)

    @property
    def windows(self) -> tuple[Window, ...]:
        """Every stretch that is reported on."""
        return (self.counted, *(around(mark) for mark in self.marks))


class Measured(Protocol):
    """A stopwatch that has come to its end."""

    @property
    def steps(self) -> int:
        """How many steps that count have begun."""
        ...

    def figures(self, window: Window) -> Figures:
        """Return what a step in `window` cost."""
        ...


@dataclass(frozen=True, slots=True)
class Answer:
    """What one child measured."""

    subject: str
    steps: int
    options: Mapping[str, str | int]
    versions: Mapping[str, str]
    figures: Figures
    marks: Mapping[int, Figures]


def around(mark: int) -> Window:
    """Return the steps looked at when step `mark` is asked about."""
    return Window(mark - MARK_STEPS // 2 + 1, mark + MARK_STEPS // 2)


def parser(description: str | None) -> ArgumentParser:
    """Return the arguments that every subject takes; a subject adds its own options to them."""
    arguments = ArgumentParser(description=description)
    arguments.add_argument("--steps", type=int, required=True, help="steps of the run that counts")
    arguments.add_argument("--warmup", type=int, default=200, help="steps of a run before")
    arguments.add_argument("--dir", type=Path, required=True, help="an empty folder for the data")
    arguments.add_argument(
        "--marks", type=_numbers, default=(), help="steps to look at closely, such as 50,5000"
    )
    arguments.add_argument("--database", help="the connection string of an empty PostgreSQL database")
    arguments.add_argument("--postmaster", type=int, help="the process that all of its server's descend from")
    return arguments


def order(arguments: Namespace) -> Order:
    """Read the harness's part of the arguments and cut this process off from the network."""
    refuse_the_network()
    server = Address(arguments.database, arguments.postmaster) if arguments.database else None
    read = Order(arguments.steps, arguments.warmup, arguments.dir, arguments.marks, server)
    if read.warmup < 1:
        raise SystemExit("a process's first step pays for set-up: warm up by at least one")
    for window in read.windows:
        if not 1 <= window.first <= window.last <= read.steps:
            raise SystemExit(f"steps {window.first} to {window.last} are not all in the run")
    return read


def meter(asked: Order) -> Meter:
    """Return the stopwatch set to what was asked."""
    return Meter(watched(asked), asked.windows)


def watched(asked: Order) -> Watched:
    """Return the place where the data of this order goes."""
    return Folder(asked.folder) if asked.server is None else Database(asked.server)


def answer(
    subject: str,
    asked: Order,
    measured: Measured,
    *,
    options: Mapping[str, str | int],
    packages: Sequence[str],
) -> None:
    """Print the line that the harness reads, with the versions that were really measured.

    A subject that took more or fewer steps than it was asked for prints nothing.
    """
    if measured.steps != asked.steps:
        raise SystemExit(f"{measured.steps} steps were taken, {asked.steps} asked for")
    versions = {package: version(package) for package in packages}
    if asked.server is None:
        versions["sqlite"] = sqlite3.sqlite_version
    line = {
        "subject": subject,
        "steps": asked.steps,
        **_rounded(measured.figures(asked.counted)),
        "options": dict(options),
        "marks": {mark: _rounded(measured.figures(around(mark))) for mark in asked.marks},
        "versions": versions,
    }
    print(json.dumps(line), flush=True)


def parse(output: str) -> Answer:
    """Read a child's last line of output; anything missing or not a number is refused."""
    lines = output.strip().splitlines()
    try:
        line = cast("dict[str, object]", json.loads(lines[-1]))
        return Answer(
            subject=str(line["subject"]),
            steps=int(cast("int", line["steps"])),
            options=cast("dict[str, str | int]", line["options"]),
            versions=cast("dict[str, str]", line["versions"]),
            figures=_figures(line),
            marks={
                int(mark): _figures(read)
                for mark, read in cast("dict[str, dict[str, object]]", line["marks"]).items()
            },
        )
    except (IndexError, KeyError, TypeError, ValueError) as error:
        msg = f"not a line of figures: `{lines[-1] if lines else ''}`"
        raise BadAnswer(msg) from error


_MAY_BE_UNKNOWN = frozenset({"written_bytes_per_step", "server_cpu_us_per_step"})


def _figures(line: Mapping[str, object]) -> Figures:
    numbers: dict[str, float | None] = {}
    for field in fields(Figures):
        number = line.get(field.name) if field.name in _MAY_BE_UNKNOWN else line[field.name]
        if number is None and field.name in _MAY_BE_UNKNOWN:
            numbers[field.name] = None
        elif isinstance(number, int | float) and not isinstance(number, bool) and number >= 0:
            numbers[field.name] = float(number)
        else:
            msg = f"`{field.name}` is no figure"
            raise ValueError(msg)
    return Figures(**numbers)  # pyright: ignore[reportArgumentType]


def _rounded(figures: Figures) -> dict[str, float | None]:
    return {name: None if number is None else round(number, 3) for name, number in asdict(figures).items()}


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(int(number) for number in text.split(",") if number)


if __name__ == "__main__":
    sys.exit("this module is the contract; run one of `bench.subjects`")
