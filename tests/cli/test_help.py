"""Help: quick, and the same as the reference page says. `ANSWERABLE_UPDATE=1` rewrites the page."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from answerable.cli.main import call

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "reference" / "cli.md"
HEADING = "## The verbs\n"
VERBS = (
    "demo",
    "init",
    "run",
    "runs",
    "show",
    "watch",
    "approve",
    "deny",
    "halt",
    "resume",
    "worker",
    "workers",
    "serve",
    "replay",
    "report",
    "key new",
    "doctor",
    "backup",
    "migrate",
    "audit head",
    "audit verify",
    "blast-radius",
    "policy check",
    "policy schema",
    "policy prove",
    "policy diff",
    "policy backtest",
    "retention apply",
)
CPU_S = 0.3
MEASURE = "import time; from answerable.cli.main import call; call(['--help']); print(time.process_time())"


def help_of(verb: str, capsys: pytest.CaptureFixture[str]) -> str:
    assert call([*verb.split(), "--help"]) == 0
    return "\n".join(line.rstrip() for line in capsys.readouterr().out.strip().splitlines())


def test_the_reference_page_shows_the_help_of_every_verb(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.delenv("ANSWERABLE_DATABASE_URL", raising=False)
    blocks = [
        f"### {verb or 'answerable'}\n\n```text\n{help_of(verb, capsys)}\n```\n" for verb in ("", *VERBS)
    ]
    head, _, shown = PAGE.read_text("utf-8").partition(HEADING)
    expected = "\n" + "\n".join(blocks)
    if os.environ.get("ANSWERABLE_UPDATE") == "1":
        PAGE.write_text(f"{head}{HEADING}{expected}", "utf-8")
        return
    assert shown == expected, "run this test once with ANSWERABLE_UPDATE=1, and read the difference"


def test_no_verb_is_missing_from_the_list(capsys: pytest.CaptureFixture[str]) -> None:
    assert call(["--help"]) == 0
    listed = re.findall(r"^  ([a-z-]+)  ", capsys.readouterr().out.partition("Commands:")[2], re.MULTILINE)
    assert set(listed) == {verb.split()[0] for verb in VERBS}


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_speaks_json(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert "--json" in help_of(verb, capsys)


def last_line_of(code: str) -> str:
    """The last line that a fresh Python prints."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    done = subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True, env=environment
    )
    return done.stdout.splitlines()[-1]


def cpu_of(code: str) -> float:
    """The least CPU time of three runs, with warm bytecode."""
    taken: list[float] = []
    for _ in range(3):
        taken.append(float(last_line_of(code)))
    return min(taken)


def test_help_costs_little_over_bare_python() -> None:
    bare = cpu_of("import time; print(time.process_time())")
    assert cpu_of(MEASURE) - bare <= CPU_S


def test_importing_the_package_costs_little() -> None:
    bare = cpu_of("import time; print(time.process_time())")
    assert cpu_of("import time; import answerable; print(time.process_time())") - bare <= CPU_S


def test_help_loads_nothing_heavy() -> None:
    code = "import sys; from answerable.cli.main import call; call(['--help']); print(*sys.modules)"
    loaded = set(last_line_of(code).split())
    assert not loaded & {"pydantic", "rich", "cedarpy", "asyncio", "answerable.engine", "answerable.project"}
