"""Make `demo.svg` from what the commands really print. Run it by hand: `python docs/assets/make_demo_svg.py`.

The commands run in a new folder, and what they print is drawn as it is, except that the name of that folder is
written as `~`. Nothing in the picture is loaded from anywhere.
"""

from __future__ import annotations

import io
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

from rich.console import Console
from rich.text import Text

HERE = Path(__file__).parent
SOURCE = HERE.parents[1] / "src"
WIDTH = 112
COMMANDS = (
    ("answerable demo --dir demo", "Try next"),
    ("answerable show run_5wvyt --db sqlite:///demo/desk.db", "What happened"),
)
"""What is typed, and the line before which the picture of its output ends."""


def printed(command: str, folder: Path) -> str:
    """What a command prints, with its colours."""
    done = subprocess.run(  # noqa: S603 - the commands are those above
        [sys.executable, "-c", "from answerable.cli.main import main; main()", *command.split()[1:]],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(SOURCE), "FORCE_COLOR": "1", "TERM": "xterm-256color"},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return done.stdout


def main() -> None:
    """Run the commands and write the picture."""
    console = Console(record=True, width=WIDTH, file=io.StringIO(), force_terminal=True)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name).resolve()
        for command, until in COMMANDS:
            text = printed(command, folder).partition(until)[0]
            text = text.replace(str(folder), "~")
            console.print(Text("$ ", "green") + Text(command, "bold"))
            console.print(Text.from_ansi(text.rstrip() + "\n"))
    svg = console.export_svg(title="answerable")
    svg = re.sub(r"\s*@font-face \{.*?\}", "", svg, flags=re.DOTALL)
    (HERE / "demo.svg").write_text(svg, "utf-8")


if __name__ == "__main__":
    main()
