"""What every verb shares: its options, where the journal is, and how it prints.

Data goes to stdout, talk to stderr. Nothing heavy is imported here at the top.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Coroutine
    from contextlib import AbstractAsyncContextManager

    from rich.console import Console, RenderableType

    from answerable.engine.agent import Agent
    from answerable.journal.store import JournalStore
    from answerable.project import Project

FAILED, MISUSED, COULD_NOT_RUN, INTERRUPTED = 1, 2, 3, 130
CONFIG = "answerable.toml"
WIDTH = 110
"""Of output that goes into a file or a pipe."""
T = TypeVar("T")

Db = Annotated[
    str | None,
    typer.Option(
        "--db",
        metavar="URL",
        envvar="ANSWERABLE_DATABASE_URL",
        help="The journal: sqlite:///PATH or postgresql://... By default that of the project here.",
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of words.")]
ProjectDir = Annotated[
    Path | None, typer.Argument(metavar="[PROJECT_DIR]", help="The project's folder; default: here.")
]
AgentName = Annotated[str | None, typer.Option("--agent", metavar="NAME", help="Only this agent.")]
RunRef = Annotated[str, typer.Argument(metavar="RUN", help="A run's id, or enough of its beginning.")]
Timeout = Annotated[
    float,
    typer.Option(
        "--timeout", metavar="SECONDS", min=0.01, help="For one question; after it, it counts as open."
    ),
]
DataDir = Annotated[
    Path | None,
    typer.Option("--dir", metavar="DIR", help="Where the project's own files are, such as its shop."),
]


def talk(text: str) -> None:
    """Say something to the person at the terminal, on stderr."""
    print(text, file=sys.stderr, flush=True)


def print_json(value: object) -> None:
    """Print data as JSON, on stdout."""
    print(json.dumps(value, indent=2, ensure_ascii=False))


def console(*, stderr: bool = False) -> Console:
    """A terminal to draw on. Content is never read as markup, and nothing is coloured in a pipe."""
    from rich.console import Console

    stream = sys.stderr if stderr else sys.stdout
    width = None if stream.isatty() else WIDTH
    return Console(stderr=stderr, markup=False, highlight=False, emoji=False, width=width)


def draw(what: RenderableType) -> None:
    """Draw on stdout; in a file or a pipe, without the blanks that only pad a screen."""
    terminal = console()
    if terminal.is_terminal:
        terminal.print(what, crop=False)
        return
    with terminal.capture() as captured:
        terminal.print(what, crop=False)
    for line in captured.get().splitlines():
        print(line.rstrip())


def run_async(work: Coroutine[Any, Any, T]) -> T:
    """Run a verb's coroutine to its end."""
    import asyncio

    return asyncio.run(work)


class Misused(typer.BadParameter):
    """A verb was used in a way that is not meant: the process leaves with 2."""

    def format_message(self) -> str:
        """The message as it is, without a prefix."""
        return self.message


def journal_url(db: str | None, directory: Path | None = None) -> str:
    """Where the journal is: `--db`, the environment, or what the project in `directory` (default: here) says.

    Reads the project's file only, never its code.
    """
    from answerable.errors import ConfigError

    if db:
        return db
    folder = directory or Path()
    if not (folder / CONFIG).is_file():
        raise ConfigError(
            "no journal is named, and there is no project here",
            hint="give --db sqlite:///PATH, set ANSWERABLE_DATABASE_URL, or go into a project's folder",
        )
    import tomllib

    try:
        table = tomllib.loads((folder / CONFIG).read_text("utf-8")).get("project", {})
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"`{folder / CONFIG}` cannot be read: {error}", hint="correct the line") from None
    from answerable.journal.opening import resolve_journal

    return resolve_journal(str(table.get("journal", "sqlite:///journal.db")), folder)


def opened(url: str, *, accept_loss: bool = False) -> AbstractAsyncContextManager[JournalStore]:
    """A journal that exists, open for reading and for what operators append; closed in the end."""
    from contextlib import asynccontextmanager

    from answerable.engine.ports import (
        system_ports,
    )  # and not the composition root: a halt must not wait for imports
    from answerable.journal.opening import open_store

    ports = system_ports()

    @asynccontextmanager
    async def open_it() -> AsyncGenerator[JournalStore]:
        store = await open_store(
            url, entropy=ports.entropy, clock=ports.clock.now_us, must_exist=True, accept_loss=accept_loss
        )
        try:
            yield store
        finally:
            await store.close()

    return open_it()


async def find_run(store: JournalStore, text: str) -> str:
    """The one run whose id is, or begins with, `text`. The prefix `run_` may be left out."""
    from answerable.errors import InputError

    wanted = text if text.startswith("run_") else f"run_{text}"
    names = [row.run for row in await store.runs() if row.run.startswith(wanted)]
    if len(names) == 1 or wanted in names:
        return wanted if wanted in names else names[0]
    if not names:
        raise InputError(f"there is no run `{text}` in this journal", hint="`answerable runs` lists them")
    raise InputError(f"`{text}` is the beginning of {len(names)} runs", hint=f"for instance `{names[0]}`")


def find_project(project_dir: Path | None, data: Path | None, url: str | None) -> Project:
    """The project that a verb works on.

    It is the folder that was named, the one that `--dir` names, or here. Where none of them is a project it
    is the refund desk that comes with the package, as `answerable demo` runs it: its files are then in
    `--dir`, or beside the journal.
    """
    from answerable.journal.opening import is_postgres, journal_path
    from answerable.project import example_dir, load_project

    if project_dir is not None:
        return load_project(project_dir, data=data)
    for folder in (data, Path()):
        if folder is not None and (folder / CONFIG).is_file():
            return load_project(folder, data=data)
    if data is None and url is not None and not is_postgres(url):
        data = journal_path(url).parent
    if data is None:
        return load_project(Path())  # says what is missing
    return load_project(example_dir(), data=data)


def agents_of(project: Project, name: str | None) -> list[Agent]:
    """The agent that was named, or all of the project's."""
    from answerable.errors import ConfigError

    if name is None:
        return list(project.agents.values())
    if name not in project.agents:
        raise ConfigError(f"the project has no agent `{name}`", hint=f"it has {', '.join(project.agents)}")
    return [project.agents[name]]


def one_agent_of(project: Project, name: str | None) -> Agent:
    """The agent that was named, or the only one that there is."""
    from answerable.errors import ConfigError

    found = agents_of(project, name)
    if len(found) > 1:
        raise ConfigError(
            "the project has several agents", hint=f"choose one with --agent: {', '.join(project.agents)}"
        )
    return found[0]


def command() -> str:
    """How to call this command from where the user is, so that what is suggested can be typed."""
    if shutil.which("answerable"):
        return "answerable"
    called = Path(sys.argv[0])
    if called.name == "answerable" and called.exists():
        return near(called.absolute())
    return os.environ.get("ANSWERABLE_COMMAND") or "answerable"


def near(path: Path) -> str:
    """A path as it is typed from here: relative where it lies below."""
    return str(path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path)
