"""What holds for every tool is checked as well: its undo, its arguments, its result, its credentials."""

from __future__ import annotations

import base64
from dataclasses import replace
from typing import Any

import pytest
from pydantic import BaseModel, ConfigDict
from tests.unit.testing.contract_shop import (
    Shop,
    caught,
    check,
    keyed,
    made,
    shop_of,
)

from answerable import EffectKey, NotDone, Secret, tool
from answerable.errors import ConfigError

TOKEN = "tok-5f2a90c1d7"

# Undos


async def test_an_undo_that_takes_back_twice_is_caught() -> None:
    """The shop has another note of that name, which must stay."""

    @tool(mode="native_key")
    async def drop_any(name: str, *, key: EffectKey, shop: object) -> str:
        """Take one note away, and never mind the key."""
        return shop_of(shop).drop(name)

    def fresh() -> dict[str, Any]:
        return {"shop": Shop(notes=[("x", "ana")])}

    await caught(
        made("native_key", undo=drop_any),
        "`drop_any` (native_key) breaks its contract",
        "its first reply was lost after the work was done, and the work was done more than once: counted (0, '')",
        fresh=fresh,
    )


async def test_an_undo_that_leaves_something_is_caught() -> None:
    @tool(mode="upsert")
    async def mark(name: str, *, shop: object) -> None:
        """Mark notes as taken back, and leave them in force."""
        shop_of(shop).text = f"{name} is taken back"

    await caught(
        made("native_key", undo=mark),
        "it took back what `note` did, and (1, 'ana is taken back') is counted where it was (0, '') at first",
    )


async def test_an_undo_that_fails_is_caught() -> None:
    @tool(mode="at_most_once")
    async def fail(name: str, *, shop: object) -> None:
        """Refuse to."""
        raise NotDone("not after noon", failure="permission")

    await caught(made("native_key", undo=fail), "it does not take back what `note` did", "not after noon")


async def test_an_undo_whose_arguments_cannot_be_told_is_a_mistake_of_the_test() -> None:
    @tool(mode="at_most_once")
    async def drop_number(number: int, *, shop: object) -> None:
        """Take the note of a number away."""

    with pytest.raises(ConfigError, match="what to undo cannot be told: `drop_number` needs `number`"):
        await check(made("native_key", undo=drop_number))


# What holds for every tool


async def test_a_read_that_writes_is_caught() -> None:
    @tool(effect="read")
    async def look(name: str, *, shop: object) -> str:
        """Look, and leave a note."""
        return shop_of(shop).post("", name)

    await caught(look, "it is registered as a read and changed something: counted (0, ''), then (1, '')")


async def test_a_write_without_a_mode_is_caught() -> None:
    """`@tool` makes none; a hand-made one could be."""
    whole = made("at_most_once")

    await caught(replace(whole, spec=replace(whole.spec, mode=None)), "it is a write and has no write mode")


class Lax(BaseModel):
    """Arguments as pydantic reads them by itself."""

    name: str
    number: int = 0


class Open(Lax):
    """Arguments that take what nobody declared."""

    model_config = ConfigDict(strict=True, extra="allow")


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [(Lax, "'x' is not refused as `not_declared`"), (Open, "'x' is not refused as `not_declared`")],
)
async def test_lax_arguments_are_caught(arguments: Any, sentence: str) -> None:
    """Likewise: `@tool` makes none."""

    async def note(name: str, number: int, *, key: EffectKey, shop: object) -> str:
        """Add a note."""
        return shop_of(shop).post(key, name)

    whole = made("at_most_once", note)
    lax = replace(whole, spec=replace(whole.spec, arguments=arguments))

    await check(whole, arguments={"name": "ana", "number": 7})
    await caught(lax, f"its arguments are not strict: {sentence}", arguments={"name": "ana", "number": 7})


@pytest.mark.parametrize("value", [True, 5, "x", ["x"], {"a": "b"}, None])
async def test_what_is_spoilt_is_what_only_a_lax_type_takes(value: Any) -> None:
    """A type that takes anything is caught by each of them."""

    class Anything(BaseModel):
        name: Any

    whole = made("at_most_once")
    lax = replace(whole, spec=replace(whole.spec, arguments=Anything))

    await caught(lax, "its arguments are not strict", arguments={"name": value})


async def test_a_result_of_another_form_is_caught() -> None:
    async def note(name: str, *, key: EffectKey, shop: object) -> int:
        """Add a note and say how many."""
        return shop_of(shop).post(key, name)  # type: ignore[return-value]

    await caught(made("at_most_once", note), "its result does not fit its declared type")


async def test_a_tool_that_does_nothing_is_caught() -> None:
    async def note(name: str, *, key: EffectKey, shop: object) -> str:
        """Do nothing."""
        return f"note {name}"

    await caught(made("native_key", note), "it said that it was done, and nothing changed: counted (0, '')")


async def test_arguments_that_do_not_pass_are_said() -> None:
    await caught(made("native_key"), "it does not work", "name", arguments={"name": 5})


async def test_a_system_that_is_not_fresh_is_said() -> None:
    """What one run left would be taken for the work of the next."""
    shop = Shop()

    def fresh() -> dict[str, Any]:
        shop.post("", "somebody")
        return {"shop": shop}

    await caught(made("native_key"), "two fresh systems were counted as (1, '') and (2, '')", fresh=fresh)


# Secrets


@pytest.mark.parametrize("before", ["", "a", "ab"])
@pytest.mark.parametrize(
    "encode", [lambda raw: base64.b64encode(raw).decode(), bytes.hex, lambda raw: raw.hex().upper()]
)
async def test_a_credential_in_the_journal_is_caught(encode: Any, before: str) -> None:
    """In a form in which the runtime does not recognise it and take it out."""

    async def note(name: str, *, key: EffectKey, shop: object, token: Secret) -> str:
        """Add a note, and say with which header."""
        await keyed(name, key=key, shop=shop)
        return f"Basic {encode((before + token.reveal()).encode())}"

    await caught(
        made("native_key", note),
        "it gives its credential away: the secret `token` stands in the table `payload` of the journal",
        secrets={"token": Secret(TOKEN)},
    )


async def test_a_credential_that_stands_in_the_arguments_is_caught() -> None:
    """A model would have seen it."""

    async def note(name: str, *, key: EffectKey, shop: object, token: Secret) -> str:
        """Add a note."""
        return await keyed(name, key=key, shop=shop)

    tested = made("native_key", note)

    await caught(tested, "`token` stands in", secrets={"token": Secret(TOKEN)}, arguments={"name": TOKEN})


async def test_a_secret_that_could_be_there_by_accident_is_refused() -> None:
    with pytest.raises(ConfigError, match="`token` is too short to be looked for"):
        await check(made("native_key"), secrets={"token": Secret("secret")})


async def test_a_resource_that_is_not_there_is_a_mistake_of_the_test() -> None:
    with pytest.raises(ConfigError, match="needs `shop`"):
        await check(made("native_key"), fresh=dict, count=lambda _: 0)
