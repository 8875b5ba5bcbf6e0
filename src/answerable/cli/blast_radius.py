"""`answerable blast-radius`: the worst that a hijacked model can do with nobody asked, bounded and shown."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from answerable.cli.common import AgentName, AsJson, ProjectDir, agents_of, draw, print_json

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import RenderableType
    from rich.text import Text

    from answerable.prove.blast_figures import Figure, Period, Radius

Per = Annotated[
    Literal["run", "day"] | None, typer.Option("--per", help="Only for a run, or only for a UTC day.")
]
Candidate = Annotated[
    Path | None,
    typer.Option(
        "--candidate", metavar="DIR", help="A folder of .cedar files, in the place of the rules in force."
    ),
]
_HEADS: dict[Period, str] = {"run": "in a run", "day": "in a UTC day"}


def blast_radius(
    project_dir: ProjectDir = None,
    agent: AgentName = None,
    per: Per = None,
    candidate: Candidate = None,
    *,
    as_json: AsJson = False,
) -> None:
    """Say what a hijacked model can do at most, with nobody asked.

    Money, records, people told, data that leaves, and spend. Each bound is derived from the rules and limits, and set beside
    what the real gates were seen to let through; where the two are far apart it is called unconfirmed.
    """
    from dataclasses import replace

    from answerable.project import bundle_of, load_project
    from answerable.prove.blast_figures import PERIODS
    from answerable.prove.blast_radius import blast_radius as radius_of

    project = load_project(project_dir or Path())
    periods: Sequence[Period] = (per,) if per is not None else PERIODS
    agents = agents_of(project, agent)
    if candidate is not None:
        agents = [replace(each, policy=candidate) for each in agents]
    found = [radius_of(each, bundle_of(each), tenant=project.tenant, periods=periods) for each in agents]
    if as_json:
        print_json({"agents": [each.to_json() for each in found]})
        return
    for each in found:
        draw(_page(each, periods))


def _page(radius: Radius, periods: Sequence[Period]) -> RenderableType:
    from rich.console import Group
    from rich.text import Text

    title = Text.assemble(
        (radius.agent, "bold"),
        (f"  autonomy {radius.autonomy} · rules {radius.digest[:12]} · {radius.seconds:.1f} s", "dim"),
    )
    lead = Text("With nobody asked, a hijacked model can at most")
    parts: list[RenderableType] = [title, Text(), lead, _table(radius, periods), Text(), *_why(radius)]
    small = [*_held(radius), *radius.notes]
    if small:
        parts += [Text(), *(_line(text) for text in small)]
    parts += [
        Text(),
        Text("Assumed", style="dim"),
        *(_line(text, "dim") for text in radius.assumptions),
        Text(),
    ]
    return Group(*parts)


def _table(radius: Radius, periods: Sequence[Period]) -> RenderableType:
    from rich.box import SIMPLE_HEAD
    from rich.table import Table
    from rich.text import Text

    from answerable.prove.blast_words import what

    table = Table(box=SIMPLE_HEAD, header_style="dim", pad_edge=False)
    table.add_column("")
    for period in periods:
        table.add_column(_HEADS[period], justify="right")
    for first in radius.figures:
        if first.period == periods[0]:
            row = [radius.figure(first.measure, period, first.unit) for period in periods]
            table.add_row(Text(what(first)), *map(_cell, row))
    return table


def _cell(figure: Figure) -> Text:
    from rich.text import Text

    from answerable.prove.blast_words import UNBOUNDED, UNCONFIRMED, standing

    said = standing(figure)
    style = "bold red" if said == UNBOUNDED else "yellow" if UNCONFIRMED in said else ""
    return Text(f"**{said}**" if said == UNBOUNDED else said, style=style)


def _why(radius: Radius) -> list[RenderableType]:
    """For each figure that is not zero: what binds it, what was shown, and what would bind it then."""
    from answerable.prove.blast_words import reasons, shown, standing, what

    found: list[RenderableType] = []
    for figure in radius.figures:
        said = [*reasons(figure), *filter(None, [shown(figure)])]
        if figure.bound == 0 or not said:
            continue
        found.append(_head(f"{what(figure)}, {_HEADS[figure.period]}: {standing(figure)}"))
        found.extend(_line(text) for text in said)
    return found


def _held(radius: Radius) -> list[str]:
    return [
        f"`{each.tool}`: {each.why}{' (' + ', '.join(f'`{rule}`' for rule in each.rules) + ')' if each.rules else ''}"
        for each in radius.held
    ]


def _head(text: str) -> Text:
    from answerable.evidence.render import code

    return code(text)


def _line(text: str, style: str = "") -> RenderableType:
    """An indented line; what is in backticks stands out, unless it is small print."""
    from rich.padding import Padding

    from answerable.evidence.render import code

    return Padding(code(f"· {text}", style), (0, 0, 0, 2))
