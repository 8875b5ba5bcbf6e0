"""Several processes share one budget, one order, one day, and are killed while they hold a part of it."""

from __future__ import annotations

import asyncio
import os
import random
import sqlite3
import time
from contextlib import closing
from decimal import Decimal
from typing import TYPE_CHECKING, Annotated, Any

import pytest
from pydantic import Field
from tests.crash.crash_points import Points, fork

from answerable import (
    Agent,
    Arguments,
    Budget,
    EffectKey,
    Impact,
    NotDone,
    Retry,
    Run,
    Total,
    UpTo,
    fact,
    open_runtime,
    tool,
)
from answerable.engine.ports import Ports
from answerable.errors import AnswerableError
from answerable.journal.doctor import examine
from answerable.journal.sqlite import SqliteJournal
from answerable.journal.verify import verify_database
from answerable.models.port import Cost, Message, ModelReply, ModelRequest, Usage
from answerable.testing import FakeClock

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

PROCESSES, TASKS = 4, 16
LIMIT = 6_000_000
"""The agent's budget of a day, in micro-dollars."""
BOUND, PRICE = 60_000, 41_000
"""What a model call may cost at most, and what it costs."""

PERMIT = """
@id("may")
@text("All of it.")
permit (principal == Agent::"spender", action, resource);
"""


class Job(Arguments):
    """One task."""

    id: str
    amount: Annotated[Decimal, Field(gt=0, decimal_places=2)] = Decimal(1)


class Meter:
    """A model that writes down each call that it bills, before it answers."""

    def __init__(self, path: Path, point: Callable[[str], None]) -> None:
        self._path = path
        self._point = point

    async def request(self, request: ModelRequest) -> ModelReply:
        """Bill, then answer."""
        self._point("before the bill")
        with self._path.open("a") as file:
            file.write(f"{PRICE}\n")
        self._point("after the bill")
        await asyncio.sleep(0.002)
        return ModelReply(text="yes", usage=Usage(input=1, output=1), model=request.model, is_scripted=True)

    def tokens_bound(self, request: ModelRequest) -> int:
        """Few."""
        return 10

    def cost(self, model: str, usage: Usage) -> Cost:
        """What a call costs."""
        return Cost(usd=Decimal(PRICE) / 1_000_000, table="test")

    def cost_bound(self, model: str, *, input_tokens: int, output_tokens: int) -> Cost:
        """What it may cost."""
        return Cost(usd=Decimal(BOUND) / 1_000_000, table="test")


async def think(run: Run, task: Job) -> None:
    """Ask the model twice."""
    for turn in range(2):
        await run.model([Message(role="user", text=f"{task.id} {turn}")])


class Order(Arguments):
    """An order."""

    id: str
    total: Decimal


@tool(effect="read")
async def get_order(order: str) -> Order:
    """Look up an order."""
    return Order(id=order, total=Decimal(100))


spender = Agent(
    name="spender",
    owner="tests",
    prompt="none",
    models=["scripted:meter"],
    tools=[get_order],
    policy={"rules.cedar": PERMIT},
    task=Job,
    source="{id}",
    budget_per_day=Budget(tool_calls=10_000, model_calls=10_000, money="6.00"),
    program=think,
)


def ports() -> Ports:
    """Real chance, virtual sleeps."""
    from datetime import UTC, datetime

    return Ports(clock=FakeClock(datetime(2026, 9, 3, 9, tzinfo=UTC)), entropy=os.urandom)


async def _spend(folder: Path, number: int, die_at: int | None) -> None:
    points = Points(
        folder / "points", die_at
    )  # passed by the model only: between a reservation and its settling
    async with open_runtime(
        f"sqlite:///{folder / 'journal.db'}",
        agents=[spender],
        models={"scripted:meter": Meter(folder / "bills", points)},
        ports=ports(),
        durability="relaxed",
    ) as runtime:
        runs = await runtime.submit(spender, [Job(id=f"p{number}-{task}") for task in range(TASKS)])
        await runtime.drive_all(runs, concurrency=3)


def _watch(path: Path, alive: set[int]) -> list[int]:
    """What the budget says while the processes are at it; each is waited for."""
    seen: list[int] = []
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=5)) as db:
        while alive:
            rows = db.execute(
                "SELECT reserved + spent FROM budget WHERE id LIKE 'agent:%' AND unit = 'money'"
            )
            seen += [row[0] for row in rows]
            for child in list(alive):
                done, _ = os.waitpid(child, os.WNOHANG)
                if done:
                    alive.discard(child)
            time.sleep(0.002)
    return seen


def test_a_budget_is_never_overspent_by_processes_that_are_killed(tmp_path: Path) -> None:
    """Four processes with sixteen tasks each, killed between reserve and settle: overspend is 0."""
    dice = random.Random(5)
    asyncio.run(_spend_nothing(tmp_path))
    seen: list[int] = []
    for _ in range(4):
        deaths = [dice.randrange(2, 14) for _ in range(PROCESSES)]
        children = {
            fork(lambda n=number, all_=deaths: _spend(tmp_path, n, all_[n])) for number in range(PROCESSES)
        }
        seen += _watch(tmp_path / "journal.db", children)
    kills = (tmp_path / "points").read_text().count("died")
    last = {fork(lambda n=number: _spend(tmp_path, n, None)) for number in range(PROCESSES)}
    seen += _watch(tmp_path / "journal.db", last)

    bills = [int(line) for line in (tmp_path / "bills").read_text().split()]
    ended = asyncio.run(_ended(tmp_path))
    print(
        f"\nbudget: {PROCESSES} processes x {TASKS} tasks, {kills} kills, {len(bills)} paid calls, billed"
        f" {sum(bills)} of {LIMIT}, reserved and spent at most {max(seen)}: overspend {max(0, max(seen) - LIMIT)}"
    )
    assert kills >= 12
    assert max(seen) <= LIMIT
    assert sum(bills) <= LIMIT
    assert sum(bills) > LIMIT // 3
    assert ended == {"ended": PROCESSES * TASKS}
    assert verify_database(tmp_path / "journal.db").is_ok


async def _spend_nothing(folder: Path) -> None:
    async with open_runtime(
        f"sqlite:///{folder / 'journal.db'}",
        agents=[spender],
        models={"scripted:meter": Meter(folder / "bills", lambda _: None)},
        ports=ports(),
    ):
        pass


async def _ended(folder: Path) -> dict[str, int]:
    store = await SqliteJournal.open(folder / "journal.db", entropy=os.urandom, clock=lambda: 0)
    try:
        bad = [finding.message for finding in await examine(store) if finding.level == "bad"]
        assert bad == []
        states: dict[str, int] = {}
        for row in await store.runs():
            states[row.state] = states.get(row.state, 0) + 1
    finally:
        await store.close()
    return states


# Orders and days


class Bank:
    """A file of payments, one a line."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def pay(self, order: str, amount: Decimal, key: str) -> None:
        """Pay; the bank does not look at keys."""
        with self._path.open("a") as file:
            file.write(f"{order} {amount} {key}\n")

    def paid(self) -> list[tuple[str, Decimal]]:
        """What was paid, and for which order."""
        lines = self._path.read_text().splitlines() if self._path.exists() else []
        return [(order, Decimal(amount)) for order, amount, _ in map(str.split, lines)]


async def _refund(
    order: str, amount: Annotated[Decimal, Field(gt=0)], reason: str, *, key: EffectKey, bank: Bank
) -> str:
    """Refund an order."""
    await asyncio.sleep(0.002)
    if reason == "refuse":
        raise NotDone("no", failure="permission")
    bank.pay(order, amount, key)
    return key


ONCE: dict[str, Any] = {"business_key": "refund:{order}", "cardinality": "once"}
UP_TO: dict[str, Any] = {
    "business_key": "refund:{order}",
    "cardinality": UpTo(amount="amount", total="order_.total"),
    "facts": {"order_": fact(get_order, order="{order}")},
}
TOTALS: dict[str, Any] = {
    "totals": (Total(name="order", of="amount", by="{order}"), Total(name="day", of="amount", per="day")),
}
CAPS = (
    PERMIT
    + """
@id("order-cap")
@text("At most 100 for an order.")
forbid (principal, action == Action::"refund", resource)
when { context.totals.order.amount.greaterThan(decimal("100.00")) };

@id("day-cap")
@text("At most 150 in a day.")
forbid (principal, action == Action::"refund", resource)
when { context.totals.day.amount.greaterThan(decimal("150.00")) };
"""
)


def _refunder(how: dict[str, Any], policy: str) -> Agent:
    refund = tool(
        name="refund", mode="native_key", impact=Impact(money="amount"), retry=Retry(attempts=1), **how
    )(_refund)

    async def refund_in_parts(run: Run, task: Job) -> None:
        for part in range(3):
            try:
                await run.call(
                    refund, order=task.id.split("/")[0], amount=task.amount, reason=f"{task.id} part {part}"
                )
            except AnswerableError:
                continue

    return Agent(
        name="spender",
        owner="tests",
        prompt="none",
        models=["scripted:meter"],
        tools=[refund],
        policy={"rules.cedar": policy},
        task=Job,
        source="{id}",
        program=refund_in_parts,
    )


async def _refund_all(folder: Path, agent: Agent, jobs: list[Job]) -> None:
    async with open_runtime(
        f"sqlite:///{folder / 'journal.db'}",
        agents=[agent],
        resources={"bank": Bank(folder / "bank")},
        models={"scripted:meter": Meter(folder / "bills", lambda _: None)},
        ports=ports(),
        durability="group",
    ) as runtime:
        await runtime.drive_all(await runtime.submit(agent, jobs))


@pytest.mark.parametrize(
    ("how", "policy", "per_order", "per_day"),
    [
        pytest.param(ONCE, PERMIT, 30, 60, id="once"),
        pytest.param(UP_TO, PERMIT, 90, 180, id="up to the order's total"),
        pytest.param(TOTALS, CAPS, 90, 150, id="totals of order and day"),
    ],
)
def test_splitting_between_processes_gains_nothing(
    how: dict[str, Any], policy: str, per_order: int, per_day: int, tmp_path: Path
) -> None:
    """Four processes refund two orders in parts of 30; what comes out is what one process could have had."""
    agent = _refunder(how, policy)
    asyncio.run(_refund_all(tmp_path, agent, []))
    children = [
        fork(
            lambda n=number: _refund_all(
                tmp_path, agent, [Job(id=f"o{order}/{n}", amount=Decimal(30)) for order in range(2)]
            )
        )
        for number in range(PROCESSES)
    ]
    codes = [os.waitpid(child, 0)[1] for child in children]

    paid = Bank(tmp_path / "bank").paid()
    by_order = [sum(amount for order, amount in paid if order == f"o{number}") for number in range(2)]
    assert codes == [0] * PROCESSES
    assert max(by_order) <= per_order
    assert sum(by_order) <= per_day
    assert sum(by_order) >= min(per_day, 2 * per_order) - 30
    assert asyncio.run(_ended(tmp_path)) == {"ended": 2 * PROCESSES}
    assert verify_database(tmp_path / "journal.db").is_ok
