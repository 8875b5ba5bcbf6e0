"""What a model wrote, as a value or as a problem in plain words. Pure: nothing here raises for bad text.

A model's JSON is stricter here than in most parsers, because two readers of the same text must not see
different values: a duplicate key, `NaN`, an overflowing number or a lone surrogate is a problem, not a
choice of the parser.
"""

from __future__ import annotations

import json
import math
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from pydantic import TypeAdapter, ValidationError

from answerable.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

JSON_BYTES_MAX = 64 * 1024
DEPTH_MAX = 32
"""How many objects and lists may lie inside each other."""
PROBLEM_LENGTH_MAX = 400
PROBLEMS_SHOWN = 3

_FENCE = re.compile(r"^[ \t]*```[^\n`]*$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Problem:
    """Why a text is not what was asked for, in words that a model or a person can act on."""

    text: str

    def __str__(self) -> str:
        return self.text


def validate_output(text: str, shape: TypeAdapter[Any] | Mapping[str, Any]) -> object | Problem:
    """The structured answer in `text`, validated strictly against a `TypeAdapter` or a JSON Schema.

    The text is one bare JSON document, or holds exactly one fenced block, with or without prose around it.
    Two blocks are a problem: nobody should have to guess which one is the answer.
    """
    document = _document(text)
    if isinstance(document, Problem):
        return document
    value = parse_json(document)
    if isinstance(value, Problem):
        return Problem(f"the answer is not usable: {value}")
    if isinstance(shape, TypeAdapter):
        return _adapted(document, shape)
    problems = _schema_problems(value, shape)
    return _listed(problems) if problems else value


def parse_json(text: str) -> object | Problem:
    """The value behind one strict JSON document of at most 64 KiB and 32 levels."""
    try:
        size = len(text.encode())
    except UnicodeEncodeError as error:
        return Problem(f"a lone surrogate at character {error.start + 1}")
    if size > JSON_BYTES_MAX:
        return Problem(f"{size} bytes of JSON; at most {JSON_BYTES_MAX} are read")
    try:
        parsed: object = json.loads(text, object_pairs_hook=_Pairs)
    except json.JSONDecodeError as error:
        return Problem(f"not JSON: {error.msg.lower()} at line {error.lineno} column {error.colno}")
    except RecursionError:
        return Problem(f"nested deeper than {DEPTH_MAX} levels")
    except ValueError:  # Python refuses to read an integer of thousands of digits
        return Problem("a number with too many digits")
    try:
        return _checked(parsed, "$", 0)
    except _JsonError as refused:
        return Problem(str(refused))


class _Pairs(list[tuple[str, Any]]):
    """A JSON object before its keys are known to be distinct."""


class _JsonError(Exception):
    """JSON that parses but means different things to different readers. Never leaves this module."""


def _checked(value: object, place: str, depth: int) -> object:
    if isinstance(value, _Pairs):
        _check_depth(place, depth)
        result: dict[str, object] = {}
        for key, item in value:
            _check_text(key, f"a key of {place}")
            inner = f"{place}.{_short(key, 40)}"
            if key in result:
                message = f"duplicate key {inner}"
                raise _JsonError(message)
            result[key] = _checked(item, inner, depth + 1)
        return result
    if isinstance(value, list):
        _check_depth(place, depth)
        items = cast("list[object]", value)
        return [_checked(item, f"{place}[{index}]", depth + 1) for index, item in enumerate(items)]
    if isinstance(value, str):
        _check_text(value, place)
    elif isinstance(value, float) and not math.isfinite(value):
        message = f"{place} is not a finite number"
        raise _JsonError(message)
    return value


def _check_depth(place: str, depth: int) -> None:
    if depth >= DEPTH_MAX:
        message = f"nested deeper than {DEPTH_MAX} levels at {_short(place, 120)}"
        raise _JsonError(message)


def _check_text(text: str, place: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError:
        message = f"a lone surrogate in {place}"
        raise _JsonError(message) from None


def _document(text: str) -> str | Problem:
    match list(_FENCE.finditer(text)):
        case []:
            return text
        case [opening, closing]:
            return text[opening.end() : closing.start()]
        case _:
            return Problem("the answer is not usable: expected one JSON document or exactly one fenced block")


def _adapted(document: str, adapter: TypeAdapter[Any]) -> object | Problem:
    try:
        return adapter.validate_json(document, strict=True)
    except ValidationError as error:
        details = error.errors(include_url=False, include_context=False, include_input=False)
        return _listed([f"{_path(detail['loc'])}: {detail['msg']}" for detail in details])


def _schema_problems(value: object, schema: Mapping[str, Any]) -> list[str]:
    try:
        import jsonschema_rs
    except ImportError:
        raise ConfigError(
            "a JSON Schema cannot be checked without the extra `models`",
            hint="pip install 'answerable[models]'",
        ) from None
    validator = jsonschema_rs.validator_for(dict(schema))
    return [f"{_path(error.instance_path)}: {error.message}" for error in validator.iter_errors(value)]


def _listed(problems: Sequence[str]) -> Problem:
    shown = "; ".join(_short(problem, 160) for problem in problems[:PROBLEMS_SHOWN])
    rest = len(problems) - PROBLEMS_SHOWN
    more = f"; and {rest} more" if rest > 0 else ""
    return Problem(_short(f"the answer does not fit: {shown}{more}", PROBLEM_LENGTH_MAX))


def _path(steps: Iterable[str | int]) -> str:
    return _short("$" + "".join(f"[{s}]" if isinstance(s, int) else f".{_short(s, 40)}" for s in steps), 120)


def _short(text: str, length: int) -> str:
    plain = "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)
    return plain if len(plain) <= length else plain[: length - 1] + "\N{HORIZONTAL ELLIPSIS}"
