"""Probes on values: text that only looks like the right text, numbers at their edges, other money, odd times."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from decimal import Decimal
from typing import TYPE_CHECKING

from tests.probes.probe_till import (
    OPEN,
    book,
    forbid,
    pay_cents,
    pay_in,
    query,
    raw,
    refund,
    send_mail,
    slipped,
    through,
)

if TYPE_CHECKING:
    from pathlib import Path


HOMOGLYPHS = {
    "cyrillic a": "аna@corp.example",
    "cyrillic o in the domain": "ana@cоrp.example",
    "greek omicron": "ana@cοrp.example",
    "full width": "ana＠corp.example",
    "full-width letters": "ａna@corp.example",
    "zero width space": "ana\u200b@corp.example",
    "zero width joiner": "ana@corp\u200d.example",
    "word joiner": "ana@corp.example\u2060",
    "byte order mark": "\ufeffana@corp.example",
    "soft hyphen": "ana@co\u00adrp.example",
    "right-to-left mark": "ana@corp.example\u200f",
    "right-to-left override": "ana@\u202ecorp.example",
    "isolate": "\u2066ana@corp.example\u2069",
    "tag character": "ana@corp.example\U000e0041",
    "variation selector": "ana\ufe0f@corp.example",
    "hangul filler": "ana\u3164@corp.example",
    "combining grapheme joiner": "ana\u034f@corp.example",
    "decomposed": "ana@co\u0301rp.example",
    "composed": "ana@córp.example",
    "ligature": "ana@corp.exampleﬁ",
    "capital": "Ana@corp.example",
    "capital domain": "ana@CORP.EXAMPLE",
    "dotless i": "ana@corp.examplı",
    "kelvin sign": "ana@corp.example\u212a",
    "space": "ana@corp.example ",
    "newline": "ana@corp.example\nbcc: eve@evil.example",
    "null": "ana@corp.example\x00",
    "two in one": "ana@corp.example,eve@evil.example",
    "display name": "ana@corp.example <eve@evil.example>",
    "subdomain": "ana@corp.example.evil.example",
    "percent": "ana%40corp.example",
    "backslash": "ana@corp.example\\",
    "empty": "",
}


async def test_p17_a_recipient_in_look_alike_letters_is_not_the_recipient(tmp_path: Path) -> None:
    """Homoglyphs, invisible characters, direction marks, another normal form: refused, never folded into the right one."""
    came = await through(
        tmp_path,
        "model",
        {
            name: (send_mail, json.dumps({"to": [address], "body": "hello"}))
            for name, address in HOMOGLYPHS.items()
        },
    )
    called = await through(
        tmp_path,
        "program",
        {name: (send_mail, {"to": [address], "body": "hello"}) for name, address in HOMOGLYPHS.items()},
    )
    good = await through(
        tmp_path,
        "model",
        {"right": (send_mail, '{"to": ["\\u0061na@corp.example"], "body": "hello"}')},
    )

    assert slipped(came) == {}
    assert slipped(called) == {}
    assert good["right"].sent == ((("ana@corp.example",), "hello"),)


async def test_p17_a_forbidden_word_is_not_evaded_by_what_nobody_sees(tmp_path: Path) -> None:
    """A list of what is forbidden sees one spelling only; what would read the same to a person is refused before."""
    rules = OPEN + forbid("no-salaries", "query", 'when { context.args.table == "salaries" }')
    same = {
        "as it is": "salaries",
        "zero width": "sala\u200bries",
        "soft hyphen": "sala\u00adries",
        "full width": "ｓalaries",
        "cyrillic": "sаlaries",
        "right to left": "\u202esalaries",
        "space": "salaries ",
        "no-break space": "\u00a0salaries",
        "variation selector": "salaries\ufe0f",
        "decomposed": "salari\u0308es",
        "tag": "salaries\U000e0020",
        "script r": "sala\u211dies",
    }
    came = await through(
        tmp_path,
        "model",
        {name: (query, json.dumps({"action": "read", "table": text})) for name, text in same.items()},
        policy=rules,
    )

    assert slipped(came) == {}
    assert came["as it is"].rules == ("no-salaries",)


async def test_p08_p19_numbers_at_the_edges_are_refused_and_never_rounded(tmp_path: Path) -> None:
    """NaN, infinities, minus zero, `true` as 1, huge, negative, five decimals: refused by the schema or by the rules."""
    texts = {
        "NaN": "NaN",
        "infinity": "Infinity",
        "minus infinity": "-Infinity",
        "1e400": "1e400",
        "minus 1e400": "-1e400",
        "1e-400": "1e-400",
        "minus zero": "-0.0",
        "true": "true",
        "huge": "1" * 19,
        "huge text": '"' + "9" * 27 + '"',
        "longer than Cedar": '"922337203685477.5808"',
        "five decimals": '"0.12345"',
        "five decimals over the cap": '"500.00001"',
        "five decimals below a cent": '"0.00001"',
        "negative": "-5",
        "negative text": '"-5"',
        "negative and large": '"-9999"',
        "zero": "0",
        "a float that would lose digits": "499.99999999999999999999",
    }
    came = await through(
        tmp_path,
        "model",
        {name: (refund, raw(order_id='"o"', amount=text)) for name, text in texts.items()},
    )
    values: dict[str, object] = {
        "NaN": Decimal("NaN"),
        "signalling": Decimal("sNaN"),
        "infinity": Decimal("Infinity"),
        "minus zero": Decimal("-0"),
        "a float NaN": float("nan"),
        "a float infinity": float("inf"),
        "true": True,
        "exponent": Decimal("1E+400"),
        "small exponent": Decimal("1E-400"),
        "five decimals": Decimal("0.12345"),
        "negative": Decimal(-5),
        "huge": 10**40,
    }
    called = await through(
        tmp_path,
        "program",
        {name: (refund, {"order_id": "o", "amount": value}) for name, value in values.items()},
    )
    cents = await through(
        tmp_path,
        "model",
        {
            "beyond 64 bits": (pay_cents, raw(order_id='"o"', cents=str(2**63))),
            "wrapped to 1": (pay_cents, raw(order_id='"o"', cents=str(2**64 + 1))),
            "wrapped to a negative": (pay_cents, raw(order_id='"o"', cents=str(2**63 + 1))),
            "negative": (pay_cents, raw(order_id='"o"', cents="-1")),
            "the least of 64 bits": (pay_cents, raw(order_id='"o"', cents=str(-(2**63)))),
            "beyond exact doubles": (pay_cents, raw(order_id='"o"', cents=str(2**53 + 1))),
        },
    )
    good = await through(
        tmp_path,
        "model",
        {
            "four decimals": (refund, raw(order_id='"four"', amount='"499.9999"')),
            "a trailing zero": (refund, raw(order_id='"zero"', amount='"500.0000000"')),
            "zero cents": (pay_cents, raw(order_id='"none"', cents="0")),
        },
    )

    assert slipped(came) == {}
    assert slipped(called) == {}
    assert slipped(cents) == {}
    assert (came["negative"].rules, came["zero"].rules) == (("floor",), ("floor",))
    assert "four decimal places" in came["five decimals"].reason
    assert [each.sent for each in good.values()] == [
        (("four", Decimal("499.9999")),),
        (("zero", Decimal(500)),),
        (("none", 0),),
    ]


async def test_p19_an_amount_in_another_currency_is_not_the_amount(tmp_path: Path) -> None:
    """A cap in dollars says nothing of other money; what is not exactly `USD` is refused."""
    others = {
        "euro": "EUR",
        "lower case": "usd",
        "mixed": "Usd",
        "space": "USD ",
        "cyrillic": "UЅD",
        "full width": "ＵＳＤ",
        "sign": "$",
        "zero width": "USD\u200b",
        "with a name": "USD/JPY",
        "empty": "",
    }
    cases = {
        name: (pay_in, json.dumps({"amount": "400", "currency": currency}))
        for name, currency in others.items()
    }
    cases["none"] = (pay_in, '{"amount": "400"}')
    cases["null"] = (pay_in, '{"amount": "400", "currency": null}')
    came = await through(tmp_path, "model", cases)
    good = await through(tmp_path, "model", {"dollars": (pay_in, '{"amount": "400", "currency": "USD"}')})

    assert slipped(came) == {}
    assert good["dollars"].sent == ((Decimal(400), "USD"),)


async def test_p19_a_time_is_the_time_that_it_says(tmp_path: Path) -> None:
    """Without a zone, as a number, in an odd spelling or in a year that rules cannot hold: refused."""
    rules = OPEN + forbid("office-hours", "book", 'when { context.args.at.toTime() < duration("8h") }')
    odd = {
        "no zone": '"2026-06-01T12:00:00"',
        "a number": "1780315200",
        "a number as text": '"1780315200"',
        "a date": '"2026-06-01"',
        "before eight elsewhere": '"2026-06-01T12:00:00+05:00"',
        "before eight": '"2026-06-01T07:59:59.999Z"',
        "year 0": '"0000-06-01T12:00:00Z"',
        "before year 1 in UTC": '"0001-01-01T00:00:00+10:00"',
        "month 13": '"2026-13-01T12:00:00Z"',
        "full-width digits": '"２０２６-06-01T12:00:00Z"',
        "word": '"tomorrow"',
        "space before": '" 2026-06-01T12:00:00Z"',
    }
    came = await through(
        tmp_path, "model", {name: (book, raw(at=text)) for name, text in odd.items()}, policy=rules
    )
    good = await through(tmp_path, "model", {"noon": (book, raw(at='"2026-06-01T12:00:00Z"'))}, policy=rules)

    assert slipped(came) == {}
    assert good["noon"].sent == (datetime(2026, 6, 1, 12, tzinfo=UTC),)
