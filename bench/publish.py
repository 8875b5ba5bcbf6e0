"""Writes a comparison down with all that a reader needs to doubt it: how, where, when, how spread.

The hardware is named by class only, and every subject's version is the one that ran.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from bench.keep import keep
from bench.machine import Machine
from bench.report import Table
from bench.rounds import Rounds


@dataclass(frozen=True, slots=True)
class Comparison:
    """What was measured, and the tables it makes."""

    rounds: Rounds
    tables: Sequence[Table]
    syncs: Mapping[str, float | None] = field(default_factory=dict[str, float | None])
    server: str = ""
    """The database server and its settings, where there is one."""


def publish(compared: Comparison, *, command: str, machine: Machine, folder: Path) -> Path:
    """Print the tables as Markdown and keep every round in a file; return the file."""
    now = datetime.now(UTC)
    versions = measured_versions(compared.rounds)
    said = ", ".join(f"{package} {version}" for package, version in versions.items())
    print(f"`{command}`, {now.date()}, {len(compared.rounds)} rounds, median (least to greatest).  ")
    print(f"{machine}.  ")
    if compared.server:
        print(f"{compared.server}.  ")
    print(f"{said}.\n")
    print("\n".join(table.markdown() for table in compared.tables))
    kept = {
        "command": command,
        "date": now.isoformat(timespec="seconds"),
        "machine": asdict(machine),
        "server": compared.server,
        "versions": versions,
        "rounds": [
            {label: asdict(answer) for label, answer in answers.items()} for answers in compared.rounds
        ],
        "syncs_per_step": dict(compared.syncs),
    }
    return keep(kept, at=now, folder=folder)


def measured_versions(rounds: Rounds) -> dict[str, str]:
    """Return the version of every package that a subject said it ran with."""
    versions = {
        package: version
        for answers in rounds
        for answer in answers.values()
        for package, version in answer.versions.items()
    }
    return dict(sorted(versions.items()))
