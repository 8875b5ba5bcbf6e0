"""The two encodings, and the digests of them."""

from __future__ import annotations

import hashlib
import hmac
from typing import Any

import pytest

from answerable.kernel.encoding import (
    ENTRY_BYTES_MAX,
    INTEGER_MAX,
    NotEncodable,
    encode_entry,
    encode_payload,
    keyed_digest,
    sha256_hex,
)


def nest(depth: int, leaf: object) -> Any:
    """`leaf` inside so many lists."""
    for _ in range(depth):
        leaf = [leaf]
    return leaf


def test_an_entry_of_exactly_the_largest_size_fits_and_one_byte_more_does_not() -> None:
    """The limit is in bytes, and is inclusive."""
    room = ENTRY_BYTES_MAX - len(b'{"a":""}')
    assert len(encode_entry({"a": "x" * room})) == ENTRY_BYTES_MAX
    for text in ("x" * (room + 1), "ä" * (room // 2 + 1)):
        with pytest.raises(NotEncodable, match="over 8192"):
            encode_entry({"a": text})


@pytest.mark.parametrize(
    ("value", "place"),
    [
        ({"a": [1, {"b": 0.5}]}, r"a float at \$\.a\[1\]\.b"),
        ({"a": INTEGER_MAX + 1}, r"beyond 2\^53 - 1 at \$\.a"),
        ({"a": -INTEGER_MAX - 1}, r"beyond 2\^53 - 1 at \$\.a"),
        ({"a": ("ok", "\ud800")}, r"a lone surrogate at \$\.a\[1\]"),
        ({"a": {"ü": 1}}, r"not ASCII text at \$\.a"),
        ({"a": {1: 1}}, r"not ASCII text at \$\.a"),
        ({"ä": "ä"}, r"not ASCII text at \$"),
        ({"a": {1}}, r"a set at \$\.a"),
    ],
)
def test_a_refusal_names_the_place(value: dict[str, Any], place: str) -> None:
    """Whoever wrote the event finds the field."""
    with pytest.raises(NotEncodable, match=place):
        encode_entry(value)


@pytest.mark.parametrize("depth", [300, 5000])
@pytest.mark.parametrize("leaf", ["a", "ä"])
def test_what_is_nested_too_deeply_is_refused_and_not_a_crash(depth: int, leaf: str) -> None:
    """Deeper than the encoder goes, and deeper than Python goes."""
    with pytest.raises(NotEncodable, match="too deeply"):
        encode_entry({"a": nest(depth, leaf)})


@pytest.mark.parametrize("content", [{1: 2}, "\ud800", 2**64, object(), nest(5000, 1)])
def test_content_without_a_form_is_refused(content: object) -> None:
    """A payload is lenient about floats, and about nothing else."""
    with pytest.raises(NotEncodable):
        encode_payload(content)


def test_digests_are_the_standard_ones() -> None:
    """Anybody can compute them with what their language has."""
    assert sha256_hex(b"x") == hashlib.sha256(b"x").hexdigest()
    assert keyed_digest(b"k", "domain", b"x") == hmac.new(b"k", b"domain\nx", "sha256").hexdigest()
