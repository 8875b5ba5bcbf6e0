"""How many recorded calls a backtest of rules decides again in a second, on one core: `python -m bench.policy_backtest`.

The journal is a real one: the refund desk works through thousands of tickets, each about an order of its own, so no two of
its refunds or look-ups of a customer are the same question. Everything is counted: reading entries and content, folding,
building what the rules were asked, and asking both bundles. CPU of the whole process, not time on the wall.
"""

import argparse
import asyncio
import json
import shutil
import sqlite3
import sys
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

from answerable import Agent
from answerable.cli.policy_backtest import collecting_rarely
from answerable.gates.policy import Bundle
from answerable.gates.policy.pair import Pair
from answerable.gates.request import PolicyRequest
from answerable.journal.store import JournalStore
from answerable.models.scripted import ScriptedModel
from answerable.project import load_rules, open_runtime, open_store
from answerable.replay.asked import asked_of
from answerable.replay.backtest import BacktestReport, backtest
from answerable.testing import FakeClock, fake_ports
from bench.keep import RESULTS, keep
from bench.machine import this_machine
from bench.summary import Spread, spread

ROOT = Path(__file__).parents[1]
POLICY = ROOT / "examples" / "refund_desk" / "policy" / "refund_desk.cedar"
TICKETS_A_DAY = 100
ORDERS_FROM = 2000
"""The shop's own orders have lower numbers."""
ORDERS = 7_000
DECISIONS_MAX = 30_000
"""So many come of so many orders, at least four of each."""
SAMPLE = 8_000
"""Of so many decisions the parts are measured."""
TARGET = 5_000
"""Decisions a second a core."""


def candidates() -> dict[str, str]:
    """What is tried, by name: the rules in force with one of them, or every one of them, written otherwise."""
    rules = POLICY.read_text("utf-8")
    capped = rules.replace(
        'order.amount.greaterThan(decimal("500.00"))', 'order.amount.greaterThan(decimal("40.00"))'
    )
    rewritten = rules.replace('@text("', '@text("As before: ').replace(
        'decimal("500.00")', 'decimal("40.00")'
    )
    return {"one rule changed": capped, "every rule written anew": rewritten}


def seed_many(orders: int) -> Any:
    """Fill a shop with `orders` customers, each with one order that was delivered."""
    from examples.refund_desk.seed import seed_shop

    def seed(db: sqlite3.Connection) -> None:
        seed_shop(db)
        for number in range(orders):
            customer, order = f"C-{ORDERS_FROM + number}", f"O-{ORDERS_FROM + number}"
            email = f"customer{number}@example.com"
            db.execute(
                "INSERT INTO customer VALUES (?, ?, ?, ?, ?)",
                (customer, f"Customer {number}", email, "en", "watched" if number % 40 == 0 else "good"),
            )
            db.execute(
                "INSERT INTO shop_order VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                (order, customer, "delivered", True, "card", "USD", "2026-08-29", "please ring twice"),
            )
            price = f"{5 + number % 83}.{number % 100:02d}"
            db.execute("INSERT INTO item VALUES (?, ?, ?, ?, ?)", (order, 0, "Tea caddy", 1, price))

    return seed


async def write(folder: Path, decisions: int) -> None:
    """Let the desk work until its journal holds so many decisions."""
    from examples.refund_desk.clerk import clerk
    from examples.refund_desk.desk import Ticket, make_desk, secrets
    from examples.refund_desk.shop import open_shop

    desk = make_desk(timeout_s=30.0)
    shop = open_shop(folder, seed=seed_many(ORDERS), slow_ms=1)
    clock = FakeClock(datetime(2026, 9, 3, 9, 0, tzinfo=UTC))
    async with open_runtime(
        f"sqlite:///{folder / 'desk.db'}",
        agents=[desk],
        resources={"shop": shop},
        secrets=secrets(folder),
        models={"scripted:desk": ScriptedModel("desk", clerk, 7)},
        ports=fake_ports("bench", clock=clock),
        durability="relaxed",
    ) as runtime:
        done = number = 0
        while done < decisions:
            tickets = [
                Ticket(
                    id=f"B-{each}",
                    customer_email=f"customer{each}@example.com",
                    order_id=f"O-{ORDERS_FROM + each}",
                    request="refund",
                    subject="Arrived broken",
                    text=f"The caddy of order {each} arrived broken. I would like my money back.",
                )
                for each in range(number, number + TICKETS_A_DAY)
            ]
            await runtime.drive_all(await runtime.submit("refund-desk", tickets))
            number += TICKETS_A_DAY
            clock.advance(timedelta(days=1).total_seconds())
            done = _decided(folder / "desk.db")
            print(f"\r{done} decisions in {number} runs", end="", file=sys.stderr, flush=True)
    print(file=sys.stderr)


def _decided(path: Path) -> int:
    """How many decisions a journal holds, but for those on calls that were not valid."""
    with sqlite3.connect(path) as db:
        (length,) = db.execute(
            "SELECT sum((length(body) - length(replace(body, '\"type\":\"CallDecided\"', ''))) / 20"
            " - (length(body) - length(replace(body, '\"class\":\"invalid\"', ''))) / 17) FROM entry"
        ).fetchone()
    return int(length or 0)


def main(arguments: Sequence[str]) -> int:
    """Write a journal, go through it again and again, print and keep the figures. Exits 1 where the target is missed."""
    parser = argparse.ArgumentParser(prog="python -m bench.policy_backtest", description=__doc__)
    parser.add_argument("--decisions", type=int, default=20_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--keep", type=Path, help="where the journal is, or is put; by default it is deleted")
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args(arguments)
    if given.decisions > DECISIONS_MAX:
        parser.error(f"--decisions is at most {DECISIONS_MAX}: the number of an order has four digits")
    folder = given.keep or RESULTS / "backtest-journal"
    if given.keep is None:
        shutil.rmtree(folder, ignore_errors=True)
    try:
        if not (folder / "desk.db").exists():
            asyncio.run(write(folder, given.decisions))
        kept = asyncio.run(measure(folder, given.rounds))
    finally:
        if given.keep is None:
            shutil.rmtree(folder, ignore_errors=True)
    keep(kept, at=datetime.now(UTC), name="backtest")
    print(json.dumps(kept, indent=1) if given.json else _page(kept))
    return 1 if kept["missed"] else 0


async def measure(folder: Path, rounds: int) -> dict[str, Any]:
    """CPU of whole backtests: of all calls, and of refunds alone, for each candidate; interleaved."""
    from examples.refund_desk.desk import make_desk

    desk = make_desk()
    current = load_rules(desk, {POLICY.name: POLICY.read_text("utf-8")})
    tried = {name: load_rules(desk, {POLICY.name: text}) for name, text in candidates().items()}
    store = await open_store(f"sqlite:///{folder / 'desk.db'}", must_exist=True)
    costs: dict[str, list[float]] = {name: [] for name in tried}
    reports: dict[str, BacktestReport] = {}
    try:
        for number in range(rounds + 1):  # the first does not count: slices are made
            for name, candidate in tried.items():
                cost, reports[name] = await _once(store, desk, current, candidate)
                if number:
                    costs[name].append(cost)
        parts = [await _parts(store, desk, current, candidate) for candidate in [*tried.values()] * rounds]
        tools = await _tools(store)
    finally:
        await store.close()
    figures = {name: spread(values) for name, values in costs.items()}
    first = next(iter(reports.values()))
    return {
        "command": "python -m bench.policy_backtest",
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": asdict(this_machine(ROOT)),
        "machine_said": str(this_machine(ROOT)),
        "rounds": rounds,
        "runs": first.runs,
        "decisions": first.decisions,
        "tools": tools,
        "reproduced": first.reproduced,
        "cpu_us_a_decision": {name: asdict(each) for name, each in figures.items()},
        "parts_us": {
            name: asdict(spread([each[name] for each in parts if name in each])) for name in parts[0]
        },
        "flips": {
            name: {
                f"{kind[0]} to {kind[1]}": [each.calls, str(sum(each.money.values(), Decimal(0)))]
                for kind, each in report.sums().items()
            }
            for name, report in reports.items()
        },
        "missed": [name for name, each in figures.items() if 1e6 / each.median < TARGET],
    }


async def _once(
    store: JournalStore, desk: Agent, current: Bundle, candidate: Bundle
) -> tuple[float, BacktestReport]:
    started = time.process_time_ns()
    with collecting_rarely():  # as the verb does
        report = await backtest(store, desk, current, candidate)
    took = (time.process_time_ns() - started) / 1_000
    if report.reproduced != report.decisions or report.undecided:
        message = f"the journal of the desk itself is not decided again as recorded: {report.unlike[:3]}"
        raise RuntimeError(message)
    return took / report.decisions, report


async def _parts(store: JournalStore, desk: Agent, current: Bundle, candidate: Bundle) -> dict[str, float]:
    """Where the time goes: reading, folding and building; then asking both bundles, by tool."""
    pair = Pair(current, candidate)
    some: dict[str, list[PolicyRequest]] = {}
    count, started = 0, time.process_time_ns()
    with collecting_rarely():
        async for told in asked_of(
            store, desk, await store.runs(), is_read=lambda tool: pair.is_read(tool, desk.name)
        ):
            count += len(told.asked)
            for each in told.asked if count < SAMPLE else ():
                assert each.request is not None
                some.setdefault(each.event.tool, []).append(each.request)
    found = {"read, fold, build": (time.process_time_ns() - started) / 1_000 / count}
    for name, requests in some.items():
        pair.decide(requests[0])  # the slice is made
        started = time.process_time_ns()
        for request in requests:
            pair.decide(request)
        found[f"ask both about {name}"] = (time.process_time_ns() - started) / 1_000 / len(requests)
    return found


async def _tools(store: JournalStore) -> dict[str, int]:
    """How many decisions there are of each tool."""
    found: Counter[str] = Counter()
    for row in await store.runs():
        for entry in await store.entries(f"run/{row.run}"):
            found.update(
                each.tool
                for each in entry.events
                if type(each).__name__ == "CallDecided" and each.cls != "invalid"
            )
    return dict(found.most_common())


def _page(kept: dict[str, Any]) -> str:
    tools = ", ".join(f"{count} {tool}" for tool, count in kept["tools"].items())
    over = f"{kept['rounds']} rounds over {kept['decisions']} decisions of {kept['runs']} runs"
    lines = [
        f"`{kept['command']}`, {kept['date'][:10]}, {over} ({tools}).  ",
        f"{kept['machine_said']}.\n",
        "| candidate | CPU µs a decision (least to greatest) | decisions a second a core |",
        "| --- | --- | --- |",
    ]
    for name, each in kept["cpu_us_a_decision"].items():
        cost = Spread(**each)
        lines.append(
            f"| {name} | {cost.median:.0f} ({cost.low:.0f} to {cost.high:.0f}) |"
            f" {1e6 / cost.median:,.0f} ({1e6 / cost.high:,.0f} to {1e6 / cost.low:,.0f}) |"
        )
    lines += ["\n| of which | CPU µs (least to greatest) |", "| --- | --- |"]
    for name, each in kept["parts_us"].items():
        part = Spread(**each)
        lines.append(f"| {name} | {part.median:.0f} ({part.low:.0f} to {part.high:.0f}) |")
    lines.append(f"\nMissed: {', '.join(kept['missed']) or 'none'}")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
