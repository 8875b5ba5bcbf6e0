"""`answerable report RUN`: say what became of an effect that nobody knew about, after having looked."""

from __future__ import annotations

from typing import Annotated

import typer

from answerable.cli.common import (
    AsJson,
    DataDir,
    Db,
    ProjectDir,
    RunRef,
    find_project,
    find_run,
    print_json,
    run_async,
)

Effect = Annotated[
    str | None,
    typer.Option("--effect", metavar="KEY", help="Which effect, by its key; needed where there are several."),
]
Happened = Annotated[
    bool,
    typer.Option("--happened/--did-not-happen", help="What the system of record shows.", show_default=False),
]


def report(
    run: RunRef,
    project_dir: ProjectDir = None,
    *,
    happened: Happened,
    effect: Effect = None,
    db: Db = None,
    data: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Say what became of an effect that is unknown.

    Look at the system itself first. What you say is recorded under your name and settles the effect: its
    claim, its budget and its totals. The run's outcome stays what it was.
    """
    raise typer.Exit(
        run_async(_report(run, project_dir, db, data, effect, is_done=happened, as_json=as_json))
    )


async def _report(
    text: str,
    project_dir: ProjectDir,
    db: Db,
    data: DataDir,
    effect: str | None,
    *,
    is_done: bool,
    as_json: bool,
) -> int:
    from answerable.cli.keys import user_name
    from answerable.errors import ConfigError
    from answerable.evidence.view import load_view
    from answerable.kernel.ids import RunId
    from answerable.project import open_project

    project = find_project(project_dir, data, db)
    async with open_project(project, db=db) as runtime:
        found = RunId(await find_run(runtime.store, text))
        unknown = list((await load_view(runtime.store, found)).state.unknown)
        if effect is None and len(unknown) != 1:
            raise ConfigError(
                f"`{found}` has {len(unknown)} unknown effects",
                hint=f"name one with --effect: {', '.join(unknown) or 'none'}",
            )
        chosen = effect or unknown[0]
        state = "done" if is_done else "failed"
        await runtime.report(found, chosen, state, by=user_name())
        left = list((await load_view(runtime.store, found)).state.unknown)
    if as_json:
        print_json({"run": found, "effect": chosen, "state": state, "unknown": left})
    else:
        typer.echo(
            f"recorded: the effect {'happened' if is_done else 'did not happen'}; {len(left)} of this run are still unknown"
        )
    return 0
