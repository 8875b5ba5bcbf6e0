"""From a request to the context that rules read. What Cedar cannot hold exactly is refused, never rounded."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from decimal import Context, Decimal, InvalidOperation
from enum import Enum
from typing import TYPE_CHECKING, NoReturn, cast

from answerable.gates.policy.shape import Record, SetOf
from answerable.gates.policy.validator import LONG_MAX, LONG_MIN
from answerable.kernel.encoding import encode_payload
from answerable.kernel.money import from_micros

if TYPE_CHECKING:
    from collections.abc import Iterable

    from answerable.gates.policy.schema import ToolShape
    from answerable.gates.policy.shape import Shape
    from answerable.gates.policy.validator import ContextValidator
    from answerable.gates.request import PolicyRequest

DECIMAL_MAX = Decimal("922337203685477.5807")
DECIMAL_MIN = Decimal("-922337203685477.5808")
DECIMAL_STEP = Decimal("0.0001")
# Its own context: a caller who lowers the precision of the process cannot change what a rule sees.
_EXACT = Context(prec=40, traps=[InvalidOperation])
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_ABSENT = object()


class NotExpressible(ValueError):
    """A value that rules cannot be shown as it is. The message names the place."""


def build_context(request: PolicyRequest, tool: ToolShape) -> dict[str, object]:
    """The whole context of a request, checked against the tool's shape.

    Raises `NotExpressible` where a value has no exact Cedar form, something required is missing, or there
    is anything that the shape does not know.
    """
    spec = tool.spec
    _only_known("fact", request.facts, {each.name for each in spec.facts})
    _only_known("session fact", request.session, _names(_part(tool.context, "session")))
    context = {
        "args": encode(request.arguments, _part(tool.context, "args"), "args"),
        "labels": _labels(request),
        "facts": encode(request.facts, _part(tool.context, "facts"), "facts"),
        "totals": {
            name: {"amount": _decimal(total.amount, f"totals.{name}"), "count": total.count}
            for name, total in request.totals.items()
        },
        "run": {
            "autonomy": request.autonomy,
            "on_behalf_of": _string(request.on_behalf_of, "run.on_behalf_of"),
            "calls_before": request.calls_before,
            "classes_read": sorted(request.classes_read),
        },
        "session": encode(request.session, _part(tool.context, "session"), "session"),
        "history": _history(request, _part(tool.context, "history")),
        "budget": {
            unit: _money_left(left) if unit in _MONEY else left for unit, left in request.budget_left.items()
        },
        "now": _instant(request.now_us),
    }
    check_context(context, tool.validator)
    return context


def check_context(context: dict[str, object], validator: ContextValidator) -> None:
    """Refuse a context that does not have its tool's shape, and name the place.

    Cedar would skip a rule over some of these mistakes; a skipped `forbid` allows.
    """
    if validator.is_valid(context):
        return
    _refuse(validator.problem(context))


def context_text(context: dict[str, object]) -> str:
    """The JSON that Cedar is handed."""
    return encode_payload(context).decode()


def encode(value: object, shape: Shape, place: str) -> object:
    """A value in its context form. Its type must be the one the shape was made from."""
    match shape:
        case Record():
            found: dict[str, object] = {}
            for each in shape.attributes:
                inner = _get(value, each.name)
                if inner is _ABSENT or inner is None:
                    if not each.is_optional:
                        _refuse(f"{place}.{each.name} is missing")
                else:
                    found[each.name] = encode(inner, each.shape, f"{place}.{each.name}")
            return found
        case SetOf(item):
            if not isinstance(value, (list, tuple, set, frozenset)):
                _wrong(value, "a list", place)
            return [encode(each, item, f"{place}[]") for each in cast("Iterable[object]", value)]
        case _:
            return _ENCODERS[shape.kind](value.value if isinstance(value, Enum) else value, place)


def decimal_text(value: Decimal) -> str:
    """A decimal as Cedar reads it. Raises `NotExpressible` beyond four places or Cedar's range."""
    if not value.is_finite() or not DECIMAL_MIN <= value <= DECIMAL_MAX:
        _refuse(f"{value} is beyond what a rule can compare")
    exact = _EXACT.quantize(value, DECIMAL_STEP)
    if exact != value:
        _refuse(f"{value} has more than four decimal places")
    return f"{exact:f}"


def datetime_text(value: datetime) -> str:
    """An instant as Cedar reads it, in UTC, cut to the millisecond."""
    return value.astimezone(UTC).replace(tzinfo=None).isoformat(timespec="milliseconds") + "Z"


def _labels(request: PolicyRequest) -> dict[str, object]:
    """What is known of each argument's origin. An argument with no label is not trusted."""
    labels: dict[str, object] = dict.fromkeys(type(request.arguments).model_fields, _UNLABELLED)
    for name, label in request.labels.items():
        labels[name] = {
            "trusted": label.is_trusted,
            "origin": label.origin,
            "sources": [_string(source, f"labels.{name}") for source in label.sources],
            "classes": sorted(label.classes),
        }
    return labels


_UNLABELLED: dict[str, object] = {"trusted": False, "origin": "none", "sources": [], "classes": []}
_MONEY = frozenset({"money", "money_per_day"})
_NEVER: dict[str, int] = {"decided": 0, "done": 0, "last": 0}


def _money_left(micros: int) -> str:
    """What is left, rounded down to what a rule can compare: a budget is never shown larger than it is."""
    return decimal_text(from_micros(micros - micros % 100))


def _history(request: PolicyRequest, shape: Shape) -> dict[str, dict[str, int]]:
    """What was done with every tool of the agent; others have no place in it."""
    known = _names(shape)
    _only_known("tool", request.history, known)
    history = dict.fromkeys(known, _NEVER)
    for name, tally in request.history.items():
        history[name] = {"decided": tally.decided, "done": tally.done, "last": tally.last}
    return history


def _names(shape: Shape) -> set[str]:
    return {each.name for each in shape.attributes} if isinstance(shape, Record) else set()


def _get(value: object, name: str) -> object:
    if isinstance(value, dict):
        return value.get(name, _ABSENT)  # pyright: ignore[reportUnknownVariableType, reportUnknownMemberType]
    return getattr(value, name, _ABSENT)


def _part(record: Record, name: str) -> Shape:
    return next(each.shape for each in record.attributes if each.name == name)


def _only_known(what: str, given: Iterable[str], known: set[str]) -> None:
    unknown = sorted(set(given) - known)
    if unknown:
        _refuse(f"`{unknown[0]}` is not a {what} of this tool")


def _string(value: object, place: str) -> str:
    if not isinstance(value, str):
        _wrong(value, "text", place)
    if not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError:
            _refuse(f"{place} holds a lone surrogate")
    return value


def _long(value: object, place: str) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        _wrong(value, "an integer", place)
    if not LONG_MIN <= value <= LONG_MAX:
        _refuse(f"{place} is beyond 64 bits")
    return int(value)


def _bool(value: object, place: str) -> bool:
    if not isinstance(value, bool):
        _wrong(value, "true or false", place)
    return value


def _decimal(value: object, place: str) -> str:
    if not isinstance(value, Decimal):
        _wrong(value, "a decimal", place)
    try:
        return decimal_text(value)
    except NotExpressible as error:
        _refuse(f"{place}: {error}")


def _datetime(value: object, place: str) -> str:
    if isinstance(value, datetime):
        if value.tzinfo is None:
            _refuse(f"{place} has no time zone")
        return _in_range(value, place)
    if isinstance(value, date):
        return datetime_text(datetime(value.year, value.month, value.day, tzinfo=UTC))
    return _wrong(value, "a date and time", place)


def _in_range(value: datetime, place: str) -> str:
    try:
        return datetime_text(value)
    except OverflowError:
        _refuse(f"{place} is beyond the years 1 to 9999")


def _instant(now_us: int) -> str:
    try:
        return datetime_text(_EPOCH + timedelta(microseconds=now_us))
    except OverflowError:
        _refuse("now is beyond the years 1 to 9999")


def _wrong(value: object, wanted: str, place: str) -> NoReturn:
    _refuse(f"{place} is a {type(value).__name__}, not {wanted}")


def _refuse(message: str) -> NoReturn:
    raise NotExpressible(message) from None


_ENCODERS = {"String": _string, "Long": _long, "Bool": _bool, "decimal": _decimal, "datetime": _datetime}
