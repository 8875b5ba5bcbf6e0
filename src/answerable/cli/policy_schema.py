"""`answerable policy schema`: every name and type that rules can use, as a Cedar schema."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from answerable.cli.common import AsJson, ProjectDir, print_json

AgentName = Annotated[str | None, typer.Option("--agent", metavar="NAME", help="Only this agent's schema.")]


def schema(project_dir: ProjectDir = None, agent: AgentName = None, *, as_json: AsJson = False) -> None:
    """Print the Cedar schema for editors and reviewers: what rules can speak about.

    It is made from the tools' models, and stands even where the rules cannot be loaded. What no rule can read is
    listed in comments, with the reason.
    """
    from answerable.errors import ConfigError
    from answerable.project import load_project, schema_of

    project = load_project(project_dir or Path())
    if agent is not None and agent not in project.agents:
        raise ConfigError(f"the project has no agent `{agent}`", hint=f"it has {', '.join(project.agents)}")
    texts = {name: schema_of(project.agents[name]) for name in ([agent] if agent else project.agents)}
    if as_json:
        print_json({"agents": [{"agent": name, "schema": text} for name, text in texts.items()]})
    else:
        typer.echo("\n".join(texts.values()), nl=False)
