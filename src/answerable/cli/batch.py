"""Driving many runs from a terminal: a progress bar, signals that stop cleanly, and a summary."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from answerable.cli.common import console, print_json, talk

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Sequence
    from contextlib import AbstractContextManager

    from rich.console import RenderableType

    from answerable.engine.runtime import Runtime
    from answerable.journal.store import RunRow
    from answerable.kernel.ids import RunId


@dataclass(frozen=True, slots=True)
class Batch:
    """What came of a batch: its rows, its summary, and whether a signal stopped it."""

    rows: list[RunRow]
    summary: dict[str, Any]
    is_stopped: bool


async def drive(
    runtime: Runtime, runs: Sequence[RunId] | None, journal: str, *, concurrency: int, title: str
) -> Batch:
    """Drive these runs, or every open one, and sum up.

    The first SIGINT or SIGTERM lets what is being sent come to its end and begins nothing new.
    """
    import time

    from answerable.evidence.summary import summarise

    begun = time.monotonic()
    todo = list(runs) if runs is not None else None
    with stopping(runtime) as signals, progress(title) as advance:
        outcomes = await runtime.drive_all(todo, concurrency=concurrency, on_progress=advance)
    wanted = {outcome.run for outcome in outcomes} if todo is None else set(todo)
    rows = [row for row in await runtime.store.runs() if row.run in wanted]
    return Batch(rows, summarise(rows, time.monotonic() - begun, journal), bool(signals))


def stopping(runtime: Runtime) -> AbstractContextManager[list[int]]:
    """Turn SIGINT and SIGTERM into a clean stop. Yields the signals that came."""
    import asyncio
    import signal
    from contextlib import contextmanager

    @contextmanager
    def handled() -> Generator[list[int]]:
        loop = asyncio.get_running_loop()
        came: list[int] = []

        def stop(number: int) -> None:
            came.append(number)
            runtime.stop()
            talk("stopping: what is being sent comes to its end, nothing new is begun")

        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, stop, number)
        try:
            yield came
        finally:
            for number in (signal.SIGINT, signal.SIGTERM):
                loop.remove_signal_handler(number)

    return handled()


def progress(title: str) -> AbstractContextManager[Callable[[int, int], None]]:
    """A bar on stderr where that is a terminal; nothing elsewhere."""
    from contextlib import contextmanager

    @contextmanager
    def shown() -> Generator[Callable[[int, int], None]]:
        if not sys.stderr.isatty():
            yield lambda _done, _total: None
            return
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

        bar = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=40),
            MofNCompleteColumn(),
            console=console(stderr=True),
            transient=True,
        )
        with bar:
            task = bar.add_task(title, total=None)
            yield lambda done, total: bar.update(task, completed=done, total=total)

    return shown()


def summary_table(batch: Batch) -> RenderableType:
    """The summary in words."""
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    from answerable.evidence.render import standing
    from answerable.evidence.words import counted

    said = batch.summary
    table = Table.grid(padding=(0, 3, 0, 0))
    table.add_column(min_width=20)
    table.add_column(justify="right")
    for outcome, count in said["outcomes"].items():
        if count:
            table.add_row(standing("ended", outcome), Text(str(count)))
    if said["approvals_waiting"]:
        table.add_row(standing("waiting", None), Text(str(said["approvals_waiting"])))
    others = said["runs"] - sum(said["outcomes"].values()) - said["approvals_waiting"]
    if others:
        table.add_row(standing("running", None), Text(str(others)))
    rates = Table.grid(padding=(0, 3, 0, 0))
    rates.add_column(style="dim", min_width=20)
    rates.add_column()
    rates.add_row("success rate", _percent(said["success_rate"]))
    rates.add_row("escalation rate", _percent(said["escalation_rate"]))
    cost = said["cost_per_success"]
    rates.add_row("cost per success", "unknown" if cost is None else f"${cost}")
    rates.add_row("journal", Text(said["journal"], overflow="fold"))
    title = Text(f"{counted(said['runs'], 'run')} in {said['seconds']:.1f} s", style="bold")
    scripted = [row for row in batch.rows if row.scripted]
    parts = [title, Text(), table, Text(), rates]
    if scripted:
        parts.insert(
            1, Text("The model is scripted: a program stands in for a language model.", style="yellow")
        )
    return Group(*parts)


def _percent(rate: float | None) -> str:
    return "nothing has ended yet" if rate is None else f"{rate * 100:.1f} %"


def finish(batch: Batch, *, as_json: bool, then: RenderableType | None = None) -> int:
    """Print what came of a batch, and return the exit code: an escalation is not an error of the batch."""
    from answerable.cli.common import INTERRUPTED, draw

    if as_json:
        print_json(batch.summary)
    else:
        draw(summary_table(batch))
        if then is not None:
            draw(then)
    if batch.is_stopped:
        talk("stopped; every run is as the journal says")
        talk(f"hint: `answerable resume --all --db {batch.summary['journal']}` goes on from there")
        return INTERRUPTED
    return 0
