"""`answerable policy backtest`: what recorded calls would have met under other rules, with the money at stake."""

from __future__ import annotations

import gc
from contextlib import contextmanager
from datetime import UTC, date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from answerable.cli.common import (
    COULD_NOT_RUN,
    FAILED,
    AsJson,
    Db,
    Misused,
    ProjectDir,
    draw,
    find_project,
    find_run,
    one_agent_of,
    opened,
    print_json,
    run_async,
    talk,
)

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping
    from decimal import Decimal

    from rich.table import Table

    from answerable.errors import PolicyError
    from answerable.replay.backtest import BacktestReport, Flip, Side, Sum

Candidate = Annotated[
    Path, typer.Option("--candidate", metavar="DIR", help="A folder of .cedar files: the rules to try.")
]
AgentName = Annotated[
    str | None, typer.Option("--agent", metavar="NAME", help="Whose calls; needed where there are several.")
]
Since = Annotated[
    str | None,
    typer.Option("--since", metavar="DAY", help="Decisions from this day on (UTC), as 2026-01-31."),
]
RunName = Annotated[
    str | None, typer.Option("--run", metavar="RUN", help="Only this run, by its id or its beginning.")
]
Show = Annotated[int, typer.Option("--show", metavar="N", min=0, help="How many calls are shown in words.")]
FailOn = Annotated[
    str | None,
    typer.Option(
        "--fail-on",
        metavar="WHAT,...",
        help="Exit 1 where a call would newly be met by one of: allow, ask, deny, people; or is undecided.",
    ),
]
FAIL_ON = ("allow", "ask", "deny", "people", "undecided")
MEANING = {
    ("deny", "allow"): "refused until now, would go through",
    ("ask", "allow"): "would go through with nobody asked",
    ("deny", "ask"): "refused until now, would be put to people",
    ("ask", "ask others"): "would be put to other people",
    ("allow", "ask"): "would wait for a person",
    ("ask", "deny"): "would be refused with nobody asked",
    ("allow", "deny"): "would be refused",
}
BECAME = {
    "done": "done",
    "failed": "failed",
    "unknown": "perhaps done",
    "shadowed": "in shadow only",
    "refused": "refused by a rule",
    "stopped": "stopped by another gate",
    "no": "a person said no",
    "expired": "nobody answered",
    "waiting": "still waiting",
    "not sent": "never sent",
}


def backtest(
    project_dir: ProjectDir = None,
    *,
    candidate: Candidate,
    agent: AgentName = None,
    db: Db = None,
    since: Since = None,
    run: RunName = None,
    show: Show = 10,
    fail_on: FailOn = None,
    as_json: AsJson = False,
) -> None:
    """Decide every recorded call again, under the rules in force and under others.

    Calls no model and no tool, and writes nothing. First, what was recorded under the rules in force must come out as
    recorded; where it does not, nothing is compared, and it exits 3. Exits 1 where the candidate cannot be loaded, or
    for what --fail-on names.
    """
    wanted = _fail_on(fail_on)
    if since is not None and run is not None:
        raise Misused("--since and --run exclude each other: a run is looked at whole")
    raise typer.Exit(
        run_async(
            _backtest(
                project_dir,
                candidate,
                name=agent,
                db=db,
                since=_day(since),
                run=run,
                show=show,
                fail_on=wanted,
                as_json=as_json,
            )
        )
    )


@contextmanager
def collecting_rarely() -> Generator[None]:
    """Look for garbage less often: hardly anything that is made here is ever part of a cycle, and there is very much of it."""
    before = gc.get_threshold()
    gc.set_threshold(50_000, *before[1:])
    try:
        yield
    finally:
        gc.set_threshold(*before)


def _fail_on(text: str | None) -> frozenset[str]:
    wanted = frozenset(each.strip() for each in text.split(",")) if text is not None else frozenset[str]()
    unknown = sorted(wanted - set(FAIL_ON))
    if unknown:
        raise Misused(f"--fail-on knows no `{unknown[0]}`; it knows {', '.join(FAIL_ON)}")
    return wanted


def _day(text: str | None) -> int:
    if text is None:
        return 0
    try:
        day = date.fromisoformat(text)
    except ValueError:
        raise Misused(f"`{text}` is no day: write it as 2026-01-31") from None
    return int(datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp()) * 1_000_000


async def _backtest(
    project_dir: Path | None,
    folder: Path,
    *,
    name: str | None,
    db: str | None,
    since: int,
    run: str | None,
    show: int,
    fail_on: frozenset[str],
    as_json: bool,
) -> int:
    from dataclasses import replace

    from answerable.errors import PolicyError
    from answerable.journal.opening import choose_journal
    from answerable.project import bundle_of
    from answerable.replay.backtest import backtest as decide_again

    project = find_project(project_dir, None, db)
    agent = one_agent_of(project, name)
    current = project.bundle(agent.name)
    try:
        candidate = bundle_of(replace(agent, policy=folder))
    except PolicyError as error:
        return _unusable(error, as_json=as_json)
    async with opened(choose_journal(db, project.journal_url)) as store:
        rows = await store.runs(run=await find_run(store, run)) if run is not None else await store.runs()
        with collecting_rarely():
            report = await decide_again(store, agent, current, candidate, rows=rows, since=since)
    failed = _failed(report, fail_on)
    if as_json:
        print_json({**as_data(report), "failed_on": failed})
    else:
        _say(report, show, failed)
    if not report.is_baseline_sound:
        return COULD_NOT_RUN
    return FAILED if failed else 0


def _unusable(error: PolicyError, *, as_json: bool) -> int:
    if as_json:
        print_json({"is_ok": False, "error": error.args[0], "hint": error.hint})
    else:
        typer.echo(f"✗ the candidate cannot be loaded: {error.args[0]}")
        if error.hint:
            talk(f"hint: {error.hint}")
    return FAILED


def _failed(report: BacktestReport, fail_on: frozenset[str]) -> list[str]:
    """Which of the things that must not be there are there."""
    met = {"people" if to == "ask others" else to for _, to in report.sums()}
    if report.undecided:
        met.add("undecided")
    return sorted(met & fail_on)


def as_data(report: BacktestReport) -> dict[str, Any]:
    """The report as JSON."""
    return {
        "is_ok": report.is_baseline_sound,
        "agent": report.agent,
        "current": report.current,
        "candidate": report.candidate,
        "runs": report.runs,
        "decisions": report.decisions,
        "calls": report.calls,
        "reproduced": report.reproduced,
        "other_rules": report.other_rules,
        "approximate": report.approximate,
        "unasked": report.unasked,
        "erased": report.erased,
        "changed": [
            {"tool": tool, "decisions": count, "why": why}
            for tool, (count, why) in sorted(report.changed.items())
        ],
        "unlike": [
            {
                "run": each.run,
                "path": each.path,
                "tool": each.tool,
                "recorded": each.recorded,
                "now": each.now,
            }
            for each in report.unlike
        ],
        "kinds": [
            {
                "from": kind[0],
                "to": kind[1],
                "calls": each.calls,
                "money": _amounts(each.money),
                "records": each.records,
                "undeclared": each.undeclared,
                "runs": len(each.runs),
                "became": dict(sorted(each.became.items())),
            }
            for kind, each in report.sums().items()
        ],
        "flips": [_flip(each) for each in report.flips],
    }


def _amounts(money: Mapping[str, Decimal]) -> dict[str, str]:
    from answerable.kernel.money import plain

    return {currency: plain(amount) for currency, amount in sorted(money.items())}


def _flip(flip: Flip) -> dict[str, Any]:
    from answerable.evidence.words import when

    stake = flip.stake
    return {
        "run": flip.run,
        "path": flip.path,
        "time": when(flip.time),
        "tool": flip.tool,
        "agent": flip.agent,
        "current": _side(flip.current),
        "candidate": _side(flip.candidate),
        "money": _amounts({stake.currency: stake.money}) if stake.money is not None else {},
        "records": stake.records,
        "is_impact_declared": stake.is_declared,
        "became": flip.became,
        "stopped_by": flip.stopped_by or None,
        "is_exact": flip.is_exact,
    }


def _side(side: Side) -> dict[str, Any]:
    return {
        "answer": side.answer,
        "rules": side.rules,
        "people": [{"roles": list(roles), "count": count} for roles, count in side.people],
        "reason": side.reason or None,
    }


def _say(report: BacktestReport, show: int, failed: list[str]) -> None:
    """The report in words: one line, a table, some examples, and what has to be known about it."""
    if not report.is_baseline_sound:
        _say_unlike(report, show)
        return
    from answerable.evidence.words import counted

    found = f"{len(report.flips)} would be met otherwise" if report.flips else "all would be met as now"
    typer.echo(
        f"{'✗' if failed else '✓'} {report.agent}: {counted(report.calls, 'call')} in {counted(report.runs, 'run')}"
        f" decided again; {found}"
    )
    if report.flips:
        typer.echo()
        draw(_table(report.sums()))
        typer.echo()
        for kind, each in report.sums().items():
            typer.echo(f"{_arrow(kind)}: {_in_words(kind, each)}")
    for flip in report.flips[:show]:
        typer.echo()
        _say_flip(flip)
    if len(report.flips) > show > 0:
        typer.echo(f"\nand {len(report.flips) - show} more; --show N shows more of them, --json all")
    _say_notes(report)
    if failed:
        talk(f"failed on: {', '.join(failed)}")


def _say_unlike(report: BacktestReport, show: int) -> None:
    from answerable.evidence.words import counted

    typer.echo(
        f"✗ {report.agent}: {counted(len(report.unlike), 'decision')} of {report.decisions} under the rules in force"
        " do not come out as recorded, so nothing is compared"
    )
    for each in report.unlike[: max(show, 1)]:
        typer.echo(f"  {each.run} {each.path} {each.tool}: recorded {each.recorded}; now {each.now}")
    talk(
        "hint: `answerable audit verify` says whether the journal was changed; if it was not, this is a mistake of ours"
    )


def _table(sums: Mapping[Any, Sum]) -> Table:
    from rich.table import Table
    from rich.text import Text

    found = Table(box=None, pad_edge=False, header_style="dim")
    found.add_column("now → then", no_wrap=True)
    for name in ("calls", "money", "records", "runs"):
        found.add_column(name, justify="right")
    found.add_column("in reality")
    for kind, each in sums.items():
        reality = [f"{count} {BECAME[name]}" for name, count in each.became.most_common()]
        found.add_row(
            Text(_arrow(kind)),
            str(each.calls),
            Text(_money(each.money) or "-"),
            f"{each.records}{' + ?' if each.undeclared else ''}",
            str(len(each.runs)),
            Text(", ".join(reality)),
        )
    return found


def _arrow(kind: tuple[str, str]) -> str:
    return f"{kind[0]} → {kind[1]}"


def _money(money: Mapping[str, Decimal]) -> str:
    return ", ".join(f"{amount:,.2f} {currency}" for currency, amount in sorted(money.items()))


def _in_words(kind: tuple[str, str], each: Sum) -> str:
    """What a kind of flip means, and what it would have changed in reality."""
    happened = each.became["done"] + each.became["unknown"]
    said = MEANING[kind]
    if kind[1] == "allow" and each.calls > happened:
        said += f"; {each.calls - happened} of {each.calls} not done"
    if kind[0] == "allow" or kind == ("ask", "deny"):
        said += f"; {happened} of {each.calls} done"
    if each.undeclared:
        said += f"; {each.undeclared} are writes that do not declare what they change"
    return said


def _say_flip(flip: Flip) -> None:
    from answerable.evidence.words import when

    stake = flip.stake
    money = f", {_money({stake.currency: stake.money})}" if stake.money is not None else ""
    typer.echo(
        f"{flip.run} {flip.path}  {when(flip.time)}  {flip.tool}{money}  ({BECAME[flip.became]}{'' if flip.is_exact else '; approximate'})"
    )
    typer.echo(f"  now   {_side_text(flip.current)}")
    typer.echo(f"  then  {_side_text(flip.candidate)}")
    if flip.stopped_by:
        typer.echo(f"  whatever the rules say, the {flip.stopped_by} gate stopped it")


def _side_text(side: Side) -> str:
    first, *others = [f"{rule}: {text}" for rule, text in side.rules.items()] or [side.reason]
    rules = f"{first.removesuffix('.')}; and {', '.join(list(side.rules)[1:])}" if others else first
    who = " and ".join(
        f"{f'{count} of ' if count > 1 else ''}{' or '.join(roles)}" for roles, count in side.people
    )
    return f"{'ask' if side.people else side.answer}{f' {who}' if who else ''} ({rules})"


def _say_notes(report: BacktestReport) -> None:
    """What has to be known to read the figures rightly, where it applies."""
    from answerable.evidence.words import counted

    notes: list[str] = []
    if report.reproduced:
        notes.append(
            f"{counted(report.reproduced, 'decision')} under the rules in force came out as recorded"
        )
    if report.other_rules:
        notes.append(
            f"{counted(report.other_rules, 'decision')} were made under other rules:"
            " `now` is what the rules in force say"
        )
    if report.approximate:
        notes.append(
            f"{counted(report.approximate, 'decision')} approximate: not all is known that the rules were told (an older"
            " version wrote it, reads of a batch overtook each other, or a tool is gone)"
        )
    if report.unasked:
        notes.append(
            f"{counted(report.unasked, 'decision')} left out: a fact was missing, so no rule was asked"
        )
    if report.erased:
        notes.append(
            f"{counted(report.erased, 'decision')} cannot be made again: their content has been erased"
        )
    notes += [
        f"{counted(count, 'decision')} on `{tool}` cannot be made again, the tool changed: {why}"
        for tool, (count, why) in sorted(report.changed.items())
    ]
    if report.flips:
        notes.append(
            "each call is judged by what was known when it was decided, not by what would have followed"
        )
    if notes:
        typer.echo()
    for note in notes:
        typer.echo(f"· {note}")
