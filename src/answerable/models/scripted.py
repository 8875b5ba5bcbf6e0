"""A program in the place of a model: for demos and tests that need no key and no network.

It is always labelled as scripted, in the reply, in the journal and in every output. It keeps no state: what
it answers follows from the seed and the messages alone, so a run that is recovered after a crash gets the
answer that was lost.
"""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Callable
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any

import orjson

from answerable.models.port import Cost, Message, ModelReply, ModelRequest, ToolCall, ToolOffer, Usage

Program = Callable[[tuple[Message, ...], tuple[ToolOffer, ...], random.Random], ModelReply]
"""What stands in for the model: the messages so far and the tools on offer → the next reply.

The generator is seeded by the seed and the task, and starts afresh in every turn. So a program has one and
the same mood all through a task without remembering anything.
"""

_TABLE = "scripted (costs nothing)"
_BYTES_PER_TOKEN = 4


def say(text: str) -> ModelReply:
    """A reply in prose."""
    return ModelReply(text=text, finish_reason="stop")


def call(name: str, /, **arguments: object) -> ToolCall:
    """One proposed call. The host gives it an id."""
    return ToolCall(id="", name=name, arguments=orjson.dumps(arguments, option=orjson.OPT_SORT_KEYS).decode())


def use(*calls: ToolCall, text: str = "") -> ModelReply:
    """A reply that proposes calls."""
    return ModelReply(text=text, calls=calls, finish_reason="tool_calls")


@dataclass(frozen=True, slots=True)
class ScriptedModel:
    """A model port behind which a `Program` answers.

    `name` is the part of the model's name after `scripted:`. Tokens are counted from the text, at four bytes
    a token, so that token budgets mean something; the price is zero and says so.
    """

    name: str
    program: Program
    seed: int = 0

    @property
    def model(self) -> str:
        """The name under which it is known and reported."""
        return f"scripted:{self.name}"

    async def request(self, request: ModelRequest) -> ModelReply:
        """What the program answers to these messages."""
        reply = self.program(request.messages, request.tools, self._generator(request.messages))
        turn = sum(message.role == "assistant" for message in request.messages) + 1
        calls = tuple(replace(each, id=f"call_{turn}_{index}") for index, each in enumerate(reply.calls))
        return replace(
            reply,
            calls=calls,
            usage=Usage(input=_tokens(_bytes_in(request)), output=_tokens(_bytes_out(reply))),
            model=self.model,
            is_scripted=True,
        )

    def tokens_bound(self, request: ModelRequest) -> int:
        """The bytes of the request: no token is shorter than a byte."""
        return _bytes_in(request)

    def cost(self, model: str, usage: Usage) -> Cost:
        """Nothing, by a table that says why."""
        del model, usage
        return Cost(usd=Decimal(0), table=_TABLE)

    def cost_bound(self, model: str, *, input_tokens: int, output_tokens: int) -> Cost:
        """Nothing either."""
        return self.cost(model, Usage(input=input_tokens, output=output_tokens))

    def _generator(self, messages: tuple[Message, ...]) -> random.Random:
        task = _task(next((message.text for message in messages if message.role == "user"), ""))
        digest = hashlib.sha256(f"{self.seed}\x1f{self.name}\x1f{task}".encode("utf-8", "replace")).digest()
        return random.Random(int.from_bytes(digest[:8]))  # noqa: S311 - mistakes, not secrets


def _task(text: str) -> str:
    """What tells tasks apart: the `id` of a JSON object, however that is laid out; else the whole text."""
    try:
        return f"id {orjson.loads(text)['id']}"
    except (ValueError, TypeError, KeyError):
        return text


def _bytes_in(request: ModelRequest) -> int:
    offers: list[dict[str, Any]] = [
        {"name": tool.name, "description": tool.description, "parameters": tool.parameters}
        for tool in request.tools
    ]
    sent = {"messages": [message.to_json() for message in request.messages], "tools": offers}
    return _size(sent)


def _bytes_out(reply: ModelReply) -> int:
    return sum(len(text.encode("utf-8", "replace")) for text in (reply.text, *_texts(reply)))


def _texts(reply: ModelReply) -> tuple[str, ...]:
    return tuple(text for each in reply.calls for text in (each.name, each.arguments))


def _size(content: object) -> int:
    try:
        return len(orjson.dumps(content))
    except TypeError:
        # A lone surrogate has no UTF-8 form. Escaped it has, and that is longer.
        return len(json.dumps(content))


def _tokens(size: int) -> int:
    return -(-size // _BYTES_PER_TOKEN)
