"""The witnesses of the refund desk, done by the real engine: its gates, its journal and its clock let every call through."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from dataclasses import replace
from datetime import datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from blast_desks import micros_of, radius

from answerable import Run, Secret, open_runtime
from answerable.testing import FakeClock, fake_ports
from refund_desk.desk import make_desk, models
from refund_desk.shop import Customer, Order, Refund

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from answerable.engine.runtime import Outcome, Runtime
    from answerable.prove.blast_figures import Call, Period


class WitnessShop:
    """A shop in which everything is as the facts of a witness say."""

    def __init__(self, calls: Sequence[Call]) -> None:
        self.orders = {call.arguments["order_id"]: call.facts["order"] for call in calls}
        self.customers = {call.arguments["customer_email"]: call.facts["customer"] for call in calls}
        self.paid = Decimal(0)

    def order(self, order_id: str) -> Order:
        """One order."""
        return Order.model_validate_json(_json(self.orders[order_id]))

    def customer(self, email: str) -> Customer:
        """One customer."""
        return Customer.model_validate_json(_json(self.customers[email]))

    def refund(
        self, order_id: str, amount: Decimal, reason: str, *, ticket_id: str, key: str, token: str
    ) -> Refund:
        """Pay it."""
        del key, token
        self.paid += amount
        made = {"refund_id": "R-1000", "order_id": order_id, "ticket_id": ticket_id, "amount": amount}
        return Refund(**made, currency="USD", reason=reason, status="done", created="now")  # pyright: ignore[reportArgumentType]


def _json(value: Any) -> bytes:
    from answerable.kernel.encoding import encode_payload

    return encode_payload(value)


def calls_of(period: Period) -> tuple[Call, ...]:
    """The witness of the money that is moved."""
    witness = radius(make_desk(), period).figure("money", period, "USD").witness
    assert witness is not None
    return witness.calls


async def done(folder: Path, calls: Sequence[Call]) -> tuple[list[Outcome], WitnessShop]:
    """Every run of a witness in one journal, call by call, at its time."""
    runs: dict[int, list[Call]] = defaultdict(list)
    for call in calls:
        runs[call.run].append(call)
    clock, shop = FakeClock(datetime.fromisoformat(min(call.at for call in calls))), WitnessShop(calls)

    async def hijacked(run: Run, task: Any) -> str:
        for call in runs[int(task.subject)]:
            clock.advance(max(0.0, (micros_of(call.at) - clock.now_us()) / 1e6))
            await run.call(call.tool, **call.arguments)
        return "all of it"

    agent = replace(make_desk(), program=hijacked, done=None)
    runtime: Runtime
    async with open_runtime(
        f"sqlite:///{folder / 'journal.db'}",
        agents=[agent],
        resources={"shop": shop},
        secrets={"shop_token": Secret("token")},
        models=models(folder, 7),
        ports=fake_ports(1, clock=clock),
    ) as runtime:
        outcomes = [
            await runtime.run(
                agent,
                {
                    "id": f"T-{number}",
                    "customer_email": theirs[0].arguments["customer_email"],
                    "request": "refund",
                    "subject": str(number),
                },
            )
            for number, theirs in sorted(runs.items())
        ]
    return outcomes, shop


def test_a_run_pays_what_its_witness_says(tmp_path: Path) -> None:
    (outcome,), shop = asyncio.run(done(tmp_path, calls_of("run")))

    assert (outcome.name, shop.paid) == ("unverified", 1_000)


def test_a_run_pays_no_more_on_the_same_day(tmp_path: Path) -> None:
    """The same calls, but all of them on the first day: a person is asked."""
    calls = calls_of("run")
    same_day = [replace(call, at=calls[0].at) for call in calls]

    (outcome,), shop = asyncio.run(done(tmp_path, same_day))

    assert (outcome.state, shop.paid) == ("waiting", 500)


def test_a_day_pays_what_its_witness_says_and_then_no_more(tmp_path: Path) -> None:
    calls = calls_of("day")
    last = calls[-1]
    order = {**last.facts["order"], "customer_id": "one-more"}
    customer = {**last.facts["customer"], "customer_id": "one-more", "email": "one@more.example"}
    one_more = replace(
        last,
        run=last.run + 1,
        arguments={
            **last.arguments,
            "order_id": "O-9999",
            "customer_email": "one@more.example",
            "amount_usd": "0.01",
        },
        facts={"order": order, "customer": customer},
    )

    outcomes, shop = asyncio.run(done(tmp_path, [*calls, one_more]))

    assert shop.paid == 5_000
    assert [outcome.name for outcome in outcomes[:-1]] == ["unverified"] * 10
    assert outcomes[-1].state == "waiting"
