"""`answerable migrate FROM TO`: a journal from one store into another."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from answerable.cli.common import AsJson, Misused, command, print_json, talk

if TYPE_CHECKING:
    from collections.abc import Callable, Generator
    from contextlib import AbstractContextManager

    from answerable.journal.copy import Copied

From = Annotated[str, typer.Argument(metavar="FROM", help="The journal: sqlite:///PATH or postgresql://...")]
To = Annotated[
    str,
    typer.Argument(metavar="TO", help="Where it goes on. Nothing may be there yet: nothing is overwritten."),
]
WhileRunning = Annotated[
    bool,
    typer.Option("--while-running", help="Take a backup: the journal stays where it is, and may be in use."),
]
Undo = Annotated[
    bool,
    typer.Option("--undo", help="Go back: the journal goes on in FROM, if nothing was written to TO since."),
]


def migrate(
    source: From,
    target: To,
    *,
    while_running: WhileRunning = False,
    undo: Undo = False,
    as_json: AsJson = False,
) -> None:
    """Move a journal into another store.

    Entries and content are copied, what follows from them is rebuilt, and all of it is read back and checked
    before the copy can be used; if anything breaks off before, nothing is left of it. Then FROM can only be read.
    A backup is restored with the same command, and stays as it is.
    """
    from answerable.journal import copy_stores

    if undo and while_running:
        raise Misused("--undo and --while-running do not go together")
    if undo:
        copy_stores.undo(source, target)
        if as_json:
            print_json({"undone": True})
        else:
            typer.echo("the journal goes on where it was")
        return
    if while_running:
        copied = take_backup(source, target)
    else:
        with copying() as progress:
            copied = copy_stores.migrate(source, target, progress=progress)
    say(copied, as_json=as_json)


def take_backup(source: str, target: str) -> Copied:
    """Copy a journal that may be in use."""
    from answerable.engine.ports import system_ports
    from answerable.journal import copy_stores

    with copying() as progress:
        return copy_stores.backup(source, target, progress=progress, now=system_ports().clock.now_us())


def copying() -> AbstractContextManager[Callable[[str, int, int], None]]:
    """A bar for each stage, on stderr where that is a terminal; nothing elsewhere."""
    from contextlib import contextmanager

    from answerable.cli.batch import progress

    if not sys.stderr.isatty():
        from contextlib import nullcontext

        return nullcontext(lambda _stage, _done, _total: None)

    @contextmanager
    def shown() -> Generator[Callable[[str, int, int], None]]:
        from contextlib import ExitStack

        bars: dict[str, Any] = {}
        with ExitStack() as stack:

            def advance(stage: str, done: int, total: int) -> None:
                if stage not in bars:
                    stack.pop_all().close()
                    bars[stage] = stack.enter_context(progress(stage))
                bars[stage](done, total)

            yield advance

    return shown()


def say(copied: Copied, *, as_json: bool) -> None:
    """What a copy came to, and what is still to do by hand."""
    if as_json:
        print_json(copied.to_json())
    elif copied.entries == 0:
        typer.echo(f"the journal is in {copied.target} already; what was left to do is done")
    else:
        typer.echo(
            f"copied {copied.entries} entries to {copied.target}, {copied.bytes} bytes, all of it checked"
        )
    if copied.behind:
        talk(f"the copy is older than the head kept for it: {len(copied.behind)} streams are behind")
        talk("hint: it is refused when it is opened; restore a newer one, or accept the loss:")
        talk(f"  {command()} doctor --accept-loss --db ...")
    if copied.kind == "backup":
        return
    if copied.kind == "moved":
        talk(f"{copied.source} can only be read from now on")
    else:
        talk("hint: two journals must not go on apart: let nobody work on the one that the backup is of")
    if copied.key is None:
        talk(f"hint: the key that signs heads is not here: put it where `{command()} doctor` looks for it")
    elif not as_json:
        talk(f"the key that signs heads is in {copied.key}, on this machine only")
