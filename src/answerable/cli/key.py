"""`answerable key new NAME`: a key with which a person approves."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from answerable.cli.common import AsJson, print_json, talk

app = typer.Typer(help="Keys with which people approve.", no_args_is_help=True)
Name = Annotated[str, typer.Argument(metavar="NAME", help="Who the key belongs to.")]
Role = Annotated[
    list[str] | None, typer.Option("--role", metavar="ROLE", help="A role to approve in; repeatable.")
]
Out = Annotated[
    Path | None,
    typer.Option("--out", metavar="DIR", help="Where to put it. Default: ~/.config/answerable/keys."),
]


@app.callback()
def key() -> None:
    """Keys with which people approve."""


@app.command("new")
def new(name: Name, role: Role = None, out: Out = None, *, as_json: AsJson = False) -> None:
    """Make a private key, and print what to add to answerable.toml.

    The private key stays in its file, readable only by you. Whoever has it can say yes in your name.
    """
    from answerable.cli.keys import make_key

    made = make_key(name, out)
    roles = role or ["operator"]
    if as_json:
        print_json({"name": name, "roles": roles, "public_key": made.public_text, "key": str(made.path)})
        return
    talk(f"the private key is in {made.path}; add this to answerable.toml:")
    typer.echo(made.snippet(roles), nl=False)
