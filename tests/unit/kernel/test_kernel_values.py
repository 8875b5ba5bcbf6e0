"""Small values: money, secrets, decisions."""

from __future__ import annotations

import copy
import json
import pickle
from decimal import Decimal

import orjson
import pytest
from pydantic import TypeAdapter
from pydantic.errors import PydanticSchemaGenerationError

from answerable.kernel.decision import ReasonCode, Verdict, allow, deny
from answerable.kernel.encoding import NotEncodable, encode_payload
from answerable.kernel.money import from_micros, plain, to_micros
from answerable.kernel.secret import Secret


@pytest.mark.parametrize(
    "amount", ["NaN", "sNaN", "Infinity", "-Infinity", "9000000000.000001", "-9000000001", "1E+400"]
)
def test_what_cannot_be_counted_is_no_money(amount: str) -> None:
    """Not a number, or beyond what every reader holds exactly."""
    with pytest.raises(ValueError, match="can be counted"):
        to_micros(Decimal(amount))


@pytest.mark.parametrize(
    ("amount", "micros"),
    [
        ("0", 0),
        ("0.40", 400_000),
        ("9000000000", 9_000_000_000_000_000),
        ("0.0000001", 1),
        ("-0.0000001", 0),
        ("1E-999999", 1),
    ],
)
def test_money_is_counted_in_whole_micros_rounded_up(amount: str, micros: int) -> None:
    """A cost that is too small to count still counts."""
    assert to_micros(Decimal(amount)) == micros


def test_one_amount_has_one_text() -> None:
    """However it was written."""
    assert {plain(Decimal(text)) for text in ("100", "100.0", "1E2", "100.000")} == {"100"}
    assert plain(from_micros(1)) == "0.000001"


def test_a_secret_shows_itself_only_when_asked() -> None:
    """In no text, no format, no error."""
    secret = Secret("hunter2")
    assert secret.reveal() == "hunter2"
    for text in (
        str(secret),
        repr(secret),
        f"{secret}",
        f"{secret:>40}",
        f"{secret!r}",
        str([secret]),
        "{}".format(secret),  # noqa: UP032 - as a caller might
    ):
        assert "hunter2" not in text
    assert not hasattr(secret, "__dict__")
    assert secret != Secret("hunter2"), "comparing would be a way to guess"


def test_a_secret_is_never_written_anywhere() -> None:
    """No JSON, no pickle, no copy, no schema."""
    secret = Secret("hunter2")
    for write in (json.dumps, orjson.dumps, pickle.dumps, copy.copy, copy.deepcopy):
        with pytest.raises(TypeError):
            write(secret)
    with pytest.raises(NotEncodable):
        encode_payload({"token": secret})
    with pytest.raises(PydanticSchemaGenerationError):
        TypeAdapter(Secret)


def test_a_decision_says_who_decided_and_by_what() -> None:
    """Yes has rules; no has a code, a reason, and the rules' texts."""
    yes, no = (
        allow("policy", rules=("a",), digest="d"),
        deny("policy", ReasonCode.POLICY_DENIED, "over the cap", rules=("b",)),
    )
    assert (yes.verdict, yes.rules, yes.digest, yes.code) == (Verdict.ALLOW, ("a",), "d", None)
    assert (no.verdict, no.code, no.reason, no.texts, no.needs) == (
        Verdict.DENY,
        "policy_denied",
        "over the cap",
        {},
        (),
    )
    assert deny("x", ReasonCode.HALTED, "", texts={"r": "t"}).texts == {"r": "t"}
