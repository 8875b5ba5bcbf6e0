"""`answerable workers`: who is alive, and what nobody can drive."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from answerable.cli.common import AsJson, Db, draw, journal_url, opened, print_json, run_async, talk

if TYPE_CHECKING:
    from rich.table import Table

    from answerable.journal.store import JournalStore, WorkerRow

LOOKED_AT_MAX = 500
"""How many runs are read for the release that they wait for."""
SHOWN_MAX = 20


def workers(db: Db = None, *, as_json: AsJson = False) -> None:
    """List the processes that use the journal, and the runs that wait for a release which none of them has.

    A worker says what it can drive. Other processes, such as `answerable run`, are listed while they live.
    """
    run_async(_workers(journal_url(db), as_json=as_json))


async def _workers(url: str, *, as_json: bool) -> None:
    async with opened(url) as store:
        rows = await store.workers()
        held: dict[str, list[str]] = {}
        for run in await store.runs(states=("running",)):
            held.setdefault(run.owner or "", []).append(run.run)
        waiting = await left_waiting(store, rows)
    if as_json:
        print_json({"workers": [_row(row, held) for row in rows], "waiting_for_release": waiting})
        return
    if rows:
        draw(_table(rows, held))
    else:
        talk("no process uses this journal now")
    for each in waiting[:SHOWN_MAX]:
        talk(
            f"{each['run']} waits for `{each['agent']}` as of release {each['release'][:12]}, which nobody has"
        )
    if len(waiting) > SHOWN_MAX:
        talk(f"and {len(waiting) - SHOWN_MAX} more")
    if waiting:
        talk("hint: start a worker with the project as it was when they began")


async def left_waiting(store: JournalStore, rows: list[WorkerRow]) -> list[dict[str, str]]:
    """The runs that should be driven and that no living worker can drive. Empty where there is no worker at all."""
    from answerable.engine.dispatch.releases import release_of, releases_there

    there = releases_there(rows)
    if not there:
        return []
    found: list[dict[str, str]] = []
    for due in await store.due(store.now(), LOOKED_AT_MAX):
        wanted = await release_of(store, due.run)
        if wanted not in there:
            agent, _, release = wanted.partition("@")
            found.append({"run": due.run, "agent": agent, "release": release})
    return found


def _row(row: WorkerRow, held: dict[str, list[str]]) -> dict[str, Any]:
    return {
        "owner": row.owner,
        "host": row.host,
        "pid": row.pid,
        "version": row.version,
        "started_us": row.started,
        "heartbeat_age_s": round(row.heartbeat_age_s, 3),
        "is_alive": row.is_alive,
        "runs": held.get(row.owner, []),
        "releases": list(row.releases),
    }


def _table(rows: list[WorkerRow], held: dict[str, list[str]]) -> Table:
    from rich.table import Table
    from rich.text import Text

    from answerable.evidence.words import when

    found = Table(box=None, pad_edge=False, header_style="dim")
    for name in ("process", "host", "pid", "since", "heard of", "drives"):
        found.add_column(name, no_wrap=name == "process")
    found.add_column("runs", justify="right")
    for row in rows:
        heard = (
            f"{row.heartbeat_age_s:.0f} s ago" if row.is_alive else f"lost, {row.heartbeat_age_s:.0f} s ago"
        )
        drives = [
            f"{agent} {release[:12]}" for agent, _, release in (each.partition("@") for each in row.releases)
        ]
        found.add_row(
            Text(row.owner),
            Text(row.host),
            str(row.pid),
            Text(when(row.started).removesuffix(" UTC")),
            Text(heard),
            Text(", ".join(drives)),
            str(len(held.get(row.owner, []))),
        )
    return found
