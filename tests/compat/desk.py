"""The agent behind the journals of released versions. It must stay as it is: a run is driven by the release it began with.

Where a later version of the package makes another release of this same agent, the parked runs below show it by waiting.
"""

from __future__ import annotations

from contextlib import asynccontextmanager
from decimal import Decimal
from typing import TYPE_CHECKING, Annotated, Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from pydantic import Field

from answerable import Agent, Arguments, Budget, EffectKey, Impact, ToolFailed, open_runtime, tool
from answerable.gates.approval import Approver
from answerable.testing import ScriptedModel, call, fake_ports, say, use

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from answerable.engine.runtime import Runtime

Amount = Annotated[Decimal, Field(gt=0, le=20_000, decimal_places=2)]
LEA = b"lea".ljust(32, b".")
"""The private key of the one approver."""
POLICY = """
@id("may-do-everything")
@text("The agent may use all of its tools.")
permit (principal == Agent::"desk", action, resource);

@id("large-refunds-need-a-lead")
@text("A lead says yes to more than $100.")
@decision("require_approval")
@approvers("lead")
forbid (principal, action == Action::"refund", resource)
when { context.args.amount_usd.greaterThan(decimal("100.00")) };
"""


class Ticket(Arguments):
    """What the agent is given."""

    id: str
    order_id: str
    amount_usd: Amount


class Till:
    """The outside: it does what it is asked, and loses a reply when it is told to."""

    def __init__(self, *faults: str) -> None:
        self.faults = list(faults)
        self.done: list[str] = []

    def do(self, key: str) -> str:
        """One request."""
        self.done.append(key)
        if self.faults and self.faults.pop(0) == "lost reply":
            raise ToolFailed("no answer", failure="timeout")
        return f"receipt {len(self.done)}"


@tool(mode="native_key", business_key="refund:{order_id}", impact=Impact(money="amount_usd"))
async def refund(order_id: str, amount_usd: Amount, *, key: EffectKey, till: Till) -> str:
    """Pay money back for an order."""
    return till.do(key)


@tool(mode="at_most_once")
async def write_to(order_id: str, text: str, *, key: EffectKey, till: Till) -> str:
    """Write a letter about an order."""
    return till.do(key)


@tool(effect="read")
async def get_order(order_id: str) -> str:
    """Look an order up."""
    return f"{order_id} is paid"


def clerk(messages: Any, _tools: Any, _chance: Any) -> Any:
    """Looks the order up, pays back, writes, and says that it is done."""
    asked = Ticket.model_validate_json(messages[1].text)
    order = asked.order_id
    steps = (
        call("get_order", order_id=order),
        call("refund", order_id=order, amount_usd=str(asked.amount_usd)),
        call("write_to", order_id=order, text="It is on its way."),
    )
    replies = sum(message.role == "tool" for message in messages)
    return use(steps[replies]) if replies < len(steps) else say("Refunded, and written.")


def desk() -> Agent:
    """The agent."""
    return Agent(
        name="desk",
        owner="tests",
        prompt="Refund what the ticket asks for.",
        models=["scripted:clerk"],
        tools=[get_order, refund, write_to],
        policy={"desk.cedar": POLICY},
        task=Ticket,
        source="{id}",
        budget=Budget(tool_calls=9, model_calls=9, money="0.40"),
        budget_per_day=Budget(tool_calls=90),
    )


@asynccontextmanager
async def runtime_at(url: str, till: Till, *, seed: str) -> AsyncGenerator[Runtime]:
    """A runtime on a journal, with virtual time and dice that are the same every time."""
    public = Ed25519PrivateKey.from_private_bytes(LEA).public_key().public_bytes_raw()
    async with open_runtime(
        url,
        agents=[desk()],
        approvers=[Approver(name="lea", roles=frozenset({"lead"}), public_key=public)],
        resources={"till": till},
        models={"scripted:clerk": ScriptedModel("clerk", clerk)},
        ports=fake_ports(seed),
    ) as runtime:
        yield runtime


async def write(url: str, till: Till) -> dict[str, str]:
    """One run that ended, one that waits for a person, one with an unknown effect, one that was not begun."""
    async with runtime_at(url, till, seed="made") as runtime:
        tickets = {
            name: Ticket(id=name, order_id=f"O-{name}", amount_usd=Decimal(amount))
            for name, amount in (("ended", "42"), ("parked", "400"), ("unknown", "7"), ("created", "8"))
        }
        runs = {name: (await runtime.run("desk", tickets[name])).run for name in ("ended", "parked")}
        till.faults = ["", "lost reply"]  # of the refund, and of the letter
        runs["unknown"] = (await runtime.run("desk", tickets["unknown"])).run
        runs["created"] = (await runtime.submit("desk", [tickets["created"]]))[0]
        return dict(runs)
