"""`answerable policy schema`: every name and type that rules can use, as a Cedar schema."""

from __future__ import annotations

from pathlib import Path

import typer

from answerable.cli.common import AgentName, AsJson, ProjectDir, agents_of, print_json


def schema(project_dir: ProjectDir = None, agent: AgentName = None, *, as_json: AsJson = False) -> None:
    """Print the Cedar schema for editors and reviewers: what rules can speak about.

    It is made from the tools' models, and stands even where the rules cannot be loaded. What no rule can read is
    listed in comments, with the reason.
    """
    from answerable.project import load_project, schema_of

    project = load_project(project_dir or Path())
    texts = {each.name: schema_of(each) for each in agents_of(project, agent)}
    if as_json:
        print_json({"agents": [{"agent": name, "schema": text} for name, text in texts.items()]})
    else:
        typer.echo("\n".join(texts.values()), nl=False)
