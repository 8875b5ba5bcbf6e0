"""`answerable halt`: stop a run, an agent, a tool or everything, in every process that uses the journal."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

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

if TYPE_CHECKING:
    from answerable.journal.store import JournalStore

All = Annotated[bool, typer.Option("--all", help="Everything.")]
AgentName = Annotated[str | None, typer.Option("--agent", metavar="NAME", help="Every run of this agent.")]
ToolName = Annotated[str | None, typer.Option("--tool", metavar="NAME", help="Every call of this tool.")]
Run = Annotated[str | None, typer.Option("--run", metavar="RUN", help="One run.")]
Reason = Annotated[str, typer.Option("--reason", metavar="TEXT", help="Why. It is kept in the journal.")]
IN_FLIGHT_MAX = 100


def halt(
    reason: Reason,
    agent: AgentName = None,
    tool: ToolName = None,
    run: Run = None,
    db: Db = None,
    *,
    everything: All = False,
    as_json: AsJson = False,
) -> None:
    """Stop something, now, in every process. It needs no project and no running process.

    Nothing new is begun. What is being sent at this moment may still happen and is then said to be unknown.
    `answerable resume SCOPE` lifts the halt; runs that were ended by it stay ended.
    """
    scopes = [("all", everything), (f"agent:{agent}", agent), (f"tool:{tool}", tool), (f"run:{run}", run)]
    chosen = [scope for scope, is_chosen in scopes if is_chosen]
    if len(chosen) != 1:
        raise Misused("say what to stop: one of --all, --agent, --tool and --run")
    if not reason.strip():
        raise Misused("say why: a --reason that is not empty")
    run_async(_halt(journal_url(db), chosen[0], reason, as_json=as_json))


async def _halt(url: str, scope: str, reason: str, *, as_json: bool) -> None:
    from answerable.cli.keys import user_name
    from answerable.engine.halting import halt_in
    from answerable.engine.ports import system_ports
    from answerable.kernel.events import HaltRaised

    async with opened(url) as store:
        if scope.startswith("run:"):
            scope = f"run:{await find_run(store, scope.removeprefix('run:'))}"
        epoch = await halt_in(store, system_ports(), HaltRaised, scope, by=user_name(), reason=reason)
        flying = await in_flight(store, scope)
    if as_json:
        print_json({"scope": scope, "epoch": epoch, "by": user_name(), "reason": reason, "in_flight": flying})
        return
    typer.echo(f"halted `{scope}` at epoch {epoch}")
    for each in flying:
        typer.echo(f"  in flight: `{each['tool']}` at {each['path']} of {each['run']}; it may still happen")
    talk(f"hint: `answerable resume {scope}` lifts it")


async def in_flight(store: JournalStore, scope: str) -> list[dict[str, Any]]:
    """Effects under a halt that were sent, or about to be, and have no outcome yet."""
    from answerable.evidence.view import load_view

    kind, _, name = scope.partition(":")
    found: list[dict[str, Any]] = []
    for row in (await store.runs(states=["running"]))[:IN_FLIGHT_MAX]:
        if (kind == "run" and row.run != name) or (kind == "agent" and row.agent != name):
            continue
        state = (await load_view(store, row.run)).state
        for effect, path in state.unknown.items():
            tool = state.calls[path].decided.tool
            if kind != "tool" or tool == name:
                found.append({"run": row.run, "path": path, "tool": tool, "effect": effect})
    return found
