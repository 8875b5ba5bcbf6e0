"""`answerable retention apply`: let content go that is past its time."""

from __future__ import annotations

import typer

from answerable.cli.common import AsJson, DataDir, Db, ProjectDir, find_project, opened, print_json, run_async

app = typer.Typer(help="How long content is kept.", no_args_is_help=True)


@app.callback()
def retention() -> None:
    """How long content is kept."""


@app.command("apply")
def apply(
    project_dir: ProjectDir = None, db: Db = None, data: DataDir = None, *, as_json: AsJson = False
) -> None:
    """Erase content that is older than its class allows.

    `[retention]` in answerable.toml says how long that is. Entries, hashes and proofs stay. Content of people
    with an open run, or with an effect in doubt, is kept.
    """
    from answerable.engine.ports import system_ports
    from answerable.journal import retention as keeping
    from answerable.journal.opening import choose_journal

    project = find_project(project_dir, data, db)

    async def work() -> dict[str, int]:
        async with opened(choose_journal(db, project.journal_url)) as store:
            return await keeping.apply(store, project.retention, now=system_ports().clock.now_us())

    erased = run_async(work())
    if as_json:
        print_json({"erased": erased})
        return
    for name, count in sorted(erased.items()):
        typer.echo(f"{name}: {count} contents erased")
    typer.echo(f"{sum(erased.values())} contents erased in all; entries and proofs stay as they are")
