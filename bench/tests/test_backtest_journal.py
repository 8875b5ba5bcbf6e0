"""The backtest's figures come from a journal that is decided again as recorded, and from both ways of asking."""

import asyncio
from pathlib import Path

import pytest

from bench.policy_backtest import candidates, main, measure, write


def test_a_journal_is_written_and_measured(tmp_path: Path) -> None:
    """All of it came out as recorded; each candidate flips something; no call is left out."""
    asyncio.run(write(tmp_path, 100))

    kept = asyncio.run(measure(tmp_path, 1))

    assert kept["reproduced"] == kept["decisions"] == sum(kept["tools"].values()) >= 100
    assert set(kept["cpu_us_a_decision"]) == set(candidates())
    assert set(kept["parts_us"]) > {"read, fold, build", "ask both about create_refund"}
    assert all(flips for flips in kept["flips"].values())


def test_more_than_the_shop_can_hold_is_refused() -> None:
    """An order has four digits."""
    with pytest.raises(SystemExit) as stopped:
        main(["--decisions", "1000000"])

    assert stopped.value.code == 2
