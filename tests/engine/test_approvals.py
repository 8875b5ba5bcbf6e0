"""A person says yes, to exactly one thing, in time, and with a key of their own; anything else is no yes."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from tests.engine.workshop import (
    LEADS,
    PERMIT,
    Task,
    Vendor,
    approver,
    asks,
    healthy,
    key_of,
    kinds_of,
    make_agent,
    runtime_of,
    state_of,
)

from answerable import Arguments, EffectKey, Run, tool
from answerable.errors import ApprovalError
from answerable.journal.store import Append
from answerable.testing import FakeClock

if TYPE_CHECKING:
    from pathlib import Path

DAY_S = 86_400
plans: dict[str, str] = {"to": "IBAN 1"}


def plan_of(arguments: Arguments) -> dict[str, str]:
    """What would be sent: it can change while people think."""
    return dict(plans)


@tool(mode="native_key", plan=plan_of)
async def pay(amount: int, *, key: EffectKey, vendor: Vendor, plan: dict[str, str]) -> str:
    """Pay."""
    return vendor.do(key)


async def program(run: Run, task: Task) -> str:
    """Pay once."""
    return await run.call("pay", amount=700)


@pytest.fixture(autouse=True)
def _one_plan() -> None:
    plans["to"] = "IBAN 1"


def agent_of(policy: str = asks("pay"), **more: Any):
    """An agent whose payments need a person."""
    return make_agent([pay], program, policy=policy, **more)


async def test_a_run_waits_for_a_person_and_goes_on_when_they_say_yes(tmp_path: Path) -> None:
    """While it waits it holds no claim and no money; the yes may come while no process is there."""
    vendor, agent = Vendor(), agent_of()
    async with runtime_of(tmp_path, agent, vendor=vendor) as runtime:
        waiting = await runtime.run(agent, Task())
        again = await runtime.drive(waiting.run)
        budget = await runtime.store.budget(f"run:{waiting.run}")
        before = await kinds_of(runtime, waiting.run)
    async with runtime_of(tmp_path, agent, vendor=vendor, seed="somebody with a phone") as other:
        await other.answer(waiting.run, "grant", approver="lea", private_key=key_of("lea"), note="fine")
    async with runtime_of(tmp_path, agent, vendor=vendor, seed=2) as runtime:
        outcome = await runtime.drive(waiting.run)
        kinds = await kinds_of(runtime, waiting.run)
    await healthy(tmp_path)

    assert (waiting.state, waiting.waiting_for, again.state) == ("waiting", "approval", "waiting")
    assert budget == {}
    assert before[-1] == "RunParked"
    assert kinds.count("RunParked") == 1
    assert (outcome.name, len(vendor.done)) == ("unverified", 1)


async def test_no_means_no(tmp_path: Path) -> None:
    """One valid no ends it, whatever else was said."""
    vendor, agent = Vendor(), agent_of(asks("pay", count=2))
    async with runtime_of(tmp_path, agent, vendor=vendor) as runtime:
        waiting = await runtime.run(agent, Task())
        await runtime.answer(waiting.run, "grant", approver="lea", private_key=key_of("lea"))
        await runtime.answer(waiting.run, "deny", approver="leo", private_key=key_of("leo"))
        outcome = await runtime.drive(waiting.run)
    await healthy(tmp_path)

    assert (outcome.name, outcome.code, vendor.asked) == ("escalated", "approval_denied", [])


@pytest.mark.parametrize("said_late", [False, True])
async def test_an_answer_that_comes_too_late_is_no_yes(said_late: bool, tmp_path: Path) -> None:
    """When the time is over the answer is no, and a later yes is refused."""
    clock, vendor, agent = FakeClock(autojump=False), Vendor(), agent_of(approval_ttl="24h")
    async with runtime_of(tmp_path, agent, vendor=vendor, clock=clock) as runtime:
        waiting = await runtime.run(agent, Task())
        clock.advance(DAY_S + 1)
        if said_late:
            with pytest.raises(ApprovalError, match="deadline"):
                await runtime.answer(waiting.run, "grant", approver="lea", private_key=key_of("lea"))
        outcome = await runtime.drive(waiting.run)
    await healthy(tmp_path)

    assert (outcome.code, vendor.asked) == ("approval_expired", [])


async def test_a_yes_in_time_counts_however_late_it_is_looked_at(tmp_path: Path) -> None:
    """The process was down over the deadline; the person was in time."""
    clock, vendor, agent = FakeClock(autojump=False), Vendor(), agent_of(approval_ttl="24h")
    async with runtime_of(tmp_path, agent, vendor=vendor, clock=clock) as runtime:
        waiting = await runtime.run(agent, Task())
        clock.advance(DAY_S - 60)
        await runtime.answer(waiting.run, "grant", approver="lea", private_key=key_of("lea"))
    clock.advance(3 * DAY_S)
    async with runtime_of(tmp_path, agent, vendor=vendor, clock=clock, seed=2) as runtime:
        outcome = await runtime.drive(waiting.run)

    assert (outcome.name, len(vendor.done)) == ("unverified", 1)


async def test_a_deadline_holds_though_the_clock_is_set_back(tmp_path: Path) -> None:
    """A yes is dated by the journal, whose time does not fall."""
    clock, vendor, agent = FakeClock(autojump=False), Vendor(), agent_of(approval_ttl="1h")
    async with runtime_of(tmp_path, agent, vendor=vendor, clock=clock) as runtime:
        waiting = await runtime.run(agent, Task())
        clock.advance(7200)
        first = await runtime.drive(waiting.run)
        clock.set_back(7200)
        with pytest.raises(ApprovalError, match="waits for no approval"):
            await runtime.answer(waiting.run, "grant", approver="lea", private_key=key_of("lea"))
        outcome = await runtime.drive(waiting.run)

    assert (first.code, outcome.code, vendor.asked) == ("approval_expired", "approval_expired", [])


@pytest.mark.parametrize(
    ("who", "key", "why"),
    [
        ("lea", "leo", "signature"),
        ("mallory", "mallory", "not listed"),
        ("fin", "fin", "roles"),
    ],
)
async def test_who_may_not_answer_is_refused(who: str, key: str, why: str, tmp_path: Path) -> None:
    """Another key, an unlisted name, a role that was not asked for."""
    agent = agent_of()
    async with runtime_of(tmp_path, agent) as runtime:
        waiting = await runtime.run(agent, Task())
        with pytest.raises(ApprovalError, match=why):
            await runtime.answer(waiting.run, "grant", approver=who, private_key=key_of(key))
        outcome = await runtime.drive(waiting.run)

    assert outcome.state == "waiting"


async def test_who_asked_for_it_cannot_approve_it(tmp_path: Path) -> None:
    """The requester is a lead, and still cannot say yes to their own request."""
    agent = agent_of()
    async with runtime_of(tmp_path, agent) as runtime:
        waiting = await runtime.run(agent, Task(), requested_by="lea")
        with pytest.raises(ApprovalError, match="cannot approve"):
            await runtime.answer(waiting.run, "grant", approver="lea", private_key=key_of("lea"))
        await runtime.answer(waiting.run, "grant", approver="leo", private_key=key_of("leo"))
        outcome = await runtime.drive(waiting.run)

    assert outcome.name == "unverified"


async def test_two_people_are_two_people(tmp_path: Path) -> None:
    """One person who says yes twice is one person."""
    vendor, agent = Vendor(), agent_of(asks("pay", count=2))
    async with runtime_of(tmp_path, agent, vendor=vendor) as runtime:
        waiting = await runtime.run(agent, Task())
        for _ in range(2):
            await runtime.answer(waiting.run, "grant", approver="lea", private_key=key_of("lea"))
        once = await runtime.drive(waiting.run)
        await runtime.answer(waiting.run, "grant", approver="leo", private_key=key_of("leo"))
        outcome = await runtime.drive(waiting.run)
    await healthy(tmp_path)

    assert (once.state, outcome.name, len(vendor.done)) == ("waiting", "unverified", 1)


async def test_two_rules_need_each_their_own_people(tmp_path: Path) -> None:
    """A yes of a lead does not stand for one of finance."""
    both = asks("pay") + asks("pay", rule="finance-too", role="finance").replace(PERMIT, "")
    vendor, agent = Vendor(), agent_of(both)
    async with runtime_of(tmp_path, agent, vendor=vendor) as runtime:
        waiting = await runtime.run(agent, Task())
        await runtime.answer(waiting.run, "grant", approver="lea", private_key=key_of("lea"))
        once = await runtime.drive(waiting.run)
        await runtime.answer(waiting.run, "grant", approver="fin", private_key=key_of("fin"))
        outcome = await runtime.drive(waiting.run)

    assert (once.state, outcome.name, len(vendor.done)) == ("waiting", "unverified", 1)


async def test_a_rule_that_was_not_there_asks_anew(tmp_path: Path) -> None:
    """The rules of today decide; a yes discharges only the rules that it was asked for."""
    vendor, agent = Vendor(), agent_of()
    stricter = agent_of(asks("pay") + asks("pay", rule="finance-too", role="finance").replace(PERMIT, ""))
    async with runtime_of(tmp_path, agent, vendor=vendor) as runtime:
        waiting = await runtime.run(agent, Task())
        await runtime.answer(waiting.run, "grant", approver="lea", private_key=key_of("lea"))
    async with runtime_of(tmp_path, stricter, vendor=vendor, seed=2) as runtime:
        again = await runtime.drive(waiting.run)
        asked = vendor.asked[:]
        await runtime.answer(waiting.run, "grant", approver="fin", private_key=key_of("fin"))
        outcome = await runtime.drive(waiting.run)
    await healthy(tmp_path)

    assert (again.state, again.request != waiting.request, asked) == ("waiting", True, [])
    assert (outcome.name, len(vendor.done)) == ("unverified", 1)


async def test_a_rule_that_now_forbids_is_stronger_than_a_yes(tmp_path: Path) -> None:
    """On waking every gate runs again."""
    vendor, agent = Vendor(), agent_of()
    forbidden = agent_of(
        PERMIT + '@id("never")\n@text("No.")\nforbid (principal, action == Action::"pay", resource);'
    )
    async with runtime_of(tmp_path, agent, vendor=vendor) as runtime:
        waiting = await runtime.run(agent, Task())
        await runtime.answer(waiting.run, "grant", approver="lea", private_key=key_of("lea"))
    async with runtime_of(tmp_path, forbidden, vendor=vendor, seed=2) as runtime:
        outcome = await runtime.drive(waiting.run)

    assert (outcome.code, vendor.asked) == ("policy_denied", [])


async def test_an_approver_who_was_removed_has_not_said_yes(tmp_path: Path) -> None:
    """Who may approve is looked up when it counts."""
    vendor, agent = Vendor(), agent_of()
    async with runtime_of(tmp_path, agent, vendor=vendor) as runtime:
        waiting = await runtime.run(agent, Task())
        await runtime.answer(waiting.run, "grant", approver="lea", private_key=key_of("lea"))
    async with runtime_of(tmp_path, agent, vendor=vendor, seed=2, approvers=LEADS[1:]) as runtime:
        outcome = await runtime.drive(waiting.run)

    assert (outcome.state, vendor.asked) == ("waiting", [])


@pytest.mark.parametrize("when", ["before the answer", "after the answer"])
async def test_a_plan_that_changed_voids_the_yes(when: str, tmp_path: Path) -> None:
    """People approve what would be sent; something else has to be asked for anew."""
    vendor, agent = Vendor(), agent_of()
    async with runtime_of(tmp_path, agent, vendor=vendor) as runtime:
        waiting = await runtime.run(agent, Task())
        if when == "before the answer":
            plans["to"] = "IBAN 2"
        await runtime.answer(waiting.run, "grant", approver="lea", private_key=key_of("lea"))
        plans["to"] = "IBAN 2"
        again = await runtime.drive(waiting.run)
        asked = vendor.asked[:]
        await runtime.answer(waiting.run, "grant", approver="lea", private_key=key_of("lea"))
        outcome = await runtime.drive(waiting.run)
    await healthy(tmp_path)

    assert (again.state, asked) == ("waiting", [])
    assert (outcome.name, len(vendor.done)) == ("unverified", 1)


async def test_a_yes_cannot_be_replayed(tmp_path: Path) -> None:
    """The signed answer of one run, copied into the inbox of another, counts for nothing."""
    vendor, agent = Vendor(), agent_of()
    async with runtime_of(tmp_path, agent, vendor=vendor) as runtime:
        one, two = [await runtime.run(agent, Task(id=name)) for name in ("one", "two")]
        given = await runtime.answer(one.run, "grant", approver="lea", private_key=key_of("lea"))
        state = await state_of(runtime, two.run)
        (request,) = state.calls["1.0"].requests
        copies = [
            given,
            replace(given, request=request.request),
            replace(given, request=request.request, digest=request.digest),
        ]
        for copy in copies:
            await runtime.store.append(
                Append(stream=f"inbox/{two.run}", events=(copy,), expect=None, epoch=0, now=0)
            )
        outcome = await runtime.drive(two.run)

    assert (outcome.state, vendor.asked) == ("waiting", [])


async def test_a_yes_is_used_up(tmp_path: Path) -> None:
    """The same call a second time in the run needs a yes of its own."""
    vendor = Vendor("refused")

    async def twice(run: Run, task: Task) -> str:
        try:
            return await run.call("pay", amount=700)
        except Exception:
            return await run.call("pay", amount=700)

    agent = make_agent([pay], twice, policy=asks("pay"))
    async with runtime_of(tmp_path, agent, vendor=vendor) as runtime:
        waiting = await runtime.run(agent, Task())
        await runtime.answer(waiting.run, "grant", approver="lea", private_key=key_of("lea"))
        second = await runtime.drive(waiting.run)

    assert (second.state, len(vendor.asked)) == ("waiting", 1)


async def test_a_batch_asks_for_one_after_the_other(tmp_path: Path) -> None:
    """Two writes of one batch that both need a person are asked for in order."""
    vendor = Vendor()

    async def both(run: Run, task: Task) -> list[str]:
        return await run.gather([("pay", {"amount": 700}), ("pay", {"amount": 800})])

    agent = make_agent([pay], both, policy=asks("pay"))
    async with runtime_of(tmp_path, agent, vendor=vendor) as runtime:
        outcome = await runtime.run(agent, Task())
        done = []
        while outcome.state == "waiting":
            done.append(len(vendor.done))
            await runtime.answer(outcome.run, "grant", approver="lea", private_key=key_of("lea"))
            outcome = await runtime.drive(outcome.run)
    await healthy(tmp_path)

    assert (outcome.name, done, len(vendor.done)) == ("unverified", [0, 1], 2)


async def test_reads_of_a_batch_that_need_a_person_are_all_asked_for(tmp_path: Path) -> None:
    """Two reads at once, each of which needs a yes: the run comes to its end."""

    @tool(effect="read")
    async def open_file(name: str) -> str:
        """Open a file about somebody."""
        return name

    async def both(run: Run, task: Task) -> list[str]:
        return await run.gather([("open_file", {"name": "ana"}), ("open_file", {"name": "ben"})])

    agent = make_agent([open_file], both, policy=asks("open_file"))
    async with runtime_of(tmp_path, agent) as runtime:
        outcome = await runtime.run(agent, Task())
        for _ in range(4):
            if outcome.state == "waiting":
                await runtime.answer(outcome.run, "grant", approver="lea", private_key=key_of("lea"))
                outcome = await runtime.drive(outcome.run)
    await healthy(tmp_path)

    assert outcome.answer == ["ana", "ben"]


async def test_an_attached_run_waits_inline(tmp_path: Path) -> None:
    """Somebody else owns the loop: the call waits until a person has answered."""
    clock, vendor, agent = FakeClock(), Vendor(), agent_of(approval_ttl="365d")

    async def say_yes() -> None:
        async with runtime_of(tmp_path, agent, vendor=vendor, clock=clock, seed=2) as other:
            while not (rows := await other.store.runs()) or not rows[0].epoch:
                await asyncio.sleep(0.01)
            while True:
                try:
                    await other.answer(rows[0].run, "grant", approver="lea", private_key=key_of("lea"))
                except ApprovalError:
                    await asyncio.sleep(0.01)
                else:
                    return

    async with runtime_of(tmp_path, agent, vendor=vendor, clock=clock) as runtime:
        yes = asyncio.ensure_future(say_yes())
        async with runtime.start(agent, Task()) as run:
            await run.call(pay, amount=700)
        await yes
        (row,) = await runtime.store.runs()
    await healthy(tmp_path)

    assert (row.outcome, len(vendor.done)) == ("unverified", 1)


async def test_a_listed_key_is_needed_and_not_just_a_name(tmp_path: Path) -> None:
    """Somebody who lists themselves under a lead's name with their own key signs for nobody."""
    agent, vendor = agent_of(), Vendor()
    impostor = replace(approver("mallory", "lead"), name="lea")
    async with runtime_of(tmp_path, agent, vendor=vendor, approvers=[impostor]) as runtime:
        waiting = await runtime.run(agent, Task())
        await runtime.answer(waiting.run, "grant", approver="lea", private_key=key_of("mallory"))
    async with runtime_of(tmp_path, agent, vendor=vendor, seed=2) as runtime:
        outcome = await runtime.drive(waiting.run)

    assert (outcome.state, vendor.asked) == ("waiting", [])
