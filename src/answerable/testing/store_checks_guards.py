"""What a store must refuse: budgets, claims, totals and halts; and what it knows of owners."""

from __future__ import annotations

import asyncio

from answerable.errors import (
    BudgetExceeded,
    ClaimHeld,
    HaltInForce,
    TotalsMoved,
)
from answerable.testing.store_checking import Stores, append, check, do, must, note, refused
from answerable.testing.store_events import (
    ended,
    halt,
    intended,
    lift,
    run_name,
    write_run,
)

NOTICED_WITHIN_S = 2.0
"""How long a halt elsewhere may stay unnoticed before the store is wrong; the promise is much shorter."""


# Budgets


@check
async def _a_budget_is_never_overspent(stores: Stores) -> None:
    views = [await stores.open() for _ in range(2)]
    runs = [run_name(number) for number in range(16)]
    heads = [(await write_run(views[0], run)).head for run in runs]
    reserve = (("agent:desk:day", "money", 300, 1000),)
    answers = await asyncio.gather(
        *(
            append(views[index % 2], f"run/{run}", heads[index], intended(run, reserve=reserve))
            for index, run in enumerate(runs)
        ),
        return_exceptions=True,
    )
    admitted = [index for index, answer in enumerate(answers) if not isinstance(answer, BaseException)]
    turned_away = sum(isinstance(answer, BudgetExceeded) for answer in answers)
    must(
        (len(admitted), turned_away) == (3, 13),
        f"of 16 reservations of 300 in 1000, {len(admitted)} were admitted",
    )
    store = views[0]
    must(await store.budget("agent:desk:day") == {"money": (900, 0)}, "what is reserved is not counted")
    run = runs[admitted[0]]
    head = await store.head(f"run/{run}")
    await append(
        store, f"run/{run}", head, ended("1.0", run=run, settle=(("agent:desk:day", "money", 300, 120),))
    )
    must(await store.budget("agent:desk:day") == {"money": (600, 120)}, "what is settled is not counted")
    async with refused(BudgetExceeded, "a reservation over the whole limit"):
        await append(
            store,
            f"run/{run}",
            await store.head(f"run/{run}"),
            intended(run, path="2.0", reserve=(("agent:other:day", "money", 1001, 1000),)),
        )


@check
async def _one_refusal_takes_the_whole_intent(stores: Stores) -> None:
    store = await stores.open()
    run = run_name(1)
    head = (await write_run(store, run)).head
    reserve = (("run:a", "tool_calls", 1, 5), ("run:a", "money", 10, 5))
    async with refused(BudgetExceeded, "a reservation over the limit"):
        await append(store, f"run/{run}", head, intended(run, claim=_claim("default"), reserve=reserve))
    must(await store.budget("run:a") == {}, "a refused intent reserved something")
    must(await store.claim(_KEY) is None, "a refused intent left its claim")
    must(await store.head(f"run/{run}") == head, "a refused intent moved the head")


# Claims and totals

_KEY = "c" * 64
_RULES = ("default", "once", "until_compensated", "up_to")


def _claim(rule: str, *, key: str = _KEY, amount: int = 3, cap: int = 10) -> dict[str, object]:
    return {"key": key, "rule": rule, "amount": amount, "cap": cap}


@check
async def _a_claim_keeps_others_out_while_it_may_be_happening(stores: Stores) -> None:
    store = await stores.open()
    for number, rule in enumerate(_RULES):
        one, other = run_name(2 * number), run_name(2 * number + 1)
        claim = _claim(rule, key=f"{number:064x}")
        await do(store, one, intended(one, claim=claim))
        async with refused(ClaimHeld, f"a second `{rule}` effect while the first is started"):
            await do(store, other, intended(other, claim=claim))
        await do(store, one, ended("1.0", run=one, state="unknown"))
        async with refused(ClaimHeld, f"a second `{rule}` effect while the first is unknown"):
            await do(store, other, intended(other, claim=claim))
        found = await store.claim(f"{number:064x}")
        must(found is not None and found[0] == "unknown", f"the claim of an unknown effect is {found}")
        await do(store, one, ended("1.0", run=one, state="failed", via="person"))
        await do(store, other, intended(other, claim=claim))


@check
async def _a_claim_that_is_done_stays_as_its_rule_says(stores: Stores) -> None:
    store = await stores.open()
    for number, rule in enumerate(_RULES):
        one, other = run_name(2 * number), run_name(2 * number + 1)
        claim = _claim(rule, key=f"{number:064x}", amount=4)
        await do(store, one, intended(one, claim=claim))
        await do(store, one, ended("1.0", run=one))
        again = intended(other, claim=claim)
        if rule in ("once", "until_compensated"):
            async with refused(ClaimHeld, f"a second `{rule}` effect after the first is done"):
                await do(store, other, again)
            continue
        await do(store, other, again)
        if rule == "up_to":
            await do(store, other, ended("1.0", run=other))
            async with refused(ClaimHeld, "an amount over the cap of a target"):
                await do(store, other, intended(other, path="2.0", claim=claim))
            smaller = _claim(rule, key=f"{number:064x}", amount=2, cap=100)
            await do(store, other, intended(other, path="3.0", claim=smaller))


@check
async def _an_undo_lets_go_of_what_its_effect_held(stores: Stores) -> None:
    store = await stores.open()
    for number, rule in enumerate(("until_compensated", "up_to", "once")):
        run = run_name(number)
        claim = _claim(rule, key=f"{number:064x}", amount=7)
        total = (f"{number + 50:064x}", "day", 7, 0, 0)
        await do(store, run, intended(run, claim=claim, totals=(total,)))
        await do(store, run, ended("1.0", run=run))
        undo = intended(run, path="2.0", undoes=intended(run).effect)
        await do(store, run, undo)
        await do(store, run, ended("2.0", run=run))
        must(await store.total(total[0]) == (0, 0), f"an undone `{rule}` effect still counts in its total")
        again = intended(run, path="3.0", claim=claim)
        if rule == "once":
            async with refused(ClaimHeld, "a `once` effect that was undone"):
                await do(store, run, again)
        else:
            await do(store, run, again)


@check
async def _another_attempt_takes_nothing_twice(stores: Stores) -> None:
    store = await stores.open()
    run = run_name(1)
    total = ("d" * 64, "day", 5, 0, 0)
    reserve = (("run:a", "tool_calls", 1, 1),)
    await do(store, run, intended(run, claim=_claim("up_to"), totals=(total,), reserve=reserve))
    await do(store, run, intended(run, claim=_claim("up_to"), totals=(total,), attempt=2))
    must(await store.total(total[0]) == (5, 1), "a second attempt counts in the total again")
    must(await store.budget("run:a") == {"tool_calls": (1, 0)}, "a second attempt reserves again")
    await do(store, run, ended("1.0", run=run, attempt=2, settle=(("run:a", "tool_calls", 1, 1),)))
    must(await store.claim(_KEY) == ("done", 3, 1), "two attempts of one effect count as two effects")


@check
async def _a_total_that_moved_is_decided_again(stores: Stores) -> None:
    views = [await stores.open() for _ in range(2)]
    runs = [run_name(number) for number in range(4)]
    for run in runs:
        await write_run(views[0], run)
    total = ("d" * 64, "day", 5, 0, 0)
    both = await asyncio.gather(
        *(do(views[index], runs[index], intended(runs[index], totals=(total,))) for index in range(2)),
        return_exceptions=True,
    )
    moved = [one for one in both if isinstance(one, TotalsMoved)]
    must(len(moved) == 1, f"two intents that saw one total came to {both}")
    store = views[0]
    must(await store.total(total[0]) == (5, 1), "a total is not what was admitted")
    winner = runs[[isinstance(one, BaseException) for one in both].index(False)]
    await do(store, runs[2], intended(runs[2], totals=(("d" * 64, "day", 2, 5, 1),)))
    must(await store.total(total[0]) == (7, 2), "a total does not add up")
    await do(store, winner, ended("1.0", run=winner, state="failed"))
    must(await store.total(total[0]) == (2, 1), "an effect that failed still counts in its total")
    async with refused(TotalsMoved, "an intent that saw an older total"):
        await do(store, runs[3], intended(runs[3], totals=(("d" * 64, "day", 2, 7, 2),)))


# Halts


@check
async def _a_halt_refuses_every_intent_it_covers(stores: Stores) -> None:
    store, elsewhere = await stores.open(), await stores.open()
    run = run_name(1)
    await write_run(store, run)
    must(await store.halts() == (0, ()), "a new journal has halts")
    epoch = 0
    for scope, is_covered in (
        ("all", True),
        ("agent:desk", True),
        (f"run:{run}", True),
        ("tool:pay", True),
        ("tool:other", False),
        (f"run:{run_name(2)}", False),
        ("agent:other", False),
    ):
        epoch += 1
        await note(elsewhere, halt(scope, epoch))
        seen_epoch, active = await store.halts()
        must(
            (seen_epoch, [each.scope for each in active]) == (epoch, [scope]),
            f"a halt of `{scope}` is not seen",
        )
        if is_covered:
            async with refused(HaltInForce, f"an intent under a halt of `{scope}`"):
                await do(store, run, intended(run))
        else:
            await do(store, run, intended(run, path=f"{epoch}.0"))
        epoch += 1
        await note(elsewhere, lift(scope, epoch))
        must(await store.halts() == (epoch, ()), f"a halt of `{scope}` is not lifted")
    await do(store, run, intended(run, path="99.0"))


# Owners, and what is noticed


@check
async def _an_owner_lives_as_long_as_its_process(stores: Stores) -> None:
    store, elsewhere = await stores.open(), await stores.open()
    must(not await store.is_alive("own_nobody"), "an owner that never was is alive")
    await store.take_name("own_somebody")
    must(await elsewhere.is_alive("own_somebody"), "an owner is dead while its process lives")
    await store.close()
    must(not await elsewhere.is_alive("own_somebody"), "an owner is alive after its process has ended")


@check
async def _the_last_look_sees_owner_and_halts(stores: Stores) -> None:
    store, elsewhere = await stores.open(), await stores.open()
    run = run_name(1)
    await write_run(store, run)
    head = await store.head(f"run/{run}")
    look = await elsewhere.look(f"run/{run}")
    must((look.epoch, look.halts) == (head.epoch, ()), "the last look sees another owner, or halts")
    await note(elsewhere, halt("tool:pay", 1))
    look = await store.look(f"run/{run}")
    must([each.scope for each in look.halts] == ["tool:pay"], "the last look does not see a halt")
    must((await store.look("run/nothing")).epoch == 0, "a stream without entries has an owner")


@check
async def _a_halt_elsewhere_is_noticed(stores: Stores) -> None:
    store, elsewhere = await stores.open(), await stores.open()
    waiting = asyncio.ensure_future(store.changed())
    await asyncio.sleep(0)
    await note(elsewhere, halt("all", 1))
    async with asyncio.timeout(NOTICED_WITHIN_S):
        await waiting
    while (await store.halts())[0] != 1:
        async with asyncio.timeout(NOTICED_WITHIN_S):
            await store.changed()
