"""How a bundle is refused: what is wrong, and what to do about it."""

from __future__ import annotations

from difflib import get_close_matches
from typing import TYPE_CHECKING, NoReturn

from answerable.errors import PolicyError

if TYPE_CHECKING:
    from collections.abc import Collection


def refuse(message: str, hint: str) -> NoReturn:
    """Raise a `PolicyError`; the library's error behind it would only repeat it in other words."""
    raise PolicyError(message, hint=hint) from None


def did_you_mean(name: str, known: Collection[str]) -> str:
    """A hint: the nearest known name, or all of them."""
    near = get_close_matches(name, known, n=1, cutoff=0.6)
    if near:
        return f"did you mean `{near[0]}`?"
    listed = ", ".join(f"`{each}`" for each in sorted(known))
    return f"known here: {listed}" if listed else "there is none here"
