"""From a request to the context: exact or refused. A value is never rounded, skipped or guessed."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal, getcontext, localcontext
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Literal, TypedDict, cast

import pytest

from answerable.gates.policy.context import NotExpressible, build_context, check_context, encode
from answerable.gates.policy.schema import tool_shapes
from answerable.gates.policy.shape import BOOL, DATETIME, DECIMAL, LONG, STRING, SetOf, shape_of
from answerable.gates.request import Label, Origin, PolicyRequest, TotalValue
from answerable.kernel.decision import Verdict

if TYPE_CHECKING:
    from conftest import Desk


class Owner(TypedDict, total=False):
    name: str


class Pet(TypedDict):
    kind: Literal["cat"]
    owner: Owner


def context_of(desk: Desk, request: PolicyRequest) -> dict[str, Any]:
    """The context of a request for one of the desk's tools."""
    return cast("dict[str, Any]", build_context(request, tool_shapes(desk.tools)[request.tool.name]))


def test_the_whole_context(desk: Desk) -> None:
    """Arguments, labels, facts, totals, the run and the time; absent options are not there at all."""
    found = context_of(
        desk, desk.refund("20.5", labels={"order_id": Label(origin="field", sources=("ticket",))})
    )

    untrusted = {"trusted": False, "origin": "none", "sources": [], "classes": [], "unknown_address": False}
    assert found == {
        "args": {"order_id": "A-1", "amount_usd": "20.5000", "reason": "broken", "tags": [], "items": []},
        "labels": {
            "order_id": {
                "trusted": True,
                "origin": "field",
                "sources": ["ticket"],
                "classes": [],
                "unknown_address": False,
            },
            "amount_usd": untrusted,
            "reason": untrusted,
            "note": untrusted,
            "tags": untrusted,
            "items": untrusted,
            "extra": untrusted,
        },
        "facts": {
            "order": {
                "id": "A-1",
                "total_usd": "900.0000",
                "status": "paid",
                "placed": "2026-06-01T12:00:00.000Z",
            }
        },
        "totals": {"refunded": {"amount": "20.0000", "count": 0}},
        "run": {
            "autonomy": "capped",
            "on_behalf_of": "user-1",
            "calls_before": 0,
            "classes_read": [],
            "read_untrusted": True,
        },
        "session": {},
        "history": {tool.name: {"decided": 0, "done": 0, "last": 0} for tool in desk.tools},
        "budget": {},
        "now": "2026-06-01T12:00:00.000Z",
    }


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"facts": {"customer": None}}, "facts.order is missing"),
        ({"facts": {"order": None, "customer": None}}, "facts.order is missing"),
        ({"facts": {"ordre": None}}, "`ordre` is not a fact of this tool"),
        ({"facts": {"order": {"id": "A-1"}}}, "facts.order.total_usd is missing"),
        ({"totals": {}}, "totals.refunded: Field required"),
        (
            {"totals": {"refunded": TotalValue(amount=Decimal("0.00001"), count=0)}},
            "more than four decimal places",
        ),
        ({"totals": {"refunded": TotalValue(amount=Decimal(1), count=2**63)}}, "totals.refunded.count"),
        (
            {"totals": {"refunded": TotalValue(amount=Decimal(1), count=cast("int", "3"))}},
            "totals.refunded.count",
        ),
        ({"labels": {"amuont": Label(origin="field")}}, "amuont"),
        ({"labels": {"note": Label(origin=cast("Origin", "yes"))}}, "labels.note.origin"),
        ({"labels": {"note": Label(origin="field", sources=("\ud800",))}}, "lone surrogate"),
        ({"autonomy": "fulll"}, "run.autonomy"),
        ({"calls_before": True}, "run.calls_before"),
        ({"on_behalf_of": None}, "run.on_behalf_of is a NoneType, not text"),
        ({"on_behalf_of": "\udc00"}, "run.on_behalf_of holds a lone surrogate"),
        ({"now_us": 10**30}, "now is beyond the years 1 to 9999"),
    ],
)
def test_a_request_that_does_not_fit_is_refused_and_denied(
    desk: Desk, changes: dict[str, Any], message: str
) -> None:
    """P14: missing, misspelt, of the wrong type: Cedar would skip a rule over it, so it never gets there."""
    request = replace(desk.refund(), **changes)

    with pytest.raises(NotExpressible) as caught:
        context_of(desk, request)
    assert message in str(caught.value)
    decision = desk.load().decide(request)
    assert decision.verdict is Verdict.DENY
    assert decision.reason.startswith("the call cannot be shown to the rules: ")


@pytest.mark.parametrize(
    ("amount", "text"),
    [
        ("0", "0.0000"),
        ("-0", "-0.0000"),
        ("500.0001", "500.0001"),
        ("1.50000", "1.5000"),
        ("1E+3", "1000.0000"),
        ("922337203685477.5807", "922337203685477.5807"),
        ("-922337203685477.5808", "-922337203685477.5808"),
    ],
)
def test_a_decimal_is_exact(amount: str, text: str) -> None:
    """Trailing zeros cost nothing; the whole of Cedar's range is there, whatever the process's precision."""
    assert encode(Decimal(amount), DECIMAL, "x") == text
    with localcontext() as narrow:
        narrow.prec = 3
        assert encode(Decimal(amount), DECIMAL, "x") == text
    assert getcontext().prec != 3


@pytest.mark.parametrize(
    "amount", ["NaN", "sNaN", "Infinity", "-Infinity", "1E+400", "1E-400", "0.00001", "922337203685477.5808"]
)
def test_a_decimal_that_cedar_cannot_hold_is_refused(amount: str) -> None:
    """P19: five places, too large, not a number."""
    with pytest.raises(NotExpressible, match=r"^x: "):
        encode(Decimal(amount), DECIMAL, "x")


@pytest.mark.parametrize(
    ("value", "shape", "message"),
    [
        ("20.00", DECIMAL, "x is a str, not a decimal"),
        (20, DECIMAL, "x is a int, not a decimal"),
        (20.0, DECIMAL, "x is a float, not a decimal"),
        (True, LONG, "x is a bool, not an integer"),
        ("1", LONG, "x is a str, not an integer"),
        (1.0, LONG, "x is a float, not an integer"),
        (2**63, LONG, "x is beyond 64 bits"),
        (-(2**63) - 1, LONG, "x is beyond 64 bits"),
        (1, BOOL, "x is a int, not true or false"),
        (1, STRING, "x is a int, not text"),
        ("a\ud800b", STRING, "x holds a lone surrogate"),
        ("ab", SetOf(STRING), "x is a str, not a list"),
        ({"a": 1}, SetOf(STRING), "x is a dict, not a list"),
        (["a", 1], SetOf(STRING), r"x\[\] is a int, not text"),
        ("2026-01-01", DATETIME, "x is a str, not a date and time"),
        (datetime(2026, 1, 1), DATETIME, "x has no time zone"),
        (datetime(1, 1, 1, tzinfo=timezone(timedelta(hours=1))), DATETIME, "x is beyond the years 1 to 9999"),
    ],
)
def test_a_value_of_another_type_is_refused(value: object, shape: Any, message: str) -> None:
    """P2, P3, P8, P18: no coercion of any kind; what was validated has its type already."""
    with pytest.raises(NotExpressible, match=f"^{message}$"):
        encode(value, shape, "x")


def test_values_in_their_cedar_form() -> None:
    """Times in UTC to the millisecond, dates as midnight, enums and ids as text."""

    class Colour(StrEnum):
        RED = "red"

    berlin = timezone(timedelta(hours=2))

    assert (
        encode(datetime(2026, 6, 1, 14, 0, 0, 123_999, berlin), DATETIME, "x") == "2026-06-01T12:00:00.123Z"
    )
    assert encode(date(2026, 6, 1), DATETIME, "x") == "2026-06-01T00:00:00.000Z"
    assert encode(datetime(9999, 12, 31, tzinfo=UTC), DATETIME, "x") == "9999-12-31T00:00:00.000Z"
    assert encode(Colour.RED, STRING, "x") == "red"
    assert encode("Ünï", STRING, "x") == "Ünï"
    assert encode((2**63 - 1, -(2**63)), SetOf(LONG), "x") == [2**63 - 1, -(2**63)]
    assert encode(False, BOOL, "x") is False


def test_a_typed_dict_is_read_like_a_model() -> None:
    """A missing part is refused unless it may be missing."""
    found = shape_of(Pet, "x", [])

    assert found is not None
    assert encode({"kind": "cat", "owner": {}}, found[0], "x") == {"kind": "cat", "owner": {}}
    with pytest.raises(NotExpressible, match=r"^x\.owner is missing$"):
        encode({"kind": "cat"}, found[0], "x")


def test_the_check_stands_apart_from_the_builder(desk: Desk) -> None:
    """Even a context that was built wrongly does not get through to Cedar."""
    shape = tool_shapes(desk.tools)["create_refund"]
    context = context_of(desk, desk.refund())
    check_context(context, shape.validator)

    for wrong, message in (
        ({"args": context["args"] | {"amount_usd": 700}}, "args.amount_usd"),
        ({"args": context["args"] | {"amount_usd": "700"}}, "args.amount_usd"),
        ({"args": context["args"] | {"ntoe": "x"}}, "args.ntoe"),
        ({"approval": True}, "approval"),
        ({"facts": {"order": context["facts"]["order"] | {"status": "PAID"}}}, "facts.order.status"),
    ):
        with pytest.raises(NotExpressible, match=f"^{message}: "):
            check_context(context | wrong, shape.validator)
