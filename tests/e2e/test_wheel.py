"""The wheel, as somebody installs it: the example is inside, and the five-minute path works without the source."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with what the wheel holds, and nothing else of ours."""
    folder = tmp_path_factory.mktemp("wheel")
    built = subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder / "dist")],
        cwd=ROOT,
        check=False,
        capture_output=True,
        text=True,
    )
    assert built.returncode == 0, built.stderr
    (wheel,) = (folder / "dist").glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        assert not [name for name in names if name.endswith((".db", ".pyc", ".key"))]
        archive.extractall(folder / "site")
    return folder / "site"


def answerable(installed: Path, cwd: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """The command, from the unpacked wheel."""
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(cwd),
        "PYTHONPATH": str(installed),
        "PYTHONSAFEPATH": "1",
    }
    return subprocess.run(
        [sys.executable, "-m", "answerable", *words],
        cwd=cwd,
        env=environment,
        check=False,
        capture_output=True,
        text=True,
    )


def test_the_demo_runs_from_the_wheel(installed: Path, tmp_path: Path) -> None:
    """With the example that the wheel brings, and no file of the checkout."""
    said = answerable(installed, tmp_path, "demo", "--dir", "demo", "--json")

    assert said.returncode == 0, said.stderr
    summary = json.loads(said.stdout)
    assert summary["runs"] >= 25
    assert summary["outcomes"]["failed"] == 0
    again = answerable(installed, tmp_path, "demo", "--dir", "demo", "--json")
    assert json.loads(again.stdout)["outcomes"] == summary["outcomes"]


def test_a_project_of_ones_own_from_the_wheel(installed: Path, tmp_path: Path) -> None:
    """`init`, three tickets of one's own, `run`, and the proof."""
    assert answerable(installed, tmp_path, "init", "desk").returncode == 0
    tickets = [
        {
            "id": "M-1",
            "customer_email": "ana@example.com",
            "order_id": "O-1001",
            "request": "refund",
            "text": "Broken.",
        },
        {
            "id": "M-2",
            "customer_email": "katrin@example.org",
            "order_id": "O-1005",
            "request": "order_status",
        },
        {
            "id": "M-3",
            "customer_email": "farid@example.com",
            "order_id": "O-1007",
            "request": "refund",
            "text": "Wrong.",
        },
    ]
    (tmp_path / "mine.jsonl").write_text("".join(json.dumps(ticket) + "\n" for ticket in tickets))

    said = answerable(installed, tmp_path, "run", "desk", "--input", "mine.jsonl", "--json")

    assert said.returncode == 0, said.stderr
    summary = json.loads(said.stdout)
    assert (summary["runs"], summary["approvals_waiting"]) == (3, 1)
    db = f"sqlite:///{tmp_path / 'desk' / 'desk.db'}"
    assert answerable(installed, tmp_path, "audit", "verify", "--db", db).returncode == 0
