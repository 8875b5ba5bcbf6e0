"""`answerable runs`: the list of runs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from answerable.cli.common import AsJson, Db, draw, journal_url, opened, print_json, run_async, talk

if TYPE_CHECKING:
    from rich.table import Table

    from answerable.journal.store import RunRow

State = Annotated[
    list[str] | None,
    typer.Option(
        "--state", metavar="STATE", help="created, running, waiting, ended, or an outcome; repeatable."
    ),
]
AgentName = Annotated[str | None, typer.Option("--agent", metavar="NAME", help="Only this agent's.")]
STATES = ("created", "running", "waiting", "ended")


def runs(state: State = None, agent: AgentName = None, db: Db = None, *, as_json: AsJson = False) -> None:
    """List runs, the oldest first."""
    run_async(_runs(journal_url(db), frozenset(state or ()), agent, as_json=as_json))


async def _runs(url: str, states: frozenset[str], agent: str | None, *, as_json: bool) -> None:
    from answerable.cli.common import Misused
    from answerable.evidence.summary import OUTCOMES, row_json

    unknown = states - {*STATES, *OUTCOMES}
    if unknown:
        raise Misused(f"`{min(unknown)}` is no state; there are {', '.join((*STATES, *OUTCOMES))}")
    async with opened(url) as store:
        rows = [
            row
            for row in await store.runs()
            if (not states or states & {row.state, row.outcome or ""}) and agent in (None, row.agent)
        ]
        _, halts = await store.halts()
    for halt in halts:
        talk(f"a halt of `{halt.scope}` by {halt.by} is in force: {halt.reason}")
    if as_json:
        print_json([row_json(row) for row in rows])
    elif rows:
        draw(table(rows))
    else:
        talk("no runs")


def table(rows: list[RunRow]) -> Table:
    """The runs as a table."""
    from rich.table import Table
    from rich.text import Text

    from answerable.evidence.render import standing
    from answerable.evidence.words import WAITS_FOR, dollars, when

    found = Table(box=None, pad_edge=False, header_style="dim")
    for name in ("run", "agent", "state", "why", "accepted"):
        found.add_column(name, no_wrap=name in ("run", "state"))
    for name in ("steps", "cost"):
        found.add_column(name, justify="right")
    for row in rows:
        why = row.code if row.outcome != "succeeded" else ""
        if row.state == "waiting":
            why = f"for {WAITS_FOR.get(row.waiting_for or '', 'something')}"
        found.add_row(
            Text(row.run),
            Text(row.agent),
            standing(row.state, row.outcome),
            Text((why or "").replace("_", " ")),
            Text(when(row.created).removesuffix(" UTC")),
            str(row.steps),
            f"{'' if row.is_cost_known else '≥ '}{dollars(row.cost)}",
        )
    return found
