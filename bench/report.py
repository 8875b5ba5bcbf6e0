"""The tables that people read, as Markdown to publish and in colour for the terminal."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from rich.console import Console
from rich.table import Table as RichTable

from bench.meter import Figures
from bench.rounds import Rounds
from bench.summary import Spread, ratio, spread

_NOT_MEASURED = "not measured"


@dataclass(frozen=True, slots=True)
class Table:
    """One table; the first column names the subject."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]

    def markdown(self) -> str:
        """Return the table for a page."""
        lines = [self.columns, ("---", *("---:" for _ in self.columns[1:])), *self.rows]
        body = "\n".join(f"| {' | '.join(line)} |" for line in lines)
        return f"### {self.title}\n\n{body}\n"

    def show(self, console: Console) -> None:
        """Print the table for a terminal."""
        table = RichTable(title=self.title, title_justify="left")
        for number, column in enumerate(self.columns):
            table.add_column(column, justify="right" if number else "left", overflow="fold")
        for row in self.rows:
            table.add_row(*row)
        console.print(table)


def cost_of_a_step(rounds: Rounds, syncs: Mapping[str, float | None]) -> Table:
    """Return what one step of every subject cost: median and, in brackets, least to greatest."""
    rows = tuple(
        (
            label,
            show(spread([answer[label].figures.wall_us_per_step for answer in rounds])),
            show(spread([answer[label].figures.cpu_us_per_step for answer in rounds])),
            show(spread([answer[label].figures.bytes_per_step for answer in rounds])),
            _written([answer[label].figures for answer in rounds]),
            _syncs(syncs.get(label)),
        )
        for label in rounds[0]
    )
    columns = ("subject", "wall µs", "CPU µs", "bytes kept", "bytes written", "syncs")
    return Table("One step", columns, rows)


def cost_on_a_server(rounds: Rounds, syncs: Mapping[str, float | None]) -> Table:
    """Return what one step of every subject cost, with what it cost the database server."""
    rows = tuple(
        (
            label,
            show(spread(_all(figures, "wall_us_per_step"))),
            show(spread(_all(figures, "cpu_us_per_step"))),
            _server_cpu(figures),
            show(spread(_all(figures, "bytes_per_step"))),
            _written(figures),
            _syncs(syncs.get(label)),
        )
        for label, figures in _by_label(rounds)
    )
    columns = ("subject", "wall µs", "CPU µs", "server CPU µs", "bytes kept", "log bytes", "syncs")
    return Table("One step", columns, rows)


def throughput(rounds: Rounds, steps_a_run: int) -> Table:
    """Return how fast a queue of runs was emptied."""
    rows = tuple(
        (
            label,
            show(spread([1e6 / wall / steps_a_run for wall in _all(figures, "wall_us_per_step")])),
            show(spread([1e6 / wall for wall in _all(figures, "wall_us_per_step")])),
            show(spread(_all(figures, "cpu_us_per_step"))),
            _server_cpu(figures),
        )
        for label, figures in _by_label(rounds)
    )
    columns = ("subject", "runs/s", "steps/s", "CPU µs a step", "server CPU µs a step")
    return Table("Throughput", columns, rows)


def ratios_to(base: str, rounds: Rounds) -> Table:
    """Return every subject divided by `base`, round by round; below 1 is cheaper than `base`.

    Where there is a server, its CPU is added to the client's: who leaves the work to it has not saved it.
    """
    has_server = any(one.server_cpu_us_per_step is not None for _, all_ in _by_label(rounds) for one in all_)
    rows = tuple(
        (
            label,
            show(_against(base, label, "wall_us_per_step", rounds), digits=2),
            show(_against(base, label, "all_cpu_us_per_step", rounds), digits=2),
            show(_against(base, label, "bytes_per_step", rounds), digits=2),
        )
        for label in rounds[0]
        if label != base
    )
    columns = ("subject", "wall", "CPU with server" if has_server else "CPU", "bytes kept")
    return Table(f"Divided by {base}", columns, rows)


def growth(rounds: Rounds) -> Table:
    """Return what a late step cost against an early step of the same run."""
    columns = ("subject", "steps", "wall µs", "ratio", "bytes kept", "ratio", "bytes written")
    return Table("Growth", columns, tuple(_growth_row(label, rounds) for label in rounds[0]))


def _growth_row(label: str, rounds: Rounds) -> tuple[str, ...]:
    early, late = min(rounds[0][label].marks), max(rounds[0][label].marks)
    first = [answer[label].marks[early] for answer in rounds]
    last = [answer[label].marks[late] for answer in rounds]
    return (
        label,
        f"{early} → {late}",
        _from_to(first, last, "wall_us_median_step"),
        show(ratio(_all(last, "wall_us_median_step"), _all(first, "wall_us_median_step")), 2),
        _from_to(first, last, "bytes_per_step"),
        show(ratio(_all(last, "bytes_per_step"), _all(first, "bytes_per_step")), 2),
        f"{_written(first)} → {_written(last)}",
    )


def _against(base: str, label: str, figure: str, rounds: Rounds) -> Spread:
    return ratio(
        _all([answer[label].figures for answer in rounds], figure),
        _all([answer[base].figures for answer in rounds], figure),
    )


def _by_label(rounds: Rounds) -> list[tuple[str, list[Figures]]]:
    return [(label, [answers[label].figures for answers in rounds]) for label in rounds[0]]


def _server_cpu(figures: Sequence[Figures]) -> str:
    known = [one.server_cpu_us_per_step for one in figures if one.server_cpu_us_per_step is not None]
    return show(spread(known)) if len(known) == len(figures) else _NOT_MEASURED


def _all(figures: Sequence[Figures], name: str) -> list[float]:
    return [getattr(one, name) for one in figures]


def _from_to(first: Sequence[Figures], last: Sequence[Figures], name: str) -> str:
    return f"{spread(_all(first, name)).median:,.0f} → {spread(_all(last, name)).median:,.0f}"


def _written(figures: Sequence[Figures]) -> str:
    written = [one.written_bytes_per_step for one in figures]
    known = [number for number in written if number is not None]
    return f"{spread(known).median:,.0f}" if len(known) == len(written) else _NOT_MEASURED


def _syncs(number: float | None) -> str:
    return _NOT_MEASURED if number is None else f"{number:.2f}"


def show(values: Spread, digits: int = 0) -> str:
    """Write a median with its range; a range that rounds to one number is left out."""
    middle, low, high = (f"{number:,.{digits}f}" for number in (values.median, values.low, values.high))
    return middle if low == high else f"{middle} ({low} to {high})"
