"""The scene that is simulated here: one agent with a tool of every write mode, and vendors that keep their word."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from decimal import Decimal
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from pydantic import BaseModel, Field

from answerable import (
    Agent,
    Arguments,
    Budget,
    CallRefused,
    EffectKey,
    EffectUnknown,
    Impact,
    NotDone,
    Retry,
    Run,
    ToolFailed,
    Total,
    UpTo,
    fact,
    tool,
)
from answerable.gates.approval import Approver
from answerable.models.scripted import ScriptedModel, say
from answerable.testing.simulation import Scene

if TYPE_CHECKING:
    import random

    from answerable.testing.simulation import World

TIMEOUT_S, LAG_S = 4.0, 3.0
ORDERS = ("O-1", "O-2")
ORDER_TOTAL = 100
REFUNDS_PER_ORDER = 100
DAY_MONEY = "0.20"
CALL_PRICE = "0.05"
RETRY = Retry(attempts=3, backoff_s=0.5)
Amount = Annotated[Decimal, Field(gt=0, le=1000, decimal_places=2)]


@dataclass
class Shop:
    """The systems of record of one world. They do their work when a request arrives, and say so."""

    world: World
    records: Counter[str] = field(default_factory=Counter)
    keys: dict[str, str] = field(default_factory=dict)
    found: dict[str, float] = field(default_factory=dict)
    refunded: Counter[str] = field(default_factory=Counter)
    paid: Counter[str] = field(default_factory=Counter)
    booked: Counter[str] = field(default_factory=Counter)
    rung: Counter[str] = field(default_factory=Counter)
    texts: dict[str, str] = field(default_factory=dict)

    def once(self, key: str, work: Any) -> str:
        """A vendor that honours keys."""
        if key not in self.keys:
            self.world.happened(key)
            work()
            self.keys[key] = f"receipt {len(self.keys) + 1}"
        return self.keys[key]

    def refund(self, key: str, order: str, amount: str) -> str:
        return self.once(key, lambda: self.refunded.update({order: int(Decimal(amount))}))

    def pay(self, key: str, order: str, amount: str) -> str:
        return self.once(key, lambda: self.paid.update({order: int(Decimal(amount))}))

    def book(self, key: str, seat: str) -> str:
        return self.once(key, lambda: self.booked.update({seat: 1}))

    def unbook(self, key: str, seat: str) -> str:
        return self.once(key, lambda: self.booked.update({seat: -1}))

    def put(self, key: str, name: str, text: str) -> str:
        if self.texts.get(name) != text:
            self.world.happened(key)
            self.texts[name] = text
        return text

    def version(self, name: str) -> int:
        return self.records[name]

    def move(self, key: str, name: str, version: int) -> int:
        if self.records[name] != version:
            raise NotDone(f"`{name}` is at {self.records[name]}", failure="permission")
        self.world.happened(key)
        self.records[name] += 1
        return self.records[name]

    def post(self, key: str) -> str:
        self.world.happened(key)
        self.found.setdefault(key, self.world.now() + self.world.dice.choice((0.0, 0.0, 0.9)) * 0.5)
        return f"posted {key[:6]}"

    def find(self, key: str) -> str | None:
        return f"posted {key[:6]}" if key in self.found and self.found[key] <= self.world.now() else None

    def draft(self, key: str) -> str:
        return f"draft of {key}"

    def ring(self, key: str, bell: str) -> None:
        self.world.happened(key)
        self.rung[bell] += 1

    def order_total(self, order: str) -> int:
        return ORDER_TOTAL


class Order(BaseModel):
    """What the shop says of an order."""

    total_usd: Decimal


async def _find(arguments: Arguments, *, key: EffectKey, shop: Any) -> str | None:
    return await shop.find(key)


async def _draft(arguments: Arguments, *, key: EffectKey, shop: Any) -> str:
    return await shop.draft(key)


@tool(effect="read", timeout_s=TIMEOUT_S, retry=RETRY)
async def get_order(order: str, *, shop: Any) -> Order:
    """Read an order."""
    return Order(total_usd=Decimal(await shop.order_total(order)))


@tool(effect="read", timeout_s=TIMEOUT_S, retry=RETRY)
async def get_version(name: str, *, shop: Any) -> int:
    """Read the version of a record."""
    return await shop.version(name)


@tool(
    mode="native_key",
    business_key="refund:{order}:{reason}",
    impact=Impact(money="amount"),
    totals=(Total(name="refunds", of="amount", by="{order}", per="day"),),
    timeout_s=TIMEOUT_S,
    retry=RETRY,
    price_usd=CALL_PRICE,
)
async def refund(order: str, reason: str, amount: Amount, *, key: EffectKey, shop: Any) -> str:
    """Pay money back, once for each reason."""
    return await shop.refund(key, order, str(amount))


@tool(
    mode="native_key",
    business_key="pay:{order}",
    cardinality=UpTo(amount="amount", total="order_read.total_usd"),
    facts={"order_read": fact(get_order, order="{order}")},
    impact=Impact(money="amount"),
    timeout_s=TIMEOUT_S,
    retry=RETRY,
    price_usd=CALL_PRICE,
)
async def pay(order: str, amount: Amount, *, key: EffectKey, shop: Any) -> str:
    """Pay a part of an order."""
    return await shop.pay(key, order, str(amount))


@tool(mode="native_key", timeout_s=TIMEOUT_S, retry=RETRY)
async def unbook(seat: str, *, key: EffectKey, shop: Any) -> str:
    """Give a seat back."""
    return await shop.unbook(key, seat)


@tool(
    mode="native_key",
    business_key="seat:{seat}",
    cardinality="until_compensated",
    undo=unbook,
    timeout_s=TIMEOUT_S,
    retry=RETRY,
)
async def book(seat: str, *, key: EffectKey, shop: Any) -> str:
    """Take a seat."""
    return await shop.book(key, seat)


@tool(mode="upsert", timeout_s=TIMEOUT_S, retry=RETRY)
async def put(name: str, text: str, *, key: EffectKey, shop: Any) -> str:
    """Set a text."""
    return await shop.put(key, name, text)


@tool(mode="conditional", timeout_s=TIMEOUT_S, retry=RETRY)
async def move(name: str, version: int, *, key: EffectKey, shop: Any) -> int:
    """Move a record on, if nobody else has."""
    return await shop.move(key, name, version)


@tool(mode="probe_then_write", probe=_find, probe_lag_s=LAG_S, timeout_s=TIMEOUT_S, retry=RETRY)
async def post(letter: str, *, key: EffectKey, shop: Any) -> str:
    """Post a letter; whether it was posted can be asked."""
    return await shop.post(key)


@tool(
    mode="draft_then_commit",
    draft=_draft,
    probe=_find,
    probe_lag_s=LAG_S,
    timeout_s=TIMEOUT_S,
    retry=RETRY,
)
async def issue(paper: str, *, key: EffectKey, draft: str, shop: Any) -> str:
    """Issue what was drafted."""
    assert draft == f"draft of {key}"
    return await shop.post(key)


@tool(
    effect="irreversible", mode="at_most_once", business_key="ring:{bell}", timeout_s=TIMEOUT_S, retry=RETRY
)
async def ring(bell: str, *, key: EffectKey, shop: Any) -> None:
    """Ring a bell. It cannot be asked for, and not be rung back."""
    await shop.ring(key, bell)


POLICY = f"""
@id("may-do-everything")
@text("The clerk may use all of its tools.")
permit (principal == Agent::"clerk", action, resource);

@id("refunds-per-order")
@text("An order is refunded at most so much a day.")
forbid (principal, action == Action::"refund", resource)
when {{ context.totals.refunds.amount.greaterThan(decimal("{REFUNDS_PER_ORDER}.00")) }};

@id("lead-looks")
@text("A lead looks at what goes out on paper.")
@decision("require_approval")
@approvers("lead")
forbid (principal, action == Action::"issue", resource) when {{ context.args.paper like "big*" }};
"""

Step = Literal["refund", "pay", "book", "put", "move", "post", "issue", "ring", "look"]
STEPS: tuple[Step, ...] = ("refund", "pay", "book", "put", "move", "post", "issue", "ring", "look")


class Chore(Arguments):
    """What the clerk is given: steps to take in order, and what they are about."""

    id: str
    steps: list[Step]
    order: str
    amount: int


async def chores(run: Run, task: Chore) -> str:
    """Take each step, and go on whatever becomes of it."""
    await run.now()
    for index, step in enumerate(task.steps):
        name = f"{task.id}-{index}"
        try:
            await _step(run, task, step, name)
        except (CallRefused, ToolFailed, EffectUnknown):
            await run.uuid()
    return f"{await run.random():.3f}"


async def _step(run: Run, task: Chore, step: Step, name: str) -> None:
    match step:
        case "refund":
            await run.call(refund, order=task.order, reason=f"{task.amount % 3}", amount=Decimal(task.amount))
        case "pay":
            await run.call(pay, order=task.order, amount=Decimal(task.amount))
        case "book":
            await run.call(book, seat=f"seat-{task.amount % 4}")
        case "put":
            await run.call(put, name=name, text=task.id)
        case "move":
            version = await run.call(get_version, name=task.order)
            await run.call(move, name=task.order, version=version)
        case "post":
            await run.call(post, letter=name)
        case "issue":
            await run.call(issue, paper=f"{'big' if task.amount > 60 else 'small'}-{name}")
        case "ring":
            await run.call(ring, bell=name)
        case "look":
            await run.gather([("get_order", {"order": order}) for order in ORDERS])


clerk = Agent(
    name="clerk",
    owner="tests",
    prompt="none",
    models=["scripted:clerk"],
    tools=[refund, pay, book, put, move, post, issue, ring, get_order, get_version],
    policy={"clerk.cedar": POLICY},
    task=Chore,
    source="{id}",
    budget=Budget(tool_calls=40, money="0.20"),
    budget_per_day=Budget(tool_calls=10_000, model_calls=10_000, money=DAY_MONEY),
    approval_ttl="5m",
    program=chores,
)


def tasks(dice: random.Random) -> dict[str, list[Any]]:
    """A morning's work of one seed."""
    return {
        "clerk": [
            Chore(
                id=f"chore-{number}",
                steps=[
                    *dice.choice((("refund",), ("refund",), ("pay",), ())),
                    *dice.sample(STEPS[1:], dice.randint(2, 4)),
                ],
                order=dice.choice(ORDERS),
                amount=dice.randint(10, 90),
            )
            for number in range(dice.randint(4, 9))
        ]
    }


def resources(world: World) -> dict[str, object]:
    """The shop, at the other end of a wire."""
    shop = Shop(world)
    world.shop = shop  # pyright: ignore[reportAttributeAccessIssue]
    return {"shop": world.remote(shop, "shop")}


def invariants(world: World) -> list[str]:
    """What the shop itself must find in order."""
    shop: Shop = world.shop  # pyright: ignore[reportAttributeAccessIssue]
    wrong = [
        f"{order} was refunded {sum_} in all"
        for order, sum_ in shop.refunded.items()
        if sum_ > REFUNDS_PER_ORDER
    ]
    wrong += [
        f"{order} was paid {sum_} of {ORDER_TOTAL}" for order, sum_ in shop.paid.items() if sum_ > ORDER_TOTAL
    ]
    wrong += [f"{seat} is taken {times} times" for seat, times in shop.booked.items() if times > 1]
    wrong += [f"{bell} rang {times} times" for bell, times in shop.rung.items() if times > 1]
    return wrong


LEAD_KEY = bytes(range(32))
LEAD = Approver(
    name="lea",
    roles=frozenset({"lead"}),
    public_key=Ed25519PrivateKey.from_private_bytes(LEAD_KEY).public_key().public_bytes_raw(),
)
SCENE = Scene(
    agents=[clerk],
    resources=resources,
    tasks=tasks,
    models={"scripted:clerk": ScriptedModel("clerk", lambda *_: say("done"))},
    approvers={"lea": (LEAD, LEAD_KEY)},
    counted=("refund", "pay", "book", "unbook", "put", "move", "post", "issue", "ring"),
    invariants=invariants,
)
