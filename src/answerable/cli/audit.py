"""`answerable audit`: signed heads, and the independent verifier."""

from __future__ import annotations

import base64
import binascii
import json
from pathlib import Path
from typing import Annotated

import typer

from answerable.cli.common import (
    COULD_NOT_RUN,
    FAILED,
    AsJson,
    Db,
    Misused,
    journal_url,
    opened,
    print_json,
    run_async,
    talk,
)

app = typer.Typer(help="Prove what the journal says.", no_args_is_help=True)
Out = Annotated[
    Path | None, typer.Option("--out", metavar="FILE", help="Where to write it. By default it is printed.")
]
HeadFile = Annotated[
    Path | None,
    typer.Option("--head", metavar="FILE", help="A head that was kept elsewhere: shows completeness."),
]
PublicKey = Annotated[
    str | None,
    typer.Option("--key", metavar="KEY", help="The public key, base64, that the head must be signed with."),
]


@app.callback()
def audit() -> None:
    """Prove what the journal says."""


@app.command("head")
def head(out: Out = None, db: Db = None, *, as_json: AsJson = False) -> None:
    """Export a signed statement of where every stream stands.

    Keep it on another machine: with it `audit verify --head` finds a cut tail, a dropped run and an older
    file that was restored.
    """
    from answerable.journal.heads import export_head

    async def export() -> tuple[dict[str, object], Path]:
        async with opened(journal_url(db)) as store:
            place = out or store.custody.head
            return await export_head(store, place), place

    signed, place = run_async(export())
    if out is None:
        typer.echo(place.read_text("utf-8"), nl=False)
        return
    streams = signed["streams"]
    count = len(streams) if isinstance(streams, list) else 0  # pyright: ignore[reportUnknownArgumentType]
    if as_json:
        print_json({"out": str(out), "streams": count, "time": signed["time"], "key": signed["key"]})
    else:
        typer.echo(f"signed head of {count} streams in {out}")
        talk("hint: keep it on another machine")


@app.command("verify")
def verify(
    head_file: HeadFile = None, key: PublicKey = None, db: Db = None, *, as_json: AsJson = False
) -> None:
    """Verify every entry, chain and content.

    The reader follows the specification and shares no code with the writer.
    Exits 1 and names the place where anything was changed, 3 where the journal cannot be read at all.
    """
    from answerable.cli.batch import progress
    from answerable.journal.opening import is_postgres, journal_path
    from answerable.journal.verify import verify_database, verify_postgres

    url, trusted = journal_url(db), _public_key(key)
    with progress("verifying") as advance:
        if is_postgres(url):
            report = verify_postgres(url, head=head_file, key=trusted, progress=advance)
        else:
            report = verify_database(journal_path(url), head=head_file, key=trusted, progress=advance)
    if as_json:
        typer.echo(json.dumps(report.to_json(), indent=2))
    else:
        typer.echo(report.to_text())
    if report.findings:
        raise typer.Exit(FAILED)
    raise typer.Exit(0 if report.could_not_read is None else COULD_NOT_RUN)


def _public_key(text: str | None) -> bytes | None:
    if text is None:
        return None
    try:
        return base64.b64decode(text.removeprefix("ed25519:"), validate=True)
    except (ValueError, binascii.Error):
        raise Misused("--key is not base64") from None
