"""The validator of a tool's context, compiled from the same shape as the Cedar schema.

Cedar skips a rule over a wrong-typed or misspelt optional attribute, and a skipped `forbid` allows; so nothing reaches
Cedar that has not passed here. It is compiled with pydantic-core, which the core depends on anyway.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic_core import SchemaValidator, ValidationError, core_schema

from answerable.gates.policy.shape import Record, SetOf

if TYPE_CHECKING:
    from answerable.gates.policy.shape import Shape

LONG_MAX = 2**63 - 1
LONG_MIN = -(2**63)
DECIMAL_PATTERN = r"^-?[0-9]{1,15}\.[0-9]{1,4}$"
DATETIME_PATTERN = r"^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:]{8}\.[0-9]{3}Z$"

_SCALARS: dict[str, core_schema.CoreSchema] = {
    "String": core_schema.str_schema(strict=True),
    "Bool": core_schema.bool_schema(strict=True),
    "Long": core_schema.int_schema(strict=True, ge=LONG_MIN, le=LONG_MAX),
    "decimal": core_schema.str_schema(strict=True, pattern=DECIMAL_PATTERN),
    "datetime": core_schema.str_schema(strict=True, pattern=DATETIME_PATTERN),
}


class ContextValidator:
    """Says whether a context has its tool's shape: closed, with every required part, and no type coerced."""

    def __init__(self, shape: Shape) -> None:
        self._validator = SchemaValidator(core(shape))

    def is_valid(self, context: object) -> bool:
        """Whether the context has the shape."""
        return self._validator.isinstance_python(context, strict=True)

    def problem(self, context: object) -> str:
        """The first thing that is wrong, with its place; empty where nothing is."""
        try:
            self._validator.validate_python(context, strict=True)
        except ValidationError as error:
            first = error.errors(include_url=False, include_context=False)[0]
            place = ".".join(str(part) for part in first["loc"]) or "the context"
            return f"{place}: {first['msg']}"
        return ""


def core(shape: Shape) -> core_schema.CoreSchema:
    """The pydantic-core schema of the context form of a shape."""
    if isinstance(shape, SetOf):
        return core_schema.list_schema(core(shape.item), strict=True)
    if isinstance(shape, Record):
        return core_schema.typed_dict_schema(
            {
                each.name: core_schema.typed_dict_field(core(each.shape), required=not each.is_optional)
                for each in shape.attributes
            },
            extra_behavior="forbid",
            strict=True,
        )
    if shape.values:
        return core_schema.literal_schema(list(shape.values))
    return _SCALARS[shape.kind]
