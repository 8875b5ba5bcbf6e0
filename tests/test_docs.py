"""The documentation is a test: what it shows is run here, and what it must name is looked for.

On a page, in order: a block under `<!-- file: PATH -->` is written to that file, `<!-- append: PATH -->` adds to
one; each part of a `diff` block under `<!-- patch: PATH -->` is changed there; a `python` block is executed, sharing its names with the other blocks of the page; in a `console` block each
line after `$ ` is given to a shell, and the lines below it must come in its output, in that order (`...` stands
for anything). Other blocks are only read. Each page gets a folder and a home of its own.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import textwrap
import types
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import answerable

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = sorted(
    [*ROOT.glob("*.md"), *DOCS.rglob("*.md"), *ROOT.glob("spec/*.md"), *ROOT.glob("examples/*/*.md")]
)
RUN = [ROOT / "README.md", *sorted(DOCS.glob("guide/*.md")), *sorted(DOCS.glob("concepts/*.md"))]
BLOCK = re.compile(
    r"(?:^<!-- (?P<what>file|append|patch): (?P<path>\S+) -->\n)?^```(?P<lang>\w*)\n(?P<text>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)
SHIM = """#!/bin/sh
PYTHONPATH={source} exec {python} -m answerable "$@"
"""
TERMS = """run step attempt tool effect principal policy rule decision gate permit approval budget claim outcome
    journal entry event head fold replay recover fork waiting halted escalation compensation stream inbox payload
    subject release autonomy fact total packet intent approver worker lease dispatcher reconciler drain due door intake tick"""
PHRASES = (
    "tool call",
    "effect class",
    "write mode",
    "idempotency key",
    "effect key",
    "business key",
    "escalation packet",
    "shadow mode",
    "driven run",
    "attached run",
    "done check",
    "outcome cost",
    "in doubt",
    "back-pressure",
)


@dataclass(slots=True)
class Shell:
    """A shell that remembers where it is and what it exported."""

    home: Path
    cwd: Path
    env: dict[str, str] = field(default_factory=dict[str, str])

    def __post_init__(self) -> None:
        folder = self.home / "bin"
        folder.mkdir()
        shim = folder / "answerable"
        shim.write_text(SHIM.format(source=ROOT / "src", python=sys.executable))
        shim.chmod(0o755)
        self.env = {
            "PATH": f"{folder}:{os.path.dirname(sys.executable)}:/usr/local/bin:/usr/bin:/bin",
            "HOME": str(self.home),
            "USER": "dana",
            "LOGNAME": "dana",
            "LC_ALL": "C.UTF-8",
            "PYTHONPATH": str(ROOT / "src"),
        }

    def run(self, command: str) -> tuple[int, str]:
        """Run one command line; where it went and what it exported stays."""
        state = self.home / "state"
        after = f'rc=$?; pwd > "{state}"; env -0 > "{state}.env"; exit $rc'
        done = subprocess.run(
            ["bash", "-c", f"set -a\n{command}\n{after}"],
            cwd=self.cwd,
            env=self.env,
            text=True,
            timeout=90,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
        )
        if state.exists():
            self.cwd = Path(state.read_text().strip())
            pairs = (line.partition("=") for line in Path(f"{state}.env").read_text().split("\0") if line)
            self.env = {
                name: value for name, _, value in pairs if name not in ("_", "SHLVL", "PWD", "OLDPWD")
            }
        return done.returncode, done.stdout


def commands(text: str) -> Iterator[tuple[str, list[str]]]:
    """The commands of a console block, each with the output that is shown."""
    command, shown, is_open = "", list[str](), False
    for line in text.splitlines():
        if line.startswith("$ ") or is_open:
            if not is_open:
                if command:
                    yield command, shown
                command, shown = "", []
            command += line.removeprefix("$ ") + "\n"
            is_open = line.endswith("\\")
        elif line.strip():
            shown.append(line)
    if command:
        yield command, shown


def is_in_order(shown: list[str], output: str) -> str:
    """The first line shown that does not come in the output after the ones before it; empty if all do."""
    lines = [" ".join(line.split()) for line in output.splitlines()]
    at = 0
    for line in shown:
        wanted = " ".join(line.split())
        if wanted == "...":
            continue
        pattern = re.compile(".*".join(re.escape(part) for part in re.split(r" ?\.\.\. ?", wanted)))
        found = next((index for index in range(at, len(lines)) if pattern.fullmatch(lines[index])), None)
        if found is None:
            return line
        at = found + 1
    return ""


@pytest.mark.parametrize("page", RUN, ids=lambda page: str(page.relative_to(ROOT)))
@pytest.mark.slow
def test_what_a_page_shows_works(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Files are written, Python is executed and commands are run as a reader would, from the top down."""
    home = tmp_path / "home"
    work = tmp_path / "work"
    home.mkdir()
    work.mkdir()
    shell = Shell(home, work)
    module = types.ModuleType(f"docs_{page.stem.replace('-', '_')}")
    monkeypatch.setitem(sys.modules, module.__name__, module)
    for name in ("ANSWERABLE_DATABASE_URL", "ANSWERABLE_REQUESTED_BY"):
        monkeypatch.delenv(name, raising=False)
    source = page.read_text("utf-8")
    for found in BLOCK.finditer(source):
        line = source.count("\n", 0, found.start("text"))
        where = f"{page.relative_to(ROOT)}:{line}"
        text = found["text"]
        if found["what"] == "patch":
            patch(shell.cwd / found["path"], text, where)
        elif found["what"]:
            target = shell.cwd / found["path"]
            target.parent.mkdir(parents=True, exist_ok=True)
            before = target.read_text("utf-8") if found["what"] == "append" else ""
            target.write_text(before + text, "utf-8")
        elif found["lang"] == "python":
            monkeypatch.chdir(shell.cwd)
            exec(compile("\n" * line + text, str(page), "exec"), module.__dict__)
        elif found["lang"] == "console":
            for command, shown in commands(text):
                code, output = shell.run(command)

                assert code == 0, f"{where}: `{command.strip()}` exited {code}:\n{output}"
                assert not (missing := is_in_order(shown, output)), f"{where}: no `{missing}` in:\n{output}"


def patch(target: Path, text: str, where: str) -> None:
    """Change a file as a diff says: parts are divided by empty lines, and each must be there exactly once."""
    content = target.read_text("utf-8")
    for part in text.strip("\n").split("\n\n"):
        lines = part.splitlines()
        before = "\n".join(line[1:] for line in lines if not line.startswith("+"))
        after = "\n".join(line[1:] for line in lines if not line.startswith("-"))

        assert content.count(before) == 1, f"{where}: `{before}` is not in {target.name} once"
        content = content.replace(before, after)
    target.write_text(content, "utf-8")


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    text = re.sub(r"^```.*?^```$", "", page.read_text("utf-8"), flags=re.MULTILINE | re.DOTALL)
    titles = re.findall(r"^#{1,6} (.+)$", text, flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).strip().replace(" ", "-") for title in titles}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    """Every link inside the repository has a file at its end, and a heading where it names one."""
    text = re.sub(r"^```.*?^```$", "", page.read_text("utf-8"), flags=re.MULTILINE | re.DOTALL)
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if re.match(r"[a-z]+:", target):
            continue
        name, _, anchor = target.partition("#")
        path = (page.parent / name).resolve() if name else page

        assert path.exists(), f"{page.name}: `{target}` leads nowhere"
        if anchor and path.suffix == ".md":
            assert anchor in anchors(path), f"{page.name}: `{target}` has no such heading"


def test_every_public_name_is_documented() -> None:
    """Each name that `import answerable` offers has a heading in the reference."""
    headings = re.findall(r"^### `(\w+)`", (DOCS / "reference" / "api.md").read_text("utf-8"), re.MULTILINE)

    assert sorted(answerable.__all__) == sorted(headings)


def test_the_glossary_has_every_term() -> None:
    """One word per idea, and each of them is explained in one place."""
    rows = re.findall(r"^\| (\*\*.+?) \|", (DOCS / "glossary.md").read_text("utf-8"), re.MULTILINE)
    known = {term for row in rows for term in re.findall(r"\*\*(.+?)\*\*", row)}

    assert not {*TERMS.split(), *PHRASES} - known


def verbs() -> Iterator[str]:
    """Every verb of the command line, in full."""
    from answerable.cli.main import app

    for command in app.registered_commands:
        yield f"answerable {command.name}"
    for group in app.registered_groups:
        inner = group.typer_instance
        assert inner is not None
        for command in inner.registered_commands:
            yield f"answerable {group.name} {command.name}"


@pytest.mark.parametrize("verb", sorted(verbs()))
def test_every_verb_is_documented(verb: str) -> None:
    """Each verb is in the command-line reference, and at work on some page that is run here."""
    guides = "\n".join(page.read_text("utf-8") for page in RUN)
    pages = "\n".join(page.read_text("utf-8") for page in DOCS.glob("reference/*.md"))

    assert re.search(rf"^\$ (?:.*[|&;(] ?)?{verb}\b", guides, re.MULTILINE), f"no guide runs `{verb}`"
    assert verb in pages, f"docs/reference does not name `{verb}`"


def test_every_setting_of_a_project_is_documented() -> None:
    """Each table and key of `answerable.toml` is in the reference."""
    from answerable import settings

    page = (DOCS / "reference" / "project.md").read_text("utf-8")
    keys = {
        name
        for table in vars(settings).values()
        if isinstance(table, type) and table.__name__.endswith("Table")
        for name in table.model_fields
    }

    assert not {key for key in keys if f"`{key}`" not in page}


def test_every_error_is_documented() -> None:
    """The tree of errors in the reference is the one of the code."""
    from answerable import errors

    tree = (errors.__doc__ or "").partition("\n\n")[2].partition("\n\n")[0]

    assert textwrap.dedent(tree) in (DOCS / "reference" / "errors.md").read_text("utf-8")


def test_every_reason_is_in_the_specification() -> None:
    """The closed list of codes is the same in `spec/outcomes.md` and in the code."""
    from answerable.kernel.decision import ReasonCode

    page = (ROOT / "spec" / "outcomes.md").read_text("utf-8")

    assert not {code for code in ReasonCode if f"`{code}`" not in page}


@pytest.mark.parametrize(
    "page", [DOCS / "proof.md", DOCS / "threat-model.md", DOCS / "capabilities.md"], ids=str
)
def test_tests_that_are_named_exist(page: Path) -> None:
    """A page that points to a test as its proof points to one that is there."""
    for path, name in re.findall(r"`(tests/[\w/]+\.py)(?:::(\w+))?`", page.read_text("utf-8")):
        assert (ROOT / path).exists(), f"{page.name}: no `{path}`"
        if name:
            assert f"def {name}(" in (ROOT / path).read_text("utf-8"), f"{page.name}: no `{name}` in `{path}`"


def test_capabilities_say_one_of_three_things() -> None:
    """Each line of the table of capabilities has one of the three states and nothing else."""
    page = (DOCS / "capabilities.md").read_text("utf-8")
    lines = re.findall(r"^\| ([A-K P]\d) \|.*\| ([^|]+) \|$", page, re.MULTILINE)
    states = (
        "ran against the real system",
        "ran against a contract-checked stand-in",
        "not run",
        "not run: not built yet",
    )

    assert len({row for row, _ in lines}) == 64
    assert not [line for line in lines if line[1].strip() not in states]
