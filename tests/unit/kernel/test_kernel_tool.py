"""Templates over arguments and facts, and the digest of what a tool means."""

from __future__ import annotations

from dataclasses import dataclass, replace
from decimal import Decimal
from enum import StrEnum
from typing import Any

import pytest
from pydantic import BaseModel, TypeAdapter

from answerable.kernel.marks import Marks
from answerable.kernel.tool import (
    EffectClass,
    Impact,
    TemplateError,
    ToolSpec,
    Total,
    UpTo,
    WriteMode,
    fields_of,
    holes,
    look_up,
    render,
)


class Size(StrEnum):
    """Text with a closed list."""

    SMALL = "s"


@dataclass
class Order:
    """Something with attributes."""

    id: str
    total: Decimal


VALUES: dict[str, object] = {
    "order": Order("A-1", Decimal("10.50")),
    "map": {"deep": {"er": "x"}},
    "size": Size.SMALL,
    "number": 7,
    "flag": True,
    "none": None,
    "list": ["a"],
}


@pytest.mark.parametrize(
    ("template", "text"),
    [
        ("", ""),
        ("refund:{order.id}", "refund:A-1"),
        ("{map.deep.er}/{size}/{number}/{order.total}", "x/s/7/10.5"),
        ("no holes {} {1} { a }", "no holes {} {1} { a }"),
    ],
)
def test_a_template_is_filled_from_arguments_and_facts(template: str, text: str) -> None:
    """Mappings and objects alike."""
    assert render(template, VALUES) == text


def test_one_amount_names_one_target() -> None:
    """Otherwise 1.0 and 1.00 would hold two claims for the same thing."""
    assert {render("{a}", {"a": Decimal(text)}) for text in ("1", "1.0", "1.00", "1E0")} == {"1"}


@pytest.mark.parametrize("template", ["{flag}", "{none}", "{list}", "{order}", "{map}", "{order.id.upper}"])
def test_only_plain_values_can_name_a_target(template: str) -> None:
    """What has no one spelling names nothing."""
    with pytest.raises(TemplateError, match="can name a target"):
        render(template, VALUES)


@pytest.mark.parametrize(
    "path", ["other", "order.ttl", "map.deep.other", "number.x", "none.x", "map.deep.er.x"]
)
def test_what_is_not_there_is_an_error_and_not_an_empty_text(path: str) -> None:
    """An empty target would be one target for everything."""
    with pytest.raises(TemplateError, match="not among"):
        look_up(path, VALUES)


def test_holes_are_listed_in_order() -> None:
    """As they are written."""
    assert holes("{b}:{a.c}{b}") == ("b", "a.c", "b")


class Given(BaseModel):
    """Arguments."""

    a: str


def make(**changes: Any) -> ToolSpec:
    """A tool with as little said as possible."""
    spec = ToolSpec(
        name="t",
        description="d",
        effect_class=EffectClass.WRITE,
        mode=WriteMode.UPSERT,
        arguments=Given,
        result=TypeAdapter(str),
    )
    return replace(spec, **changes)


@pytest.mark.parametrize(
    "change",
    [
        {"name": "u"},
        {"description": "e"},
        {"effect_class": EffectClass.IRREVERSIBLE},
        {"mode": WriteMode.AT_MOST_ONCE},
        {"result": TypeAdapter(int)},
        {"business_key": "{a}"},
        {"cardinality": UpTo(amount="a", total="a")},
        {"impact": Impact(money="a")},
        {"totals": (Total(name="x", of="a"),)},
        {"timeout_s": 1.0},
        {"plan_digest": "x"},
        {"undo": "v"},
        {"impact": Impact(deletes=1)},
        {"gives": Marks(inside={"a": Marks(sort="text", kind="iban", is_trusted=True)})},
    ],
    ids=lambda change: next(iter(change)),
)
def test_whatever_changes_the_meaning_of_a_tool_changes_its_fingerprint(change: dict[str, Any]) -> None:
    """A run is pinned to the tools that it began with."""
    assert make(**change).fingerprint() != make().fingerprint() == make().fingerprint()


def test_what_has_recipients_or_follows_an_address_is_outward() -> None:
    """An address tells its owner what stands in it, whatever the call is for."""
    url = Marks(inside={"a": Marks(sort="text", kind="url")})
    specs = (make(), make(impact=Impact()), make(impact=Impact(recipients="a")), make(takes=url))
    assert [each.is_outward for each in specs] == [False, False, True, True]


def test_a_read_is_no_write() -> None:
    """Everything else is."""
    assert [make(effect_class=each).is_write for each in EffectClass] == [False, True, True]


def test_the_fields_of_a_model_are_its_values_as_they_are() -> None:
    """Not their JSON: a decimal stays one, and an inner model too."""

    class Inner(BaseModel):
        amount: Decimal

    class Outer(BaseModel):
        inner: Inner
        name: str

    inner = Inner(amount=Decimal("1.50"))

    assert fields_of(Outer(inner=inner, name="a")) == {"inner": inner, "name": "a"}
