"""The types of section 5, each as a test on one JSON value. A field holds no content: formats are narrow."""

from __future__ import annotations

import base64
import re
from typing import TYPE_CHECKING, Final, NamedTuple, TypeGuard

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from answerable.journal.verify.canonical import JsonValue

NAME: Final = r"[a-z0-9_-]{1,64}"
RUN: Final = r"run_[a-z2-7]{26}"

_HEX64: Final = re.compile(r"[0-9a-f]{64}")
_TOKEN: Final = re.compile(r"[\x20-\x7e]{1,128}")
_PATH: Final = re.compile(r"(0|[1-9][0-9]{0,8})\.(0|[1-9][0-9]{0,8})")
_RUN: Final = re.compile(RUN)
_NAME: Final = re.compile(NAME)
_JOURNAL: Final = re.compile(r"jnl_[a-z2-7]{26}")
_SUBJECT: Final = re.compile(r"sub_[a-z2-7]{26}")
_SUBJECT_ROW: Final = re.compile(rf"sub_[a-z2-7]{{26}}|tenant:{NAME}")
_STREAM: Final = re.compile(rf"(run|inbox)/{RUN}|(agent|tenant)/{NAME}")
_SCOPE: Final = re.compile(rf"all|agent:{NAME}|tool:[\x21-\x7e]{{1,128}}|run:{RUN}")
_BUDGET: Final = re.compile(rf"run:{RUN}|agent:{NAME}:[0-9]{{4}}-[0-9]{{2}}-[0-9]{{2}}")

_UNITS: Final = frozenset({"tool_calls", "model_calls", "tokens", "money"})
_CLAIM_RULES: Final = frozenset({"default", "once", "until_compensated", "up_to"})
_BEHIND_MAX: Final = 50


class Field(NamedTuple):
    """One type of field: how to test it, how to say it, and which payloads a value of it refers to."""

    is_valid: Callable[[JsonValue], bool]
    name: str
    refs: Callable[[JsonValue], Iterable[str]] | None = None


def is_integer(value: JsonValue) -> TypeGuard[int]:
    """An integer; JSON's true and false are none."""
    return type(value) is int


def is_count(value: JsonValue) -> TypeGuard[int]:
    """An integer that is not negative."""
    return type(value) is int and value >= 0


def is_digest(value: JsonValue) -> TypeGuard[str]:
    """64 lowercase hexadecimal digits."""
    return isinstance(value, str) and _HEX64.fullmatch(value) is not None


def is_token(value: JsonValue) -> TypeGuard[str]:
    """Printable ASCII, 1 to 128 characters."""
    return isinstance(value, str) and _TOKEN.fullmatch(value) is not None


def is_stream(value: JsonValue) -> TypeGuard[str]:
    """The name of a stream."""
    return isinstance(value, str) and _STREAM.fullmatch(value) is not None


def is_journal_id(value: JsonValue) -> TypeGuard[str]:
    """The id of a journal."""
    return isinstance(value, str) and _JOURNAL.fullmatch(value) is not None


def is_subject_row(value: JsonValue) -> TypeGuard[str]:
    """The name of a row of table `subject`."""
    return isinstance(value, str) and _SUBJECT_ROW.fullmatch(value) is not None


def from_base64(value: JsonValue, length: int) -> bytes | None:
    """The `length` bytes behind standard base64 with padding, or None where it is anything else."""
    if not isinstance(value, str) or not value.isascii():
        return None
    try:
        raw = base64.b64decode(value, validate=True)
    except ValueError:
        return None
    is_exact = len(raw) == length and base64.b64encode(raw) == value.encode()
    return raw if is_exact else None


def _matches(pattern: re.Pattern[str]) -> Callable[[JsonValue], bool]:
    return lambda value: isinstance(value, str) and pattern.fullmatch(value) is not None


def _base64_of(length: int) -> Callable[[JsonValue], bool]:
    return lambda value: from_base64(value, length) is not None


def one_of(*values: str) -> Field:
    """A closed list of texts."""
    allowed = frozenset(values)

    def is_listed(value: JsonValue) -> bool:
        return isinstance(value, str) and value in allowed

    return Field(is_listed, "one of " + ", ".join(values))


def _list_of(test: Callable[[JsonValue], bool]) -> Callable[[JsonValue], bool]:
    return lambda value: isinstance(value, list) and all(map(test, value))


def _row_of(*tests: Callable[[JsonValue], bool]) -> Callable[[JsonValue], bool]:
    def is_row(value: JsonValue) -> bool:
        if not isinstance(value, list) or len(value) != len(tests):
            return False
        return all(test(cell) for test, cell in zip(tests, value, strict=True))

    return is_row


def _object_of(test: Callable[[JsonValue], bool]) -> Callable[[JsonValue], bool]:
    def is_object(value: JsonValue) -> bool:
        return isinstance(value, dict) and all(is_token(key) and test(item) for key, item in value.items())

    return is_object


def _is_unit(value: JsonValue) -> bool:
    return isinstance(value, str) and value in _UNITS


def _is_boolean(value: JsonValue) -> bool:
    return isinstance(value, bool)


def _is_one(value: JsonValue) -> bool:
    return type(value) is int and value == 1


def _is_token_or_empty(value: JsonValue) -> bool:
    return value == "" or is_token(value)


def _is_attempt(value: JsonValue) -> bool:
    return type(value) is int and value >= 1


def _is_labels_row(value: JsonValue) -> bool:
    """Sources of an argument: first whether they are trusted, then what they are."""
    if not isinstance(value, list) or not value or not all(map(is_token, value)):
        return False
    return value[0] in {"trusted", "untrusted"}


def _is_claim(value: JsonValue) -> bool:
    if not isinstance(value, dict) or value.keys() != {"key", "rule", "amount", "cap"}:
        return False
    is_rule = isinstance(value["rule"], str) and value["rule"] in _CLAIM_RULES
    return is_rule and is_digest(value["key"]) and is_integer(value["amount"]) and is_integer(value["cap"])


def _is_need(value: JsonValue) -> bool:
    return _row_of(is_token, _list_of(is_token), _is_attempt)(value)


def _is_behind(value: JsonValue) -> bool:
    return isinstance(value, list) and len(value) <= _BEHIND_MAX and all(map(is_stream, value))


def _refs_one(value: JsonValue) -> Iterable[str]:
    return (value,) if isinstance(value, str) else ()


def _refs_list(value: JsonValue) -> Iterable[str]:
    return [item for item in value if isinstance(item, str)] if isinstance(value, list) else ()


def _refs_object(value: JsonValue) -> Iterable[str]:
    return [item for item in value.values() if isinstance(item, str)] if isinstance(value, dict) else ()


_is_budget = _matches(_BUDGET)

TOKEN: Final = Field(is_token, "printable ASCII, 1 to 128 characters")
TOKEN_OR_EMPTY: Final = Field(_is_token_or_empty, "printable ASCII, at most 128 characters")
DIGEST: Final = Field(is_digest, "64 lowercase hexadecimal digits")
REF: Final = Field(is_digest, "a payload ref", _refs_one)
REFS: Final = Field(_list_of(is_digest), "a list of payload refs", _refs_list)
FACTS: Final = Field(_object_of(is_digest), "an object of payload refs", _refs_object)
DIGESTS: Final = Field(_list_of(is_digest), "a list of 64 hexadecimal digits each")
TOKENS: Final = Field(_list_of(is_token), "a list of printable ASCII texts")
COUNT: Final = Field(is_count, "an integer that is not negative")
SEQ: Final = Field(_is_attempt, "an integer from 1")
SEQS: Final = Field(_list_of(_is_attempt), "a list of integers from 1")
BOOLEAN: Final = Field(_is_boolean, "true or false")
PATH: Final = Field(_matches(_PATH), "TURN.INDEX")
NAMED: Final = Field(_matches(_NAME), "a name")
SUBJECT: Final = Field(_matches(_SUBJECT), "a subject ref")
JOURNAL: Final = Field(is_journal_id, "a journal id")
SCOPE: Final = Field(_matches(_SCOPE), "a scope")
PUBLIC_KEY: Final = Field(_base64_of(32), "base64 of 32 bytes")
SIGNATURE: Final = Field(_base64_of(64), "base64 of 64 bytes")
FORMAT: Final = Field(_is_one, "1")
CLAIM: Final = Field(_is_claim, "a claim")
BEHIND: Final = Field(_is_behind, "a list of at most 50 streams")
NEEDS: Final = Field(_list_of(_is_need), "a list of [rule, [role, ...], count]")
LABELS: Final = Field(_object_of(_is_labels_row), "an object of lists that begin with trusted or untrusted")
LIMITS: Final = Field(_list_of(_row_of(_is_budget, _is_unit, is_count)), "a list of [budget, unit, limit]")
RESERVE: Final = Field(
    _list_of(_row_of(_is_budget, _is_unit, is_count, is_count)), "a list of [budget, unit, amount, limit]"
)
SETTLE: Final = Field(
    _list_of(_row_of(_is_budget, _is_unit, is_count, is_count)), "a list of [budget, unit, reserved, spent]"
)
TOTALS: Final = Field(
    _list_of(_row_of(is_digest, is_token, is_integer, is_integer, is_count)),
    "a list of [key, name, amount, seen amount, seen count]",
)
COUNTS: Final = Field(_object_of(is_count), "an object of integers that are not negative")
TOTALS_SEEN: Final = Field(_object_of(_row_of(is_integer, is_count)), "an object of [amount, count]")
