"""Probes on how a call says what it wants: by position, in another type, under another name, inside something.

Each test asks the real gate about calls that would slip past a check which skips what it does not understand, under
rules that permit whatever no `forbid` catches. The numbers are those of the table in `docs/proof.md`.
"""

from __future__ import annotations

import json
from decimal import Decimal
from typing import TYPE_CHECKING, Annotated, Any

import pytest
from pydantic import AliasChoices, Field
from tests.probes.probe_till import (
    OPEN,
    Order,
    change_plan,
    forbid,
    pay_cents,
    pay_in,
    query,
    raw,
    refund,
    send_mail,
    slipped,
    through,
    transfer,
)

from answerable import Tool, tool
from answerable.errors import ToolError

if TYPE_CHECKING:
    from pathlib import Path

FULL_WIDTH = "９９９９"
ARABIC = "٩٩٩٩"
NOT_AMOUNTS = {
    "text with a comma": "9,999",
    "text with a decimal comma": "499,99",
    "text with an underscore": "9_999",
    "text with an apostrophe": "9'999",
    "exponent": "1e9",
    "small exponent": "1e-9",
    "hexadecimal": "0x270f",
    "fraction": "1/2",
    "full-width digits": FULL_WIDTH,
    "arabic digits": ARABIC,
    "superscript": "9²",
    "space before": " 9999",
    "space after": "9999 ",
    "no-break space": "9\u00a0999",
    "newline": "9999\n",
    "tab": "\t9999",
    "zero width": "9\u200b999",
    "right to left": "\u202e9999",
    "plus": "+9999",
    "two signs": "--9999",
    "currency": "$9999",
    "currency after": "9999 USD",
    "word": "not-a-number",
    "empty": "",
    "leading zero": "09999",
    "no whole part": ".5",
    "no fraction": "9999.",
    "two points": "9.9.9",
    "not a number": "NaN",
    "signalling": "sNaN",
    "infinity": "Infinity",
    "minus infinity": "-Infinity",
    "minus zero": "-0",
    "as JSON": '{"value": 1}',
    "half a character": "\ud800",
}


async def test_p01_an_amount_by_position_does_not_slip_past_a_rule_on_its_name(tmp_path: Path) -> None:
    """A cap on `amount` is not evaded by leaving the name out; nor by a name that is left out half."""
    cases: dict[str, Any] = {
        "all by position": (refund, ("o", Decimal(9999))),
        "below the cap, by position": (refund, ("o", Decimal(1))),
        "one value": (refund, (Decimal(9999),)),
        "a mapping by position": (refund, ({"order_id": "o", "amount": 9999},)),
    }
    came = await through(tmp_path, "program", cases)
    listed = await through(
        tmp_path,
        "model",
        {
            "a list": (refund, '["o", 9999]'),
            "one number": (refund, "9999"),
            "text": (refund, '"o, 9999"'),
            "a list in an object": (refund, '{"args": ["o", 9999]}'),
            "numbered": (refund, '{"0": "o", "1": 9999}'),
            "named args": (refund, '{"args": ["o", 9999], "kwargs": {}}'),
        },
    )

    assert {name: (each.sent, each.intents, each.decided) for name, each in came.items()} == dict.fromkeys(
        cases, ((), 0, ())
    )
    assert all("by position" in each.error for each in came.values())
    assert slipped(listed) == {}
    assert {each.code for each in listed.values()} == {"invalid_call"}


async def test_p01_a_tool_that_takes_positions_is_no_tool() -> None:
    """`*args`, `**kwargs` and positional-only parameters cannot be gated by name, and are refused."""

    async def by_star(*amounts: int) -> str:
        """Pay."""
        return ""

    async def by_names(**amounts: int) -> str:
        """Pay."""
        return ""

    async def by_slash(amount: int, /) -> str:
        """Pay."""
        return ""

    for function in (by_star, by_names, by_slash):
        with pytest.raises(ToolError, match="name"):
            tool(mode="at_most_once")(function)
    with pytest.raises(ToolError, match="cannot be called directly"):
        refund("o", Decimal(9999))


async def test_p02_a_wrong_type_is_refused_and_not_skipped_by_a_deny_first_rule(tmp_path: Path) -> None:
    """`"60000"` under a cap on a whole number; and everything else that is no whole number."""
    wrong = {
        "text": '"60000"',
        "a float": "60000.0",
        "a float below the cap": "1.5",
        "an exponent": "6e4",
        "true": "true",
        "false": "false",
        "null": "null",
        "a list": "[60000]",
        "an object": '{"value": 60000}',
        "too long": "6" * 30,
    }
    came = await through(
        tmp_path,
        "model",
        {name: (pay_cents, raw(order_id='"o"', cents=text)) for name, text in wrong.items()},
    )
    values: dict[str, object] = {
        "text": "60000",
        "a float": 60000.0,
        "a decimal": Decimal(60000),
        "true": True,
        "none": None,
        "bytes": b"60000",
        "a list": [60000],
        "an object": object(),
        "a complex number": 60000j,
    }
    called = await through(
        tmp_path,
        "program",
        {name: (pay_cents, {"order_id": "o", "cents": value}) for name, value in values.items()},
    )
    good = await through(
        tmp_path,
        "model",
        {
            "at the cap": (pay_cents, raw(order_id='"o"', cents="50000")),
            "over it": (pay_cents, raw(order_id='"o"', cents="50001")),
        },
    )

    assert slipped(came) == {}
    assert slipped(called) == {}
    assert {each.code for each in (*came.values(), *called.values())} == {"invalid_call"}
    assert good["at the cap"].sent == (("o", 50000),)
    assert (good["over it"].is_refused, good["over it"].rules) == (True, ("cents-cap",))


async def test_p03_text_that_is_nearly_a_number_is_no_amount(tmp_path: Path) -> None:
    """Separators, exponents, other digits, white space, signs: one spelling counts, and only that."""
    came = await through(
        tmp_path,
        "model",
        {name: (refund, json.dumps({"order_id": "o", "amount": text})) for name, text in NOT_AMOUNTS.items()},
    )
    called = await through(
        tmp_path,
        "program",
        {name: (refund, {"order_id": "o", "amount": text}) for name, text in NOT_AMOUNTS.items()},
    )
    plain = {"499.99": "499.99", "500": "500", "500.00": "500.00", "0.5": "0.5"}
    good = await through(
        tmp_path,
        "model",
        {name: (refund, json.dumps({"order_id": name, "amount": text})) for name, text in plain.items()},
    )

    assert slipped(came) == {}
    assert slipped(called) == {}
    assert {name: each.sent for name, each in good.items()} == {
        name: ((name, Decimal(text)),) for name, text in plain.items()
    }


async def test_p04_a_wrong_type_from_the_other_side_of_a_wire_is_refused(tmp_path: Path) -> None:
    """What arrives as text, as from a gateway, is held to the same schema: nothing is passed on to be looked at later."""
    bodies = {
        "not a number": raw(order_id='"o"', amount='"not-a-number"'),
        "a number for text": raw(order_id="5", amount="5"),
        "an object for text": raw(order_id='{"id": "o"}', amount="5"),
        "null for text": raw(order_id="null", amount="5"),
        "missing": raw(order_id='"o"'),
        "nothing": "",
        "an empty object": "{}",
        "null": "null",
        "cut": '{"order_id": "o", "amount": 5',
        "two objects": raw(order_id='"o"', amount="5") * 2,
        "rubbish after": raw(order_id='"o"', amount="5") + " ok",
        "a comment": '{"order_id": "o", /* small */ "amount": 5}',
        "a comma too many": '{"order_id": "o", "amount": 5,}',
        "single quotes": "{'order_id': 'o', 'amount': 5}",
        "no quotes": "{order_id: 'o', amount: 5}",
        "a byte order mark": "\ufeff" + raw(order_id='"o"', amount="5"),
        "half a character": '{"order_id": "\\udcff", "amount": 5}',
        "too deep": '{"order_id": ' + "[" * 5000 + "]" * 5000 + ', "amount": 5}',
        "too large": raw(order_id='"' + "o" * 70_000 + '"', amount="5"),
    }

    came = await through(tmp_path, "model", {name: (refund, text) for name, text in bodies.items()})

    assert slipped(came) == {}
    assert {each.code for each in came.values()} == {"invalid_call"}


async def test_p15_a_field_under_another_name_is_refused(tmp_path: Path) -> None:
    """Extra, renamed, aliased and doubled names: exactly the declared ones, once each."""
    given = {
        "short": raw(order_id='"o"', amt="9999"),
        "short beside": raw(order_id='"o"', amount="1", amt="9999"),
        "capital": raw(order_id='"o"', Amount="9999"),
        "capital beside": raw(order_id='"o"', amount="1", Amount="9999"),
        "upper case": raw(ORDER_ID='"o"', AMOUNT="9999"),
        "camel case": raw(orderId='"o"', amount="9999"),
        "dashes": '{"order-id": "o", "amount": 9999}',
        "space after": '{"order_id": "o", "amount ": 9999}',
        "space beside": '{"order_id": "o", "amount": 1, " amount": 9999}',
        "zero width": '{"order_id": "o", "amount": 1, "amount\\u200b": 9999}',
        "cyrillic": '{"order_id": "o", "amount": 1, "аmount": 9999}',
        "full width": '{"order_id": "o", "amount": 1, "ａmount": 9999}',
        "escaped twice": '{"order_id": "o", "amount": 1, "\\u0061mount": 9999}',
        "twice, large last": '{"order_id": "o", "amount": 1, "amount": 9999}',
        "twice, large first": '{"order_id": "o", "amount": 9999, "amount": 1}',
        "twice the same": '{"order_id": "o", "amount": 1, "amount": 1}',
        "dotted": '{"order_id": "o", "amount": 1, "args.amount": 9999}',
        "injected: key": '{"order_id": "o", "amount": 1, "key": "mine"}',
        "injected: till": '{"order_id": "o", "amount": 1, "till": {}}',
        "dunder": '{"order_id": "o", "amount": 1, "__proto__": {"amount": 9999}}',
        "wrapped": '{"arguments": {"order_id": "o", "amount": 9999}}',
        "kwargs": '{"kwargs": {"order_id": "o", "amount": 9999}}',
        "empty name": '{"order_id": "o", "amount": 1, "": 9999}',
    }
    inner = {
        "inner twice": '{"order": {"amount": 1, "to": ["DE1"], "amount": 9999}}',
        "inner extra": '{"order": {"amount": 1, "to": ["DE1"], "amt": 9999}}',
        "inner capital": '{"order": {"Amount": 9999, "to": ["DE1"]}}',
    }
    cases = {name: (refund, text) for name, text in given.items()}
    cases |= {name: (transfer, text) for name, text in inner.items()}
    came = await through(tmp_path, "model", cases)
    called = await through(
        tmp_path,
        "program",
        {
            "short": (refund, {"order_id": "o", "amt": Decimal(9999)}),
            "capital beside": (refund, {"order_id": "o", "amount": Decimal(1), "Amount": Decimal(9999)}),
            "injected": (refund, {"order_id": "o", "amount": Decimal(1), "till": None}),
            "inner extra": (transfer, {"order": {"amount": Decimal(1), "to": ["DE1"], "amt": 9999}}),
            "key that is no text": (transfer, {"order": {1: Decimal(1)}}),
        },
    )

    assert slipped(came) == {}
    assert slipped(called) == {}
    assert {each.code for each in (*came.values(), *called.values())} == {"invalid_call"}


async def test_p15_an_alias_is_refused_when_the_tool_is_declared() -> None:
    """One name per argument: a second one would be a door beside the rules."""
    for field in (
        Field(alias="amt"),
        Field(validation_alias="amt"),
        Field(validation_alias=AliasChoices("amount", "amt")),
    ):

        async def pay(amount: int) -> str:
            """Pay."""
            return ""

        pay.__annotations__["amount"] = Annotated[int, field]
        with pytest.raises(ToolError, match="alias"):
            tool(mode="at_most_once")(pay)


async def test_p15_what_is_left_out_is_decided_as_what_the_tool_gets(tmp_path: Path) -> None:
    """A default counts as given; null for what may be left out is the same as leaving it out."""
    rules = (
        OPEN
        + forbid("long", "change_plan", "when { context.args.days > 20 }")
        + forbid("noted", "change_plan", "unless { context.args has note }")
    )
    came = await through(
        tmp_path,
        "model",
        {
            "all given": (change_plan, '{"plan": "paid", "days": 5, "note": "x"}'),
            "default too long": (change_plan, '{"plan": "paid", "note": "x"}'),
            "null for a number": (change_plan, '{"plan": "paid", "days": null, "note": "x"}'),
            "no note": (change_plan, '{"plan": "paid", "days": 5}'),
            "null note": (change_plan, '{"plan": "paid", "days": 5, "note": null}'),
            "off the list": (change_plan, '{"plan": "PAID", "days": 5, "note": "x"}'),
            "nearly on the list": (change_plan, '{"plan": "paid ", "days": 5, "note": "x"}'),
        },
        policy=rules,
    )

    assert came.pop("all given").sent == (("paid", 5, "x"),)
    assert slipped(came) == {}
    assert {name: each.rules for name, each in came.items() if each.code == "policy_denied"} == {
        "default too long": ("long",),
        "no note": ("noted",),
        "null note": ("noted",),
    }


async def test_p18_a_cap_holds_inside_a_container(tmp_path: Path) -> None:
    """A nested amount, a list of recipients with one bad among many, JSON in the place of what it describes."""
    bad: dict[str, object] = {
        "too much inside": {"order": {"amount": "9999", "to": ["DE1"]}},
        "text with a comma inside": {"order": {"amount": "9,999", "to": ["DE1"]}},
        "not inside": {"amount": "1", "to": ["DE1"]},
        "twice inside": {"order": {"order": {"amount": "1", "to": ["DE1"]}}},
        "JSON in text": {"order": '{"amount": 1, "to": ["DE1"]}'},
        "a list of orders": {"order": [{"amount": "1", "to": ["DE1"]}]},
        "a list for the amount": {"order": {"amount": ["1", "9999"], "to": ["DE1"]}},
        "an object for the amount": {"order": {"amount": {"value": 1}, "to": ["DE1"]}},
        "one bad of three": {"order": {"amount": "1", "to": ["DE1", "EVIL", "DE2"]}},
        "bad last": {"order": {"amount": "1", "to": ["DE1", "DE2", "EVIL"]}},
        "bad twice": {"order": {"amount": "1", "to": ["EVIL", "EVIL"]}},
        "text for the list": {"order": {"amount": "1", "to": "DE1"}},
        "an object for the list": {"order": {"amount": "1", "to": {"0": "DE1"}}},
        "a list in the list": {"order": {"amount": "1", "to": [["DE1"]]}},
        "null in the list": {"order": {"amount": "1", "to": ["DE1", None]}},
        "a number in the list": {"order": {"amount": "1", "to": ["DE1", 5]}},
        "joined in one": {"order": {"amount": "1", "to": ["DE1,EVIL"]}},
        "look-alike in the list": {"order": {"amount": "1", "to": ["DE1", "DЕ2"]}},
        "hidden in the list": {"order": {"amount": "1", "to": ["DE1", "DE2\u200b"]}},
    }
    came = await through(
        tmp_path, "model", {name: (transfer, json.dumps(given)) for name, given in bad.items()}
    )
    called = await through(
        tmp_path,
        "program",
        {
            "a model": (transfer, {"order": Order(amount=Decimal(9999), to=["DE1"])}),
            "a model with one bad": (transfer, {"order": Order(amount=Decimal(1), to=["DE1", "EVIL"])}),
            "a model that was not validated": (
                transfer,
                {"order": Order.model_construct(amount="9999", to=["DE1"], note="")},
            ),
            "a tuple with one bad": (
                transfer,
                {"order": {"amount": Decimal(1), "to": ("DE1", "EVIL"), "note": ""}},
            ),
            "a generator": (transfer, {"order": {"amount": Decimal(1), "to": (each for each in ["DE1"])}}),
        },
    )
    good = await through(
        tmp_path,
        "model",
        {
            "right": (transfer, '{"order": {"amount": "499.99", "to": ["DE1", "DE2"]}}'),
            "JSON where text is": (
                transfer,
                '{"order": {"amount": 1, "to": [], "note": "{\\"amount\\": 9999}"}}',
            ),
        },
    )

    assert slipped(came) == {}
    assert slipped(called) == {}
    assert good["right"].sent == ((Decimal("499.99"), ("DE1", "DE2"), ""),)
    assert good["JSON where text is"].sent == ((Decimal(1), (), '{"amount": 9999}'),)


async def test_p18_what_is_decided_is_what_is_sent_although_the_caller_keeps_the_list(tmp_path: Path) -> None:
    """A value that its owner changes while the call is under way changes neither the decision nor the send."""
    to = ["ana@corp.example"]

    class Sly(list[str]):
        """A list that looks different the second time."""

        def __iter__(self) -> Any:
            found = list(super().__iter__())
            self[:] = ["eve@evil.example"]
            return iter(found)

    came = await through(
        tmp_path,
        "program",
        {
            "sly": (send_mail, {"to": Sly(["ana@corp.example"]), "body": "hello"}),
            "kept": (send_mail, {"to": to, "body": "hello again"}),
        },
    )
    to[:] = ["eve@evil.example"]

    assert came["kept"].sent == ((("ana@corp.example",), "hello again"),)
    assert [each for each in came["sly"].sent if "eve" in str(each)] == []


async def test_the_same_calls_pass_where_nothing_is_wrong_with_them(tmp_path: Path) -> None:
    """What the probes ask for in a wrong way is permitted in the right one: they fail for the reason they are about."""
    right: dict[str, tuple[Tool, str, object]] = {
        "refund": (refund, '{"order_id": "o", "amount": 1}', ("o", Decimal(1))),
        "cents": (pay_cents, '{"order_id": "o", "cents": 1}', ("o", 1)),
        "transfer": (transfer, '{"order": {"amount": 1}}', (Decimal(1), (), "")),
        "mail": (send_mail, '{"to": ["ana@corp.example"], "body": "ü\\n"}', (("ana@corp.example",), "ü\n")),
        "query": (query, '{"action": "read", "table": "orders"}', ("read", "orders")),
        "plan": (change_plan, '{"plan": "paid"}', ("paid", 30, None)),
        "pay": (pay_in, '{"amount": "0.01", "currency": "USD"}', (Decimal("0.01"), "USD")),
    }
    came = await through(tmp_path, "model", {name: (what, text) for name, (what, text, _) in right.items()})

    assert {name: each.sent for name, each in came.items()} == {
        name: (given,) for name, (_, _, given) in right.items()
    }
