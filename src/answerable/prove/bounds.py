"""Limits on numbers that a model's own validator enforces, read from the validator itself.

pydantic compiles a model to a schema of plain steps. A limit is taken only where nothing can change the value after it
was checked: behind a function that runs later (an `AfterValidator`, a model validator) no limit is believed.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

Path = tuple[str, ...]
_MAY_CHANGE = ("custom_init", "root_model", "post_init")
"""What can give a model other values than those that were checked."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """What holds of one number. `step` is what it is a multiple of."""

    ge: Fraction | None = None
    gt: Fraction | None = None
    le: Fraction | None = None
    lt: Fraction | None = None
    step: Fraction | None = None

    @property
    def is_never_negative(self) -> bool:
        """Whether it cannot be below zero."""
        return any(each is not None and each >= 0 for each in (self.ge, self.gt))

    def allow(self, value: Fraction) -> bool:
        """Whether a value is within them."""
        return (
            (self.ge is None or value >= self.ge)
            and (self.gt is None or value > self.gt)
            and (self.le is None or value <= self.le)
            and (self.lt is None or value < self.lt)
            and (self.step is None or (value / self.step).denominator == 1)
        )

    def __bool__(self) -> bool:
        return any(each is not None for each in (self.ge, self.gt, self.le, self.lt, self.step))

    def __str__(self) -> str:
        parts = [("≥", self.ge), (">", self.gt), ("≤", self.le), ("<", self.lt)]
        said = [f"{sign} {_shown(each)}" for sign, each in parts if each is not None]
        if self.step is not None:
            said.append(f"a multiple of {_shown(self.step)}")
        return ", ".join(said)


def bounds_of(schema: Any) -> dict[Path, Bounds]:
    """The limits of every number in a value that this core schema validates, by path."""
    return {path: bounds for path, bounds in _walk(schema, (), {}) if bounds}


def _walk(schema: Any, path: Path, known: Mapping[str, Any]) -> Iterator[tuple[Path, Bounds]]:
    """`known` are the parts that may be referred to; a part inside itself is followed once."""
    if not isinstance(schema, dict):
        return
    step = cast("dict[str, Any]", schema)
    match step.get("type"):
        case "int" | "decimal":
            yield path, _bounds(step)
        case "definitions":
            inside = {each["ref"]: each for each in step["definitions"]}
            yield from _walk(step["schema"], path, {**known, **inside})
        case "definition-ref":
            ref = step["schema_ref"]
            rest = {name: each for name, each in known.items() if name != ref}
            yield from _walk(known.get(ref), path, rest)
        case "model" if not any(step.get(each) for each in _MAY_CHANGE):
            yield from _walk(step["schema"], path, known)
        case "model-fields" | "typed-dict":
            for name, field in step["fields"].items():
                yield from _walk(field["schema"], (*path, name), known)
        case "default":
            inside = list(_walk(step["schema"], path, known))
            yield from inside if _is_default_within(step, path, inside) else ()
        case "nullable" | "function-before":
            yield from _walk(step["schema"], path, known)
        case _:
            return


def _is_default_within(step: Mapping[str, Any], path: Path, inside: list[tuple[Path, Bounds]]) -> bool:
    """Whether the limits hold of the default too, which pydantic does not validate by itself."""
    if step.get("validate_default") or ("default" in step and step["default"] is None):
        return True
    default = step.get("default")
    if isinstance(default, bool) or not isinstance(default, (int, Decimal)):
        return False
    return all(where == path and bounds.allow(Fraction(default)) for where, bounds in inside)


def _bounds(step: Mapping[str, Any]) -> Bounds:
    """What a step for a number checks. A limit that is no number is none."""
    found = {name: _exact(step.get(name)) for name in ("ge", "gt", "le", "lt")}
    places, multiple = step.get("decimal_places"), _exact(step.get("multiple_of"))
    if multiple is None and places is not None:
        multiple = Fraction(1, 10**places)
    return Bounds(**found, step=multiple or None)


def _exact(value: Any) -> Fraction | None:
    try:
        return None if value is None else Fraction(value)
    except (OverflowError, ValueError):  # infinity
        return None


def _shown(value: Fraction) -> str:
    if value.denominator == 1:
        return f"{value.numerator:,}"
    return f"{float(value):g}"
