"""Make `demo.svg` from what the commands really print. Run it by hand: `python docs/assets/make_demo_svg.py`.

The commands run in a new folder, on a terminal of their own, and what they print is drawn as it is, except that the
name of that folder is written as `~`. Nothing in the picture is loaded from anywhere.
"""

from __future__ import annotations

import os
import pty
import re
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
    """What a command prints on a terminal."""
    words = command.split()
    start = "from answerable.cli.main import main; main()"
    read: list[bytes] = []

    def keep(descriptor: int) -> bytes:
        read.append(os.read(descriptor, 65536))
        return b""

    os.environ |= {"PYTHONPATH": str(SOURCE), "COLUMNS": str(WIDTH), "LINES": "60", "TERM": "xterm-256color"}
    pid = os.fork()
    if pid == 0:
        os.chdir(folder)
        code = pty.spawn([sys.executable, "-c", start, *words[1:]], keep)
        text = b"".join(read).decode().replace("\r\n", "\n")
        (folder / "printed").write_text(text, "utf-8")
        os._exit(os.waitstatus_to_exitcode(code))
    _, status = os.waitpid(pid, 0)
    if status:
        raise SystemExit(f"`{command}` failed")
    return (folder / "printed").read_text("utf-8")


def main() -> None:
    """Run the commands and write the picture."""
    console = Console(record=True, width=WIDTH, file=Path(os.devnull).open("w", encoding="utf-8"), force_terminal=True)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name).resolve()
        for command, until in COMMANDS:
            text = printed(command, folder).partition(until)[0]
            text = re.sub(r"^.*\x1b\[2K", "", text, flags=re.MULTILINE)  # a progress bar that was wiped
            text = re.sub(r"\x1b\[\?25[lh]|\x1b\[1A", "", text).replace(str(folder), "~")
            console.print(Text("$ ", "green") + Text(command, "bold"))
            console.print(Text.from_ansi(text.rstrip() + "\n"))
    svg = console.export_svg(title="answerable")
    svg = re.sub(r"\s*@font-face \{.*?\}", "", svg, flags=re.DOTALL)
    (HERE / "demo.svg").write_text(svg, "utf-8")


if __name__ == "__main__":
    main()
