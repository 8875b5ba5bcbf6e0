"""The refund desk with a provider's model, whose server is on loopback and whose answers a test writes."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from tests.scenarios_provider.openai_server import Behaviour, Call, Reply, Tokens

from answerable import open_runtime
from answerable.kernel import events
from answerable.kernel.ids import run_stream
from answerable.kernel.money import to_micros
from refund_desk.desk import make_desk, resources, secrets

if TYPE_CHECKING:
    from pathlib import Path

    from answerable import Budget, Outcome

MODEL = "openai:gpt-4o-mini"
KEY = "sk-canary-7f3a90d2c4b1"
TICKET = {
    "id": "T-1112",
    "customer_email": "ana@example.com",
    "order_id": "O-1001",
    "request": "refund",
    "language": "en",
    "subject": "Broken teapot",
    "text": "The teapot arrived with a crack. I would like my money back please.",
}
REFUND = {
    "ticket_id": "T-1112",
    "order_id": "O-1001",
    "customer_email": "ana@example.com",
    "amount_usd": "48.00",
    "reason": "the teapot arrived broken",
}


def look() -> Call:
    """The model looks the order up."""
    return Call("get_order", '{"order_id": "O-1001"}')


def refund(**changes: str) -> Call:
    """The model proposes the refund that the ticket asks for."""
    return Call("create_refund", json.dumps({**REFUND, **changes}))


def good_day() -> list[Behaviour]:
    """What a model that does its work well answers, with a usage of its own each time."""
    return [
        Reply(calls=(look(),), tokens=Tokens(input=1200, output=21)),
        Reply(calls=(refund(),), tokens=Tokens(input=1400, output=63, cached=1152)),
        Reply("Refunded $48.00 for O-1001.", tokens=Tokens(input=1533, output=12)),
    ]


@dataclass(frozen=True)
class Day:
    """What came of one ticket."""

    outcome: Outcome
    events: list[events.Event]
    refunds: list[Any]

    @property
    def attempts(self) -> list[events.ModelIntended]:
        """Every attempt to ask the model, in order."""
        return [event for event in self.events if isinstance(event, events.ModelIntended)]

    @property
    def replies(self) -> list[events.ModelEnded]:
        """What came of each attempt."""
        return [event for event in self.events if isinstance(event, events.ModelEnded)]


async def work(directory: Path, *, model: str = MODEL, budget: Budget | None = None) -> Day:
    """The desk on the one ticket, with a journal and a shop in `directory`."""
    desk = replace(make_desk(), models=[model])
    if budget is not None:
        desk = replace(desk, budget=budget)
    given = resources(directory)
    async with open_runtime(
        f"sqlite:///{directory / 'desk.db'}", agents=[desk], resources=given, secrets=secrets(directory)
    ) as runtime:
        outcome = await runtime.run(desk, TICKET)
        entries = await runtime.store.entries(run_stream(outcome.run))
    happened = [event for entry in entries for event in entry.events]
    return Day(outcome, happened, given["shop"].refunds("O-1001").refunds)  # type: ignore[attr-defined]


def price(*tokens: Tokens) -> int:
    """What the public price table says that these replies cost, in micro-dollars, each rounded by itself."""
    import genai_prices

    return sum(
        to_micros(
            Decimal(
                genai_prices.calc_price(
                    genai_prices.Usage(
                        input_tokens=each.input, output_tokens=each.output, cache_read_tokens=each.cached
                    ),
                    "gpt-4o-mini",
                    provider_id="openai",
                ).total_price
            )
        )
        for each in tokens
    )
