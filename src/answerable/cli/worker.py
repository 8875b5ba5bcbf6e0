"""`answerable worker`: drive what others accepted, until told to leave."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, cast

import typer

from answerable.cli.common import INTERRUPTED, AsJson, DataDir, Db, Misused, ProjectDir, print_json, run_async
from answerable.cli.run import Concurrency, Model

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Coroutine

    from answerable.worker.loop import Worker

Address = Annotated[
    str | None,
    typer.Option("--health", metavar="HOST:PORT", help="Serve /healthz and /readyz there. HOST: 127.0.0.1."),
]
Durability = Annotated[
    Literal["full", "group", "relaxed"],
    typer.Option("--durability", help="full and group survive power loss; relaxed survives only kill -9."),
]
DrainSeconds = Annotated[
    float,
    typer.Option("--drain-seconds", min=0, help="How long a drain waits for what is being sent."),
]
Logs = Annotated[Literal["json", "text"], typer.Option("--log-format", help="How the log on stderr looks.")]
LOOPBACK = "127.0.0.1"


def worker(
    project_dir: ProjectDir = None,
    *,
    db: Db = None,
    data: DataDir = None,
    model: Model = None,
    concurrency: Concurrency = 16,
    durability: Durability = "group",
    health: Address = None,
    drain_seconds: DrainSeconds = 60.0,
    log_format: Logs = "text",
    as_json: AsJson = False,
) -> None:
    """Drive runs that others accepted, until told to leave.

    Start as many as you need. With a journal in PostgreSQL they share the work through a queue in the same
    database, and one that dies is replaced within 15 seconds. SIGTERM drains: nothing new is taken, what is being
    sent comes to its end, and every run that is open goes to another worker. A second signal leaves at once.
    """
    work = _work(
        project_dir or Path(),
        db=db,
        data=data,
        model=model,
        concurrency=concurrency,
        durability=durability,
        health=None if health is None else address(health),
        drain_seconds=drain_seconds,
        log_format=log_format,
        as_json=as_json,
    )
    run_async(work)


def address(text: str) -> tuple[str, int]:
    """Host and port of `HOST:PORT`, `:PORT` or `PORT`. Raises `Misused`."""
    host, _, port = text.rpartition(":")
    if not port.isdigit() or int(port) > 65535:  # noqa: PLR2004
        raise Misused(f"`{text}` is no address: write --health {LOOPBACK}:8080")
    return host.strip("[]") or LOOPBACK, int(port)


async def _work(
    project_dir: Path,
    *,
    db: str | None,
    data: Path | None,
    model: str | None,
    concurrency: int,
    durability: Literal["full", "group", "relaxed"],
    health: tuple[str, int] | None,
    drain_seconds: float,
    log_format: Literal["json", "text"],
    as_json: bool,
) -> None:
    import asyncio

    from answerable.intake import doors_of, run_doors
    from answerable.observe.logs import begin_logs
    from answerable.project import load_project, open_project
    from answerable.worker.loop import Worker

    project = load_project(project_dir, data=data)
    async with open_project(project, db=db, model=model, durability=durability, is_worker=True) as runtime:
        begin_logs(log_format, runtime.owner)
        worker = Worker(runtime, concurrency=concurrency)
        stop = asyncio.Event()
        doors = run_doors(runtime, doors_of(project), stop, on_accepted=runtime.enqueue)
        await _until_drained(worker, health, drain_seconds, doors, stop)
    tally = worker.tally
    if as_json:
        print_json({"driven": tally.driven, "given_back": tally.given_back, "outcomes": tally.ended})


async def _until_drained(
    worker: Worker,
    health: tuple[str, int] | None,
    drain_seconds: float,
    doors: Coroutine[Any, Any, None],
    stop: asyncio.Event,
) -> None:
    """Work until told to leave. Where a door or the pages fail for good, drain, and raise what was wrong."""
    import asyncio
    import signal

    from answerable.observe.logs import say

    loop = asyncio.get_running_loop()

    def leave(why: str) -> None:
        """Go now. What was being sent is in doubt, and is settled by whoever takes the runs over."""
        say("left", why=why)
        sys.stderr.flush()
        os._exit(INTERRUPTED)

    def drain() -> None:
        stop.set()
        worker.drain()

    def told() -> None:
        if worker.health.is_draining:
            leave("a second signal")
        drain()
        loop.call_later(drain_seconds, leave, "the drain took too long")

    beside = [loop.create_task(doors)]
    if health is not None:
        from answerable.server.health import serve_health

        pages = serve_health(
            worker.health,
            *health,
            on_listening=lambda port: say("health_listening", host=health[0], port=port),
        )
        beside.append(loop.create_task(pages))
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, told)
    work = loop.create_task(worker.work())
    for one in beside:
        one.add_done_callback(lambda done: drain() if not done.cancelled() and done.exception() else None)
    try:
        await work
    finally:
        stop.set()
        for one in beside:
            one.cancel()
        await asyncio.wait(beside)
    for one in beside:
        if not one.cancelled() and (wrong := one.exception()) is not None:
            raise _first(wrong)


def _first(wrong: BaseException) -> BaseException:
    """The first error in what several tasks raised together."""
    while isinstance(wrong, BaseExceptionGroup):
        wrong = cast("tuple[BaseException, ...]", wrong.exceptions)[0]  # pyright: ignore[reportUnknownMemberType]
    return wrong
