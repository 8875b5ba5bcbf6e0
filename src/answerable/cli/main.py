"""The command `answerable`: the list of verbs, and how their errors and exit codes leave the process.

0  done              2  used in a way that is not meant
1  a check failed    3  could not run
"""

from __future__ import annotations

import os
import sys
from typing import NoReturn

import typer

from answerable.cli import (
    approve,
    audit,
    backup,
    blast_radius,
    demo,
    doctor,
    halt,
    init,
    key,
    migrate,
    policy,
    replay,
    report,
    resume,
    retention,
    run,
    runs,
    serve,
    show,
    watch,
    worker,
    workers,
)
from answerable.cli.common import COULD_NOT_RUN, INTERRUPTED, MISUSED, talk

app = typer.Typer(
    name="answerable",
    help="Run AI agents you can answer for.",
    epilog="Exit codes: 0 done, 1 a check failed, 2 used wrongly, 3 could not run. Every verb takes --json.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)


def _version(value: bool) -> None:
    if value:
        from answerable import __version__

        typer.echo(__version__)
        raise typer.Exit


@app.callback()
def root(
    *,
    version: bool = typer.Option(
        False,
        "--version",
        callback=_version,
        is_eager=True,
        help="Print the version, and leave.",
    ),
) -> None:
    """Run AI agents you can answer for."""
    del version


app.command("demo")(demo.demo)
app.command("init")(init.init)
app.command("run")(run.run)
app.command("runs")(runs.runs)
app.command("show")(show.show)
app.command("watch")(watch.watch)
app.command("approve")(approve.approve)
app.command("deny")(approve.deny)
app.command("report")(report.report)
app.command("halt")(halt.halt)
app.command("resume")(resume.resume)
app.command("worker")(worker.worker)
app.command("workers")(workers.workers)
app.command("replay")(replay.replay)
app.command("serve")(serve.serve)
app.command("blast-radius")(blast_radius.blast_radius)
app.command("doctor")(doctor.doctor)
app.command("backup")(backup.backup)
app.command("migrate")(migrate.migrate)
app.add_typer(key.app, name="key")
app.add_typer(audit.app, name="audit")
app.add_typer(policy.app, name="policy")
app.add_typer(retention.app, name="retention")


def main() -> NoReturn:
    """Run the command line, and leave with its exit code."""
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:
            reconfigure(errors="replace")  # a terminal that cannot show a mark must not lose the line
    code = call(sys.argv[1:])
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    sys.exit(code)


def call(arguments: list[str]) -> int:
    """Run one command line and return its exit code. Errors are said on stderr, without a traceback."""
    try:
        result = app(arguments, prog_name="answerable", standalone_mode=False)
    except BrokenPipeError:  # whoever read our output has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except (KeyboardInterrupt, typer.Abort):
        talk("stopped")
        return INTERRUPTED
    except Exception as error:  # noqa: BLE001 - the last place where an error can be said in words
        return _said(error)
    return result if isinstance(result, int) else 0


def _said(error: Exception) -> int:
    from answerable.errors import AnswerableError

    if hasattr(error, "format_message"):
        return _misused(error)
    if os.environ.get("ANSWERABLE_DEBUG") == "1":
        import traceback

        traceback.print_exception(error)
        return COULD_NOT_RUN
    if isinstance(error, BaseExceptionGroup):
        inner = [each for each in error.exceptions if isinstance(each, Exception)]  # pyright: ignore[reportUnknownVariableType, reportUnknownMemberType]
        return _said(inner[0]) if inner else COULD_NOT_RUN
    if isinstance(error, AnswerableError):
        talk(f"error: {error.args[0] if error.args else type(error).__name__}")
        if error.hint:
            talk(f"hint: {error.hint}")
        return COULD_NOT_RUN
    if isinstance(error, OSError):
        talk(f"error: {error.strerror or error}{f': `{error.filename}`' if error.filename else ''}".lower())
        talk("hint: check the path, its mode and the room on the disk")
        return COULD_NOT_RUN
    talk(f"error: something went wrong inside: {type(error).__name__}: {error}")
    talk("hint: this is a mistake of ours; ANSWERABLE_DEBUG=1 shows where")
    return COULD_NOT_RUN


def _misused(error: Exception) -> int:
    """An error of usage, as typer raises it."""
    context = getattr(error, "ctx", None)
    path = getattr(context, "command_path", "answerable")
    if type(error).__name__ == "NoArgsIsHelpError":
        talk(str(error))
        return MISUSED
    text = str(error.format_message())  # pyright: ignore[reportAttributeAccessIssue, reportUnknownMemberType, reportUnknownArgumentType]
    talk(f"error: {text[:1].lower()}{text[1:].rstrip('.')}")
    talk(f"hint: `{path} --help` says how it is used")
    return MISUSED


if __name__ == "__main__":
    sys.exit(main())
