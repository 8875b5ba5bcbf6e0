"""Looks for credentials in what was written down: as they are, and as they are commonly encoded."""

from __future__ import annotations

from base64 import b64encode, urlsafe_b64encode
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from answerable.kernel.secret import Secret

SECRET_BYTES_MIN = 8
"""A shorter one would be found by accident."""


def leaked(cell: object, secrets: Mapping[str, Secret]) -> str:
    """The name of the first secret that stands in a stored value; empty if none does."""
    written = cell.encode() if isinstance(cell, str) else cell
    if isinstance(written, bytes):
        for name, secret in secrets.items():
            if any(form in written for form in _forms(secret.reveal().encode())):
                return name
    return ""


def _forms(value: bytes) -> set[bytes]:
    return {value, value.hex().encode(), value.hex().upper().encode(), *_in_base64(value)}


def _in_base64(value: bytes) -> set[bytes]:
    """What base64 makes of `value` wherever it begins in a longer text, without the ends that its neighbours change."""
    found: set[bytes] = set()
    for before in range(3):
        padded = b"\0" * before + value
        padded = padded[: len(padded) // 3 * 3]
        first = 4 if before else 0
        found |= {encode(padded)[first:] for encode in (b64encode, urlsafe_b64encode)}
    return found
