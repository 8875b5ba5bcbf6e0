"""Values of a type, from its JSON schema: what was chosen at some places, and something valid at all others."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from functools import lru_cache
from typing import TYPE_CHECKING, Any, cast

from cedarpy import pst
from pydantic import BaseModel, TypeAdapter, ValidationError

from answerable.kernel.encoding import encode_payload
from answerable.prove.blast_texts import is_fit, texts

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

Path = tuple[str, ...]
ABSENT = object()
"""Chosen for an optional part that is to be left out."""
PRESENT = object()
"""Chosen for an optional part that is to be there, whatever is in it."""
_DEPTH_MAX = 12
_TRIES = 24
_STEPS = (Decimal(1), Decimal("0.01"), Decimal("0.0001"))


@dataclass(frozen=True, slots=True)
class Form:
    """A JSON schema with its definitions."""

    schema: dict[str, Any]
    definitions: Mapping[str, Any] = field(default_factory=dict[str, Any])

    @classmethod
    def of(cls, annotation: TypeAdapter[Any] | type[BaseModel]) -> Form:
        """The form in which a type is read."""
        found = _schema(annotation)
        return cls(found, found.get("$defs", {}))

    def at(self, path: Path) -> Form | None:
        """The form of a part; None where it cannot be followed. Items of a list are at `[]`."""
        here = self.solid()
        for name in path:
            schema = here.schema
            inner = schema.get("items") if name == "[]" else schema.get("properties", {}).get(name)
            if not isinstance(inner, dict):
                return None
            here = Form(cast("dict[str, Any]", inner), self.definitions).solid()
        return here

    def solid(self) -> Form:
        """Without references, and without the `null` of an optional part."""
        schema = self.schema
        for _ in range(_DEPTH_MAX):
            if "$ref" in schema:
                schema = {**self.definitions[schema["$ref"].rpartition("/")[2]], **_beside(schema)}
            elif (options := _options(schema)) and len(
                real := [each for each in options if not _is_null(each)]
            ) == 1:
                schema = {**real[0], **_beside(schema)}
            else:
                break
        return Form(schema, self.definitions)

    @property
    def may_be_null(self) -> bool:
        """Whether `null` is a value of it."""
        return any(map(_is_null, _options(self.schema))) or _is_null(self.schema)

    @property
    def is_text(self) -> bool:
        """Whether it is a plain text."""
        return self.schema.get("type") == "string" or (
            "enum" in self.schema and all(isinstance(each, str) for each in self.schema["enum"])
        )

    @property
    def is_list(self) -> bool:
        """Whether it holds any number of items."""
        return self.schema.get("type") == "array"

    @property
    def closed(self) -> tuple[str, ...]:
        """The texts of a closed list; none where it is open."""
        listed = [
            *self.schema.get("enum", ()),
            *(self.schema[name] for name in ("const",) if name in self.schema),
        ]
        return tuple(each for each in listed if isinstance(each, str))

    def takes(self, text: str) -> bool:
        """Whether a text is fit for it, as far as the schema says."""
        return self.is_text and is_fit(self.schema, text)


@dataclass(slots=True)
class Maker:
    """Makes values, with texts that no other value of the same world has."""

    _count: dict[str, int] = field(default_factory=dict[str, int])
    """How many texts of each sort were tried: by pattern, or else by where they stand."""
    made: dict[str, tuple[Form, str, int]] = field(default_factory=dict[str, "tuple[Form, str, int]"])
    """Every text that was made up, with what it is a text of."""

    def text(self, form: Form, name: str, skip: int = 0) -> str | None:
        """A new text of a form; None where none is found. `skip` passes over so many ways of writing one."""
        for _ in range(_TRIES):
            tries = list(texts(form.schema, name)(self._next(form.schema.get("pattern") or name)))
            for text in tries[skip:] or tries[-1:]:
                if form.closed:
                    return text
                if text not in self.made:
                    self.made[text] = (form, name, skip)
                    return text
        return next(iter(form.closed), None)

    def like(self, pattern: Iterable[pst.PatternElem]) -> str:
        """A new text of one of Cedar's patterns."""
        number = self._next("like")
        return "".join(each.value if isinstance(each, pst.Char) else f"x{number}" for each in pattern)

    def _next(self, sort: str) -> int:
        self._count[sort] = self._count.get(sort, 0) + 1
        return self._count[sort]

    def again(self, text: str) -> str | None:
        """Another text where this one could stand; None for one that was not made up."""
        known = self.made.get(text)
        return None if known is None else self.text(*known)

    def value(
        self, form: Form, chosen: Mapping[Path, object], check: Callable[[bytes], object]
    ) -> tuple[Any, object] | None:
        """A JSON value with what was chosen in it that passes `check`, and what `check` made of it; else None.

        Where a text is refused, the next way of writing one is tried there.
        """
        skips: dict[Path, int] = {}
        for _ in range(_TRIES):
            value = _Writing(self, form.definitions, chosen, skips).write(form, ())
            try:
                return value, check(encode_payload(value))
            except ValidationError as error:
                places = [tuple(str(part) for part in each["loc"]) for each in error.errors()]
            except Exception:  # noqa: BLE001 - a type's own validator may raise anything: there is no value then
                return None
            for place in places or [()]:
                if place in chosen and chosen[place] is not PRESENT:
                    return None
                skips[place] = skips.get(place, 0) + 1
        return None


@dataclass(slots=True)
class _Writing:
    """One attempt at a value."""

    maker: Maker
    definitions: Mapping[str, Any]
    chosen: Mapping[Path, object]
    skips: Mapping[Path, int]

    def write(self, form: Form, path: Path) -> Any:
        """A value of a form, at a path."""
        if path in self.chosen and self.chosen[path] is not PRESENT:
            return self.chosen[path]
        is_open = any(each[: len(path)] == path for each in self.chosen)
        if form.may_be_null and not is_open:
            return None
        solid = form.solid()
        schema = solid.schema
        if len(path) > _DEPTH_MAX:
            return None
        if "const" in schema:
            return schema["const"]
        if "enum" in schema:
            return schema["enum"][0]
        if options := _options(schema):
            if any(each.get("type") in ("number", "integer") for each in options):
                return _number(
                    next(each for each in options if each.get("type") in ("number", "integer")), is_text=True
                )
            return self.write(Form(options[0], self.definitions), path)
        match schema.get("type"):
            case "object":
                return self._object(schema, path)
            case "array":
                return self._array(schema, path)
            case "string":
                name = next((each for each in reversed(path) if not each.isdigit()), "text")
                return self.maker.text(solid, name, self.skips.get(path, 0))
            case "integer":
                return _number(schema, is_text=False)
            case "number":
                return float(_number(schema, is_text=True))
            case "boolean":
                return False
            case _:
                return None

    def _object(self, schema: Mapping[str, Any], path: Path) -> dict[str, Any]:
        found: dict[str, Any] = {}
        required = schema.get("required", ())
        for name, inner in schema.get("properties", {}).items():
            here = (*path, name)
            if self.chosen.get(here) is ABSENT:
                if name in required:
                    found[name] = None
                continue
            if name in required or any(each[: len(here)] == here for each in self.chosen):
                found[name] = self.write(Form(inner, self.definitions), here)
        return found

    def _array(self, schema: Mapping[str, Any], path: Path) -> list[Any]:
        count = max(schema.get("minItems", 0), self.skips.get(path, 0))
        prefix = schema.get("prefixItems", ())
        items: Any = schema.get("items", {})
        forms = [prefix[n] if n < len(prefix) else items for n in range(max(count, len(prefix)))]
        return [
            self.write(Form(each, self.definitions), (*path, str(n)))
            for n, each in enumerate(forms)
            if each is not False
        ]


@lru_cache(maxsize=512)
def _schema(annotation: Any) -> dict[str, Any]:
    """Made once for each type: nobody changes it."""
    if isinstance(annotation, TypeAdapter):
        return cast("TypeAdapter[Any]", annotation).json_schema(mode="validation")
    return cast("type[BaseModel]", annotation).model_json_schema(mode="validation")


def _number(schema: Mapping[str, Any], *, is_text: bool) -> Any:
    """A small number within the bounds; a decimal as text."""
    low, over = _bound(schema, "minimum"), _bound(schema, "exclusiveMinimum")
    high, under = _bound(schema, "maximum"), _bound(schema, "exclusiveMaximum")
    least = max(
        each for each in (low, over, Decimal(0) if high is None or high >= 0 else high) if each is not None
    )
    steps = _STEPS if is_text else _STEPS[:1]
    for step in steps:
        value = least if over is None or least > over else over + step
        if (high is None or value <= high) and (under is None or value < under):
            break
    else:
        value = least
    multiple = _bound(schema, "multipleOf")
    if multiple and value % multiple:
        value = (value // multiple + 1) * multiple
    return f"{value.normalize():f}" if is_text else int(value)


def _bound(schema: Mapping[str, Any], name: str) -> Decimal | None:
    return None if schema.get(name) is None else Decimal(str(schema[name]))


def _options(schema: Mapping[str, Any]) -> list[dict[str, Any]]:
    return cast("list[dict[str, Any]]", schema.get("anyOf") or schema.get("oneOf") or [])


def _is_null(schema: Mapping[str, Any]) -> bool:
    return schema.get("type") == "null"


def _beside(schema: Mapping[str, Any]) -> dict[str, Any]:
    """What stands beside a reference or a choice and is no part of it: nothing that limits a value."""
    return {name: schema[name] for name in ("minLength", "maxLength", "pattern") if name in schema}
