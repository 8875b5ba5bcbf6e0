"""One attempt at a model over the loopback server, as every test here makes it."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from answerable.errors import ModelFailed
from answerable.models.port import Message, ModelReply, ModelRequest, ToolOffer
from answerable.models.providers import PydanticAiModel

MODEL = "openai:house-model"
KEY = "sk-canary-51b7c0de"
GET_ORDER = ToolOffer(
    name="get_order",
    description="Look up one order.",
    parameters={
        "type": "object",
        "properties": {"order_id": {"type": "string", "pattern": "^A-[0-9]+$"}},
        "required": ["order_id"],
        "additionalProperties": False,
    },
)


def ask(model: str = MODEL, **fields: Any) -> ModelReply:
    """One attempt, from a fresh adapter, closed afterwards."""
    hello = (Message(role="system", text="Be brief."), Message(role="user", text="Hello"))
    fields.setdefault("messages", hello)

    async def attempt() -> ModelReply:
        port = PydanticAiModel(model)
        try:
            return await port.request(ModelRequest(model=model, **fields))
        finally:
            await port.aclose()

    return asyncio.run(attempt())


def fail(model: str = MODEL, **fields: Any) -> ModelFailed:
    """The failure of one attempt."""
    with pytest.raises(ModelFailed) as caught:
        ask(model, **fields)
    return caught.value
