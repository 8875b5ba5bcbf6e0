"""`answerable approve RUN` and `answerable deny RUN`: a person's answer, signed with their key."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from answerable.cli.common import (
    AsJson,
    DataDir,
    Db,
    Misused,
    ProjectDir,
    RunRef,
    console,
    find_project,
    find_run,
    print_json,
    run_async,
    talk,
)
from answerable.cli.run import workers_of

if TYPE_CHECKING:
    from rich.console import RenderableType

    from answerable.evidence.view import RunView
    from answerable.kernel.events import ApprovalRequested

Key = Annotated[
    Path | None,
    typer.Option(
        "--key", metavar="FILE", help="Your private key. Default: yours in ~/.config/answerable/keys."
    ),
]
Note = Annotated[str, typer.Option("--note", metavar="TEXT", help="Why; kept with the answer.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask; you have seen what will be sent.")]
Go = Annotated[bool, typer.Option("--resume", help="Drive the run on at once, on this machine.")]


def approve(
    run: RunRef,
    project_dir: ProjectDir = None,
    *,
    key: Key = None,
    note: Note = "",
    db: Db = None,
    data: DataDir = None,
    yes: Yes = False,
    resume: Go = False,
    as_json: AsJson = False,
) -> None:
    """Say yes to what a run waits for.

    First you see exactly what will be sent, and by which rule you are asked. Your yes is signed with your key
    and is for this proposal only. Every gate runs again before anything is sent. There is no --as.
    """
    answer = _Answer("grant", key, note, is_sure=yes, is_driven=resume, as_json=as_json)
    raise typer.Exit(run_async(answer.give(run, project_dir, db, data)))


def deny(
    run: RunRef,
    project_dir: ProjectDir = None,
    *,
    key: Key = None,
    note: Note = "",
    db: Db = None,
    data: DataDir = None,
    yes: Yes = False,
    resume: Go = False,
    as_json: AsJson = False,
) -> None:
    """Say no to what a run waits for. One no is enough; the run is then handed to a person."""
    answer = _Answer("deny", key, note, is_sure=yes, is_driven=resume, as_json=as_json)
    raise typer.Exit(run_async(answer.give(run, project_dir, db, data)))


class _Answer:
    def __init__(
        self,
        verdict: Literal["grant", "deny"],
        key: Path | None,
        note: str,
        *,
        is_sure: bool,
        is_driven: bool,
        as_json: bool,
    ) -> None:
        self.verdict: Literal["grant", "deny"] = verdict
        self.key = key
        self.note = note
        self.is_sure = is_sure
        self.is_driven = is_driven
        self.as_json = as_json

    async def give(self, text: str, project_dir: Path | None, db: str | None, data: Path | None) -> int:
        from answerable.cli.keys import find_key
        from answerable.evidence.view import load_view
        from answerable.kernel.ids import RunId
        from answerable.project import open_project

        project = find_project(project_dir, data, db)
        key = find_key(self.key, project.approvers)
        async with open_project(project, db=db) as runtime:
            run = RunId(await find_run(runtime.store, text))
            view = await load_view(runtime.store, run)
            request = waiting(view)
            console(stderr=True).print(preview(view, request))
            if not self._confirmed():
                talk("nothing was recorded")
                return 1
            given = await runtime.answer(
                run,
                self.verdict,
                approver=key.name,
                private_key=key.private,
                note=self.note,
                is_driven=self.is_driven,
            )
            workers = await workers_of(runtime.store)
            outcome = await runtime.drive(run) if self.is_driven else None
        said: dict[str, Any] = {
            "run": run,
            "request": given.request,
            "verdict": given.verdict,
            "approver": given.approver,
            "digest": given.digest,
            "rules": list(given.rules),
        }
        if outcome is not None:
            said |= {"state": outcome.state, "outcome": outcome.name}
        self._print(said, workers)
        return 0

    def _print(self, said: dict[str, Any], workers: int) -> None:
        if self.as_json:
            print_json(said)
            return
        word = "yes" if self.verdict == "grant" else "no"
        typer.echo(f"{said['approver']} said {word} to {said['run']}, signed")
        if "state" in said:
            typer.echo(f"the run is now {said['outcome'] or said['state']}")
        elif workers:
            talk("a worker drives the run on")
        else:
            talk("hint: `answerable resume --all` drives the run on")

    def _confirmed(self) -> bool:
        if self.is_sure:
            return True
        if not sys.stdin.isatty():
            raise Misused("there is nobody to ask here: look at what will be sent, then give --yes")
        word = "approve this" if self.verdict == "grant" else "deny this"
        return typer.confirm(f"{word}?", default=False, err=True)


def waiting(view: RunView) -> ApprovalRequested:
    """The request that a run waits for. Raises `ApprovalError` where there is none."""
    from answerable.errors import ApprovalError

    open_ = [
        request
        for step in view.state.calls.values()
        for request in step.requests
        if request.request not in step.settled
    ]
    if view.state.ended is not None or not open_:
        raise ApprovalError(
            f"`{view.run}` waits for no approval",
            hint="`answerable runs --state waiting` lists those that do",
        )
    return open_[-1]


def preview(view: RunView, request: ApprovalRequested) -> RenderableType:
    """Exactly what will be sent, and which rule asks a person. Raises `ApprovalError` where it is erased."""
    from rich.console import Group
    from rich.padding import Padding
    from rich.table import Table
    from rich.text import Text

    from answerable.errors import ApprovalError
    from answerable.evidence.render import code
    from answerable.evidence.words import visible, when
    from answerable.journal.store import Erased

    content = view.content(request.preview)
    if isinstance(content, Erased) or not isinstance(content, dict):
        raise ApprovalError(
            "what would be sent has been erased", hint="nobody can approve what nobody can see"
        )
    held = view.members(request.preview)
    texts = held.get("rules")
    rules: dict[str, Any] = texts if isinstance(texts, dict) else {}  # pyright: ignore[reportUnknownVariableType]
    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    sent = held.get("plan") or held.get("arguments")
    for name, value in sent.items() if isinstance(sent, dict) else [("", sent)]:  # pyright: ignore[reportUnknownVariableType, reportUnknownMemberType]
        shown = value if isinstance(value, str) else _json(value)  # pyright: ignore[reportUnknownArgumentType]
        table.add_row(Text(visible(str(name))), Text(visible(shown)))  # pyright: ignore[reportUnknownArgumentType]
    asked = [
        code(f"  `{rule}`: {visible(str(rules.get(rule, '')))} ({_people(roles, count)})")
        for rule, roles, count in request.needs
    ]
    return Group(
        Text.assemble("This will be sent by ", (str(held.get("tool", "")), "bold"), f" for {view.run}:"),
        Padding(table, (1, 2)),
        Text("You are asked because of"),
        *asked,
        Text(f"An answer counts until {when(request.expires)}; after that it is no.", style="dim"),
    )


def _json(value: object) -> str:
    import json

    return json.dumps(value, ensure_ascii=False)


def _people(roles: tuple[str, ...], count: int) -> str:
    who = " or ".join(roles)
    return f"needs {who}" if count == 1 else f"needs {count} different people from {who}"
