"""From a model to the request that it describes, for the real bundle.

A text that no rule mentions gets a name made from where it stands. What was made is checked: the context that the gates
build from it must be the one that the model describes.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import Decimal
from typing import TYPE_CHECKING, Any, cast

from answerable.errors import AnswerableError
from answerable.gates.policy.context import NotExpressible, build_context, encode
from answerable.gates.policy.shape import Record, Scalar
from answerable.gates.request import Established, Label, PolicyRequest, TotalValue
from answerable.kernel.money import MICROS
from answerable.kernel.state import Tally
from answerable.prove.literals import DECIMAL_SCALE, decimal_of, decimal_units, instant, milliseconds
from answerable.prove.logic import value_of
from answerable.prove.values import Many, Number, Parts, Truth, Value, Words

if TYPE_CHECKING:
    from collections.abc import Mapping

    from answerable.gates.policy.shape import SetOf, Shape
    from answerable.prove.logic import Model
    from answerable.prove.place import Place
    from answerable.prove.symbols import Path
    from answerable.prove.texts import Text, Texts

_PARTS = frozenset({"args", "labels", "facts", "totals", "run", "session", "history", "budget", "now"})
_MICROS = MICROS // DECIMAL_SCALE
"""Micro-units in a ten-thousandth."""
_DEFECT = "this is a defect in the package: nothing that was proven here can be relied on; please report it"


class EncodingWrong(AnswerableError):
    """A proof and the real gates contradict each other. Nothing is shown then but this."""

    def __init__(self, message: str) -> None:
        super().__init__(message, hint=_DEFECT)


@dataclass(slots=True)
class _Names:
    """Names for the texts that a model only tells apart."""

    taken: set[str]
    found: dict[int, str] = field(default_factory=dict[int, str])

    def name(self, text: str | int, path: Path) -> str:
        if isinstance(text, str):
            return text
        if text not in self.found:
            stem = next((each for each in reversed(path) if each), "text")
            number = 1
            while f"{stem}-{number}" in self.taken:
                number += 1
            self.found[text] = f"{stem}-{number}"
            self.taken.add(self.found[text])
        return self.found[text]


def request_of(place: Place, texts: Texts, context: Parts, tenant: Text, model: Model) -> PolicyRequest:
    """The request that a model describes. Raises `EncodingWrong` where it cannot be one."""
    reader = _Reader(texts, _Names(set(texts.mentioned)), model)
    described = cast("dict[str, Any]", reader.read(context, place.tool.context))
    request = request_from(place, reader.text(tenant, ("tenant",)), described)
    check_same(place, request, described)
    return request


def request_from(place: Place, tenant: str, context: Mapping[str, Any]) -> PolicyRequest:
    """A request with this context: plain values by name, decimals and times as Python has them."""
    unknown = sorted(set(context) - _PARTS)
    if unknown:
        raise EncodingWrong(f"the context has a part `{unknown[0]}` that no request can be made with")
    spec, run = place.tool.spec, context["run"]
    absent = dict.fromkeys(spec.arguments.model_fields)
    return PolicyRequest(
        agent=place.agent,
        tenant=tenant,
        on_behalf_of=run["on_behalf_of"],
        tool=spec,
        arguments=spec.arguments.model_construct(**{**absent, **context["args"]}),
        labels={name: _label(each) for name, each in context["labels"].items()},
        facts={name: context["facts"].get(name) for name in (each.name for each in spec.facts)},
        totals={name: TotalValue(**total) for name, total in context["totals"].items()},
        autonomy=run["autonomy"],
        calls_before=run["calls_before"],
        classes_read=frozenset(run["classes_read"]),
        has_read_untrusted=run["read_untrusted"],
        session={name: Established(**each) for name, each in context["session"].items()},
        history={name: Tally(**each) for name, each in context["history"].items()},
        budget_left={
            unit: decimal_units(left) * _MICROS if isinstance(left, Decimal) else left
            for unit, left in context["budget"].items()
        },
        now_us=milliseconds(context["now"]) * 1_000,
    )


def _label(label: Mapping[str, Any]) -> Label:
    return Label(
        origin=label["origin"],
        sources=tuple(label["sources"]),
        classes=frozenset(label["classes"]),
        has_unknown_address=label["unknown_address"],
    )


def check_same(place: Place, request: PolicyRequest, described: Mapping[str, Any]) -> None:
    """Raise `EncodingWrong` unless the gates see exactly the context that was described."""
    try:
        built = build_context(request, place.tool)
        meant = cast("dict[str, object]", encode(described, place.tool.context, "context"))
    except NotExpressible as error:
        raise EncodingWrong(f"the proof described a request that cannot be made: {error}") from None
    differs = [
        name for name in sorted({*built, *meant}) if _plain(built.get(name)) != _plain(meant.get(name))
    ]
    if differs:
        raise EncodingWrong(
            f"the proof described one request, and the gates see another: `{differs[0]}` differs"
        )


@dataclass(slots=True)
class _Reader:
    """Reads values out of a model."""

    texts: Texts
    names: _Names
    model: Model

    def read(self, value: Value, shape: Shape, path: Path = ()) -> object:
        """A value as a request has it."""
        match value:
            case Truth(term):
                return value_of(self.model, term)
            case Number(term, kind):
                found = value_of(self.model, term)
                return {"decimal": decimal_of, "datetime": instant}.get(kind, int)(found)
            case Words(term):
                return self.text(term, path)
            case Many():
                return self._many(value, cast("SetOf", shape), path)
            case Parts(fields):
                parts = {each.name: each.shape for each in cast("Record", shape).attributes}
                return {
                    name: self.read(part.value, parts[name], (*path, name))
                    for name, part in fields.items()
                    if value_of(self.model, part.present)
                }
            case _:
                raise EncodingWrong(f"`{'.'.join(path)}` is no value that a request can have")

    def text(self, term: Text, path: Path) -> str:
        """A text, by a name of its own where it is one that no rule mentions."""
        return self.names.name(term if isinstance(term, str) else self.texts.read(self.model, term), path)

    def _many(self, value: Many, shape: SetOf, path: Path) -> list[object]:
        inside = [item.value for item in value.items if value_of(self.model, item.guard)]
        if value.is_opaque:
            return [_plainest(shape.item) for _ in inside]
        found = [self.read(each, shape.item, path) for each in inside]
        return [each for n, each in enumerate(found) if each not in found[:n]]


_PLAINEST: dict[str, object] = {
    "String": "",
    "Long": 0,
    "Bool": False,
    "decimal": Decimal("0.00"),
    "datetime": instant(0),
}


def _plainest(shape: Shape) -> object:
    """An element of which nothing is asked."""
    if isinstance(shape, Record):
        return {each.name: _plainest(each.shape) for each in shape.attributes if not each.is_optional}
    if isinstance(shape, Scalar):
        return shape.values[0] if shape.values else _PLAINEST[shape.kind]
    return []


def _plain(value: object) -> object:
    """A context value in which the order of a list does not matter."""
    if isinstance(value, dict):
        return {name: _plain(inner) for name, inner in cast("dict[str, object]", value).items()}
    if isinstance(value, list):
        return sorted({repr(_plain(inner)) for inner in cast("list[object]", value)})
    return value
