"""A structured answer of a model: validated, asked for again within the budget, then handed to a person."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel
from workshop import healthy, make_agent, runtime_of, state_of

from answerable import Budget, Run, tool
from answerable.models.port import Message
from answerable.models.scripted import ScriptedModel, say


class Verdict(BaseModel):
    """What is asked for."""

    sku: str
    count: int


@tool(effect="read")
async def look(place: str) -> str:
    """Look."""
    return place


async def program(run: Run, _task: Any) -> dict[str, Any]:
    """One question."""
    answer = await run.structured([Message(role="user", text="Which, and how many?")], Verdict)
    return answer.model_dump()


@pytest.mark.parametrize(
    ("replies", "budget", "outcome", "code", "calls"),
    [
        (['{"sku": "A", "count": 2}'], 30, "unverified", None, 1),
        (["Two of A.", '{"sku": "A", "count": "2"}', '{"sku": "A", "count": 2}'], 30, "unverified", None, 3),
        (["Two of A."] * 4, 30, "escalated", "invalid_call", 3),
        (["Two of A."] * 4, 2, "escalated", "budget_exhausted", 2),
    ],
)
def test_an_answer_that_does_not_validate_is_asked_for_again_and_then_a_person_is(
    tmp_path: Path, *, replies: list[str], budget: int, outcome: str, code: str | None, calls: int
) -> None:
    """Prose and wrong types are no answer; each try is a model call that counts."""

    def speak(messages: Any, _offers: Any, _chance: Any) -> Any:
        return say(replies[sum(message.role == "assistant" for message in messages)])

    async def story() -> None:
        agent = make_agent([look], program, budget=Budget(model_calls=budget))
        models = {"scripted:clerk": ScriptedModel("clerk", speak)}
        async with runtime_of(tmp_path, agent, models=models) as runtime:
            ended = await runtime.run(agent, {"id": "1"})
            assert (ended.name, ended.code) == (outcome, code)
            assert ended.answer == ({"sku": "A", "count": 2} if code is None else None)
            assert (await state_of(runtime, ended.run)).spent.model_calls == calls
        await healthy(tmp_path)

    asyncio.run(story())
