"""The first gate as an adversary sees it: nothing passes that is not exactly what was declared."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime, time
from decimal import Decimal
from enum import IntEnum, StrEnum
from types import MappingProxyType
from typing import Annotated, Any, Literal

import pytest
from pydantic import AfterValidator, BaseModel, BeforeValidator, Field, StringConstraints, create_model

from answerable.gates.schema import (
    ARGUMENTS_BYTES_MAX,
    DEPTH_MAX,
    MESSAGE_CHARS_MAX,
    Refused,
    accept,
    canonical,
    parse_object,
)
from answerable.kernel.secret import Secret
from answerable.kernel.tool import EffectClass, Text, ToolSpec
from answerable.tools.argument_types import Arguments, free_text


def spec(**fields: Any) -> ToolSpec:
    """A tool with these arguments."""
    given = {name: field if isinstance(field, tuple) else (field, ...) for name, field in fields.items()}
    model = create_model("arguments", __base__=Arguments, **given)
    return ToolSpec(
        name="t",
        description="d",
        effect_class=EffectClass.READ,
        arguments=model,
        result=None,
        free_text=free_text(model),  # type: ignore[arg-type]
    )


def x(kind: Any, raw: str) -> Any:
    """What the argument `x` of type `kind` becomes when `raw` stands in its place."""
    return accept(spec(x=kind), f'{{"x":{raw}}}').x  # type: ignore[attr-defined]


class Colour(StrEnum):
    """A closed list of text."""

    RED = "red"


class Level(IntEnum):
    """A closed list of integers."""

    ONE = 1


class Cat(Arguments):
    """One kind."""

    kind: Literal["cat"]
    name: str


class Dog(Arguments):
    """Another kind, with a remark."""

    kind: Literal["dog"]
    name: Text


class Order(Arguments):
    """A nested model."""

    amount: Decimal
    to: list[str] = Field(default_factory=list)
    note: Text = ""


REFUND = spec(order=str, amount=Annotated[Decimal, Field(gt=0, le=20_000)], note=(str | None, None))


def refund(**changes: str) -> Any:
    """The refund with some arguments written otherwise."""
    given = {"order": '"A-1"', "amount": "5"} | changes
    return accept(REFUND, "{" + ",".join(f'"{name}":{raw}' for name, raw in given.items()) + "}")


def test_what_is_written_as_declared_passes() -> None:
    """By a model as text, and by code as values."""
    assert refund().amount == Decimal(5)
    assert accept(REFUND, {"order": "A-1", "amount": Decimal("5.50")}).amount == Decimal("5.5")  # type: ignore[attr-defined]
    assert accept(REFUND, b'{"order":"A-1","amount":"5.50"}').note is None  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    "raw",
    [
        '"9,999"', '"1e9"', '"９９９９"', '" 9999"', '"9999 "', '"1_000"', '"0x10"', '"1/2"', '"٣"', '"+5"', '"05"', '".5"', '"5."',
        '"NaN"', '"Infinity"', '"-Infinity"', '"sNaN"', "NaN", "Infinity", "-Infinity", "1e400", "-1e400", "1e-400",
        "1e-99999999999999999999", '"1E+999999999"', "true", "false", "null", '"not-a-number"', "[5]", '{"value":5}', '"\\ud800"',
        "12345678901234567890.123456789", "9007199254740993.0", "1" * 30, "1" * 5000, "-0.0", '"-0"', '"-0.00"', "-1", "0", "20001",
        '""', '"5\\n"', '"5\\u200b"', '"۵"', '"0.1234567890123456789"', '"50000000000000000000000000000"',
    ],
)  # fmt: skip
def test_an_amount_is_a_plain_decimal_or_nothing(raw: str) -> None:
    """Whatever a rule could read as another number than the vendor does."""
    with pytest.raises(Refused):
        refund(amount=raw)


@pytest.mark.parametrize(
    "raw", ["5", "5.5", '"5"', '"5.50"', "1e2", "0.30000000000000004", '"0.12345"', '"0.000000000000000001"']
)
def test_an_amount_keeps_its_value_to_the_last_digit(raw: str) -> None:
    """Five places are for the policy to refuse: it is not a format error."""
    assert refund(amount=raw).amount == Decimal(raw.strip('"'))


def test_there_is_no_negative_zero() -> None:
    """It would be a second spelling of nothing."""
    for raw in ("-0.0", '"-0"', '"-0.00"'):
        with pytest.raises(Refused, match="is no amount"):
            x(Decimal, raw)
    assert x(Decimal, "-5") == -5, "a negative amount is for the declared limits to refuse"


@pytest.mark.parametrize("raw", ["NaN", "1e400", "Infinity"])
def test_a_number_that_is_none_does_not_become_a_missing_value(raw: str) -> None:
    """JSON has no word for it, and `null` would be somebody else's default."""
    with pytest.raises(Refused):
        x(Decimal | None, raw)
    with pytest.raises(Refused):
        accept(spec(x=(Decimal | None, None)), {"x": float(raw.lower().replace("infinity", "inf"))})
    with pytest.raises(Refused):
        accept(spec(x=(Decimal | None, None)), {"x": Decimal(raw) if raw != "1e400" else Decimal("1e4000")})


@pytest.mark.parametrize(
    "text",
    [
        '{"order":"A-1","amount":5,"amt":5}', '{"order":"A-1","Amount":5}', '{"order":"A-1","amount":5,"amount":900}',
        '{"order":"A-1","amount":5,"\\u0061mount":900}', '{"order":"A-1","amount ":5}', '{"order":"A-1","amount":5,"__proto__":{}}',
        '{"order":"A-1","ａmount":5}', '{"order":"A-1","аmount":5}', '{"order":"A-1"}', '{"amount":5}', "{}", "", "null", "[]", '"x"', "5",
        '["A-1",5]', '"{\\"order\\":\\"A-1\\",\\"amount\\":5}"', '{"order":"A-1","amount":5}}', '{"order":"A-1","amount":5,}',
        "{'order':'A-1','amount':5}", '{"order":"A-1","amount":5} {"order":"A-1","amount":900}', '{"order":{"order":"A-1"},"amount":5}',
        '{"args":{"order":"A-1","amount":5}}', '\ufeff{"order":"A-1","amount":5}', '{"order":["A-1"],"amount":5}', '{"\ud800":1,"\ud800":2}',
        '{"order":"A-1","amount":5,"note":"\ud800"}', '{"order":null,"amount":5}', '{"order":1,"amount":5}', '{"order":true,"amount":5}',
    ],
)  # fmt: skip
def test_an_object_has_exactly_the_declared_names_once(text: str) -> None:
    """No extra, no alias, no case variant, no second mention, nothing inside a text; and the reason can be written down."""
    with pytest.raises(Refused) as refused:
        accept(REFUND, text)
    str(refused.value).encode()


@pytest.mark.parametrize(
    "raw",
    [
        b"\xff\xfe{}", '{"order":"A-1","amount":5}'.encode("utf-16"), b'\xef\xbb\xbf{"order":"A-1","amount":5}', b'{"order":"\xed\xa0\x80","amount":5}',
        ("A-1", 5), ["A-1", 5], None, 5, object(), MappingProxyType({"order": "A-1", "amount": 5}), {1: 2}, {"order": "A-1", "amount": 10**30},
        {"order": Secret("x"), "amount": 5}, {"order": b"A-1", "amount": 5}, {"order": "A-1", "amount": 5j}, {"order": "\ud800", "amount": 5},
        {"order": "A-1", "amount": True}, {"order": "A-1", "amount": Decimal("1E+999999999")},
    ],
)  # fmt: skip
def test_values_from_code_are_held_to_the_same(raw: Any) -> None:
    """Positional, other encodings, other types, credentials: no."""
    with pytest.raises(Refused):
        accept(REFUND, raw)


@pytest.mark.parametrize(
    "text",
    [
        "A\u200b-1", "A\u200d1", "\u202eA-1", "A\u2066-1", "\ufeffA-1", "A-1\u00ad", "A\u0000", "A\x1b[2J", "A\x7f", "A\u2028B", "A\u115fB", "A\u1160B",
        "\u0301", "A-\u0301", "\u0301A", "A \u0301b", "7\u0301", "A\u3164B", "A\u034fB", "A\ufe0f", "A\u2800B", "A\U000e0041", "A\U000e0100", "A\ue000", "A\uffff", "A\u180eB", "A\u061c",
        "Ａ-1", "A-１", "A-\u0661", "A-\u06f1", "A-\u09e7", "①", "ﬁ", "²", "\u212b", "cafe\u0301", "pаypal", "раypal@example.com", "αbc", "Аndy",
        "ʟΑtin", "Ꭺnn", " A-1", "A-1 ", "A-1\n", "\tA-1", "A\u00a01", "A\u3000", "\u2003A",
    ],
)  # fmt: skip
def test_an_identifier_shows_all_that_it_is(text: str) -> None:
    """Invisible characters, other digits, look-alike letters, decomposed accents, white space at the ends."""
    assert text
    for kind, raw in (
        (str, text),
        (list[str], ["ok", text]),
        (dict[str, int], {text: 1}),
        (set[str], [text]),
        (str | None, text),
    ):
        with pytest.raises(Refused):
            x(kind, json.dumps(raw))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "A-1",
        "café",
        "Zoë Straße",
        "Андрей",
        "Ελένη",
        "東京",
        "한국",
        "عربي",
        "two words",
        "two\nlines",
        "a\tb",
        "Ann and Андрей",
        "😀",
    ],
)
def test_ordinary_words_of_any_language_pass(text: str) -> None:
    """One script a word is what people write."""
    assert x(str, json.dumps(text)) == text


@pytest.mark.parametrize(
    "text", [" hi ", "a\u200db", "\u200fשלום", "pаypal", "½ and … and ﬁ", "👩\u200d👧 \u2764\ufe0f", "a\r\nb"]
)
def test_text_for_people_may_hold_what_people_write(text: str) -> None:
    """Where it is marked: at the top, in a list, in a nested model."""
    assert x(Text, json.dumps(text)) == text
    assert x(list[Text], json.dumps([text])) == [text]
    assert x(Order, json.dumps({"amount": 1, "note": text})).note == text


def test_text_for_people_drives_no_terminal() -> None:
    """Whoever reads it does so in a terminal, too."""
    for text in ("\x1b[2J", "a\x00b", "\x9b1A", "\x07"):
        with pytest.raises(Refused, match="control"):
            x(Text, json.dumps(text))


@pytest.mark.parametrize(
    ("kind", "raw"),
    [
        (int, "true"), (int, "1.0"), (int, '"1"'), (int, "1e2"), (bool, "1"), (bool, '"true"'), (bool, "null"),
        (Literal[1], "true"), (Literal[1], "1.0"), (Literal[1], '"1"'), (Literal[True], "1"), (Literal[True], "1.0"), (Literal["a"], '"A"'),
        (Literal["a"], '"a "'), (Level, "true"), (Level, "1.0"), (Level, '"1"'), (Level, '"ONE"'), (Colour, '"RED"'), (Colour, '"Red"'), (Colour, "0"),
        (datetime, '"0001-01-01T00:00:00+10:00"'), (datetime, '"9999-12-31T23:59:59-01:00"'),
        (datetime, "1"), (datetime, '"1"'), (datetime, '"1767225600"'), (datetime, '"-1"'), (datetime, '"2026-02-30T00:00:00Z"'),
        (datetime, '"２026-01-01T00:00:00Z"'), (date, "1"), (date, '"1"'), (date, '"2026-01-01T00:00:00"'), (date, '"01/02/2026"'), (time, "1"),
        (list[int], '"12"'), (list[int], "[1,true]"), (list[int], '{"0":1}'), (list[str], '"abc"'), (list[str], '["ok",1]'), (list[str], '[["ok"]]'),
        (set[int], "[1,true]"), (set[int], "[1.0]"), (set[Literal[1]], "[true]"), (set[Level], "[true]"), (set[Cat], '[{"kind":"cat","name":"a"}]'),
        (tuple[int, str], '[1,"a","b"]'), (tuple[int, ...], '["1"]'), (dict[str, Decimal], '{"a":"1e9"}'), (dict[str, int], '{"a":true}'),
        (dict[str, list[Decimal]], '{"a":["1","9,999"]}'), (Order, '{"amount":"1e9"}'), (Order, '{"amount":5,"to":["a","b\\u200b"]}'),
        (Order, '"{\\"amount\\":5}"'), (Order, '{"amount":5,"more":1}'), (Order, '{"amount":5,"amount":6}'), (Order | None, '{"amount":" 5"}'),
        (list[Order], '[{"amount":5},{"amount":"٥"}]'), (Cat | Dog, '{"kind":"cat","name":"a\\u200b"}'), (Cat | Dog, '{"kind":"cow","name":"a"}'),
        (Annotated[Cat | Dog, Field(discriminator="kind")], '{"kind":"CAT","name":"a"}'), (float, "1.5"),
    ],
)  # fmt: skip
def test_nothing_is_converted(kind: Any, raw: str) -> None:
    """Nor is anything at any depth: one bad part among good ones is a bad call."""
    with pytest.raises(Refused):
        x(kind, raw)


@pytest.mark.parametrize(
    ("kind", "raw", "value"),
    [
        (int, "-0", 0), (bool, "true", True), (Literal[1], "1", 1), (Literal["a"] | None, "null", None), (Level, "1", Level.ONE),
        (Colour, '"red"', Colour.RED), (datetime, '"2026-01-01T00:00:00Z"', datetime(2026, 1, 1, tzinfo=UTC)), (date, '"2026-01-01"', date(2026, 1, 1)),
        (time, '"10:00"', time(10)), (set[int], "[1,1,2]", {1, 2}), (frozenset[Colour], '["red"]', {Colour.RED}), (tuple[int, ...], "[1,2]", (1, 2)),
        (dict[str, Decimal], '{"a":1.5}', {"a": Decimal("1.5")}), (Order, '{"amount":5}', Order(amount=Decimal(5))),
        (Cat | Dog, '{"kind":"dog","name":"a"}', Dog(kind="dog", name="a")), (list[Order | None], "[null]", [None]),
    ],
)  # fmt: skip
def test_each_allowed_type_has_a_spelling(kind: Any, raw: str, value: Any) -> None:
    """What is declared can be called."""
    assert x(kind, raw) == value


def test_a_tool_that_converts_its_own_arguments_opens_no_door() -> None:
    """Should one get past registration: what was written must still be the plain form of what came out."""
    lax: Any = BeforeValidator(lambda value: value["inner"] if isinstance(value, dict) else value)
    grown: Any = AfterValidator(lambda value: [*value, "more"])
    lower = Annotated[str, StringConstraints(to_lower=True)]
    hidden: Any = BeforeValidator(lambda value: Order(amount=Decimal(7)))
    for kind, raw in (
        (Annotated[Decimal, lax], '{"inner":"5"}'),
        (Annotated[str, lax], '{"inner":"5"}'),
        (Annotated[datetime, lax], '{"inner":"2026-01-01T00:00:00Z"}'),
        (Annotated[date, lax], '{"inner":"2026-01-01"}'),
        (Annotated[list[str], grown], '["a"]'),
        (dict[lower, int], '{"A":1,"a":2}'),  # type: ignore[valid-type]
        (Annotated[Order, hidden], '"x"'),
        (Annotated[Decimal, BeforeValidator(lambda _: Decimal(5))], "[]"),
        (Annotated[date, BeforeValidator(lambda _: date(2026, 1, 1))], "[]"),
        (Annotated[datetime, BeforeValidator(lambda _: datetime(2026, 1, 1, tzinfo=UTC))], "[]"),
        (Annotated[str, StringConstraints(strip_whitespace=True)], '" A-1"'),
    ):
        with pytest.raises(Refused):
            x(kind, raw)


def test_a_validator_that_breaks_refuses() -> None:
    """An error is not a yes, whatever its type."""

    def broken(value: int) -> int:
        raise KeyError(value)

    with pytest.raises(Refused, match="cannot be validated"):
        x(Annotated[int, AfterValidator(broken)], "1")


def test_size_and_depth_are_bounded() -> None:
    """In bytes, before anything is parsed; also for what comes from code, and also in circles."""
    for raw in ('"' + "x" * ARGUMENTS_BYTES_MAX + '"', '"' + "ä" * (ARGUMENTS_BYTES_MAX // 2) + '"'):
        with pytest.raises(Refused, match="larger than"):
            x(Text, raw)
    with pytest.raises(Refused, match="larger than"):
        accept(spec(x=Text), {"x": "x" * ARGUMENTS_BYTES_MAX})
    circle: dict[str, Any] = {}
    circle["x"] = circle
    for deep in ("[" * 50_000, '{"x":' + "[" * 20_000 + "]" * 20_000 + "}", '{"x":' * 100 + "1" + "}" * 100):
        with pytest.raises(Refused, match=r"deeply|not JSON"):
            parse_object(deep)
    with pytest.raises(Refused, match="deeply"):
        accept(spec(x=str), circle)
    assert parse_object('{"a":' * DEPTH_MAX + "{}" + "}" * DEPTH_MAX)


def test_a_refusal_is_short_however_much_was_wrong() -> None:
    """It goes to a model, and into the journal."""
    with pytest.raises(Refused) as refused:
        x(list[int], json.dumps(["x"] * 5000))
    assert "and 4992 more" in str(refused.value)
    with pytest.raises(Refused) as refused:
        accept(REFUND, json.dumps({"k" * 300 + str(n): 1 for n in range(50)}))
    assert len(str(refused.value)) <= MESSAGE_CHARS_MAX


def test_a_refusal_names_the_place() -> None:
    """So that a model can correct it."""
    for kind, raw, place in (
        (list[Order], '[{"amount":"x"}]', "x.0.amount"),
        (Order, '{"amount":"1e9"}', "x.amount"),
        (int, "true", "x"),
    ):
        with pytest.raises(Refused, match=f"`{place}`"):
            x(kind, raw)


class Everything(Arguments):
    """One of each."""

    amount: Decimal
    at: datetime
    naive: datetime
    day: date
    level: Level
    tags: set[str]
    items: tuple[int, ...]
    map: dict[str, Decimal]
    inner: Order
    flag: bool = True
    nothing: str | None = None
    rate: float = 0.5


def test_the_canonical_form_has_every_field_in_one_spelling() -> None:
    """Equal calls have equal digests; defaults are written out."""
    given = Everything(
        amount=Decimal("1.50"),
        at=datetime.fromisoformat("2026-01-01T02:00:00+02:00"),
        naive=datetime(2026, 1, 1),
        day=date(2026, 1, 1),
        level=Level.ONE,
        tags={"b", "a"},
        items=(1, 2),
        map={"k": Decimal("2.00")},
        inner=Order(amount=Decimal("1E+2")),
    )
    assert canonical(given) == {
        "amount": "1.5",
        "at": "2026-01-01T00:00:00+00:00",
        "naive": "2026-01-01T00:00:00",
        "day": "2026-01-01",
        "level": 1,
        "tags": ["a", "b"],
        "items": [1, 2],
        "map": {"k": "2"},
        "inner": {"amount": "100", "to": [], "note": ""},
        "flag": True,
        "nothing": None,
        "rate": 0.5,
    }


def test_what_was_accepted_can_be_handed_on_as_values() -> None:
    """A model's arguments, their canonical form and the validated values all mean the same call."""
    model: Any = Annotated[dict[str, Order], Field(min_length=1)]
    tool = spec(a=model, at=datetime, day=date, t=time, level=Level, colour=Colour, tags=frozenset[str])
    raw = '{"a":{"k":{"amount":"1.50","to":["x"]}},"at":"2026-01-01T00:00:00Z","day":"2026-01-01","t":"10:00","level":1,"colour":"red","tags":["b","a"]}'
    first = accept(tool, raw)
    values = {name: getattr(first, name) for name in type(first).model_fields}
    for again in (values, canonical(first), first, json.dumps(canonical(first))):
        given: Any = again if not isinstance(again, BaseModel) else dict(values)
        assert accept(tool, given) == first
