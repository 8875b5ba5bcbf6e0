"""What we set out to reach, and whether a run of the benchmark reached it: met or missed, never rounded up."""

from collections.abc import Sequence
from dataclasses import dataclass

from bench import lineup
from bench.meter import Figures
from bench.report import Table, show
from bench.rounds import Rounds
from bench.summary import Spread, ratio, spread


@dataclass(frozen=True, slots=True)
class Target:
    """One subject's figure, or its ratio to another subject's, and the most that it may be.

    Without a limit the figure is only printed, for readers who would ask for it.
    """

    subject: str
    figure: str
    limit: float | None
    against: str | None = None

    def measured(self, rounds: Rounds) -> Spread:
        """The figure in these rounds; a ratio is formed in each round."""
        own = _figures(rounds, self.subject, self.figure)
        return (
            spread(own) if self.against is None else ratio(own, _figures(rounds, self.against, self.figure))
        )


WALL, CPU = "wall_us_per_step", "cpu_us_per_step"

STEPS = (
    *(
        Target(subject, WALL, limit, against)
        for subject, limits in (
            (lineup.READ, (0.6, 0.3)),
            (lineup.KEYED, (0.6, 0.3)),
            (lineup.TWO_COMMITS, (1.0, 0.45)),
        )
        for against, limit in (
            (lineup.LANGGRAPH, limits[0]),
            (lineup.DBOS, limits[1]),
            (lineup.DBOS_WAL, None),
        )
    ),
)
"""A governed call beside an unguarded step of others."""

SCALE = (
    Target(lineup.MANY_RUNS, CPU, 600),
    Target(lineup.MANY_RUNS, WALL, 1_000_000 / 1500),
    Target(lineup.MANY_RULES, CPU, 1.2, lineup.FEW_RULES),
    Target(lineup.UNSCOPED, CPU, None, lineup.FEW_RULES),
)
"""CPU of a call, calls a second (1,500 are 667 µs each), and what more rules cost."""

POSTGRES = (
    *(
        Target(subject, WALL, limit if against == lineup.POSTGRES_DBOS else None, against)
        for subject, limit in (
            (lineup.POSTGRES_READ, 0.4),
            (lineup.POSTGRES_KEYED, 0.4),
            (lineup.POSTGRES_TWO_COMMITS, 0.6),
        )
        for against in (lineup.POSTGRES_DBOS, lineup.POSTGRES_LANGGRAPH, lineup.POSTGRES_ABSURD)
    ),
    *(
        Target(lineup.driven_by(lineup.OURS, workers), WALL, None, lineup.driven_by(peer, workers))
        for workers in lineup.WORKERS
        for peer in (lineup.DBOS_QUEUE, lineup.ABSURD_QUEUE)
    ),
    *(
        Target(lineup.driven_by(who, 2), WALL, None, lineup.driven_by(who, 1))
        for who in (lineup.OURS, lineup.DBOS_QUEUE, lineup.ABSURD_QUEUE)
    ),
)
"""A governed call on PostgreSQL beside an unguarded step of others, and what a second process brings."""

GROWTH_MAX = 1.1
"""A late step against an early one, in time and in bytes."""


def against_targets(targets: Sequence[Target], rounds: Rounds) -> Table:
    """Return what was measured beside what was wanted, for the subjects that ran."""
    ran = rounds[0].keys()
    rows = tuple(
        _row(
            target.subject if target.against is None else f"{target.subject} ÷ {target.against}",
            _NAMES[target.figure],
            target.measured(rounds),
            target.limit,
            digits=0 if target.against is None else 2,
        )
        for target in targets
        if target.subject in ran and (target.against is None or target.against in ran)
    )
    return _table(rows)


def growth_against_target(rounds: Rounds) -> Table:
    """Return how much dearer a late step of ours is, beside what was wanted."""
    rows: list[tuple[str, ...]] = []
    for label in (label for label in rounds[0] if label == lineup.KEYED):
        early, late = min(rounds[0][label].marks), max(rounds[0][label].marks)
        for figure in ("wall_us_median_step", "bytes_per_step"):
            first = [float(getattr(answers[label].marks[early], figure)) for answers in rounds]
            last = [float(getattr(answers[label].marks[late], figure)) for answers in rounds]
            what = f"{label}, step {late} ÷ step {early}"
            rows.append(_row(what, _NAMES[figure], ratio(last, first), GROWTH_MAX, digits=2))
    return _table(tuple(rows))


def verdict(measured: Spread, limit: float | None) -> str:
    """Return whether the median is within the limit; and if some round was not, that too."""
    if limit is None:
        return "no target"
    if measured.median > limit:
        return "missed"
    return "met" if measured.high <= limit else "met, not in every round"


_NAMES = {
    WALL: "wall",
    CPU: "CPU",
    "wall_us_median_step": "wall, median step",
    "bytes_per_step": "bytes kept",
}


def _table(rows: tuple[tuple[str, ...], ...]) -> Table:
    return Table("Targets", ("what", "figure", "measured", "at most", "verdict"), rows)


def _row(what: str, figure: str, measured: Spread, limit: float | None, *, digits: int) -> tuple[str, ...]:
    wanted = "none" if limit is None else f"{limit:,.{digits}f}"
    return what, figure, show(measured, digits), wanted, verdict(measured, limit)


def _figures(rounds: Rounds, label: str, figure: str) -> list[float]:
    figures: list[Figures] = [answers[label].figures for answers in rounds]
    return [float(getattr(one, figure)) for one in figures]
