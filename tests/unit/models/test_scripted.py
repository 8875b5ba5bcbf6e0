"""The host for a program that stands in for a model: labelled, free of charge, and without a memory."""

from __future__ import annotations

import asyncio
from decimal import Decimal
from typing import TYPE_CHECKING

import pytest

from answerable.models.port import Message, ModelPort, ModelReply, ModelRequest, ToolOffer
from answerable.models.scripted import ScriptedModel, call, say, use

if TYPE_CHECKING:
    import random

LOOK_UP = ToolOffer(name="look_up", description="Look it up.", parameters={"type": "object"})


def echo(messages: tuple[Message, ...], offers: tuple[ToolOffer, ...], rng: random.Random) -> ModelReply:
    """Calls what it is offered with a number it rolls, or rolls one and says it."""
    number = rng.randrange(1_000_000)
    return (
        use(*(call(offer.name, number=number) for offer in offers))
        if offers
        else say(f"{len(messages)} {number}")
    )


def ask(model: ModelPort, *texts: str, tools: tuple[ToolOffer, ...] = ()) -> ModelReply:
    """The reply to these messages, of which every second one is the model's."""
    messages = tuple(
        Message(role="user" if index % 2 == 0 else "assistant", text=text) for index, text in enumerate(texts)
    )
    return asyncio.run(model.request(ModelRequest(model="scripted:echo", messages=messages, tools=tools)))


def test_every_reply_says_that_a_program_made_it() -> None:
    """Nobody may take it for a model's."""
    reply = ask(ScriptedModel("echo", echo), "hello")

    assert reply.is_scripted
    assert reply.model == "scripted:echo"


def test_the_same_messages_get_the_same_reply_from_another_host() -> None:
    """So a run that lost a reply in a crash gets it again."""
    first = ask(ScriptedModel("echo", echo, 7), "hello", "hm", "and?")
    second = ask(ScriptedModel("echo", echo, 7), "hello", "hm", "and?")

    assert first == second


def test_the_mood_lasts_for_a_task_and_differs_between_tasks_and_seeds() -> None:
    """Without the host remembering anything."""
    model = ScriptedModel("echo", echo, 7)

    def mood(model: ScriptedModel, *texts: str) -> str:
        return ask(model, *texts).text.split()[1]

    assert mood(model, "hello") == mood(model, "hello", "hm", "and?")
    assert mood(model, "hello") != mood(model, "good morning")
    assert mood(model, "hello") != mood(ScriptedModel("echo", echo, 8), "hello")


def test_a_task_with_an_id_is_known_by_it_however_it_is_laid_out() -> None:
    """White space and order do not change a mood."""
    model = ScriptedModel("echo", echo)

    assert ask(model, '{"id":"T-1","text":"a"}') == ask(model, '{"text":"a","id":"T-1"}')
    assert ask(model, '{"id":"T-1"}').text != ask(model, '{"id":"T-2"}').text


@pytest.mark.parametrize("text", ["", "[]", "null", '"id"', "{", '{"x":1}', "\ud800"])
def test_any_text_is_a_task(text: str) -> None:
    """Even none, and even half a character."""
    model = ScriptedModel("echo", echo)

    assert ask(model, text).text.startswith("1 ")
    request = ModelRequest(model="scripted:echo", messages=(Message(role="user", text=text),))
    assert model.tokens_bound(request) >= ask(model, text).usage.input


def test_calls_get_ids_that_no_two_of_a_conversation_share() -> None:
    """Each answer finds its call."""
    model = ScriptedModel("echo", echo)

    first = ask(model, "hello", tools=(LOOK_UP, LOOK_UP))
    second = ask(model, "hello", "hm", "and?", tools=(LOOK_UP, LOOK_UP))

    assert len({each.id for each in (*first.calls, *second.calls)}) == 4


def test_tokens_are_counted_within_the_bound_and_cost_nothing() -> None:
    """So budgets hold, and nothing is billed."""
    model = ScriptedModel("echo", echo)
    request = ModelRequest(
        model="scripted:echo", messages=(Message(role="user", text="ü" * 400),), tools=(LOOK_UP,)
    )

    usage = asyncio.run(model.request(request)).usage

    assert 200 < usage.input <= model.tokens_bound(request)
    assert usage.output > 0
    assert model.cost("scripted:echo", usage).usd == Decimal(0)
    assert model.cost_bound("scripted:echo", input_tokens=1, output_tokens=1).usd == Decimal(0)
    assert "scripted" in model.cost("scripted:echo", usage).table
