"""What a sound journal looks like to the reader."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from tests.unit.journal.verify.verify_stories import GOOD, told

from answerable.journal.verify import verify_database

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize("name", GOOD)
def test_a_good_journal_is_ok_but_not_shown_to_be_complete(name: str, tmp_path: Path) -> None:
    """Without a head the reader finds nothing wrong, and does not claim that nothing is missing."""
    journal = told(GOOD[name])

    report = verify_database(journal.write(tmp_path / "j.db"))

    assert report.findings == ()
    assert report.is_ok
    assert report.completeness == "not shown"
    assert len(journal.rows) == report.entries
    assert journal.journal == report.journal


@pytest.mark.parametrize("name", GOOD)
def test_a_head_shows_completeness(name: str, tmp_path: Path) -> None:
    """With a head that was kept elsewhere, and the trusted key, completeness is shown up to its time."""
    journal = told(GOOD[name])
    head = tmp_path / "head.json"
    head.write_text(json.dumps(journal.head()))

    report = verify_database(journal.write(tmp_path / "j.db"), head=head, key=journal.public_bytes)

    assert report.findings == ()
    assert report.completeness.startswith("shown up to 2026-01-01T00:00:")
    assert f"by head with digest {report.head_digest}" in report.completeness
