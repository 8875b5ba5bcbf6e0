"""Which types an argument of a tool may have: a closed list, looked at through and through.

What is not listed is refused when the tool is registered. An open dictionary, a float, a lax model or a
validator that reads its input in its own way would each be a door beside the gates.
"""

from __future__ import annotations

from datetime import date, datetime, time
from decimal import Decimal
from enum import Enum
from types import NoneType, UnionType
from typing import TYPE_CHECKING, Annotated, Any, Literal, NewType, Union, cast, get_args, get_origin

from pydantic import AfterValidator, BaseModel, ConfigDict, Discriminator, create_model
from pydantic.fields import FieldInfo

from answerable.kernel.ids import EffectKey
from answerable.kernel.secret import Secret
from answerable.kernel.tool import FreeText

if TYPE_CHECKING:
    from collections.abc import Iterator

PLAIN = (str, int, bool, Decimal, datetime, date, time)
"""The plain types, beside enums and literals of text, integers or booleans."""
_CONFIG: ConfigDict = {"strict": True, "extra": "forbid", "frozen": True, "allow_inf_nan": False}
_HARMLESS = {"title", "json_schema_extra", "use_attribute_docstrings"}
_EMPTY = (list, dict, tuple, set, frozenset)
_HINTS: dict[object, tuple[str, str]] = {
    Any: ("as Any", "say what it holds: what is open cannot be gated"),
    object: ("as object", "say what it holds: what is open cannot be gated"),
    dict: ("as an open dictionary", "say what it holds: a model that inherits `answerable.Arguments`"),
    list: ("as a list of anything", "say what it holds: `list[str]`"),
    tuple: ("as a tuple of anything", "say what it holds: `tuple[str, ...]`"),
    set: ("as a set of anything", "say what it holds: `set[str]`"),
    frozenset: ("as a set of anything", "say what it holds: `frozenset[str]`"),
    float: ("as float", "use Decimal: policies and money need exact numbers"),
    EffectKey: ("as EffectKey", "put it behind a bare `*`: a model must not choose its own key"),
    Secret: ("as Secret", "put it behind a bare `*`: a model never sees a credential"),
}


class Arguments(BaseModel):
    """What a model used inside a tool's arguments must inherit: strict, closed and frozen."""

    model_config = _CONFIG


class Unfit(Exception):
    """A type that cannot be gated: what is wrong, and in `hint` what to do instead."""

    def __init__(self, message: str, hint: str) -> None:
        super().__init__(message)
        self.hint = hint


def check_type(annotation: Any, place: str, outer: tuple[type, ...] = ()) -> None:
    """Refuse what could slip past the gates. `outer` are the models that it is nested in.

    Raises `Unfit`, also for every type that is not known to be safe.
    """
    origin, parts = get_origin(annotation), get_args(annotation)
    if annotation is NoneType or annotation in PLAIN:
        return
    if (origin is None and annotation in _HINTS) or (origin in _EMPTY and not parts):
        how, hint = _HINTS[origin or annotation]
        raise Unfit(f"types `{place}` {how}", hint)
    if isinstance(annotation, NewType) or hasattr(annotation, "__value__"):
        check_type(_behind(annotation), place, outer)
    elif origin is Annotated:
        _check_metadata(parts[1:], place)
        check_type(parts[0], place, outer)
    elif origin is Literal:
        _check_values(parts, place)
    elif origin in (Union, UnionType):
        _check_union(parts, place, outer)
    elif origin in (list, tuple):
        for part in parts:
            if part is not Ellipsis:
                check_type(part, place, outer)
    elif origin in (set, frozenset):
        _check_item_of_set(parts[0], place)
    elif origin is dict:
        _check_key(parts[0], place)
        check_type(parts[1], place, outer)
    elif isinstance(annotation, type) and issubclass(annotation, Enum):
        _check_values(tuple(member.value for member in annotation), place)
    elif isinstance(annotation, type) and issubclass(annotation, BaseModel):
        check_model(annotation, place, outer)
    else:
        known = ", ".join(kind.__name__ for kind in PLAIN)
        name = getattr(cast("object", annotation), "__name__", str(cast("object", annotation)))
        raise Unfit(
            f"types `{place}` as {name}, which cannot be gated", f"use an Arguments model, or {known}"
        )


def check_model(model: type[BaseModel], place: str, outer: tuple[type, ...] = ()) -> None:
    """Refuse a model that is not strict, closed and frozen through and through. Raises `Unfit`."""
    if not issubclass(model, Arguments):
        raise Unfit(f"has a lax model in `{place}`", "inherit it from `answerable.Arguments`")
    if model in outer:
        raise Unfit(f"has a model in `{place}` that contains itself", "say how deep it goes")
    config = {name: value for name, value in model.model_config.items() if name not in _HARMLESS}
    if config != _CONFIG:
        raise Unfit(f"has a model in `{place}` that changes the configuration", "drop its `model_config`")
    decorators = model.__pydantic_decorators__
    for validator in (*decorators.field_validators.values(), *decorators.model_validators.values()):
        if validator.info.mode != "after":
            raise Unfit(
                f"has a validator in `{place}` that is not an after-validator", "check, but do not convert"
            )
    for name, info in model.model_fields.items():
        inner = f"{place}.{name}" if place else name
        check_type(info.annotation, inner, (*outer, model))
        _check_metadata((info,), inner)
        _check_default(info, inner)


def free_text(model: type[BaseModel]) -> frozenset[str]:
    """Dotted paths of the fields that are marked as text for people, wherever they are reached."""
    found = list(_texts(model, ""))
    return frozenset(path for path, is_free in found if is_free) - {p for p, is_free in found if not is_free}


def leaves(annotation: Any) -> Iterator[Any]:
    """The types that a value of `annotation` may have, without `None`, names and notes around them."""
    if isinstance(annotation, NewType) or hasattr(annotation, "__value__"):
        yield from leaves(_behind(annotation))
    elif get_origin(annotation) is Annotated:
        yield from leaves(get_args(annotation)[0])
    elif get_origin(annotation) in (Union, UnionType):
        for part in get_args(annotation):
            yield from leaves(part)
    elif annotation is not NoneType and annotation is not None:
        yield annotation


def accepts(info: FieldInfo, value: object) -> bool:
    """Whether a strict field as `info` describes it takes `value`, and as it is."""
    annotation: Any = Annotated[info.annotation, *info.metadata] if info.metadata else info.annotation
    probe: type[BaseModel] = create_model("probe", __base__=Arguments, value=(annotation, ...))
    try:
        taken = probe.model_validate({"value": value})
        return bool(getattr(taken, "value", None) == value)
    except Exception:  # noqa: BLE001 - a tool's own validator may raise anything; it did not say yes
        return False


def _behind(annotation: Any) -> Any:
    return annotation.__supertype__ if isinstance(annotation, NewType) else annotation.__value__


def _check_metadata(metadata: tuple[object, ...], place: str) -> None:
    for each in metadata:
        if getattr(each, "alias", None) or getattr(each, "validation_alias", None):
            raise Unfit(f"has an alias in `{place}`", "one name per argument")
        if getattr(each, "strict", None) is False:
            raise Unfit(f"is lax in `{place}`", "drop `strict=False`: a wrong type is refused, not converted")
        if isinstance(each, FieldInfo):
            _check_metadata(tuple(each.metadata), place)
        elif hasattr(each, "__get_pydantic_core_schema__") and not isinstance(
            each, (AfterValidator, Discriminator)
        ):
            name = getattr(each, "__name__", type(each).__name__)
            raise Unfit(f"reads `{place}` in its own way (`{name}`)", "use constraints or `AfterValidator`")


def _check_values(values: tuple[object, ...], place: str) -> None:
    kinds = {type(value) for value in values if value is not None}
    if len(kinds) != 1 or not kinds <= {str, int, bool}:
        raise Unfit(
            f"lists values of several or odd types in `{place}`", "all text, all integers or all booleans"
        )


def _check_union(parts: tuple[Any, ...], place: str, outer: tuple[type, ...]) -> None:
    real = [part for part in parts if part is not NoneType]
    for part in real:
        check_type(part, place, outer)
        if len(real) > 1 and not all(_is_model(leaf) for leaf in leaves(part)):
            raise Unfit(f"types `{place}` as one of several plain types", "choose one: no rule can read both")


def _is_model(annotation: Any) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, BaseModel)


def _check_item_of_set(part: Any, place: str) -> None:
    check_type(part, place)
    for leaf in leaves(part):
        if leaf not in (str, int, bool) and get_origin(leaf) is not Literal and not _is_enum(leaf):
            raise Unfit(f"has a set of other than plain values in `{place}`", "use a list")


def _check_key(part: Any, place: str) -> None:
    check_type(part, place)
    if list(leaves(part)) != [str]:
        raise Unfit(f"has keys that are not text in `{place}`", "use `dict[str, ...]`")


def _is_enum(annotation: Any) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, Enum)


def _check_default(info: FieldInfo, place: str) -> None:
    if info.is_required():
        return
    factory = info.default_factory
    if factory is not None:
        if (get_origin(factory) or factory) not in _EMPTY:
            raise Unfit(
                f"makes up a default for `{place}`", "give a value: the same call must mean the same again"
            )
    elif not accepts(info, info.default):
        raise Unfit(f"has a default for `{place}` that is not of its own type", "give one that validates")


def _texts(model: type[BaseModel], prefix: str) -> Iterator[tuple[str, bool]]:
    for name, info in model.model_fields.items():
        is_marked = any(_is_mark(each) for each in info.metadata)
        yield from _texts_of(info.annotation, prefix + name, is_free=is_marked)


def _texts_of(annotation: Any, path: str, *, is_free: bool) -> Iterator[tuple[str, bool]]:
    origin, parts = get_origin(annotation), get_args(annotation)
    if isinstance(annotation, NewType) or hasattr(annotation, "__value__"):
        yield from _texts_of(_behind(annotation), path, is_free=is_free)
    elif origin is Annotated:
        yield from _texts_of(parts[0], path, is_free=is_free or any(map(_is_mark, parts[1:])))
    elif origin is dict:
        yield from _texts_of(parts[1], path, is_free=is_free)
    elif origin is not None and origin is not Literal:
        for part in parts:
            yield from _texts_of(part, path, is_free=is_free)
    elif _is_model(annotation):
        yield from _texts(cast("type[BaseModel]", annotation), f"{path}.")
    elif annotation is str or _is_enum(annotation) or origin is Literal:
        yield path, is_free


def _is_mark(item: object) -> bool:
    return item is FreeText or isinstance(item, FreeText)
