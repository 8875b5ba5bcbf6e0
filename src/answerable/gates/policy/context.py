"""From a request to the context that rules read. What Cedar cannot hold exactly is refused, never rounded."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from decimal import Context, Decimal, InvalidOperation
from enum import Enum
from typing import TYPE_CHECKING, NoReturn, cast

from answerable.gates.policy.shape import Record, SetOf
from answerable.gates.policy.validator import LONG_MAX, LONG_MIN
from answerable.gates.request import Label
from answerable.kernel.encoding import encode_payload
from answerable.kernel.money import from_micros
from answerable.kernel.state import Tally

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

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


def build_context(
    request: PolicyRequest,
    tool: ToolShape,
    shape: Record | None = None,
    validator: ContextValidator | None = None,
) -> dict[str, object]:
    """The context of a request: the whole, or as much of it as `shape` reads. Checked against that shape.

    Raises `NotExpressible` where a value that is read has no exact Cedar form, something required is missing, or
    there is anything that the tool does not have.
    """
    _check_known(request, tool)
    context: dict[str, object] = {}
    for each in (shape or tool.context).attributes:
        context[each.name] = _PARTS[each.name](request, cast("Record", each.shape))
    check_context(context, validator or tool.validator)
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


def _labels(request: PolicyRequest, shape: Record) -> dict[str, object]:
    """What is known of each argument's origin. An argument with no label is not trusted."""
    labels: dict[str, object] = {}
    for each in shape.attributes:
        label = request.labels.get(each.name, _UNLABELLED)
        found: dict[str, object] = {
            "trusted": label.is_trusted,
            "origin": label.origin,
            "sources": [_string(source, f"labels.{each.name}") for source in label.sources],
            "classes": sorted(label.classes),
            "unknown_address": label.has_unknown_address,
        }
        labels[each.name] = _only(found, cast("Record", each.shape))
    return labels


_UNLABELLED = Label()
_NEVER = Tally()
_MONEY = frozenset({"money", "money_per_day"})


def _totals(request: PolicyRequest, shape: Record) -> dict[str, object]:
    return {
        each.name: _only(
            {"amount": _decimal(total.amount, f"totals.{each.name}"), "count": total.count},
            cast("Record", each.shape),
        )
        for each in shape.attributes
        if (total := request.totals.get(each.name)) is not None
    }


def _run(request: PolicyRequest, shape: Record) -> dict[str, object]:
    found: dict[str, object] = {
        "autonomy": request.autonomy,
        "on_behalf_of": _string(request.on_behalf_of, "run.on_behalf_of"),
        "calls_before": request.calls_before,
        "classes_read": sorted(request.classes_read),
        "read_untrusted": request.has_read_untrusted,
    }
    return _only(found, shape)


def _history(request: PolicyRequest, shape: Record) -> dict[str, object]:
    """What was done with the tools that are asked about; with one that was never called, nothing."""
    history: dict[str, object] = {}
    for each in shape.attributes:
        tally = request.history.get(each.name, _NEVER)
        found: dict[str, object] = {"decided": tally.decided, "done": tally.done, "last": tally.last}
        history[each.name] = _only(found, cast("Record", each.shape))
    return history


def _budget(request: PolicyRequest, shape: Record) -> dict[str, object]:
    left = request.budget_left
    return {
        each.name: _money_left(left[each.name]) if each.name in _MONEY else left[each.name]
        for each in shape.attributes
        if each.name in left
    }


def _money_left(micros: int) -> str:
    """What is left, rounded down to what a rule can compare: a budget is never shown larger than it is."""
    return decimal_text(from_micros(micros - micros % 100))


_PARTS: dict[str, Callable[[PolicyRequest, Record], object]] = {
    "args": lambda request, shape: encode(request.arguments, shape, "args"),
    "labels": _labels,
    "facts": lambda request, shape: encode(request.facts, shape, "facts"),
    "totals": _totals,
    "run": _run,
    "session": lambda request, shape: encode(request.session, shape, "session"),
    "history": _history,
    "budget": _budget,
    "now": lambda request, shape: _instant(request.now_us),  # noqa: ARG005 - it has no parts
}


def _check_known(request: PolicyRequest, tool: ToolShape) -> None:
    """Refuse what the tool does not have: nobody meant it, and so nobody wrote a rule on it."""
    for what, part, given in (
        ("fact", "facts", request.facts),
        ("session fact", "session", request.session),
        ("argument", "labels", request.labels),
        ("total", "totals", request.totals),
        ("tool beside it", "history", request.history),
        ("budget", "budget", request.budget_left),
    ):
        if not tool.names[part].issuperset(given):
            unknown = sorted(set(given) - tool.names[part])
            _refuse(f"`{unknown[0]}` is not a {what} of this tool")


def _only(value: dict[str, object], shape: Record) -> dict[str, object]:
    """The attributes of a record that are read."""
    if len(shape.attributes) == len(value):
        return value
    return {each.name: value[each.name] for each in shape.attributes}


def _get(value: object, name: str) -> object:
    if isinstance(value, dict):
        return value.get(name, _ABSENT)  # pyright: ignore[reportUnknownVariableType, reportUnknownMemberType]
    return getattr(value, name, _ABSENT)


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
