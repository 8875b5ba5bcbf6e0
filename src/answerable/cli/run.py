"""`answerable run`: a project's agent on a file of tasks."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from answerable.cli.common import AsJson, DataDir, Db, ProjectDir, one_agent_of, print_json, run_async, talk

if TYPE_CHECKING:
    from collections.abc import Sequence

    from answerable.journal.store import JournalStore

Input = Annotated[
    Path | None,
    typer.Option(
        "--input", metavar="FILE", help="Tasks: .jsonl or .csv. By default the file that the project names."
    ),
]
AgentName = Annotated[
    str | None, typer.Option("--agent", metavar="NAME", help="Which agent, where there are several.")
]
Model = Annotated[
    str | None,
    typer.Option("--model", metavar="PROVIDER:NAME", help="Use this model instead of the agent's own."),
]
Concurrency = Annotated[int, typer.Option("--concurrency", min=1, max=256, help="How many runs at a time.")]
Durability = Annotated[
    Literal["full", "group", "relaxed"],
    typer.Option("--durability", help="full and group survive power loss; relaxed survives only kill -9."),
]


NoWait = Annotated[
    bool, typer.Option("--no-wait", help="Accept the tasks, leave them to workers, and print the runs.")
]


def run(
    project_dir: ProjectDir = None,
    *,
    tasks_file: Input = None,
    agent: AgentName = None,
    model: Model = None,
    db: Db = None,
    data: DataDir = None,
    concurrency: Concurrency = 8,
    durability: Durability = "full",
    no_wait: NoWait = False,
    as_json: AsJson = False,
) -> None:
    """Run an agent on a file of tasks.

    Every task is accepted durably before any is worked on. A task that has a run already is not run again.
    Runs that wait for a person keep waiting; `answerable approve` answers them. With --no-wait the runs are left
    to workers: `answerable worker`.
    """
    work = _run(
        project_dir or Path(),
        tasks_file=tasks_file,
        name=agent,
        model=model,
        db=db,
        data=data,
        concurrency=concurrency,
        durability=durability,
        no_wait=no_wait,
        as_json=as_json,
    )
    raise typer.Exit(run_async(work))


async def _run(
    project_dir: Path,
    *,
    tasks_file: Path | None,
    name: str | None,
    model: str | None,
    db: str | None,
    data: Path | None,
    concurrency: int,
    durability: Literal["full", "group", "relaxed"],
    no_wait: bool,
    as_json: bool,
) -> int:
    from answerable.cli import batch
    from answerable.errors import InputError
    from answerable.journal.opening import choose_journal
    from answerable.project import load_project, open_project, read_tasks

    project = load_project(project_dir, data=data)
    agent = one_agent_of(project, name)
    file = tasks_file or project.tasks_file
    if file is None:
        raise InputError("no tasks are named", hint="give --input FILE.jsonl or FILE.csv")
    tasks = read_tasks(file, agent)
    url = choose_journal(db, project.journal_url)
    async with open_project(project, db=db, model=model, durability=durability) as runtime:
        runs = await runtime.submit(agent.name, tasks)
        if no_wait:
            await runtime.enqueue(runs)
            _say_accepted(runs, await workers_of(runtime.store), as_json=as_json)
            return 0
        done = await batch.drive(runtime, runs, url, concurrency=concurrency, title=agent.name)
    return batch.finish(done, as_json=as_json)


async def workers_of(store: JournalStore) -> int:
    """How many workers live that take runs from others."""
    return sum(row.is_alive and bool(row.releases) for row in await store.workers())


def _say_accepted(runs: Sequence[str], workers: int, *, as_json: bool) -> None:
    if as_json:
        print_json({"runs": list(runs), "workers": workers})
    else:
        for run in runs:
            typer.echo(run)
        talk(f"accepted {len(runs)}; {workers or 'no'} worker{'' if workers == 1 else 's'} alive")
    if not workers:
        talk("hint: `answerable worker` drives them; they are safe until then")
