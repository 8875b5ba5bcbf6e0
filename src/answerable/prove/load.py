"""Reading invariants: forbids in the language of the rules, that the rules have to imply. They are never loaded as rules.

They are read by the reader of the rules and pass all its checks: names, types, and that each can apply at all; one that
nothing can meet would hold of any policy.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from answerable.errors import PolicyError

if TYPE_CHECKING:
    from pathlib import Path

    from answerable.gates.policy import Bundle, Rule

FOLDER = "invariants"
"""Beside the rules, and below them: rules are read from the folder itself only."""


def read_invariants(policy: Path) -> dict[str, str]:
    """The invariants beside the rules in a policy folder, file name → text. Empty where there are none."""
    return read_folder(policy / FOLDER)


def read_folder(folder: Path) -> dict[str, str]:
    """The invariants in a folder of their own, file name → text. Empty where there are none."""
    return {f"{folder.name}/{path.name}": path.read_text("utf-8") for path in sorted(folder.glob("*.cedar"))}


def invariants_of(loaded: Bundle, bundle: Bundle) -> tuple[Rule, ...]:
    """The invariants in a bundle that was loaded of them, for proving them of another.

    Raises `PolicyError` for one that is not a `forbid`, or where the two were not loaded over the same tools.
    """
    for rule in loaded.rules:
        if rule.effect != "forbid":
            rule.refuse(
                "an invariant is a `forbid`", "say what must never happen; rules stand in the folder above"
            )
    if loaded.schema_text != bundle.schema_text:
        raise PolicyError(
            "the invariants were loaded over other tools, agents or roles than the rules",
            hint="load both with the same tools",
        )
    return loaded.rules
