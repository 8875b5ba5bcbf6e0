"""`answerable show RUN`: ten answers about a run, and what happened when."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from answerable.cli.common import (
    AsJson,
    DataDir,
    Db,
    RunRef,
    draw,
    find_run,
    journal_url,
    opened,
    print_json,
    run_async,
)

if TYPE_CHECKING:
    from answerable.evidence.view import RunView

Packet = Annotated[
    bool, typer.Option("--packet", help="The escalation packet, as Markdown or with --json as JSON.")
]


def show(
    run: RunRef, db: Db = None, data: DataDir = None, *, packet: Packet = False, as_json: AsJson = False
) -> None:
    """Explain one run, from its journal.

    Who, for whom, what was asked, what changed, by which rule, whose yes, what it cost, what is unknown, what
    can be undone, why it ended. What has been erased is said to be erased.
    """
    run_async(_show(run, journal_url(db, data), is_packet=packet, as_json=as_json))


async def _show(text: str, url: str, *, is_packet: bool, as_json: bool) -> None:
    from answerable.evidence.questions import answers_json
    from answerable.evidence.view import load_view

    async with opened(url) as store:
        run = await find_run(store, text)
        view = await load_view(store, run)
    if is_packet:
        _print_packet(view, as_json=as_json)
    elif as_json:
        print_json(answers_json(view))
    else:
        from answerable.evidence.render import run_page

        draw(run_page(view))


def _print_packet(view: RunView, *, as_json: bool) -> None:
    from answerable.errors import InputError
    from answerable.evidence.packet_markdown import packet_markdown
    from answerable.journal.store import Erased

    ended = view.state.ended
    content: Any = view.content(ended.packet if ended is not None else None)
    if content is None:
        raise InputError(f"`{view.run}` has no packet", hint="only a run that was handed to a person has one")
    if isinstance(content, Erased):
        raise InputError(
            f"the packet of `{view.run}` has been erased", hint="the journal still shows its steps"
        )
    if as_json:
        print_json(content)
    else:
        typer.echo(packet_markdown(content), nl=False)
