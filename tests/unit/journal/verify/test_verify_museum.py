"""Every exhibit of the museum is found, and found for what it is."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from tests.unit.journal.verify.verify_museum import MUSEUM

from answerable.journal.verify import KINDS, verify_database

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize("name", MUSEUM)
def test_a_bad_journal_is_found_for_what_it_is(name: str, tmp_path: Path) -> None:
    """One defect gives the findings that name it, and no others that would lead astray."""
    bad = MUSEUM[name]()
    head = None
    if bad.head is not None:
        head = tmp_path / "head.json"
        head.write_text(json.dumps(bad.head))

    report = verify_database(bad.journal.write(tmp_path / "j.db"), head=head)

    assert bad.expect == {finding.kind for finding in report.findings}, report.to_text()
    assert bad.expect <= KINDS.keys()
    assert not report.is_ok
    assert report.could_not_read is None
    assert report.completeness == "not shown" or bad.expect <= {"payload_altered", "payload_missing"}
