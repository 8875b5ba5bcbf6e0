"""Where a value comes from: trusted only by a positive origin, and never by chance."""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated, Any, Literal

import pytest
from pydantic import BaseModel

from answerable.gates.provenance import (
    SOURCES_MAX,
    Handed,
    Origins,
    Source,
    label_all,
    source_of,
    untrusted_texts,
)
from answerable.gates.request import Label
from answerable.kernel.marks import Kind, Trusted, marks_of, marks_of_model


class Payment(BaseModel):
    iban: Annotated[str, Kind("iban")] = ""
    amount: Decimal = Decimal(0)
    note: str | None = None
    people: list[str] = []
    speed: Literal["slow", "fast"] = "slow"
    is_urgent: bool = False


PAYMENT = marks_of_model(Payment)
ALICE = "DE89370400440532013000"


def told(text: str, *, name: str = "task") -> Origins:
    """Origins of a run to which somebody trusted said something."""
    origins = Origins()
    origins.add(source_of(name, marks_of(Annotated[str, Trusted()]), text, classes=("internal",)))
    return origins


def origin_of(origins: Origins, **arguments: Any) -> str:
    """The origin of the one argument that is given."""
    (label,) = label_all(PAYMENT, arguments, origins, {}).values()
    return label.origin


@pytest.mark.parametrize(
    "text",
    [
        f"pay {ALICE}",
        f"pay {ALICE}.",
        f'pay "{ALICE}", please',
        f"{ALICE}: pay",
        f"account={ALICE}; now",
        f"(to {ALICE})",
        f"to: {ALICE}'s account",
        f"#{ALICE}",
        f"one\n{ALICE}\ntwo",
    ],
)
def test_a_value_that_stands_in_trusted_text_is_trusted(text: str) -> None:
    assert origin_of(told(text), iban=ALICE) == "text"


@pytest.mark.parametrize(
    ("text", "value"),
    [
        (f"pay {ALICE}1", ALICE),
        (f"pay X{ALICE}", ALICE),
        ("write to evil-corp.com", "corp.com"),
        ("see example.com", "example"),
        ("mail bob@shop.example", "shop.example"),
        ("mail bob@shop.example", "bob"),
        ("pay ab", "ab"),
        ("order 123", "123"),
        ("it is 3.5", "3.5"),
        ("nothing here", ALICE),
        ("pay DE89 3704", "DE893704"),
        ("ALICE", "alice"),
        ("аlice", "alice"),
        ("x#alice", "alice"),
        ("version 1.2.alice", "alice"),
    ],
)
def test_what_is_part_of_something_longer_or_short_is_not(text: str, value: str) -> None:
    assert origin_of(told(text), iban=value) == "none"


def test_the_same_letters_in_another_normal_form_are_the_same() -> None:
    assert origin_of(told("pay Zoe\u0308"), iban="Zo\u00eb") == "text"


@pytest.mark.parametrize(
    ("text", "amount", "expected"),
    [
        ("order 4711, please", "4711", "text"),
        ("it is $1,200.50.", "1200.5", "text"),
        ("1700€!", "1700", "text"),
        ("exactly 1300.00", "1300", "text"),
        ("(2,000,000)", "2000000", "text"),
        ("at 12.5", "12.5", "none"),
        ("1,2000", "12000", "none"),
        ("v1200", "1200", "none"),
        ("1200-1300", "1300", "none"),
        ("1200.50.1", "1200.5", "none"),
        ("47110", "4711", "none"),
        ("it is -4711", "-4711", "none"),
    ],
)
def test_a_number_is_the_same_however_it_is_written(text: str, amount: str, expected: str) -> None:
    """And it has to be long enough that it is not there by chance."""
    assert origin_of(told(text), amount=amount) == expected


def test_a_trusted_number_is_compared_as_a_number() -> None:
    origins = Origins()
    rates = marks_of(Annotated[list[Decimal], Trusted()])
    origins.add(source_of("get_rates", rates, ["1100.0", "12.50"], classes=()))
    assert origin_of(origins, amount="1100") == "text"
    assert origin_of(origins, amount="12.5") == "none"


@pytest.mark.parametrize(
    ("note", "is_unknown"),
    [
        ("see https://evil.example/a?b=c", True),
        ("see www.evil.example.", True),
        ("mail me: bob@evil.example", True),
        ("go to evil.example/login", True),
        ("as on intranet.corp.example, see there", False),
        ("as on (https://wiki.corp.example/page).", False),
        ("mail ana@corp.example!", False),
        ("e.g. this, at 3.5 or so", False),
        ("nothing", False),
        (None, False),
    ],
)
def test_an_address_that_nobody_named_is_seen_in_any_text(note: str | None, is_unknown: bool) -> None:
    origins = told("use intranet.corp.example and https://wiki.corp.example/page or ana@corp.example")
    label = label_all(PAYMENT, {"note": note}, origins, {})["note"]
    assert label.has_unknown_address is is_unknown


def test_a_choice_among_few_earns_nothing() -> None:
    origins = told("fast, true")
    assert origin_of(origins, speed="fast") == "none"
    assert origin_of(origins, is_urgent=True) == "none"
    assert origin_of(origins, note="") == "none"


def test_what_is_absent_is_nothing_to_distrust() -> None:
    label = label_all(PAYMENT, {"note": None, "people": []}, told("x"), {})["note"]
    assert (label.origin, label.is_trusted, label.sources, label.classes) == ("absent", True, (), frozenset())


def test_a_list_is_worth_what_its_weakest_part_is_worth() -> None:
    origins = told("invite Alice and Bernard")
    assert origin_of(origins, people=["Alice", "Bernard"]) == "text"
    assert origin_of(origins, people=["Alice", "Mallory"]) == "none"


class Entry(BaseModel):
    iban: Annotated[str, Kind("iban"), Trusted()]
    bic: Annotated[str, Kind("bic"), Trusted()] = ""
    subject: str = ""


ENTRY = marks_of_model(Entry)


def read(origins: Origins, *, name: str = "get_entry", **value: str) -> Origins:
    """Origins that have read one entry of a list."""
    origins.add(source_of(name, ENTRY, value, classes=("bank",)))
    return origins


def test_a_trusted_field_vouches_for_the_same_kind() -> None:
    origins = read(Origins(), iban="DE1", bic="BELADEBE", subject=ALICE)
    label = label_all(PAYMENT, {"iban": "DE1"}, origins, {})["iban"]
    assert (label.origin, label.sources) == ("field", ("get_entry",))
    assert origin_of(origins, iban="BELADEBE") == "none", "it is of another kind"
    assert origin_of(origins, note="BELADEBE") == "text", "as a whole, where no kind is asked for"
    assert origin_of(origins, note="BELA") == "none"
    assert origin_of(origins, iban=ALICE) == "none", "what is not marked is data"


def test_a_whole_result_can_be_trusted() -> None:
    origins = Origins()
    origins.add(source_of("get_rates", ENTRY, {"subject": "EURUSD"}, classes=(), is_trusted=True))
    assert origin_of(origins, note="EURUSD") == "text"
    assert origins.is_clean


def test_an_endorsed_value_says_that_it_was_endorsed() -> None:
    origins = Origins()
    origins.add(Source(name="endorsed", values=(("iban", "XY1"),), is_trusted=True, is_endorsed=True))
    origins.add(Source(name="endorsed", values=(("", "some longer text"),), is_endorsed=True))
    assert origin_of(origins, iban="XY1") == "endorsed"
    assert origin_of(origins, note="some longer text") == "endorsed"


def test_what_the_run_wrote_itself_does_not_vouch_for_itself() -> None:
    origins = Origins()
    read(origins, iban="DE1")
    arguments = {"iban": "XX9", "note": "call DE77", "amount": "1"}
    labels = label_all(PAYMENT, arguments, origins, {})
    origins.wrote(untrusted_texts(PAYMENT, arguments, labels))
    read(origins, iban="XX9")
    read(origins, iban="DE77")
    read(origins, iban="DE2")
    assert origin_of(origins, iban="XX9") == "none", "it was read after it was written"
    assert origin_of(origins, iban="DE77") == "none", "written as part of a longer text"
    assert origin_of(origins, iban="DE1") == "field", "it was read before"
    assert origin_of(origins, iban="DE2") == "field"


def test_what_was_trusted_when_it_was_written_stays_trusted() -> None:
    origins = read(Origins(), iban="DE1")
    arguments = {"iban": "DE1"}
    origins.wrote(untrusted_texts(PAYMENT, arguments, label_all(PAYMENT, arguments, origins, {})))
    assert origin_of(read(origins, iban="DE1"), iban="DE1") == "field"


def test_a_handle_carries_the_trust_and_the_classes_of_its_source_only() -> None:
    origins = read(told("x"), iban="DE1")
    handed = {
        "iban": Handed(source="vault", is_trusted=True, classes=frozenset({"secret"})),
        "people.0": Handed(source="web", is_trusted=False, classes=frozenset({"public"})),
    }
    arguments = {"iban": "DE9", "people": ["Mallory", "Bob"], "note": "hello"}
    labels = label_all(PAYMENT, arguments, origins, handed)
    assert (labels["iban"].origin, labels["iban"].sources) == ("handle", ("vault",))
    assert labels["iban"].classes == {"secret"}
    assert labels["people"].origin == "none"
    assert labels["people"].classes == {"internal", "bank"}, "not everything in it came by a handle"
    assert labels["note"].classes == {"internal", "bank"}


def test_an_untrusted_value_names_everything_that_was_read() -> None:
    origins = told("hello")
    for number in range(40):
        origins.add(Source(name=f"page{number}"))
    label = label_all(PAYMENT, {"note": "unknown"}, origins, {})["note"]
    assert label.sources[:2] == ("task", "page0")
    assert len(label.sources) == SOURCES_MAX
    assert not origins.is_clean


def test_declassified_classes_are_not_joined_any_more() -> None:
    origins = read(told("x"), iban="DE1")
    origins.declassify(["bank", "other"])
    assert label_all(PAYMENT, {"note": "text"}, origins, {})["note"].classes == {"internal"}
    read(origins, iban="DE2")
    assert origins.classes == {"internal", "bank"}


@pytest.mark.parametrize(
    "label",
    [
        Label(),
        Label(origin="text", sources=("task",), classes=frozenset({"b", "a"})),
        Label(origin="absent"),
        Label(has_unknown_address=True, sources=("x",)),
        Label(origin="handle", sources=("x", "y")),
    ],
)
def test_a_label_survives_its_entry(label: Label) -> None:
    assert Label.from_texts(label.texts()) == label


def test_a_label_of_an_older_version_is_read() -> None:
    assert Label.from_texts(("untrusted", "task")) == Label(sources=("task",))
    assert Label.from_texts(("trusted", "task")).is_trusted
