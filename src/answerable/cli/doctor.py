"""`answerable doctor`: look a journal over, and say what to do."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from answerable.cli.common import FAILED, AsJson, Db, draw, journal_url, opened, print_json, run_async

if TYPE_CHECKING:
    from answerable.journal.doctor import Finding

AcceptLoss = Annotated[
    bool,
    typer.Option(
        "--accept-loss",
        help="Go on with a journal that is older than its last exported head. Signed, and recorded for ever.",
    ),
]


def doctor(db: Db = None, *, accept_loss: AcceptLoss = False, as_json: AsJson = False) -> None:
    """Look a journal over, and say what to do.

    What is derived is rebuilt from the entries and compared; modes, keys, heads and what is stuck are looked
    at. Exits 1 where something is wrong; what somebody should know is only said.
    """
    from answerable.journal import copy_stores
    from answerable.journal.doctor import examine

    url = journal_url(db)

    async def look() -> list[Finding]:
        async with opened(url, accept_loss=accept_loss) as store:
            return [*copy_stores.findings(url), *await examine(store)]

    findings = run_async(look())
    is_ok = all(finding.level != "bad" for finding in findings)
    if as_json:
        print_json({"is_ok": is_ok, "findings": [asdict(each) for each in findings]})
    else:
        _draw(findings)
    raise typer.Exit(0 if is_ok else FAILED)


def _draw(findings: list[Finding]) -> None:
    from rich.table import Table
    from rich.text import Text

    from answerable.evidence.render import MARKS, code

    marks = {"bad": MARKS["bad"], "warn": MARKS["waiting"], "ok": MARKS["good"]}
    table = Table.grid(padding=(0, 1, 0, 0))
    for finding in findings:
        mark, style = marks[finding.level]
        table.add_row(Text(mark, style=style), code(finding.message))
        if finding.hint:
            table.add_row("", code(f"hint: {finding.hint}", "dim"))
    draw(table)
