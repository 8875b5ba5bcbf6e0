"""What is used wrongly exits 2, what cannot run exits 3, and neither shows a traceback."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from answerable.cli.main import call

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(autouse=True)
def alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty folder, and nothing in the environment."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("ANSWERABLE_DATABASE_URL", raising=False)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))


@pytest.mark.parametrize(
    "line",
    [
        "nonsense",
        "run --nonsense",
        "run --concurrency zero",
        "run --concurrency 0",
        "run --durability sometimes",
        "show",
        "approve",
        "approve RUN --as dana",
        "halt",
        "halt --all",
        "halt --reason x",
        "halt --all --agent a --reason x",
        "resume",
        "resume run_x --all",
        "key",
        "key new",
        "audit",
        "audit verify --key ??? --db sqlite:///x.db",
        "",
    ],
)
def test_what_is_used_wrongly_exits_2(line: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert call(line.split()) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert "error: " in said.err or "Usage: " in said.err
    assert "Traceback" not in said.err


@pytest.mark.parametrize(
    "line",
    [
        "runs",
        "runs --db sqlite:///missing.db",
        "runs --db postgres://x",
        "runs --db missing.db",
        "show run_x --db sqlite:///missing.db",
        "doctor --db sqlite:///missing.db",
        "backup to.db --db sqlite:///missing.db",
        "run nowhere",
        "run",
        "policy check nowhere",
        "resume --all --db sqlite:///missing.db",
        "approve run_x",
        "audit verify --db sqlite:///missing.db",
        "audit head --db sqlite:///missing.db",
        "halt --all --reason x --db sqlite:///missing.db",
        "key new Not/A/Name",
    ],
)
def test_what_cannot_run_exits_3_and_says_what_to_do(
    line: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call(line.split()) == 3
    said = capsys.readouterr()
    assert "Traceback" not in said.err
    if "audit verify" not in line:  # its report is data
        assert said.err.splitlines()[-2].startswith("error: ")
        assert said.err.splitlines()[-1].startswith("hint: ")
    assert not (tmp_path / "missing.db").exists(), "looking must not create a journal"


def test_a_foreign_database_is_refused_and_left_alone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    import sqlite3

    with sqlite3.connect(tmp_path / "other.db") as other:
        other.execute("CREATE TABLE mine (x)")
    other.close()
    before = (tmp_path / "other.db").read_bytes()
    assert call(["runs", "--db", "sqlite:///other.db"]) == 3
    assert "something else" in capsys.readouterr().err
    assert (tmp_path / "other.db").read_bytes() == before


def test_a_mistake_of_ours_is_said_without_a_traceback_unless_asked_for(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(*_: object) -> str:
        raise ZeroDivisionError("oh")

    monkeypatch.setattr("answerable.cli.runs.journal_url", broken)
    assert call(["runs"]) == 3
    assert "Traceback" not in capsys.readouterr().err
    monkeypatch.setenv("ANSWERABLE_DEBUG", "1")
    assert call(["runs"]) == 3
    assert "ZeroDivisionError: oh" in capsys.readouterr().err


def test_keys_are_private_and_never_overwritten(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert call(["key", "new", "dana", "--role", "finance", "--json"]) == 0
    made = json.loads(capsys.readouterr().out)
    path = tmp_path / "config" / "answerable" / "keys" / "dana.key"
    assert made["key"] == str(path)
    assert path.stat().st_mode & 0o777 == 0o600
    before = path.read_bytes()
    assert call(["key", "new", "dana"]) == 3
    assert path.read_bytes() == before
    assert json.loads(before)["private_key"] not in capsys.readouterr().err


def test_the_snippet_of_a_key_is_what_a_project_reads(capsys: pytest.CaptureFixture[str]) -> None:
    import tomllib

    assert call(["key", "new", "dana", "--role", "finance", "--role", "privacy"]) == 0
    (approver,) = tomllib.loads(capsys.readouterr().out)["approvers"]
    assert approver["roles"] == ["finance", "privacy"]
    assert approver["public_key"].startswith("ed25519:")
