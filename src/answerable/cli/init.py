"""`answerable init NAME`: a project of your own, of the same shape as the refund desk."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated

import typer

from answerable.cli.common import AsJson, print_json

Name = Annotated[str, typer.Argument(metavar="NAME", help="The folder to make, and the project's name.")]
KeyDir = Annotated[
    Path | None,
    typer.Option(
        "--key-dir", metavar="DIR", help="Where your private key goes. Default: ~/.config/answerable/keys."
    ),
]
_LEFT_BEHIND = re.compile(r"__pycache__|.*\.(db|db-wal|db-shm|key|head|pyc)(\..*)?|\..*")


def init(name: Name, key_dir: KeyDir = None, *, as_json: AsJson = False) -> None:
    """Make a project of your own: files to change, and a key.

    It has the shape of the refund desk, and you are its first approver.
    """
    from answerable.cli.keys import make_key, user_name
    from answerable.errors import ConfigError
    from answerable.project import example_dir

    target = Path(name)
    project = re.sub(r"[^a-z0-9_-]+", "-", target.name.lower()).strip("-_") or "desk"
    if target.exists() and any(target.iterdir()):
        raise ConfigError(f"`{target}` is there and not empty", hint="choose another name")
    copied = copy_tree(example_dir(), target)
    config = target / "answerable.toml"
    text = re.sub(r'(?m)^name = "[^"]*"', f'name = "{project}"', config.read_text("utf-8"), count=1)
    key = make_key(user_name(), key_dir, reuse=True)
    roles = roles_in(target / "policy")
    config.write_text(f"{text.rstrip()}\n\n{key.snippet(roles)}", "utf-8")
    if as_json:
        print_json(
            {
                "project": project,
                "directory": str(target),
                "files": copied,
                "approver": key.name,
                "roles": roles,
                "key": str(key.path),
            }
        )
        return
    typer.echo(
        f"made {target}: {len(copied)} files, and you ({key.name}) as approver with the key {key.path}"
    )
    typer.echo("")
    typer.echo("next:")
    for what, how in (
        ("what it can do", f"{target}/tools.py"),
        ("what it may do", f"{target}/policy/"),
        ("what it is told", f"{target}/prompt.md"),
        ("check the rules", f"answerable policy check {target}"),
        ("run it", f"answerable run {target} --input {target}/tickets.jsonl"),
        (
            "with a model",
            f"answerable run {target} --input {target}/tickets.jsonl --model openai:gpt-4o-mini",
        ),
    ):
        typer.echo(f"  {what:<16} {how}")


def copy_tree(source: Path, target: Path) -> list[str]:
    """Copy a project's own files, without what it made while it ran."""
    copied: list[str] = []
    for path in sorted(source.rglob("*")):
        relative = path.relative_to(source)
        if path.is_dir() or any(_LEFT_BEHIND.fullmatch(part) for part in relative.parts):
            continue
        place = target / relative
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(path.read_bytes())
        copied.append(str(relative))
    return copied


def roles_in(policy: Path) -> list[str]:
    """The roles that the rules name in `@approvers("...")`."""
    texts = [path.read_text("utf-8") for path in sorted(policy.glob("*.cedar"))]
    named = [
        role
        for text in texts
        for found in re.findall(r'@approvers\("([^"]*)"\)', text)
        for role in found.split(",")
    ]
    return list(dict.fromkeys(role.strip() for role in named if role.strip())) or ["operator"]
