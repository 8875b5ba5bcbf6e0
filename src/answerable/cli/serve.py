"""`answerable serve`: the doors through which work arrives."""

from __future__ import annotations

from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from answerable.cli.common import AsJson, DataDir, Db, ProjectDir, print_json, run_async, talk

if TYPE_CHECKING:
    import asyncio
    from collections.abc import AsyncGenerator, Generator
    from contextlib import AbstractContextManager

    from answerable.engine.dispatch.port import Dispatcher
    from answerable.kernel.ids import RunId
    from answerable.observe.logs import LogFormat
    from answerable.project import Project

Host = Annotated[
    str, typer.Option("--host", metavar="ADDRESS", help="Where to listen. Put a proxy with TLS before it.")
]
Port = Annotated[
    int, typer.Option("--port", min=0, max=65535, metavar="N", help="Which port; 0 is any that is free.")
]
Watch = Annotated[
    bool, typer.Option("--watch", help="Also watch the project's queues, and keep its schedules.")
]

Logs = Annotated[Literal["json", "text"], typer.Option("--log-format", help="How the log on stderr looks.")]


def serve(
    project_dir: ProjectDir = None,
    *,
    host: Host = "127.0.0.1",
    port: Port = 8080,
    watch: Watch = False,
    db: Db = None,
    data: DataDir = None,
    log_format: Logs = "text",
    as_json: AsJson = False,
) -> None:
    """Accept work: signed webhooks at POST /intake/NAME, and /healthz and /readyz.

    It accepts and writes down. It runs nothing, and opens none of the project's resources, secrets and models.
    Start as many as you like. What it accepts is driven by `answerable worker`.
    """
    from answerable.project import load_project

    project = load_project(project_dir or Path(), data=data)
    run_async(_serve(project, host, port, db, is_watching=watch, log_format=log_format, as_json=as_json))


async def _serve(
    project: Project,
    host: str,
    port: int,
    db: str | None,
    *,
    is_watching: bool,
    log_format: LogFormat,
    as_json: bool,
) -> None:
    import asyncio

    from answerable.engine.dispatch.opening import dispatcher_for
    from answerable.engine.dispatch.reconcile import wake
    from answerable.errors import ConfigError
    from answerable.intake import doors_of, open_reception, run_doors
    from answerable.journal.opening import choose_journal
    from answerable.observe.logs import begin_logs
    from answerable.server.app import make_app
    from answerable.server.listen import bound, listen

    doors = doors_of(project)
    if not doors.webhooks and not (is_watching and (doors.queues or doors.schedules)):
        raise ConfigError(
            f"the project `{project.name}` has no webhook to serve",
            hint="add [[intake.webhook]] to answerable.toml, or give --watch for its queues and schedules",
        )
    begin_logs(log_format, "serve")
    stop = asyncio.Event()
    url = choose_journal(db, project.journal_url)
    async with (
        open_reception(project, db=url) as intake,
        _closed(dispatcher_for(intake.store, url)) as workers,
    ):

        async def tell_workers(runs: list[RunId]) -> None:
            await wake(intake.store, workers, *runs)

        app, reception = make_app(intake, doors.webhooks, on_accepted=tell_workers)
        listening = bound(host, port)
        with _stopping(stop):
            _say(host, listening.getsockname()[1], sorted(doors.webhooks), as_json=as_json)
            async with asyncio.TaskGroup() as group:
                group.create_task(listen(app, listening, stop))
                if is_watching:
                    group.create_task(run_doors(intake, doors, stop, on_accepted=tell_workers))
                await stop.wait()
                reception.is_leaving = True


@asynccontextmanager
async def _closed(dispatcher: Dispatcher) -> AsyncGenerator[Dispatcher]:
    try:
        yield dispatcher
    finally:
        await dispatcher.close()


def _say(host: str, port: int, webhooks: list[str], *, as_json: bool) -> None:
    import sys

    shown = f"[{host}]" if ":" in host else host
    address = f"http://{shown}:{port}"
    if as_json:
        print_json({"address": address, "webhooks": webhooks})
    else:
        typer.echo(f"listening on {address}")
        for name in webhooks:
            typer.echo(f"  POST {address}/intake/{name}")
    sys.stdout.flush()  # whoever started it in a pipe waits for this line


def _stopping(stop: asyncio.Event) -> AbstractContextManager[None]:
    """Turn SIGINT and SIGTERM into a clean stop."""
    import asyncio
    import signal
    from contextlib import contextmanager

    @contextmanager
    def handled() -> Generator[None]:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, _stop, stop)
        try:
            yield
        finally:
            for number in (signal.SIGINT, signal.SIGTERM):
                loop.remove_signal_handler(number)

    return handled()


def _stop(stop: asyncio.Event) -> None:
    talk("stopping: what is being answered comes to its end")
    stop.set()
