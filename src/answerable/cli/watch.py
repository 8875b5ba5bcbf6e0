"""`answerable watch`: runs as they move."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated

import typer

from answerable.cli.common import AsJson, Db, console, find_run, journal_url, opened, run_async, talk

if TYPE_CHECKING:
    from answerable.journal.store import JournalStore, RunRow

Run = Annotated[str | None, typer.Argument(metavar="[RUN]", help="One run, step by step, until it ends.")]
Once = Annotated[bool, typer.Option("--once", help="Print how things stand, and leave.")]
LOOK_EVERY_S = 0.2
"""At most so often, however much is written."""


def watch(run: Run = None, db: Db = None, *, once: Once = False, as_json: AsJson = False) -> None:
    """Follow runs as they move.

    One line for each change, until you stop it. With a RUN, its steps as they are written, until it ends or
    waits. With --json, one object a line.
    """
    run_async(_watch(journal_url(db), run, is_once=once, as_json=as_json))


async def _watch(url: str, text: str | None, *, is_once: bool, as_json: bool) -> None:
    async with opened(url) as store:
        if text is not None:
            await _one(store, await find_run(store, text), is_once=is_once, as_json=as_json)
        else:
            await _all(store, is_once=is_once, as_json=as_json)


async def _all(store: JournalStore, *, is_once: bool, as_json: bool) -> None:
    import asyncio

    seen: dict[str, tuple[object, ...]] = {}
    if not is_once and not as_json:
        talk("watching; ctrl-c ends it")
    while True:
        for row in await store.runs():
            stands = (row.state, row.outcome, row.steps)
            if seen.get(row.run) != stands:
                seen[row.run] = stands
                _print_row(row, as_json=as_json)
        if is_once:
            return
        await asyncio.sleep(LOOK_EVERY_S)
        await store.changed()


def _print_row(row: RunRow, *, as_json: bool) -> None:
    from rich.text import Text

    from answerable.evidence.render import standing
    from answerable.evidence.summary import row_json

    if as_json:
        print(json.dumps(row_json(row)), flush=True)
        return
    why = f"  {row.code.replace('_', ' ')}" if row.code else ""
    line = Text.assemble((row.run, "bold"), f"  {row.agent}  ", standing(row.state, row.outcome), why)
    console().print(line, soft_wrap=True)


async def _one(store: JournalStore, run: str, *, is_once: bool, as_json: bool) -> None:
    import asyncio
    import dataclasses

    from answerable.evidence.render import moments
    from answerable.evidence.timeline import timeline
    from answerable.evidence.view import load_view

    shown = 0
    while True:
        view = await load_view(store, run)
        found = timeline(view)
        if as_json:
            for moment in found[shown:]:
                print(json.dumps(dataclasses.asdict(moment)), flush=True)
        elif found[shown:]:
            console().print(moments(view, after=shown))
        shown = len(found)
        if is_once or view.state.name in ("ended", "waiting"):
            return
        await asyncio.sleep(LOOK_EVERY_S)
        await store.changed()
