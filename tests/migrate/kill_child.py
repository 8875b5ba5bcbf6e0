"""Moves a journal and dies, by SIGKILL, at a point that is named: `python -m tests.migrate.kill_child FROM TO POINT`."""

from __future__ import annotations

import itertools
import os
import signal
import sys
from typing import Any

from answerable.journal import copy, copy_custody, copy_stores

POINTS = ("blank", "entries", "payloads", "derived", "checking", "checked", "closed", "done")


def die(*_: object) -> Any:
    """What a power cut looks like to a process."""
    os.kill(os.getpid(), signal.SIGKILL)


def arm(target: Any, point: str) -> None:
    """Make the target die when it comes to `point`."""
    write, truth, begin = target.write, target.truth, target.begin

    def writes(table: str, rows: Any) -> None:
        if point == "entries" and table == "entry":
            rows = itertools.chain(itertools.islice(rows, 9), (die(row) for row in rows))
        if point == "payloads" and table == "payload":
            rows = itertools.chain(itertools.islice(rows, 5), (die(row) for row in rows))
        write(table, rows)
        if point == "derived" and table == "claim":
            die()

    def begins() -> None:
        begin()
        if point == "blank":
            die()

    def truths(table: str) -> Any:
        if point == "checking" and table == "entry":
            return itertools.chain(itertools.islice(truth(table), 9), (die(row) for row in truth(table)))
        return truth(table)

    target.write, target.begin, target.truth = writes, begins, truths
    if point == "closed":
        target.commit = die


def main(source: str, target: str, point: str) -> None:
    """Move, and die."""
    open_target = copy_stores.open_target

    def armed(url: str) -> Any:
        made = open_target(url)
        arm(made, point)
        return made

    copy_stores.open_target = armed
    if point == "checked":
        copy._close_and_commit = die
    if point == "done":
        copy_custody.hand_over = die
    copy_stores.migrate(source, target, progress=lambda *_: None)


if __name__ == "__main__":
    main(*sys.argv[1:])
