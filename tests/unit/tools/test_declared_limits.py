"""How limits are declared: in words or as values, and refused where they could not be kept."""

from __future__ import annotations

import math
from typing import Any

import pytest

from answerable import Breaker, Rate, Tool, tool
from answerable.errors import ToolError


def look(name: str) -> str:
    """Look."""
    return name


def declared(**limits: Any) -> Tool:
    """A read with limits."""
    return tool(effect="read", **limits)(look)


@pytest.mark.parametrize(
    ("rate", "expected"),
    [
        ("10/s", Rate(calls=10)),
        ("600/m", Rate(calls=600, per_s=60)),
        (Rate(calls=5, burst=5, wait_s=0), Rate(calls=5, burst=5, wait_s=0)),
        (None, None),
    ],
)
def test_a_rate_is_said_in_words_or_as_a_value(rate: Any, expected: Rate | None) -> None:
    """Both are the same."""
    spec = declared(rate=rate).spec

    assert (spec.rate, spec.is_limited) == (expected, expected is not None)


def test_a_breaker_alone_is_a_limit() -> None:
    """And a tool that declares nothing has none."""
    assert declared(breaker=Breaker()).spec.is_limited
    assert not declared().spec.is_limited


@pytest.mark.parametrize(
    "limits",
    [
        {"rate": 10},
        {"rate": "often"},
        {"rate": "0/s"},
        {"rate": Rate(calls=0)},
        {"rate": Rate(calls=True)},
        {"rate": Rate(calls=2.5)},  # type: ignore[arg-type]
        {"rate": Rate(calls=1, per_s=0)},
        {"rate": Rate(calls=1, per_s=math.nan)},
        {"rate": Rate(calls=1, per_s=math.inf)},
        {"rate": Rate(calls=999_999, per_s=0.001)},
        {"rate": Rate(calls=1, burst=0)},
        {"rate": Rate(calls=1, burst=10**6)},
        {"rate": Rate(calls=1, wait_s=-1)},
        {"rate": Rate(calls=1, wait_s=math.inf)},
        {"breaker": True},
        {"breaker": Breaker(failures=0)},
        {"breaker": Breaker(failures="5")},  # type: ignore[arg-type]
        {"breaker": Breaker(within_s=0)},
        {"breaker": Breaker(pause_s=0)},
        {"breaker": Breaker(pause_s=math.nan)},
    ],
)
def test_what_could_not_be_kept_is_refused(limits: dict[str, Any]) -> None:
    """With the tool's name, and what to write instead."""
    with pytest.raises(ToolError, match="the tool `look` ") as refused:
        declared(**limits)

    assert refused.value.hint


def test_limits_are_no_part_of_a_release() -> None:
    """As with retries: one that is lowered in an incident leaves no open run waiting for its release."""
    assert declared(rate="10/s", breaker=Breaker()).spec.fingerprint() == declared().spec.fingerprint()
