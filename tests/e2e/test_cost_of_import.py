"""What it costs to import the package and to ask the command for help, and what neither pulls in.

CPU time and not wall time is measured, of whole processes, beside a bare Python in turns; the least of
several counts, since a busy machine can only add.
"""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest

CPU_S_MAX = 0.3
"""Over bare Python."""
TURNS = 5
SOURCE = Path(__file__).parents[2] / "src"
HELP = "import sys; sys.argv = ['answerable', '--help']; from answerable.cli.main import main; main()"
VERSION = "import sys; sys.argv = ['answerable', '--version']; from answerable.cli.main import main; main()"


def cpu_s(code: str) -> float:
    """User and system time of one Python that runs this code."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": str(SOURCE)},
        stdout=subprocess.DEVNULL,
        check=True,
        timeout=60,
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


@pytest.mark.parametrize(
    ("what", "code"),
    [
        ("import answerable", "import answerable"),
        ("answerable --help", HELP),
        ("answerable --version", VERSION),
    ],
)
def test_starting_is_cheap(what: str, code: str, capsys: pytest.CaptureFixture[str]) -> None:
    """At most 0.3 s of CPU time over bare Python."""
    cpu_s(code)  # once unmeasured, so that the bytecode is there
    measured = [(cpu_s("pass"), cpu_s(code)) for _ in range(TURNS)]
    bare, ours = (min(times) for times in zip(*measured, strict=True))
    with capsys.disabled():
        print(f"\n{what}: {ours - bare:.3f} s of CPU over bare Python ({bare:.3f} s)")

    assert ours - bare <= CPU_S_MAX


def imported(code: str) -> set[str]:
    """The top-level modules that a Python holds after this code."""
    told = subprocess.run(
        [
            sys.executable,
            "-c",
            f"{code}\nimport sys\nprint(*sorted({{name.partition('.')[0] for name in sys.modules}}))",
        ],
        env={**os.environ, "PYTHONPATH": str(SOURCE)},
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    return set(told.stdout.split())


def test_the_core_imports_no_provider() -> None:
    """Providers and their prices are an extra: neither the package nor the composition root touches them."""
    found = imported("import answerable, answerable.project")

    assert found.isdisjoint(
        {"openai", "anthropic", "google", "pydantic_ai", "genai_prices", "httpx", "boto3"}
    )


def test_every_public_name_loads_without_a_provider() -> None:
    """What `answerable` offers is loaded on first use, all of it from the core."""
    found = imported("import answerable\nfor name in answerable.__all__: getattr(answerable, name)")

    assert found.isdisjoint({"openai", "pydantic_ai", "genai_prices", "typer", "rich"})


def test_importing_the_package_alone_imports_nothing_heavy() -> None:
    """`import answerable` by itself is a list of names."""
    found = imported("import answerable")

    assert found.isdisjoint({"pydantic", "cedarpy", "cryptography", "typer", "rich", "sqlite3", "asyncio"})
