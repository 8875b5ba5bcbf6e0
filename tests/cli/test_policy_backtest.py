"""`policy backtest` as people and machines use it: words, JSON, exit codes."""

from __future__ import annotations

import asyncio
import json
import re
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from tests.replay_backtest.mornings import EXAMPLE, RULES, contents, desk, rules_of, run_of, without, work

from answerable.cli.main import call

LOWER = RULES.replace('decimal("500.00")', 'decimal("300.00")')


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A morning at the refund desk."""
    folder = tmp_path_factory.mktemp("worked")
    agent = desk()
    asyncio.run(work(f"sqlite:///{folder / 'desk.db'}", folder, agent, rules_of(agent)))
    return folder


@pytest.fixture
def home(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of it, with rules to try beside it; it is also the current folder."""
    shutil.copytree(made, tmp_path, dirs_exist_ok=True)
    for name, rules in (
        ("lower", LOWER),
        ("open", without("refund-own-order")(RULES)),
        ("same", RULES),
        ("broken", RULES.replace("amount_usd", "amount")),
    ):
        (tmp_path / name).mkdir()
        (tmp_path / name / "desk.cedar").write_text(rules)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("ANSWERABLE_DATABASE_URL", raising=False)
    return tmp_path


def backtest(candidate: str, *more: str) -> int:
    """Run the verb on this folder's journal."""
    return call(["policy", "backtest", "--candidate", candidate, "--db", "sqlite:///desk.db", *more])


def said(capsys: pytest.CaptureFixture[str], candidate: str, *more: str, code: int = 0) -> Any:
    """What the verb prints as JSON."""
    capsys.readouterr()
    found = backtest(candidate, *more, "--json")
    out = capsys.readouterr()
    assert found == code, out.err
    return json.loads(out.out)


def test_flips_are_shown_with_the_money_and_what_they_mean(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert backtest("open") == 0
    page = capsys.readouterr().out

    assert re.match(r"✓ refund-desk: \d+ calls in 43 runs decided again; 3 would be met otherwise\n", page)
    assert "deny → allow      2    477.00 USD        2     2  2 refused by a rule" in page
    assert "deny → allow: refused until now, would go through; 2 of 2 not done" in page
    assert f"{run_of('T-1134')} 4.0" in page
    assert "now   deny (refund-own-order: Money goes back only to the customer who wrote the ticket" in page
    assert "then  ask 2 of finance and support-lead (" in page
    assert re.search(r"\n· 1\d\d decisions under the rules in force came out as recorded\n", page)


def test_the_same_rules_change_nothing(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert backtest("same", "--fail-on", "allow,ask,deny,people,undecided") == 0
    assert "all would be met as now" in capsys.readouterr().out


def test_so_many_calls_are_shown_as_asked_for(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert backtest("open", "--show", "1") == 0
    page = capsys.readouterr().out
    assert page.count("\n  then  ") == 1
    assert "and 2 more" in page
    assert backtest("open", "--show", "0") == 0
    assert "\n  then  " not in capsys.readouterr().out


def test_machines_get_everything(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    report = said(capsys, "lower", "--show", "0")

    assert report["is_ok"] is True
    assert report["reproduced"] == report["decisions"] == report["calls"] + 2 > 150
    assert (report["erased"], report["unasked"], report["changed"], report["unlike"]) == (0, 0, [], [])
    assert report["failed_on"] == []
    assert report["kinds"] == [
        {
            "from": "allow",
            "to": "ask",
            "calls": 2,
            "money": {"USD": "900"},
            "records": 2,
            "undeclared": 0,
            "runs": 2,
            "became": {"done": 2},
        }
    ]
    flip = report["flips"][0]
    assert (flip["run"], flip["path"], flip["tool"]) == (run_of("T-1145"), "2.0", "create_refund")
    assert (flip["money"], flip["records"], flip["became"]) == ({"USD": "500"}, 1, "done")
    assert flip["current"]["rules"] == {"may-refund": "The desk may refund orders, within the rules below."}
    assert flip["candidate"]["people"] == [{"roles": ["support-lead"], "count": 1}]


@pytest.mark.parametrize(
    ("candidate", "fail_on", "code"),
    [
        ("open", "allow", 1),
        ("open", "ask", 1),
        ("open", "deny,people,undecided", 0),
        ("lower", "allow, deny", 0),
        ("lower", "ask", 1),
    ],
)
def test_a_check_fails_on_what_must_not_happen(
    home: Path, capsys: pytest.CaptureFixture[str], candidate: str, fail_on: str, code: int
) -> None:
    report = said(capsys, candidate, "--fail-on", fail_on, code=code)

    assert bool(report["failed_on"]) is (code == 1)


def test_what_cannot_be_decided_again_can_fail_a_check(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with closing(sqlite3.connect("desk.db")) as db, db:
        db.execute("UPDATE payload SET body = NULL, erased = 1 WHERE retention = 'arguments'")

    report = said(capsys, "open", "--fail-on", "undecided", code=1)

    assert (report["erased"] > 150, report["decisions"], report["flips"]) == (True, 0, [])
    assert report["failed_on"] == ["undecided"]
    assert backtest("open") == 0
    assert "decisions cannot be made again: their content has been erased" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("candidate", "words"),
    [
        ("broken", "desk.cedar:"),
        ("nowhere", "there is no policy folder `nowhere`"),
        (".", "has no .cedar file"),
    ],
)
def test_rules_that_cannot_be_loaded_are_a_failed_check(
    home: Path, capsys: pytest.CaptureFixture[str], candidate: str, words: str
) -> None:
    assert backtest(candidate) == 1
    told = capsys.readouterr()
    assert told.out.startswith("✗ the candidate cannot be loaded: ")
    assert words in told.out
    assert "hint: " in told.err
    assert said(capsys, candidate, code=1)["is_ok"] is False


def test_a_baseline_that_does_not_hold_is_no_baseline(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with closing(sqlite3.connect("desk.db")) as db, db:
        db.execute(
            "UPDATE payload SET body = replace(body, 'farid@example.com', 'ana@example.com')"
            " WHERE retention = 'arguments' AND instr(body, 'farid@example.com')"
        )

    assert backtest("open") == 3
    told = capsys.readouterr()
    assert "do not come out as recorded, so nothing is compared" in told.out
    assert f"{run_of('T-1116')} 6.0 create_refund: recorded" in told.out
    assert "`answerable audit verify`" in told.err
    report = said(capsys, "open", code=3)
    assert (report["is_ok"], report["flips"]) == (False, [])
    assert {each["run"] for each in report["unlike"]} == {run_of("T-1116")}


def test_one_run_or_some_days_can_be_chosen(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = run_of("T-1145")

    assert said(capsys, "lower", "--run", run[4:14])["runs"] == 1
    assert said(capsys, "lower", "--since", "2026-09-03")["runs"] == 43
    assert said(capsys, "lower", "--since", "2026-09-04")["runs"] == 0


@pytest.mark.parametrize(
    ("more", "code", "words"),
    [
        (("--since", "yesterday"), 2, "`yesterday` is no day"),
        (("--since", "2026-09-03", "--run", "run_"), 2, "exclude each other"),
        (("--fail-on", "everything"), 2, "--fail-on knows no `everything`"),
        (("--agent", "nobody"), 3, "the project has no agent `nobody`"),
        (("--run", "run_zzz"), 3, "there is no run `run_zzz`"),
    ],
)
def test_what_is_not_meant_is_said(
    home: Path, capsys: pytest.CaptureFixture[str], more: tuple[str, ...], code: int, words: str
) -> None:
    assert backtest("open", *more) == code
    assert words in capsys.readouterr().err


def test_a_project_finds_its_own_journal(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.copytree(EXAMPLE, "project", ignore=shutil.ignore_patterns("*.db*", "__pycache__"))
    for name in ("desk.db", "desk.db.key", "shop.db"):
        shutil.copy(name, f"project/{name}")

    assert call(["policy", "backtest", "project", "--candidate", "lower"]) == 0
    assert "2 would be met otherwise" in capsys.readouterr().out


def test_the_journal_stays_as_it_was(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = contents(home / "desk.db")

    assert backtest("open") == 0

    assert contents(home / "desk.db") == before
