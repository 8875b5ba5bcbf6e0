"""What people read: the table, the trade-off as a picture of text, and every case in a file."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from bench.injection.score import Scored, Tally
from bench.report import Table

BAR_CHARS = 40
COLUMNS = (
    "setting",
    "suite",
    "attacks that reach their goal",
    "by a prepared attacker",
    "tasks solved, nobody asked",
    "asked per task",
    "asked per attack",
    "denied",
    "failed",
    "calls made",
)


def table(tallies: Sequence[Tally]) -> Table:
    """Return the figures of every setting, with intervals of 95 %."""
    rows = tuple(
        (
            each.setting,
            each.suite,
            str(each.attacks),
            str(each.prepared),
            str(each.tasks),
            f"{each.asked_per_task:.2f}",
            f"{each.asked_per_attack:.2f}",
            str(each.denied),
            str(each.failed),
            str(each.calls),
        )
        for each in tallies
    )
    return Table("Worst-case injections", COLUMNS, rows)


def curve(tallies: Sequence[Tally]) -> str:
    """Return the trade-off: for each setting how much is stopped, and how much still needs nobody."""
    lines: list[str] = []
    for each in tallies:
        stopped = 1 - each.attacks.hits / each.attacks.cases if each.attacks.cases else 0.0
        alone = each.tasks.hits / each.tasks.cases if each.tasks.cases else 0.0
        lines += [
            f"{each.setting:>15} {each.suite:<9} stopped  {_bar(stopped)} {stopped:6.1%}",
            f"{'':>15} {'':<9} unasked  {_bar(alone)} {alone:6.1%}",
        ]
    return "\n".join(lines)


def filed(scored: Scored) -> dict[str, Any]:
    """Return a case as its line in the file: enough to see why an attack went through."""
    return {
        "suite": scored.suite,
        "setting": scored.setting,
        "case": scored.case,
        "attack": scored.is_attack,
        "prepared": scored.is_prepared,
        "reached": scored.is_reached,
        "hijacked": scored.was_hijacked,
        "steps": [
            {
                "for": step.whose,
                "tool": step.wanted.tool,
                "arguments": dict(step.wanted.arguments),
                "verdict": step.ended.verdict,
                "rules": list(step.ended.rules),
                "why": step.ended.why,
            }
            for step in scored.steps
        ],
    }


def counted(tally: Tally) -> dict[str, Any]:
    """Return a tally with its intervals, for a program to read."""
    return {
        **asdict(tally),
        "attacks_interval": tally.attacks.interval(),
        "prepared_interval": tally.prepared.interval(),
        "tasks_interval": tally.tasks.interval(),
    }


def _bar(share: float) -> str:
    full = round(share * BAR_CHARS)
    return "█" * full + "·" * (BAR_CHARS - full)
