"""The committed vectors are what the builder makes, and the reader agrees with every one of them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, cast

import pytest
from tests.unit.journal.verify.make_vectors import VECTORS, vector_files
from tests.unit.journal.verify.verify_builder import encoded, write_database
from tests.unit.journal.verify.verify_stories import GOOD

from answerable.journal.verify import KINDS, verify_database
from answerable.journal.verify.canonical import encode

if TYPE_CHECKING:
    from pathlib import Path

FILES = sorted((VECTORS / "journal").glob("*.json"))


def loaded(value: Any) -> Any:
    """A stored value from its JSON form; bodies become TEXT, and what is named a blob a BLOB."""
    if not isinstance(value, dict):
        return value
    form = cast("dict[str, str]", value)
    return memoryview(bytes.fromhex(form["blob"])) if "blob" in form else bytes.fromhex(form["text"])


def test_the_committed_vectors_are_the_generated_ones() -> None:
    """`python -m tests.unit.journal.verify.make_vectors` writes them anew."""
    committed = {str(path.relative_to(VECTORS)): path.read_text() for path in FILES}
    committed["effects.json"] = (VECTORS / "effects.json").read_text()

    assert vector_files() == committed


def test_there_are_enough_of_them() -> None:
    """At least six good journals, twenty bad ones, and each story is told."""
    good = [path for path in FILES if path.name.startswith("good_")]

    assert len(good) == len(GOOD) >= 6
    assert len(FILES) - len(good) >= 20


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_the_reader_agrees_with_a_vector(path: Path, tmp_path: Path) -> None:
    """Loaded from its file alone, a vector gives exactly the findings that it names."""
    vector = json.loads(path.read_text())
    rows = [{name: loaded(value) for name, value in row.items()} for row in vector["rows"]]
    payloads = [
        row | {"body": None if row["body"] is None else row["body"].encode()} for row in vector["payloads"]
    ]
    keys = ((row["ref"], row["key"]) for row in vector["subjects"])
    subjects = [{"ref": ref, "key": bytes.fromhex(key) if key else None, "label": None} for ref, key in keys]
    database = tmp_path / "j.db"
    write_database(database, rows, vector["head_rows"], payloads, subjects)
    head = tmp_path / "head.json"
    if "head" in vector:
        head.write_text(json.dumps(vector["head"]))

    report = verify_database(database, head=head if "head" in vector else None)

    assert vector["findings"] == sorted({finding.kind for finding in report.findings})


def test_effect_vectors_hold_their_own_canonical_form() -> None:
    """The canonical arguments of the vectors are what this reader's own encoder makes of them, too."""
    vectors = json.loads((VECTORS / "effects.json").read_text())

    for effect in vectors["effects"]:
        assert encode(effect["arguments"]) == encoded(effect["arguments"]) == effect["canonical"].encode()


def test_every_kind_is_explained_and_the_readme_lists_it() -> None:
    """A kind of finding is part of the contract: it has words, and a line in the vectors' own page."""
    readme = (VECTORS / "README.md").read_text()

    for kind, words in KINDS.items():
        assert f"| `{kind}` | {words} |" in readme, kind
