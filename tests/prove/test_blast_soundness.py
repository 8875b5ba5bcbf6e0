"""No run and no day does more than the bound says: brute force on a tiny world, and random agents driven at random."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from functools import cache
from random import Random
from typing import TYPE_CHECKING, Annotated, Any, Literal

import pytest
from blast_desks import (
    Amount,
    again,
    begun,
    clean,
    desk,
    figure,
    forbid,
    get_account,
    identify,
    pay,
    pay_owner,
    radius,
    read_people,
    send,
)
from pydantic import Field

from answerable import Agent, Budget, Impact, Total, session, tool
from answerable.project import bundle_of
from answerable.prove.blast_next import Goal, amount_of
from answerable.prove.blast_subject import subject_of
from answerable.prove.blast_world import Step, World

if TYPE_CHECKING:
    from answerable.prove.blast_figures import Measure

MIDNIGHT = int(datetime(2030, 6, 4, tzinfo=UTC).timestamp() * 1_000_000)
MINUTE = 60_000_000


# --- A tiny world: two customers, amounts from 1 to 5 --------------------------------------------------------------


@tool(
    mode="upsert",
    impact=Impact(money="amount"),
    totals=(
        Total(name="customer_day", of="amount", by="{customer}", per="day"),
        Total(name="day", of="amount", per="day"),
    ),
)
def pay_tiny(customer: Literal["ana", "ben"], amount: Annotated[int, Field(ge=1, le=5)]) -> None:
    """Pay a little to one of two."""
    del customer, amount


def most(calls: int, customer_day: int, day: int, customers: tuple[str, ...]) -> int:
    """The most that any run pays: every order of every call is tried, on two days. No call is made twice."""

    @cache
    def best(left: int, done: frozenset[tuple[str, int]], today: tuple[int, ...], is_second: bool) -> int:
        found = 0 if is_second else best(left, done, (0,) * len(customers), True)
        if not left:
            return found
        for index, customer in enumerate(customers):
            for amount in range(1, 6):
                paid = tuple(each + amount * (n == index) for n, each in enumerate(today))
                if (customer, amount) not in done and paid[index] <= customer_day and sum(paid) <= day:
                    found = max(found, amount + best(left - 1, done | {(customer, amount)}, paid, is_second))
        return found

    return best(calls, frozenset(), (0,) * len(customers), False)


def tiny(calls: int, customer_day: int, day: int, *, is_tied: bool) -> Agent:
    """The desk of the tiny world; tied, it pays only the one for whom it acts."""
    rules = [
        forbid(
            "customer",
            "pay_tiny",
            f'context.totals.customer_day.amount.greaterThan(decimal("{customer_day}.0"))',
        ),
        forbid("day", "pay_tiny", f'context.totals.day.amount.greaterThan(decimal("{day}.0"))'),
    ]
    if is_tied:
        rules.append(
            forbid("own", "pay_tiny", "context.args.customer == context.run.on_behalf_of", unless=True)
        )
    return desk([pay_tiny], *rules, budget=Budget(tool_calls=calls, wall_clock="2m"))


@pytest.mark.parametrize("is_tied", [False, True])
@pytest.mark.parametrize(
    ("calls", "customer_day", "day"), [(1, 9, 9), (2, 5, 9), (3, 7, 9), (3, 4, 30), (4, 6, 7), (4, 30, 30)]
)
def test_no_run_of_the_tiny_world_does_more_than_its_bound(
    calls: int, customer_day: int, day: int, is_tied: bool
) -> None:
    customers = ("ana",) if is_tied else ("ana", "ben")
    reached = most(calls, customer_day, day, customers)

    found = figure(tiny(calls, customer_day, day, is_tied=is_tied), "money", "run", "USD")

    assert found.bound is not None
    assert found.witness is not None
    assert 0 < found.witness.amount <= reached <= found.bound
    assert found.witness.amount >= reached * Decimal("0.9"), "and the witness is close to what is possible"


@pytest.mark.parametrize(
    ("calls", "customer_day", "day", "is_tied"),
    [
        (1, 9, 9, False),
        (1, 3, 9, True),
        (2, 4, 4, False),
        (4, 5, 30, True),
        (4, 30, 3, False),
        (2, 30, 30, False),
    ],
)
def test_where_the_bound_is_exact_it_is_what_brute_force_finds(
    calls: int, customer_day: int, day: int, is_tied: bool
) -> None:
    reached = most(calls, customer_day, day, ("ana",) if is_tied else ("ana", "ben"))

    found = figure(tiny(calls, customer_day, day, is_tied=is_tied), "money", "run", "USD")

    assert found.witness is not None
    assert found.bound == found.witness.amount == reached


@pytest.mark.parametrize(("customer_day", "day", "reached"), [(7, 9, 9), (4, 30, 8), (5, 10, 10)])
def test_a_day_of_the_tiny_world_is_as_brute_force_says(customer_day: int, day: int, reached: int) -> None:
    """Amounts from 1 to 5 fill up any cap, over as many runs as it takes: two customers' caps, or the desk's."""
    assert reached == min(2 * customer_day, day)

    found = figure(tiny(2, customer_day, day, is_tied=False), "money", "day", "USD")

    assert found.bound == day
    assert found.witness is not None
    assert found.witness.amount == reached


# --- Random agents -------------------------------------------------------------------------------------------------


@tool(
    mode="upsert",
    impact=Impact(money="amount", records=2),
    totals=(Total(name="all", of="amount"), Total(name="note", of="amount", by="{note}")),
    business_key="note:{note}",
)
def pay_once(note: str, amount: Amount) -> None:
    """Pay once for each note."""
    del note, amount


CONDITIONS = (
    ("pay", 'context.args.amount.greaterThan(decimal("{a}.00"))'),
    ("pay", 'context.totals.account_day.amount.greaterThan(decimal("{a}.00"))'),
    ("pay", 'context.totals.day.amount.greaterThan(decimal("{a}.00"))'),
    ("pay", "context.totals.day.count > {n}"),
    ("pay", "context.history.pay.done > {n}"),
    ("pay", 'context.args.account == "ours" || context.history.clean.done > {n}'),
    ("pay", "!(context.args.account == context.run.on_behalf_of)"),
    ("pay", 'context.args.note like "*x{n}*"'),
    ("pay", "!(context.session has customer)"),
    ("pay", "context.session has customer && context.args.account != context.session.customer.value"),
    ("pay_owner", "!(context.facts.account_.owner == context.run.on_behalf_of)"),
    ("pay_owner", 'context.totals.owner_day.amount.greaterThan(decimal("{a}.00"))'),
    ("pay_owner", "context.facts.account_.limit.lessThan(context.args.amount)"),
    ("pay_owner", 'context.facts.account_.limit.greaterThan(decimal("{a}.00"))'),
    ("pay_once", 'context.totals.all.amount.greaterThan(decimal("{a}.00"))'),
    ("pay_once", "context.args.note != context.run.on_behalf_of"),
    ("pay_once", "context.run.calls_before > {n}"),
    ("pay_once", 'context.now.toTime() < duration("12h")'),
    ("clean", "context.budget has tool_calls && context.budget.tool_calls < {n}"),
    ("clean", "context.history.pay.done == 0"),
    ("send", 'context.run.classes_read.contains("personal")'),
    ("send", "context.history.send.decided > {n}"),
    ("", "context.run.calls_before > {m}"),
)  # fmt: skip
TOOLS = (pay, pay_owner, pay_once, clean, send, read_people, identify)
MEASURES: tuple[tuple[Measure, str], ...] = (
    ("money", "USD"),
    ("records", ""),
    ("deletes", ""),
    ("recipients", ""),
)


def random_agent(random: Random) -> Agent:
    """A few tools under a few rules, with or without budgets."""
    chosen = random.sample(CONDITIONS, random.randint(1, 5))
    named = {name for name, _ in chosen if name} | set(random.sample([each.name for each in TOOLS], 2))
    if any("session" in text for _, text in chosen):
        named.add("identify")
    named |= {
        name for name in ("pay", "clean", "send") if any(f"history.{name}." in text for _, text in chosen)
    }
    rules = [
        forbid(
            f"rule-{number}",
            name,
            text.replace("{a}", str(random.choice([1, 40, 300, 2_500])))
            .replace("{n}", str(random.randint(0, 3)))
            .replace("{m}", "4"),
            asks=random.random() < 0.4,
        )
        for number, (name, text) in enumerate(chosen)
    ]
    return desk(
        [each for each in TOOLS if each.name in named],
        *rules,
        session={"customer": session(identify, value="account")} if "identify" in named else {},
        budget=Budget(tool_calls=random.randint(1, 8), wall_clock=random.choice(["2m", "2m", "26h", None])),
        budget_per_day=random.choice([None, Budget(tool_calls=random.randint(1, 12))]),
        autonomy=random.choice(["full", "full", "capped"]),
    )


def random_step(random: Random, agent: Agent, who: str, now_us: int) -> Step:
    """A call as it comes, often with what rules are about."""
    chosen = random.choice(agent.tools)
    text = lambda: random.choice([who, "ours", "acc-1", "acc-2", f"note {random.random()}", "x1", "x2"])  # noqa: E731
    amount = random.choice(
        [
            "0.01",
            "1",
            "39.99",
            "40",
            "260",
            "300",
            "1000",
            f"{random.randint(1, 999)}.{random.randint(10, 99)}",
        ]
    )
    values: dict[str, Any] = {
        "account": text(),
        "note": text(),
        "amount": amount,
        "folder": text(),
        "name": text(),
        "body": text(),
        "to": [f"to-{n}" for n in range(random.randint(1, 4))],
    }
    arguments = {name: values[name] for name in chosen.spec.arguments.model_fields}
    owner = random.choice([who, "somebody"])
    facts = (
        {"account_": {"owner": owner, "limit": random.choice(["0", "300", "1000"])}} if chosen.facts else {}
    )
    result: Any = (
        {"account": text()} if chosen.name == "identify" else "text" if chosen.name == "read_people" else None
    )
    return Step(tool=chosen.name, arguments=arguments, facts=facts, result=result, now_us=now_us)


def driven(
    random: Random, agent: Agent, world: World, who: str, times: list[int]
) -> dict[tuple[Measure, str], Decimal]:
    """What one run at random came to, by measure."""
    run = begun(world, who)
    total = dict.fromkeys(MEASURES, Decimal(0))
    for now_us in times:
        step = random_step(random, agent, who, now_us)
        judged = world.judge(run, step)
        if not judged.is_let_through:
            continue
        world.perform(run, step, judged)
        for measure, unit in MEASURES:
            if judged.request is not None and judged.request.tool.is_write:
                total[measure, unit] += amount_of(
                    judged.request, Goal(measure=measure, unit=unit, per_call={})
                )
    return total


@pytest.mark.parametrize("seed", range(24))
def test_neither_a_witness_nor_a_random_run_goes_beyond_the_bound(seed: int) -> None:
    random = Random(seed)
    agent = random_agent(random)
    found = radius(agent)
    subject = subject_of(agent, bundle_of(agent))

    for measure, unit in MEASURES:
        run, day = found.figure(measure, "run", unit), found.figure(measure, "day", unit)
        assert run.witness is not None
        assert day.witness is not None
        assert run.bound is None or run.witness.amount <= run.bound
        assert day.bound is None or day.witness.amount <= day.bound
    for number in range(60):
        world = World(subject)
        start = random.choice([MIDNIGHT - MINUTE, MIDNIGHT + 13 * 60 * MINUTE])
        step_us = random.choice([1_000_000, 8_000_000])
        times = [start + n * step_us for n in range(random.choice([10, 15]))]
        total = driven(random, agent, world, random.choice(["ana", "ours"]), times)
        for key, amount in total.items():
            bound = found.figure(key[0], "run", key[1]).bound
            assert bound is None or amount <= bound, (seed, number, key)
    for number in range(6):
        world = World(subject)
        sums = dict.fromkeys(MEASURES, Decimal(0))
        for _ in range(8):
            at = MIDNIGHT + random.choice([1, 13, 20]) * 60 * MINUTE
            who = random.choice(["ana", "ben", "ours"])
            for key, amount in driven(
                random, agent, world, who, [at + n * 1_000_000 for n in range(8)]
            ).items():
                sums[key] += amount
        for key, amount in sums.items():
            bound = found.figure(key[0], "day", key[1]).bound
            assert bound is None or amount <= bound, (seed, number, key)


@pytest.mark.parametrize("seed", range(40, 52))
def test_every_call_of_a_witness_is_let_through_once_more(seed: int) -> None:
    """In a world of its own, where only the witness was done. Runs that read something trusted need its content."""
    agent = random_agent(Random(seed))

    found = radius(agent, "run").figure("money", "run", "USD")

    assert found.witness is not None
    if all(call.tool != "identify" for call in found.witness.calls):
        assert again(agent, found.witness) == found.witness.amount


def test_the_reader_of_facts_is_a_tool_that_the_model_may_not_have() -> None:
    assert get_account.name not in {each.name for each in random_agent(Random(1)).tools}
