"""Tests of the code itself: what is easily forgotten, and hard to see in a review."""

from __future__ import annotations

import ast
import json
import re
import subprocess
from functools import cache
from pathlib import Path

import pytest

import answerable

ROOT = Path(__file__).parents[1]
LINES_MAX = 600
OURS = ("src", "tests", "bench", "examples", "docs", "spec", ".ci")
TEXT = {".py", ".md", ".toml", ".cedar", ".sql", ".json", ".jsonl", ".lock", ".svg", ".txt", ""}


@cache
def files() -> tuple[Path, ...]:
    """Every text file of the project that is in the repository, or would be."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    if listed.returncode:  # no repository, as in a source distribution
        found = [path for folder in OURS for path in (ROOT / folder).rglob("*")] + list(ROOT.glob("*"))
    else:
        found = [ROOT / name for name in listed.stdout.splitlines()]
    return tuple(sorted(path for path in found if path.is_file() and path.suffix in TEXT))


def of(*suffixes: str) -> list[Path]:
    """Those files with one of these endings."""
    return [path for path in files() if path.suffix in suffixes]


def name(path: Path) -> str:
    """A path as it is shown."""
    return str(path.relative_to(ROOT))


def found(pattern: str, paths: list[Path], flags: int = 0) -> list[str]:
    """Where a pattern occurs, as `file:line: text`."""
    compiled = re.compile(pattern, flags)
    return [
        f"{name(path)}:{number}: {line.strip()[:100]}"
        for path in paths
        for number, line in enumerate(path.read_text("utf-8").splitlines(), 1)
        if compiled.search(line)
    ]


def others(*excepted: str) -> list[Path]:
    """Every file but these, this one, and long lists of data."""
    out = {"tests/test_tidy.py", *excepted}
    return [p for p in files() if name(p) not in out and p.suffix != ".lock" and "vectors" not in p.parts]


@pytest.mark.parametrize("path", of(".py"), ids=name)
def test_a_file_can_be_read_in_one_sitting(path: Path) -> None:
    """Past this length a second idea has moved in."""
    lines = path.read_text("utf-8").count("\n")

    assert lines <= LINES_MAX


@pytest.mark.parametrize("path", of(".py"), ids=name)
def test_a_module_says_what_it_is_for(path: Path) -> None:
    """Every module begins with a docstring."""
    assert ast.get_docstring(ast.parse(path.read_text("utf-8")))


def test_no_module_is_called_after_nothing() -> None:
    """A room is named for what is in it."""
    empty = {"utils", "util", "helpers", "helper", "manager", "managers", "misc"}

    assert not [name(path) for path in of(".py") if empty & {path.stem, path.parent.name}]


def test_nothing_is_left_to_do_in_a_comment() -> None:
    """What is not done is in `docs/capabilities.md`, or is not a promise."""
    assert not found("|".join(("TO" + "DO", "FIX" + "ME", "XX" + "X")) + r"\b", others())


def test_no_file_speaks_of_an_issue_by_its_number() -> None:
    """A reader of the file does not have the tracker."""
    pages = [path for path in others() if path.suffix != ".svg"]  # there it is a colour

    assert not found(r"(?<![\w&/\"'(#])#\d+\b|\bissues? \d+", pages, re.IGNORECASE)


def test_no_file_speaks_of_one_machine() -> None:
    """Paths of whoever wrote it mean nothing to whoever reads it."""
    product = [path for path in others() if "tests" not in path.parts[len(ROOT.parts) :]]

    assert not found(r"(?<![\w.~/*])/(work|tmp|root|home)/\w", product)
    assert not found(r"(?<![\w.~/*])/work/(main|shared)", others())


def test_no_file_names_a_package_index() -> None:
    """Packages come from wherever the reader's tools are set up to look."""
    hosts = (
        r"pypi\.org|pythonhosted\.org|npmjs\.|registry\.yarnpkg|proxy\.golang|crates\.io|index-url|find-links"
    )

    assert not found(
        hosts,
        others("Makefile"),
    )
    assert not found(r"https?://", [*of(".lock"), ROOT / "Makefile"])


@pytest.mark.parametrize("path", of(".lock"), ids=name)
def test_the_lock_file_has_hashes_and_no_address(path: Path) -> None:
    """Each requirement is pinned and has at least one hash; no line names an index."""
    text = path.read_text("utf-8").replace("\\\n", " ")
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith("#")]

    assert len(lines) > 10
    for line in lines:
        assert re.match(r"[A-Za-z0-9._-]+(\[[\w,-]+\])?==\S+ ", line), line
        assert re.search(r"--hash=sha256:[0-9a-f]{64}", line), line
        assert not re.search(r"://|^-|--(?!hash)", line), line


def test_rows_of_the_mission_are_named_in_one_place() -> None:
    """`docs/capabilities.md` is the only page with row ids: elsewhere a name says more."""
    rows = r"(?<![\w.\-+'\"/#=])(?:P[1-4]|A[1-5]|B[1-6]|C[1-5]|D[1-5]|E[1-3]|F[1-6]|G[1-5]|H[1-8]|I[1-3]|J[1-5]|K[1-9])(?![\w.\-+'\"/=])"
    product = [
        path for path in others("docs/capabilities.md") if "tests" not in path.parts
    ]  # they name probes

    assert not found(rows, [path for path in product if path.suffix in (".md", ".py", ".toml", ".cedar")])


def test_public_lists_are_sorted() -> None:
    """A name is found where the alphabet says: constants, then classes, then functions."""
    assert answerable.__all__ == sorted(answerable.__all__)
    for path in of(".py"):
        for node in ast.parse(path.read_text("utf-8")).body:
            if isinstance(node, ast.Assign) and [t.id for t in node.targets if isinstance(t, ast.Name)] == [
                "__all__"
            ]:
                names = ast.literal_eval(node.value)

                assert names == sorted(names, key=lambda n: (not n.isupper(), n[0].islower(), n)), name(path)


def test_every_public_name_is_there() -> None:
    """The lazy list and what it points to do not drift apart."""
    for public in answerable.__all__:
        assert getattr(answerable, public) is not None
    with pytest.raises(AttributeError):
        _ = answerable.nothing_of_the_kind  # pyright: ignore[reportAttributeAccessIssue]


def test_the_specification_has_its_vectors() -> None:
    """What others verify against is there, good and bad, and each of them is JSON."""
    folder = ROOT / "spec" / "vectors"
    for page in ("journal", "effects", "outcomes", "policy", "packet"):
        assert (ROOT / "spec" / f"{page}.md").is_file()
    assert json.loads((folder / "effects.json").read_text("utf-8"))
    good, bad = list(folder.glob("journal/good_*.json")), list(folder.glob("journal/bad_*.json"))

    assert len(good) >= 10
    assert len(bad) >= 50
    for path in (*good, *bad):
        assert json.loads(path.read_text("utf-8"))


def test_the_changelog_has_this_version() -> None:
    """What a user gets is written down for users."""
    text = (ROOT / "CHANGELOG.md").read_text("utf-8")

    assert text.startswith("# Changelog\n")
    assert f"\n## {answerable.__version__}" in text
    assert f'version = "{answerable.__version__}"' in (ROOT / "pyproject.toml").read_text("utf-8")


def test_decisions_are_listed_and_whole() -> None:
    """Each decision says why, what, what follows, and what would change our mind."""
    folder = ROOT / "docs" / "decisions"
    index = (folder / "README.md").read_text("utf-8")
    pages = sorted(folder.glob("[0-9]*.md"))

    assert [page.name[:4] for page in pages] == [f"{number:04}" for number in range(1, len(pages) + 1)]
    for page in pages:
        text = page.read_text("utf-8")
        headings = re.findall(r"^## (.+)$", text, re.MULTILINE)

        assert headings == ["Context", "Decision", "Consequences", "What would change our mind"], page.name
        assert page.name in index, page.name


def test_figures_are_never_claimed_without_a_place() -> None:
    """A marker for a figure says what belongs there."""
    assert not found(r"<!-- figures:\s*-->", of(".md"))
