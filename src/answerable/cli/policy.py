"""`answerable policy check`: whether a project's rules can be loaded, and what they leave open."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from answerable.cli import policy_backtest, policy_diff, policy_prove, policy_schema
from answerable.cli.common import FAILED, AgentName, AsJson, ProjectDir, agents_of, print_json, talk

if TYPE_CHECKING:
    from answerable.gates.policy import Bundle
    from answerable.project import Project

app = typer.Typer(help="The rules of a project.", no_args_is_help=True)


@app.callback()
def policy() -> None:
    """The rules of a project."""


@app.command("check")
def check(project_dir: ProjectDir = None, agent: AgentName = None, *, as_json: AsJson = False) -> None:
    """Load the rules as a run would.

    Names, types, and whether every rule can fire. Exits 1 where they cannot be loaded.
    """
    from answerable.errors import PolicyError
    from answerable.project import load_project

    project = load_project(project_dir or Path())
    said: list[dict[str, Any]] = []
    for name in (each.name for each in agents_of(project, agent)):
        try:
            bundle = project.bundle(name)
        except PolicyError as error:
            said.append({"agent": name, "is_ok": False, "error": error.args[0], "hint": error.hint})
            continue
        said.append(
            {
                "agent": name,
                "is_ok": True,
                "digest": bundle.digest,
                "rules": [rule.id for rule in bundle.rules],
                "without_owner": [rule.id for rule in bundle.rules if not rule.owner],
                "unreachable": list(bundle.unreachable),
                "idle": list(bundle.idle),
                "roles_nobody_has": _missing_roles(bundle, project),
            }
        )
    is_ok = all(each["is_ok"] for each in said)
    if as_json:
        print_json({"is_ok": is_ok, "agents": said})
    else:
        for each in said:
            _say(each)
    raise typer.Exit(0 if is_ok else FAILED)


def _missing_roles(bundle: Bundle, project: Project) -> list[str]:
    """Roles that rules ask for and no listed approver has: whatever they ask for would wait until it expires."""
    held = {role for approver in project.approvers for role in approver.roles}
    return sorted({role for rule in bundle.rules for role in rule.approvers} - held)


def _say(each: dict[str, Any]) -> None:
    if not each["is_ok"]:
        typer.echo(f"✗ {each['agent']}: {each['error']}")
        if each["hint"]:
            talk(f"hint: {each['hint']}")
        return
    typer.echo(f"✓ {each['agent']}: {len(each['rules'])} rules, digest {each['digest'][:12]}")
    for tool in each["unreachable"]:
        typer.echo(f"  `{tool}`: no rule permits it, so every call of it is denied")
    for role in each["roles_nobody_has"]:
        typer.echo(f"  `{role}`: no listed approver has this role, so what needs it waits until it expires")
    if each["without_owner"]:
        typer.echo(f"  no owner: {', '.join(f'`{rule}`' for rule in each['without_owner'])}")
    for rule in each["idle"]:
        typer.echo(f"  `{rule}`: guards a group of tools that has none yet")


app.command("schema")(policy_schema.schema)
app.command("backtest")(policy_backtest.backtest)
app.command("prove")(policy_prove.prove)
app.command("diff")(policy_diff.diff)
