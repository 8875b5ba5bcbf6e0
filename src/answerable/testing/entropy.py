"""Chance that comes out the same every time."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


def fixed_entropy(seed: int | str = 0) -> Callable[[int], bytes]:
    """A source of bytes like `os.urandom`, whose bytes follow from the seed and the order of the calls.

    For tests only: whoever knows the seed knows every key and id that is made from it.
    """
    drawn = 0

    def entropy(size: int) -> bytes:
        nonlocal drawn
        drawn += 1
        return hashlib.shake_256(f"answerable/testing\x1f{seed}\x1f{drawn}".encode()).digest(size)

    return entropy
