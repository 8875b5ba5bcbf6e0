"""The first gate: what a call's arguments must look like. Nothing later sees what did not pass here.

Strict means: one name per argument, no extras, no coercion, no look-alike digits, no invisible characters. A
limit in a schema is for the impossible; a limit in policy is for the impermissible (a refusal by policy is
never handed back to a model as a format error).
"""

from __future__ import annotations

import json
import math
import re
import unicodedata
from datetime import UTC, date, datetime, time
from decimal import Decimal, InvalidOperation
from enum import Enum
from typing import TYPE_CHECKING, Any, cast

import orjson
from pydantic import BaseModel, ValidationError

from answerable.kernel.encoding import scrub
from answerable.kernel.money import plain

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from answerable.kernel.tool import ToolSpec

ARGUMENTS_BYTES_MAX = 64 * 1024
DEPTH_MAX = 32
PROBLEMS_MAX = 8
"""A refusal names so many problems; more help nobody."""
MESSAGE_CHARS_MAX = 1000
_SHOWN_CHARS_MAX = 60
_INTEGER_CHARS_MAX = 20
_DIGITS_MAX = 64

_DECIMAL = re.compile(r"-?(?:0|[1-9][0-9]{0,27})(?:\.[0-9]{1,18})?")
_DATETIME = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}[T ][0-9]{2}:.*")
_SCRIPTS = {"LATIN", "CYRILLIC", "GREEK", "ARMENIAN", "CHEROKEE"}
_UNSEEN = {"Cc", "Cf", "Co", "Cn", "Zl", "Zp"}
_BLANK = re.compile("[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2800\ufe00-\ufe0f\U000e0100-\U000e01ef]")
"""Letters and marks that show nothing, although their category says otherwise."""


class Refused(ValueError):
    """Arguments that do not pass. The message says where and why, in words that a model can use."""

    def __init__(self, message: str) -> None:
        super().__init__(scrub(message)[:MESSAGE_CHARS_MAX])


def parse_object(text: str | bytes) -> dict[str, Any]:
    """The JSON object in `text`. Raises `Refused` for duplicates, NaN, too much, too deep, or no object.

    A number that would not keep its value is refused too: what is validated must be what was written.
    """
    try:
        encoded = text.encode("utf-8", "surrogatepass") if isinstance(text, str) else text
        if len(encoded) > ARGUMENTS_BYTES_MAX:
            raise Refused(f"the arguments are larger than {ARGUMENTS_BYTES_MAX} bytes")
        value: object = json.loads(
            text if isinstance(text, str) else text.decode(),
            object_pairs_hook=_no_twice,
            parse_constant=_no_constant,
            parse_float=_exact_float,
            parse_int=_small_int,
        )
    except RecursionError:
        raise Refused("the arguments are nested too deeply") from None
    except UnicodeDecodeError:
        raise Refused("the arguments are not UTF-8") from None
    except json.JSONDecodeError as error:
        raise Refused(f"the arguments are not JSON: {error.msg} at character {error.pos}") from None
    return _object(value)


def accept(spec: ToolSpec, raw: str | bytes | Mapping[str, Any]) -> BaseModel:
    """The validated arguments of a call of `spec`. Raises `Refused` with what is wrong."""
    given = parse_object(raw) if isinstance(raw, (str, bytes)) else _object(raw)
    try:
        encoded = orjson.dumps(given)
    except TypeError as error:
        raise Refused(f"the arguments cannot be written as JSON: {error}") from None
    if len(encoded) > ARGUMENTS_BYTES_MAX:
        raise Refused(f"the arguments are larger than {ARGUMENTS_BYTES_MAX} bytes")
    try:
        arguments = spec.arguments.model_validate_json(encoded)
    except ValidationError as error:
        problems = error.errors(include_url=False, include_input=False)
        more = f"; and {len(problems) - PROBLEMS_MAX} more" if len(problems) > PROBLEMS_MAX else ""
        raise Refused("; ".join(map(_problem, problems[:PROBLEMS_MAX])) + more) from None
    except Exception as error:  # noqa: BLE001 - a tool's own validator may raise anything; nothing was validated
        raise Refused(f"the arguments cannot be validated: {error}") from None
    _look_closer(arguments, given, spec.free_text, "")
    return arguments


def canonical(value: Any) -> Any:
    """Validated arguments in the one form that is digested: every field, decimals as plain text."""
    match value:
        case BaseModel():
            return {name: canonical(getattr(value, name)) for name in type(value).model_fields}
        case Decimal():
            return plain(value)
        case Enum():
            return canonical(value.value)
        case datetime():
            return (_in_utc(value) or value).isoformat()
        case dict():
            return {str(key): canonical(item) for key, item in cast("dict[object, object]", value).items()}
        case set() | frozenset():
            return sorted(map(canonical, cast("set[object]", value)), key=repr)
        case list() | tuple():
            return [canonical(item) for item in cast("list[object]", value)]
        case None | bool() | str() | int() | float():
            return value
        case _:
            return str(value)


def _in_utc(value: datetime) -> datetime | None:
    """The same instant in UTC, and as it is where it has no zone; None where UTC has no such year."""
    try:
        return value.astimezone(UTC) if value.tzinfo else value
    except OverflowError:
        return None


def _no_twice(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        names = [name for name, _ in pairs]
        twice = sorted({name for name in names if names.count(name) > 1})[:PROBLEMS_MAX]
        raise Refused(f"the arguments give {', '.join(map(_shown, twice))} twice")
    return found


def _no_constant(text: str) -> None:
    raise Refused(f"the arguments hold {text}, which is no number")


def _exact_float(text: str) -> float:
    number = float(text)
    try:
        is_exact = math.isfinite(number) and Decimal(repr(number)) == Decimal(text)
    except InvalidOperation:
        is_exact = False
    if not is_exact:
        raise Refused(f"the number {_shown(text)} would lose digits: write it as text")
    return number


def _small_int(text: str) -> int:
    if len(text) > _INTEGER_CHARS_MAX:
        raise Refused(f"the number {_shown(text)} is too large")
    return int(text)


def _object(value: object) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise Refused("the arguments are not a JSON object: name each of them")
    return cast("dict[str, Any]", _json(cast("object", value), 0))


def _json(value: object, depth: int) -> object:
    """`value` as plain JSON data; `Refused` for anything that has no JSON form of its own, or is too deep."""
    if depth > DEPTH_MAX:
        raise Refused("the arguments are nested too deeply")
    match value:
        case Enum():
            return _json(value.value, depth)
        case None | bool() | int():
            return value
        case str():
            return _whole(value)
        case float():
            if not math.isfinite(value):
                raise Refused(f"the arguments hold {value}, which is no number")
            return value
        case Decimal():
            if not value.is_finite() or abs(value.adjusted()) > _DIGITS_MAX:
                raise Refused(f"the arguments hold {_shown(str(value))}, which is no number")
            return f"{value:f}"
        case datetime() | date() | time():
            return value.isoformat()
        case BaseModel():
            return {name: _json(getattr(value, name), depth + 1) for name in type(value).model_fields}
        case dict():
            items = cast("dict[object, object]", value).items()
            return {_key(key): _json(item, depth + 1) for key, item in items}
        case list() | tuple() | set() | frozenset():
            found = [_json(item, depth + 1) for item in cast("Iterable[object]", value)]
            return found if isinstance(value, (list, tuple)) else sorted(found, key=repr)
        case _:
            raise Refused(f"the arguments cannot be written as JSON: a {type(value).__name__} is no argument")


def _key(key: object) -> str:
    if not isinstance(key, str):
        raise Refused(f"the arguments have the key {_shown(repr(key))}, which is not text")
    return _whole(key)


def _whole(text: str) -> str:
    if scrub(text) != text:
        raise Refused("the arguments hold half of a character (a lone surrogate)")
    return text[:]


def _shown(text: str) -> str:
    return f"`{text[:_SHOWN_CHARS_MAX]}`"


def _problem(problem: Any) -> str:
    place = ".".join(str(part)[:_SHOWN_CHARS_MAX] for part in problem["loc"]) or "the arguments"
    return f"`{place}`: {problem['msg'][:1].lower()}{problem['msg'][1:]}"


def _look_closer(value: object, raw: object, free_text: frozenset[str], place: str) -> None:
    """Refuse what a lenient type lets through: `raw` must be the one spelling of `value`."""
    match value, raw:
        case BaseModel(), dict():
            given = cast("dict[str, object]", raw)
            for name in given:
                inner = f"{place}.{name}" if place else name
                _look_closer(getattr(value, name), given[name], free_text, inner)
        case dict(), dict():
            items = cast("dict[object, object]", value).items()
            raw_items = cast("dict[str, object]", raw).items()
            for (key, item), (raw_key, raw_item) in _pairs(items, raw_items, place):
                _look_at_plain(key, raw_key, is_free=False, place=place)
                _look_closer(item, raw_item, free_text, place)
        case ((set() | frozenset()), list()):
            spelt = {(type(bare), bare) for bare in map(_bare, cast("set[object]", value))}
            for item in cast("list[str | int | None]", raw):
                if isinstance(item, (dict, list)) or (type(item), item) not in spelt:
                    raise Refused(f"`{place}`: {_shown(repr(item))} is not written as it must be")
                _look_at_plain(item, item, is_free=place in free_text, place=place)
        case ((list() | tuple()), list()):
            pairs = _pairs(cast("list[object]", value), cast("list[object]", raw), place)
            for item, raw_item in pairs:
                _look_closer(item, raw_item, free_text, place)
        case _:
            _look_at_plain(value, raw, is_free=place in free_text, place=place)


def _pairs(values: Iterable[Any], raws: Iterable[Any], place: str) -> list[tuple[Any, Any]]:
    try:
        return list(zip(values, raws, strict=True))
    except ValueError:
        raise Refused(f"`{place}`: two of its parts become one") from None


def _bare(value: object) -> object:
    return value.value if isinstance(value, Enum) else value


def _look_at_plain(value: object, raw: object, *, is_free: bool, place: str) -> None:
    match value:
        case Decimal():
            if isinstance(raw, str) and not _DECIMAL.fullmatch(raw):
                raise Refused(f"`{place}`: {_shown(raw)} is not a plain decimal number such as 12.50")
            is_minus_zero = value.is_signed() and not value
            if not isinstance(raw, (str, int, float)) or not value.is_finite() or is_minus_zero:
                raise Refused(f"`{place}`: {_shown(str(value))} is no amount")
        case datetime():
            if not isinstance(raw, str) or not _DATETIME.fullmatch(raw):
                raise Refused(f"`{place}`: is not a time such as 2026-01-31T12:00:00Z")
            if _in_utc(value) is None:
                raise Refused(f"`{place}`: is not within the years 1 to 9999 in UTC")
        case date() | time():
            if not isinstance(raw, str):
                raise Refused(f"`{place}`: is not text")
        case Enum():
            if type(raw) is not type(value.value):
                raise Refused(f"`{place}`: {_shown(repr(raw))} is of another type")
        case str():
            if not isinstance(raw, str):
                raise Refused(f"`{place}`: is not text")
            check = _check_free if is_free else _check_text
            for text in {value, raw}:
                check(text, place)
        case None | bool() | int():
            if type(raw) is not type(value):
                raise Refused(f"`{place}`: {_shown(repr(raw))} is of another type")
        case _:
            raise Refused(f"`{place}`: a {type(value).__name__} is no argument")


def _check_free(text: str, place: str) -> None:
    """Text for people: any script and mark, but nothing that drives a terminal."""
    if any(unicodedata.category(character) == "Cc" and character not in "\n\r\t" for character in text):
        raise Refused(f"`{place}`: holds a control character")


def _check_text(text: str, place: str) -> None:
    """Identifiers and values: no invisible characters, one spelling, one script a word."""
    if text != text.strip():
        raise Refused(f"`{place}`: begins or ends with white space")
    if text.isascii() and text.isprintable():
        return
    if unicodedata.normalize("NFKC", text) != text:
        raise Refused(f"`{place}`: is not in its normal spelling (look-alike digits, letters or accents)")
    before = ""
    for character in text:
        category = unicodedata.category(character)
        if category[0] == "M" and (not before or before[0] not in "LM"):
            raise Refused(f"`{place}`: holds an accent or mark with no letter to carry it")
        before = category
        if (category in _UNSEEN and character not in "\n\t") or _BLANK.match(character):
            raise Refused(f"`{place}`: holds an invisible character")
        if category == "Nd" and not character.isascii():
            raise Refused(f"`{place}`: holds digits of another script")
    for word in re.split(r"\W+", text):
        scripts = {unicodedata.name(character, "").split(" ")[0] for character in word} & _SCRIPTS
        if len(scripts) > 1:
            raise Refused(f"`{place}`: mixes look-alike letters of several scripts in {_shown(word)}")
