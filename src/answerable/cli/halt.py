"""`answerable halt`: stop a run, an agent, a tool or everything, in every process that uses the journal."""

from __future__ import annotations

from typing import Annotated

import typer

from answerable.cli.common import (
    AsJson,
    Db,
    Misused,
    find_run,
    journal_url,
    opened,
    print_json,
    run_async,
    talk,
)

All = Annotated[bool, typer.Option("--all", help="Everything.")]
AgentName = Annotated[str | None, typer.Option("--agent", metavar="NAME", help="Every run of this agent.")]
ToolName = Annotated[str | None, typer.Option("--tool", metavar="NAME", help="Every call of this tool.")]
Run = Annotated[str | None, typer.Option("--run", metavar="RUN", help="One run.")]
Reason = Annotated[str, typer.Option("--reason", metavar="TEXT", help="Why. It is kept in the journal.")]
NoWait = Annotated[
    bool, typer.Option("--no-wait", help="Do not wait, up to two seconds, for what is in flight.")
]
WAIT_S = 2.0
SAID = {
    "in flight": "it may still happen",
    "unknown": "it is unknown whether it happened",
    "done": "it was done",
    "failed": "it was not done",
}


def halt(
    reason: Reason,
    agent: AgentName = None,
    tool: ToolName = None,
    run: Run = None,
    db: Db = None,
    *,
    everything: All = False,
    no_wait: NoWait = False,
    as_json: AsJson = False,
) -> None:
    """Stop something, now, in every process. It needs no project and no running process.

    Nothing new is begun. What is being sent at this moment may still happen and is then said to be unknown; it is
    waited for, up to two seconds, and listed with what became of it.
    `answerable resume SCOPE` lifts the halt; runs that were ended by it stay ended.
    """
    scopes = [("all", everything), (f"agent:{agent}", agent), (f"tool:{tool}", tool), (f"run:{run}", run)]
    chosen = [scope for scope, is_chosen in scopes if is_chosen]
    if len(chosen) != 1:
        raise Misused("say what to stop: one of --all, --agent, --tool and --run")
    if not reason.strip():
        raise Misused("say why: a --reason that is not empty")
    wait_s = 0.0 if no_wait else WAIT_S
    run_async(_halt(journal_url(db), chosen[0], reason, wait_s=wait_s, as_json=as_json))


async def _halt(url: str, scope: str, reason: str, *, wait_s: float, as_json: bool) -> None:
    from dataclasses import asdict

    from answerable.cli.keys import user_name
    from answerable.engine.halting import halt
    from answerable.engine.ports import system_ports

    async with opened(url) as store:
        if scope.startswith("run:"):
            scope = f"run:{await find_run(store, scope.removeprefix('run:'))}"
        report = await halt(store, system_ports(), scope, by=user_name(), reason=reason, wait_s=wait_s)
    if as_json:
        print_json({**asdict(report), "by": user_name(), "reason": reason})
        return
    typer.echo(f"halted `{scope}` at epoch {report.epoch}; processes alive: {report.processes}")
    for flight in report.in_flight:
        typer.echo(f"  in flight: `{flight.tool}` at {flight.path} of {flight.run}; {SAID[flight.state]}")
    if report.last_intent_s is not None:
        typer.echo(
            f"  the last intent under it was recorded {report.last_intent_s:.3f} s before the halt, none after"
        )
    if report.in_flight and report.settled_s is not None:
        typer.echo(f"  nothing is in flight any more, {report.settled_s:.3f} s after the halt")
    talk(f"hint: `answerable resume {scope}` lifts it")
