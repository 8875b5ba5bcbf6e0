"""A backup that is put back, from the first run to the last: what it lacks is never done a second time."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from tests.engine.workshop import Task, Vendor, key_of
from tests.migrate.stories import export, runtime_at
from tests.postgres_server import execute

from answerable.cli.main import call
from answerable.journal.verify import verify_postgres
from answerable.testing import FakeClock

if TYPE_CHECKING:
    from pathlib import Path


async def lived_on(url: str, vendor: Vendor) -> dict[str, str]:
    """Runs that are open when the backup is taken."""
    async with runtime_at(url, vendor) as runtime:
        waiting = await runtime.run("clerk", Task(id="waiting", who="wil", text="700"))
        (created,) = await runtime.submit("clerk", [Task(id="created", who="cleo")])
    return {"waiting": waiting.run, "created": created}


async def goes_on(
    url: str, vendor: Vendor, runs: dict[str, str], seed: str
) -> dict[str, tuple[str | None, str | None]]:
    """Somebody says yes, and everything that is open is driven: how each run stands then."""
    async with runtime_at(url, vendor, seed=seed, clock=FakeClock()) as runtime:
        await runtime.answer(runs["waiting"], "grant", approver="lea", private_key=key_of("lea"))
        outcomes = {outcome.run: outcome for outcome in await runtime.drive_all()}
    return {name: (outcomes[run].name, outcomes[run].code) for name, run in runs.items()}


async def test_an_old_backup_is_refused_and_after_the_loss_nothing_is_sent_twice(
    tmp_path: Path, postgres_url: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """PostgreSQL is lost after a backup; the head that was exported since knows; open runs go to a person."""
    monkeypatch.setenv("ANSWERABLE_DATABASE_URL", postgres_url)
    vendor, kept = Vendor(), tmp_path / "kept.db"
    runs = await lived_on(postgres_url, vendor)
    assert in_thread("backup", str(kept)) == 0
    after = await goes_on(postgres_url, vendor, runs, "first")
    sent = list(vendor.asked)
    head = await export(postgres_url)
    kept_head = tmp_path / "head.json"
    kept_head.write_bytes(head.read_bytes())
    execute(postgres_url, "DROP SCHEMA answerable CASCADE")

    capsys.readouterr()
    assert in_thread("migrate", f"sqlite:///{kept}", postgres_url, "--json") == 0
    restored = json.loads(capsys.readouterr().out)
    refused = in_thread("runs")
    words = capsys.readouterr().err
    accepted = in_thread("doctor", "--accept-loss", "--json")
    findings = {each["name"]: each["level"] for each in json.loads(capsys.readouterr().out)["findings"]}
    outcomes = await goes_on(postgres_url, vendor, runs, "second")

    assert after == {"waiting": ("unverified", None), "created": ("unverified", None)}
    assert restored["kind"] == "restored"
    assert f"run/{runs['waiting']}" in restored["behind"]
    assert refused == 3
    assert "is older than the head exported from it" in words
    assert accepted == 0
    assert findings["derived-tables"] == "ok"
    assert outcomes == {
        "waiting": ("escalated", "effect_unknown"),
        "created": ("escalated", "effect_unknown"),
    }
    assert vendor.asked == sent
    assert verify_postgres(postgres_url).is_ok
    assert not verify_postgres(postgres_url, head=kept_head).is_ok


def in_thread(*arguments: str) -> int:
    """One command line, beside the test's own event loop."""
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(1) as pool:
        return pool.submit(call, list(arguments)).result()


async def test_a_fresh_backup_is_restored_and_goes_on(tmp_path: Path, postgres_url: str) -> None:
    """Nothing was lost: open runs are driven to their ends, and each effect happens once."""
    vendor, kept = Vendor(), tmp_path / "kept.db"
    runs = await lived_on(postgres_url, vendor)
    await export(postgres_url)
    assert in_thread("backup", str(kept), "--db", postgres_url) == 0
    execute(postgres_url, "DROP SCHEMA answerable CASCADE")

    assert in_thread("migrate", f"sqlite:///{kept}", postgres_url) == 0
    outcomes = await goes_on(postgres_url, vendor, runs, "after")

    assert outcomes == {"waiting": ("unverified", None), "created": ("unverified", None)}
    assert len(vendor.done) == 2
    assert verify_postgres(postgres_url).is_ok
