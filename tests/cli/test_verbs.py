"""The verbs on the refund desk: one journal that the module shares, then journals of their own."""

from __future__ import annotations

import itertools
import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest

from answerable.cli.main import call

TICKETS = (
    {
        "id": "C-1",
        "customer_email": "ana@example.com",
        "order_id": "O-1001",
        "request": "refund",
        "text": "Broken.",
    },
    {
        "id": "C-2",
        "customer_email": "farid@example.com",
        "order_id": "O-1007",
        "request": "refund",
        "text": "Wrong.",
    },
    {
        "id": "C-3",
        "customer_email": "ben@example.com",
        "order_id": "O-1020",
        "request": "refund",
        "text": "Not mine.",
    },
)
"""One that goes through, one over the cap, one that is refused."""
NUMBERS = itertools.count(1)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project made by `init`, after one `run`."""
    home = tmp_path_factory.mktemp("desk")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(home)
        patch.setenv("XDG_CONFIG_HOME", str(home / "config"))
        patch.delenv("ANSWERABLE_DATABASE_URL", raising=False)
        assert call(["init", "my-desk"]) == 0
        (home / "my-desk" / "tickets.jsonl").write_text(
            "".join(f"{json.dumps(ticket)}\n" for ticket in TICKETS)
        )
        assert call(["run", "my-desk", "--json"]) == 0
    return home


@pytest.fixture
def desk(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of it, to be changed; it is also the current folder."""
    # A process loads one project; here it loads many, and what it has loaded is known by its path.
    home = tmp_path / "home"
    shutil.copytree(made, home)
    folder = (home / "my-desk").rename(home / f"desk-{next(NUMBERS)}")
    monkeypatch.chdir(folder)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(home / "config"))
    monkeypatch.delenv("ANSWERABLE_DATABASE_URL", raising=False)
    return folder


def said(capsys: pytest.CaptureFixture[str], *line: str, code: int = 0) -> Any:
    """What a verb prints as JSON."""
    capsys.readouterr()
    found = call([*line, "--json"])
    out = capsys.readouterr()
    assert found == code, out.err
    return json.loads(out.out)


def run_that(capsys: pytest.CaptureFixture[str], state: str) -> str:
    (row,) = said(capsys, "runs", "--state", state)
    return row["run"]


def test_runs_lists_what_others_rely_on(desk: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = said(capsys, "runs")
    assert [(row["state"], row["outcome"]) for row in rows] == [
        ("ended", "succeeded"),
        ("waiting", None),
        ("ended", "escalated"),
    ]
    assert all({"run", "agent", "state", "outcome", "started", "steps", "cost"} <= set(row) for row in rows)
    assert call(["runs"]) == 0
    assert "✓ succeeded" in capsys.readouterr().out


def test_a_second_run_does_nothing_twice(desk: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first = said(capsys, "runs")
    summary = said(capsys, "run")
    assert summary["runs"] == 3
    assert (
        summary["outcomes"]["succeeded"]
        == summary["outcomes"]["escalated"]
        == summary["approvals_waiting"]
        == 1
    )
    assert said(capsys, "runs") == first


def test_show_answers_ten_questions_in_json_and_in_words(
    desk: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = run_that(capsys, "succeeded")
    answers = said(capsys, "show", run)
    assert list(answers) == [
        "who",
        "for_whom",
        "asked",
        "changed",
        "rules",
        "approvals",
        "cost",
        "unknown",
        "undoable",
        "ended",
    ]
    assert "can be taken back with `cancel_refund`" in answers["undoable"]["answer"]
    assert call(["show", run[4:12]]) == 0
    page = capsys.readouterr().out
    assert "What can be undone?" in page
    assert "cancel_refund" in page


def test_show_prints_the_packet(desk: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = run_that(capsys, "escalated")
    packet = said(capsys, "show", run, "--packet")
    assert packet["reason"]["code"] == "policy_denied"
    assert call(["show", run, "--packet"]) == 0
    assert capsys.readouterr().out.startswith("# A rule refused")
    assert call(["show", run_that(capsys, "succeeded"), "--packet"]) == 3


def test_approve_shows_what_will_be_sent_and_asks(
    desk: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    run = run_that(capsys, "waiting")
    assert call(["approve", run]) == 2, "nobody is there to be asked"
    shown = capsys.readouterr().err
    assert "create_refund" in shown
    assert "O-1007" in shown
    assert "needs support-lead" in shown
    monkeypatch.setattr("sys.stdin.isatty", lambda: True)
    monkeypatch.setattr("typer.confirm", lambda *_, **__: False)
    assert call(["approve", run]) == 1
    assert run_that(capsys, "waiting") == run


def test_a_yes_is_signed_and_the_run_goes_on(desk: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = run_that(capsys, "waiting")
    given = said(capsys, "approve", run, "--yes", "--note", "seen")
    assert given["verdict"] == "grant"
    assert said(capsys, "resume", "--all")["outcomes"]["succeeded"] == 1
    assert given["approver"] in said(capsys, "show", run)["approvals"]["answer"]
    assert call(["approve", run, "--yes"]) == 3, "there is nothing left to say yes to"


def test_a_no_hands_the_run_over(desk: Path, capsys: pytest.CaptureFixture[str]) -> None:
    given = said(capsys, "deny", run_that(capsys, "waiting"), "--yes", "--resume")
    assert given["outcome"] == "escalated"


def test_a_key_that_others_can_read_is_refused(desk: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (key,) = (desk.parent / "config").rglob("*.key")
    key.chmod(0o644)
    assert call(["approve", run_that(capsys, "waiting"), "--yes"]) == 3
    assert "others can read" in capsys.readouterr().err


def test_nobody_can_say_yes_with_a_key_that_is_not_listed(
    desk: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (mine,) = (desk.parent / "config").rglob("*.key")
    assert call(["key", "new", mine.stem, "--out", "forged"]) == 0
    run = run_that(capsys, "waiting")
    assert call(["approve", run, "--yes", "--key", f"forged/{mine.stem}.key"]) == 3
    assert "signature" in capsys.readouterr().err


def test_halt_stops_new_work_and_resume_lifts_it(desk: Path, capsys: pytest.CaptureFixture[str]) -> None:
    halted = said(capsys, "halt", "--agent", "refund-desk", "--reason", "looking")
    assert (halted["scope"], halted["epoch"], halted["in_flight"]) == ("agent:refund-desk", 1, [])
    ticket = {
        "id": "C-9",
        "customer_email": "ben@example.com",
        "order_id": "O-1002",
        "request": "order_status",
    }
    Path("more.jsonl").write_text(json.dumps(ticket) + "\n")
    assert said(capsys, "run", "--input", "more.jsonl")["outcomes"]["succeeded"] == 0
    assert said(capsys, "resume", "agent:refund-desk")["lifted"] == "agent:refund-desk"
    assert call(["resume", "agent:refund-desk"]) == 3, "it is lifted already"


def test_resume_begins_what_another_release_accepted_and_says_so(
    desk: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Once: from then on the run belongs to the release that began it."""
    assert call(["halt", "--agent", "refund-desk", "--reason", "looking"]) == 0
    ticket = {
        "id": "C-9",
        "customer_email": "ben@example.com",
        "order_id": "O-1002",
        "request": "order_status",
    }
    Path("more.jsonl").write_text(json.dumps(ticket) + "\n")
    assert call(["run", "--input", "more.jsonl"]) == 0
    run = run_that(capsys, "created")
    with Path("prompt.md").open("a") as prompt:
        prompt.write("\nBe brief.\n")
    assert call(["resume", run]) == 0
    assert "accepted by release" not in capsys.readouterr().err, "it is halted: nothing was begun"
    assert call(["resume", "agent:refund-desk"]) == 0
    assert call(["resume", run]) == 0
    told = capsys.readouterr().err
    assert re.search(
        rf"{run} was accepted by release (\w{{12}}) and is begun with release (?!\1)\w{{12}}", told
    )
    assert "did not begin it" in said(capsys, "show", run)["who"]["answer"]
    assert call(["resume", run]) == 0
    assert "accepted by release" not in capsys.readouterr().err


def test_replay_is_equal(desk: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert said(capsys, "replay", run_that(capsys, "succeeded"))["is_equal"] is True


def test_heads_prove_and_find_what_was_cut(desk: Path, capsys: pytest.CaptureFixture[str]) -> None:
    import sqlite3

    assert said(capsys, "audit", "head", "--out", "head.json")["streams"] > 3
    assert said(capsys, "audit", "verify", "--head", "head.json")["is_ok"] is True
    run = run_that(capsys, "succeeded")
    with sqlite3.connect("desk.db") as db:
        db.execute("DELETE FROM entry WHERE stream = ?", (f"run/{run}",))
        db.execute("DELETE FROM head WHERE stream = ?", (f"run/{run}",))
    db.close()
    report = said(capsys, "audit", "verify", "--head", "head.json", code=1)
    assert f"run/{run}" in {finding["stream"] for finding in report["findings"]}


def test_a_head_can_be_printed(desk: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert said(capsys, "audit", "head")["type"] == "answerable/head"


def test_doctor_is_content_and_says_that_content_is_not_encrypted(
    desk: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    report = said(capsys, "doctor")
    assert report["is_ok"] is True
    assert any("not encrypted" in finding["message"] for finding in report["findings"])
    Path("desk.db").chmod(0o644)
    assert said(capsys, "doctor", code=1)["is_ok"] is False


def test_a_backup_can_be_read_and_never_overwrites(desk: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert said(capsys, "backup", "copy.db")["entries"] > 10
    assert said(capsys, "audit", "verify", "--db", "sqlite:///copy.db")["is_ok"] is True
    assert call(["backup", "copy.db"]) == 3


def test_policy_check_exits_1_for_rules_that_cannot_be_loaded(
    desk: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert said(capsys, "policy", "check")["is_ok"] is True
    rules = next(Path("policy").glob("*.cedar"))
    rules.write_text(rules.read_text().replace("context.args.amount_usd", "context.args.amount_us"))
    report = said(capsys, "policy", "check", code=1)
    assert report["agents"][0]["hint"]


def test_retention_keeps_what_is_young(desk: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert said(capsys, "retention", "apply")["erased"] == {}


def test_retention_lets_old_content_go_and_show_says_so(
    desk: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = Path("answerable.toml")
    config.write_text(config.read_text().replace('standard = "90d"', 'standard = "1ms"'))
    run = run_that(capsys, "succeeded")
    assert said(capsys, "retention", "apply")["erased"]
    assert "[erased]" in said(capsys, "show", run)["asked"]["answer"]
    assert said(capsys, "audit", "verify")["is_ok"] is True


def test_watch_tells_how_things_stand(desk: Path, capsys: pytest.CaptureFixture[str]) -> None:
    capsys.readouterr()
    assert call(["watch", "--once", "--json"]) == 0
    assert len([json.loads(line) for line in capsys.readouterr().out.splitlines()]) == 3
    run = run_that(capsys, "succeeded")
    assert call(["watch", run]) == 0
    assert "succeeded" in capsys.readouterr().out


def test_init_never_overwrites(desk: Path) -> None:
    assert call(["init", "."]) == 3


def test_bad_tasks_are_refused_by_line_and_nothing_is_accepted(
    desk: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = said(capsys, "runs")
    Path("bad.jsonl").write_text(json.dumps({**TICKETS[0], "id": "N-1"}) + "\n{not json}\n")
    assert call(["run", "--input", "bad.jsonl"]) == 3
    assert "line 2" in capsys.readouterr().err
    assert said(capsys, "runs") == before


def test_demo_in_the_same_folder_is_the_same_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("ANSWERABLE_DATABASE_URL", raising=False)
    assert call(["demo"]) == 0
    shown = capsys.readouterr().out
    assert "The model is scripted" in shown
    assert [word for word in ("prove", "stop", "explain") if f"\n{word} " in shown] == [
        "prove",
        "stop",
        "explain",
    ]
    (line,) = [line for line in shown.splitlines() if line.startswith("explain")]
    assert call(line.removeprefix("explain").split()[1:]) == 0
    folder = tmp_path / ".answerable" / "demo-1"
    summary = said(capsys, "demo", "--dir", str(folder))
    rows = said(capsys, "runs", "--db", f"sqlite:///{folder}/desk.db")
    assert summary["runs"] == len(rows) >= 25
    assert all(row["is_scripted"] for row in rows if row["steps"])
    again = said(capsys, "resume", "--all", "--dir", str(folder), "--db", f"sqlite:///{folder}/desk.db")
    assert again["approvals_waiting"] == again["runs"], "resuming leaves waiting runs as they are"
