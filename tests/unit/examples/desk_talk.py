"""A conversation with the clerk: what it has been told, and what it answers."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

from answerable.models.port import Message, ModelReply, ModelRequest
from refund_desk.desk import desk, models

World = dict[str, Any]
"""What each tool answers."""

ORDER: World = {"order_id": "O-1001", "status": "delivered", "total": "48.00", "refunded": "0.00", "note": ""}
GOOD: World = {"get_order": ORDER, "get_customer": {}, "find_refunds": {"refunds": []}}


class Talk:
    """One ticket, with a world that answers each tool from a table."""

    def __init__(self, seed: int = 0, **ticket: Any) -> None:
        self.model = models(Path(), seed)["scripted:desk"]
        # The id decides on the clerk's mood, and that of T-1 is good.
        ticket = {
            "id": "T-1",
            "customer_email": "ana@example.com",
            "request": "refund",
            "order_id": "O-1001",
        } | ticket
        self.messages = [
            Message(role="system", text=desk.prompt_text()),
            Message(role="user", text=json.dumps(ticket)),
        ]

    def reply(self) -> ModelReply:
        """What the clerk says next, without being told anything new."""
        request = ModelRequest(model="scripted:desk", messages=tuple(self.messages))
        return asyncio.run(self.model.request(request))

    def turn(self, world: World) -> list[tuple[str, dict[str, Any]]]:
        """One turn: the calls it made. A tool that is not in `world` answers with an error."""
        reply = self.reply()
        self.messages.append(Message(role="assistant", text=reply.text, calls=reply.calls))
        for made in reply.calls:
            known = made.name in world
            answer: dict[str, Any] = {"ok": known, "result" if known else "error": world.get(made.name, "no")}
            self.messages.append(
                Message(role="tool", text=json.dumps(answer), call_id=made.id, tool=made.name)
            )
        return [(made.name, json.loads(made.arguments)) for made in reply.calls]

    def until(self, name: str, world: World, turns: int = 8) -> dict[str, Any]:
        """The arguments of its first call of `name`. Fails the test if it does not come to that."""
        for _ in range(turns):
            for made, arguments in self.turn(world):
                if made == name:
                    return arguments
        raise AssertionError(f"no {name} in {turns} turns: {[m.text for m in self.messages[2:]]}")

    def names(self, world: World, turns: int = 12) -> list[str]:
        """The tools it uses until it is done, or gives up, or the turns are over."""
        found: list[str] = []
        for _ in range(turns):
            made = [name for name, _ in self.turn(world)]
            found += made
            if not made or "escalate" in made:
                break
        return found
