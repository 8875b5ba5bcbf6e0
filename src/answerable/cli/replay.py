"""`answerable replay RUN`: decide a finished run again, with no model and no tool, and compare."""

from __future__ import annotations

import typer

from answerable.cli.common import (
    FAILED,
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


def replay(
    run: RunRef,
    project_dir: ProjectDir = None,
    db: Db = None,
    data: DataDir = None,
    *,
    as_json: AsJson = False,
) -> None:
    """Decide a finished run again, and compare.

    No model and no tool is called, and nothing is written. Exits 1 where anything differs.
    """
    from answerable.kernel.ids import RunId
    from answerable.project import open_project
    from answerable.replay import replay as decide_again

    async def again() -> int:
        project = find_project(project_dir, data, db)
        async with open_project(project, db=db) as runtime:
            found = RunId(await find_run(runtime.store, run))
            report = await decide_again(runtime, found)
        if as_json:
            print_json(
                {
                    "run": found,
                    "is_equal": report.is_equal,
                    "steps": report.steps,
                    "difference": report.difference,
                }
            )
        elif report.is_equal:
            typer.echo(f"✓ {found}: {report.steps} steps, the same, byte for byte")
        else:
            typer.echo(f"✗ {found}: {report.difference}")
        return 0 if report.is_equal else FAILED

    raise typer.Exit(run_async(again()))
