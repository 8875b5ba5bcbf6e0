"""The first gate: what a call's arguments must look like. Nothing later sees what did not pass here.

Strict means: one name per argument, no extras, no coercion, no look-alike digits, no invisible characters. A
limit in a schema is for the impossible; a limit in policy is for the impermissible (`DESIGN`: a refusal by
policy is never handed back to a model as a format error).
"""

from __future__ import annotations

import json
import re
import unicodedata
from datetime import UTC, datetime
from decimal import Decimal
from enum import Enum
from typing import TYPE_CHECKING, Any

import orjson
from pydantic import BaseModel, ValidationError

from answerable.kernel.money import plain

if TYPE_CHECKING:
    from collections.abc import Mapping

    from answerable.kernel.tool import ToolSpec

ARGUMENTS_BYTES_MAX = 64 * 1024
DEPTH_MAX = 32
_DECIMAL = re.compile(r"-?(?:0|[1-9][0-9]{0,27})(?:\.[0-9]{1,18})?")
_SCRIPTS = ("LATIN", "CYRILLIC", "GREEK", "ARMENIAN", "CHEROKEE")


class Refused(ValueError):
    """Arguments that do not pass. The message says where and why, in words that a model can use."""


def parse_object(text: str | bytes) -> dict[str, Any]:
    """The JSON object in `text`. Raises `Refused` for duplicates, NaN, too much, too deep, or no object."""
    if len(text) > ARGUMENTS_BYTES_MAX:
        raise Refused(f"the arguments are larger than {ARGUMENTS_BYTES_MAX} bytes")
    try:
        value = json.loads(text, object_pairs_hook=_no_twice, parse_constant=_no_constant)
    except RecursionError:
        raise Refused("the arguments are nested too deeply") from None
    except UnicodeDecodeError:
        raise Refused("the arguments are not UTF-8") from None
    except json.JSONDecodeError as error:
        raise Refused(f"the arguments are not JSON: {error.msg} at character {error.pos}") from None
    if not isinstance(value, dict):
        raise Refused("the arguments are not a JSON object")
    _check_depth(value, 0)
    return value


def accept(spec: ToolSpec, raw: str | bytes | Mapping[str, Any]) -> BaseModel:
    """The validated arguments of a call of `spec`. Raises `Refused` with everything that is wrong."""
    if not isinstance(raw, (str, bytes)):
        try:
            raw = orjson.dumps(raw, default=_from_python)
        except TypeError as error:
            raise Refused(f"the arguments cannot be written as JSON: {error}") from None
    given = parse_object(raw)
    try:
        arguments = spec.arguments.model_validate_json(orjson.dumps(given))
    except ValidationError as error:
        raise Refused("; ".join(_problem(problem) for problem in error.errors(include_url=False))) from None
    except TypeError as error:
        raise Refused(f"the arguments cannot be read: {error}") from None
    _look_closer(arguments, given, spec.free_text, "")
    return arguments


def canonical(value: Any) -> Any:
    """Validated arguments in the one form that is digested: every field, decimals as plain text."""
    if isinstance(value, BaseModel):
        return {name: canonical(getattr(value, name)) for name in type(value).model_fields}
    if isinstance(value, bool) or value is None:
        return value
    if isinstance(value, Decimal):
        return plain(value)
    if isinstance(value, Enum):
        return canonical(value.value)
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat() if value.tzinfo else value.isoformat()
    if isinstance(value, dict):
        return {str(key): canonical(item) for key, item in value.items()}  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType]
    if isinstance(value, (set, frozenset)):
        return sorted((canonical(item) for item in value), key=repr)  # pyright: ignore[reportUnknownVariableType]
    if isinstance(value, (list, tuple)):
        return [canonical(item) for item in value]  # pyright: ignore[reportUnknownVariableType]
    if isinstance(value, (str, int, float)):
        return value
    return str(value)


def _no_twice(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        names = [name for name, _ in pairs]
        twice = sorted({name for name in names if names.count(name) > 1})
        raise Refused(f"the arguments give {', '.join(f'`{name}`' for name in twice)} twice")
    return found


def _no_constant(text: str) -> None:
    raise Refused(f"the arguments hold {text}, which is no number")


def _check_depth(value: Any, depth: int) -> None:
    if depth > DEPTH_MAX:
        raise Refused("the arguments are nested too deeply")
    if isinstance(value, dict):
        for item in value.values():  # pyright: ignore[reportUnknownVariableType]
            _check_depth(item, depth + 1)
    elif isinstance(value, list):
        for item in value:  # pyright: ignore[reportUnknownVariableType]
            _check_depth(item, depth + 1)
    elif isinstance(value, str):
        try:
            value.encode()
        except UnicodeEncodeError:
            raise Refused("the arguments hold half of a character (a lone surrogate)") from None


def _from_python(value: Any) -> Any:
    if isinstance(value, Decimal):
        if not value.is_finite():
            raise Refused(f"the arguments hold {value}, which is no number")
        return f"{value:f}"
    if isinstance(value, BaseModel):
        return {name: getattr(value, name) for name in type(value).model_fields}
    if isinstance(value, (set, frozenset)):
        return sorted(value, key=repr)  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType]
    message = f"a {type(value).__name__} is no argument"
    raise TypeError(message)


def _problem(problem: Any) -> str:
    place = ".".join(str(part) for part in problem["loc"]) or "the arguments"
    return f"`{place}`: {problem['msg'][0].lower()}{problem['msg'][1:]}"


def _look_closer(value: Any, raw: Any, free_text: frozenset[str], place: str) -> None:
    """Refuse what a lenient number or text type lets through."""
    if isinstance(value, BaseModel):
        for name in type(value).model_fields:
            if isinstance(raw, dict) and name in raw:
                inner = f"{place}.{name}" if place else name
                _look_closer(getattr(value, name), raw[name], free_text, inner)
    elif isinstance(value, (list, tuple)) and isinstance(raw, list):
        for item, raw_item in zip(value, raw, strict=True):  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType]
            _look_closer(item, raw_item, free_text, place)
    elif isinstance(value, dict) and isinstance(raw, dict):
        for key, item in value.items():  # pyright: ignore[reportUnknownVariableType]
            _check_text(str(key), place)  # pyright: ignore[reportUnknownArgumentType]
            _look_closer(item, raw.get(key), free_text, place)  # pyright: ignore[reportUnknownMemberType, reportUnknownArgumentType]
    elif isinstance(value, (set, frozenset)):
        for item in value:  # pyright: ignore[reportUnknownVariableType]
            if isinstance(item, str):
                _check_text(item, place)
    elif isinstance(value, Decimal):
        if isinstance(raw, str) and not _DECIMAL.fullmatch(raw):
            raise Refused(f"`{place}`: `{raw}` is not a plain decimal number such as 12.50")
        if not value.is_finite() or (value == 0 and value.is_signed()):
            raise Refused(f"`{place}`: {value} is no amount")
    elif isinstance(value, str) and place not in free_text:
        _check_text(value, place)


def _check_text(text: str, place: str) -> None:
    """Identifiers and values: no invisible characters, one spelling, one script a word."""
    if text.isascii():
        if not text.isprintable() and any(c not in "\n\t" and not c.isprintable() for c in text):
            raise Refused(f"`{place}`: holds an invisible character")
        return
    if unicodedata.normalize("NFKC", text) != text:
        raise Refused(f"`{place}`: is not in its normal spelling (look-alike digits, letters or accents)")
    for character in text:
        if unicodedata.category(character) in ("Cc", "Cf", "Co", "Cn", "Zl", "Zp") and character not in "\n\t":
            raise Refused(f"`{place}`: holds an invisible character")
        if unicodedata.category(character) == "Nd" and not character.isascii():
            raise Refused(f"`{place}`: holds digits of another script")
    for word in re.split(r"[^\w]+", text):
        scripts = {name.split(" ")[0] for c in word if (name := unicodedata.name(c, ""))} & set(_SCRIPTS)
        if len(scripts) > 1:
            raise Refused(f"`{place}`: mixes look-alike letters of several scripts in `{word}`")
