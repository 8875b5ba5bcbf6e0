"""A run on a terminal: the ten questions in plain language, and what happened when.

Calm on purpose: colour says the same as the mark beside it, and nothing is said by colour alone. All content
is text: neither a ticket nor a model can style what an operator sees.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Group
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from answerable.evidence.questions import QUESTIONS, answers
from answerable.evidence.timeline import timeline
from answerable.evidence.words import lasting, when

if TYPE_CHECKING:
    from rich.console import RenderableType

    from answerable.evidence.timeline import Tone
    from answerable.evidence.view import RunView

MARKS: dict[Tone, tuple[str, str]] = {
    "plain": ("•", ""),
    "quiet": ("·", "dim"),
    "good": ("✓", "green"),
    "waiting": ("…", "yellow"),
    "bad": ("✗", "red"),
    "unknown": ("?", "bold magenta"),
}
"""Tone → mark and colour. The mark alone is enough."""
STATES: dict[str, Tone] = {
    "succeeded": "good",
    "unverified": "plain",
    "escalated": "waiting",
    "failed": "bad",
    "halted": "bad",
    "abandoned": "bad",
    "waiting": "waiting",
    "running": "plain",
    "created": "quiet",
}


def standing(state: str, outcome: str | None) -> Text:
    """How a run stands, with its mark."""
    word = outcome or state
    mark, style = MARKS[STATES.get(word, "plain")]
    return Text(f"{mark} {word}", style=style)


def code(text: str, style: str = "") -> Text:
    """Plain text in which `names` in backticks stand out."""
    found = Text(style=style)
    for index, part in enumerate(text.split("`")):
        found.append(part, style="bold" if index % 2 else "")
    return found


def run_page(view: RunView) -> RenderableType:
    """`answerable show RUN`."""
    state = view.state
    outcome = state.ended.outcome if state.ended else None
    title = Text.assemble(("run ", "dim"), (view.run, "bold"), "  ", standing(state.name, outcome))
    begun = Text(f"{view.created.agent} · accepted {when(state.created_at)}", style="dim")
    if state.ended is not None:
        begun.append(f" · ended after {lasting(state.ended_at - state.created_at)}")
    return Group(
        title,
        begun,
        Text(),
        questions_table(view),
        Text(),
        Text("What happened", style="bold"),
        moments(view),
    )


def questions_table(view: RunView) -> Table:
    """The ten questions and their answers."""
    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column(no_wrap=True, min_width=22)
    table.add_column(overflow="fold", max_width=100)
    for key, answer in answers(view).items():
        table.add_row(Text(QUESTIONS[key], style="bold"), Padding(code(answer.answer), (0, 0, 1, 0)))
    return table


def moments(view: RunView, *, after: int = 0) -> Table:
    """The timeline, from the moment with index `after` on."""
    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column(justify="right", style="dim", no_wrap=True, min_width=8)
    table.add_column(style="dim", no_wrap=True, min_width=5)
    table.add_column(overflow="fold", max_width=110)
    for moment in timeline(view)[after:]:
        mark, style = MARKS[moment.tone]
        what = Text.assemble((f"{mark} ", style), code(moment.what, style))
        table.add_row(f"+{lasting(moment.since_us)}", moment.path, what)
    return table
