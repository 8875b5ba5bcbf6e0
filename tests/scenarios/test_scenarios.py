"""Every scenario file plays as it is written. `UPDATE_SCENARIOS=1` writes down anew what they play like."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from tests.scenarios.scenario import Stage, read, write

FILES = sorted(Path(__file__).parent.glob("*.txt"))


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
async def test_scenario(file: Path, tmp_path: Path) -> None:
    """What the journal says is what the file says; a change is understood before it is written down."""
    blocks, stage = read(file.read_text()), Stage(tmp_path)
    for block in blocks:
        if not block.command[0].startswith("#"):
            block.expected = await stage.do(block.command)
    played = write(blocks)
    if os.environ.get("UPDATE_SCENARIOS"):
        file.write_text(played)

    assert played == file.read_text()
