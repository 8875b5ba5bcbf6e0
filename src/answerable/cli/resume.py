"""`answerable resume`: drive open runs on, or lift a halt."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from answerable.cli.common import (
    AsJson,
    DataDir,
    Db,
    Misused,
    find_project,
    find_run,
    journal_url,
    opened,
    print_json,
    run_async,
    talk,
)
from answerable.cli.run import Concurrency, Durability, Model, workers_of

if TYPE_CHECKING:
    from answerable.engine.runtime import Runtime
    from answerable.kernel.ids import RunId

SHOWN_MAX = 5
What = Annotated[
    str | None,
    typer.Argument(
        metavar="[WHAT]", help="A halt to lift (all, agent:NAME, tool:NAME, run:ID), or one RUN to drive."
    ),
]
All = Annotated[bool, typer.Option("--all", help="Drive every open run. Safe to repeat.")]
Reason = Annotated[str, typer.Option("--reason", metavar="TEXT", help="Why a halt is lifted.")]
Project = Annotated[
    Path | None,
    typer.Option("--project", metavar="DIR", help="The project's folder; default: --dir, or here."),
]


def resume(
    what: What = None,
    *,
    project_dir: Project = None,
    data: DataDir = None,
    db: Db = None,
    model: Model = None,
    concurrency: Concurrency = 8,
    durability: Durability = "full",
    reason: Reason = "resumed",
    everything: All = False,
    as_json: AsJson = False,
) -> None:
    """Drive open runs on, or lift a halt.

    `resume --all` is what to do after a crash, after an approval, and in doubt: each open run goes on from
    what the journal says, effects in doubt are settled first, and runs that wait stay as they are. A run that was
    accepted by another release of its agent and never begun is begun with the one that is here, and belongs to it.
    `resume all` is another thing: it lifts the halt of everything. `resume all --all` does both.
    """
    is_scope = what is not None and (what == "all" or what.partition(":")[0] in ("agent", "tool", "run"))
    if what is None and not everything:
        raise Misused("say what to resume: --all, a run, or the halt to lift")
    if what is not None and not is_scope and everything:
        raise Misused("either --all or one run")
    code = 0
    if what is not None and is_scope:
        run_async(_lift(what, reason, db, project_dir or data, as_json=as_json, is_more_to_come=everything))
    if everything or not is_scope:
        work = _drive(
            None if is_scope else what,
            project_dir,
            data,
            db,
            model,
            concurrency=concurrency,
            durability=durability,
            as_json=as_json,
        )
        code = run_async(work)
    raise typer.Exit(code)


async def _lift(
    scope: str, reason: str, db: str | None, directory: Path | None, *, as_json: bool, is_more_to_come: bool
) -> None:
    from answerable.cli.keys import user_name
    from answerable.engine.dispatch.opening import dispatcher_for
    from answerable.engine.dispatch.reconcile import wake_all
    from answerable.engine.halting import halt_in
    from answerable.engine.ports import system_ports
    from answerable.errors import ConfigError
    from answerable.kernel.events import HaltLifted

    url = journal_url(db, directory)
    async with opened(url) as store:
        if scope.startswith("run:"):
            scope = f"run:{await find_run(store, scope.removeprefix('run:'))}"
        active = [halt.scope for halt in (await store.halts())[1]]
        if scope not in active:
            held = ", ".join(f"`{each}`" for each in active) or "none"
            raise ConfigError(f"no halt of `{scope}` is in force", hint=f"in force: {held}")
        epoch = await halt_in(store, system_ports(), HaltLifted, scope, by=user_name(), reason=reason)
        dispatcher = dispatcher_for(store, url)
        await wake_all(store, dispatcher)
        await dispatcher.close()
        workers = await workers_of(store)
    if as_json and not is_more_to_come:
        print_json({"lifted": scope, "epoch": epoch, "by": user_name(), "reason": reason})
        return
    say = talk if is_more_to_come else typer.echo
    say(f"lifted the halt of `{scope}` at epoch {epoch}")
    if workers:
        talk("workers drive open runs on; runs that the halt ended stay ended")
    else:
        talk("hint: `answerable resume --all` drives open runs on; runs that the halt ended stay ended")


async def _drive(
    text: str | None,
    project_dir: Path | None,
    data: Path | None,
    db: str | None,
    model: str | None,
    *,
    concurrency: int,
    durability: Durability,
    as_json: bool,
) -> int:
    from answerable.cli import batch
    from answerable.journal.opening import choose_journal
    from answerable.kernel.ids import RunId
    from answerable.project import open_project

    project = find_project(project_dir, data, db)
    url = choose_journal(db, project.journal_url)
    async with opened(url):  # a journal that is not there is an error here, not a new journal
        pass
    async with open_project(project, db=url, model=model, durability=durability) as runtime:
        for halt in (await runtime.store.halts())[1]:
            talk(f"a halt of `{halt.scope}` is in force: what it covers does not go on")
            talk(f"hint: `answerable resume {halt.scope}` lifts it")
        runs = None if text is None else [RunId(await find_run(runtime.store, text))]
        others = await _accepted_by_others(runtime, runs)
        done = await batch.drive(runtime, runs, url, concurrency=concurrency, title="resuming")
        await _say_begun(runtime, others)
    return batch.finish(done, as_json=as_json)


async def _accepted_by_others(runtime: Runtime, runs: list[RunId] | None) -> dict[str, str]:
    """The runs that nobody has begun and that a release accepted which is not here; each with that release."""
    from answerable.engine.dispatch.releases import release_of

    here = set(runtime.releases())
    rows = [row for row in await runtime.store.runs(states=("created",)) if runs is None or row.run in runs]
    accepted = {row.run: await release_of(runtime.store, row.run) for row in rows}
    return {run: release for run, release in accepted.items() if release not in here}


async def _say_begun(runtime: Runtime, accepted: dict[str, str]) -> None:
    """Say which of them were begun all the same, with another release."""
    from answerable.engine.dispatch.releases import release_of

    begun = [(run, before, await release_of(runtime.store, run)) for run, before in accepted.items()]
    begun = [each for each in begun if each[1] != each[2]]
    for run, before, now in begun[:SHOWN_MAX]:
        old, new = (name.partition("@")[2][:12] for name in (before, now))
        talk(f"{run} was accepted by release {old} and is begun with release {new}, which it belongs to now")
    if len(begun) > SHOWN_MAX:
        talk(f"and {len(begun) - SHOWN_MAX} more")
