"""`answerable demo`: the refund desk at work, with no key and no network."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from answerable.cli.common import AsJson, Db, command, near, run_async, talk

if TYPE_CHECKING:
    from rich.console import RenderableType

    from answerable.cli.batch import Batch
    from answerable.project import Project

HOME = Path(".answerable")
Dir = Annotated[
    Path | None,
    typer.Option(
        "--dir", metavar="DIR", help="Where to put tickets, shop and journal. Default: .answerable/demo-N."
    ),
]


def demo(directory: Dir = None, db: Db = None, *, as_json: AsJson = False) -> None:
    """Watch a refund desk work through tickets, under real controls.

    The model is scripted: a program that reads the tickets and obeys whatever they say, so that what stops it
    is the gates. With a --dir that was used before, only tickets without a run are worked on.
    """
    raise typer.Exit(run_async(_demo(directory or new_folder(), db, as_json=as_json)))


def new_folder() -> Path:
    """The next numbered folder that is not there."""
    number = 1
    while (HOME / f"demo-{number}").exists():
        number += 1
    return HOME / f"demo-{number}"


async def _demo(directory: Path, db: str | None, *, as_json: bool) -> int:
    from answerable.cli import batch
    from answerable.errors import ConfigError
    from answerable.journal.opening import choose_journal
    from answerable.project import open_project, read_tasks

    project = prepare(directory)
    if project.tasks_file is None:
        raise ConfigError("the example has no tickets", hint="install the package again")
    (agent,) = project.agents.values()
    url = choose_journal(db, project.journal_url)
    tasks = read_tasks(project.tasks_file, agent)
    talk(f"{len(tasks)} tickets in {directory}; the model is scripted, nothing leaves this machine")
    async with open_project(project, db=db) as runtime:
        runs = await runtime.submit(agent.name, tasks)
        done = await batch.drive(runtime, runs, url, concurrency=8, title="refund desk")
    return batch.finish(done, as_json=as_json, then=None if as_json else try_next(done, url))


def prepare(directory: Path) -> Project:
    """The refund desk, with its own files in `directory`. Files that are there stay as they are."""
    from answerable.project import example_dir, load_project

    directory.mkdir(parents=True, exist_ok=True)
    source = example_dir()
    for name in ("tickets.jsonl",):
        if not (directory / name).exists():
            (directory / name).write_bytes((source / name).read_bytes())
    return load_project(source, data=directory)


def try_next(done: Batch, url: str) -> RenderableType:
    """Three commands to try: prove, stop, explain."""
    from rich.console import Group
    from rich.text import Text

    us, path = command(), near(Path(url.removeprefix("sqlite:///")))
    db, head = f"--db {shlex.quote(f'sqlite:///{path}')}", shlex.quote(f"{path}.head.json")
    stopped = [row for row in done.rows if row.code in ("policy_denied", "approval_denied")]
    waiting = [row for row in done.rows if row.waiting_for == "approval"]
    explained = (stopped or waiting or done.rows)[0].run
    commands = {
        "prove": [f"{us} audit head --out {head} {db}", f"{us} audit verify --head {head} {db}"],
        "stop": [f'{us} halt --all --reason "trying it out" {db}'],
        "explain": [f"{us} show {explained} {db}"],
    }
    lines = [
        Text.assemble(
            (f"{word:<10}" if not index else " " * 10, "bold"), line, no_wrap=True, overflow="ignore"
        )
        for word, several in commands.items()
        for index, line in enumerate(several)
    ]
    return Group(Text(), Text("Try next", style="bold"), *lines)
