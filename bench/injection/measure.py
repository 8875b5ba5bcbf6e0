"""Every case of a suite under one setting, one after the other, each in a world and a run of its own."""

from bench.injection.dojo import Case, DojoWorld, Suite
from bench.injection.guarded import SETTINGS, Guard, guard_of, performing
from bench.injection.oracle import Ended, Perform, Step, Wanted, walk
from bench.injection.score import Scored

NO_GATES = "no gates"
PERMIT_ALL = "permit all"
"""Through the product, with rules that refuse nothing: what the measurement itself changes."""
LINKS = " + links"
"""With the rule on addresses in messages, which was written after the first results."""
PLAN = " + plan"
"""The tool set is fixed from the request, before anything is read, by a planner who makes no mistake."""


def guard_for(suite: str, setting: str) -> Guard | None:
    """Load what stands between the model and the world; None where nothing does."""
    if setting == NO_GATES:
        return None
    rules = setting.removesuffix(PLAN)
    name = rules.removesuffix(LINKS)
    return guard_of(
        suite, next((each for each in SETTINGS if each == name), None), has_links=rules.endswith(LINKS)
    )


async def measure(suite: Suite, setting: str) -> list[Scored]:
    """Run every task of the suite alone, with every attack, and with every attack by a prepared attacker."""
    guard = guard_for(suite.name, setting)
    attacked = suite.attacked()
    return [
        *[await _scored(case, setting, guard) for case in (*suite.benign(), *attacked)],
        *[await _scored(case, setting, guard, is_prepared=True) for case in attacked],
    ]


async def _scored(case: Case, setting: str, guard: Guard | None, *, is_prepared: bool = False) -> Scored:
    world, task = case.world(), case.task_calls()
    planned = frozenset(each.tool for each in task) if setting.endswith(PLAN) else None

    async def walked(perform: Perform) -> list[Step]:
        return await walk(task, lambda: case.attack_calls(world, is_prepared=is_prepared), perform)

    if guard is None:
        steps = await walked(bare(world))
    else:
        async with performing(guard, case.prompt, world, planned) as perform:
            steps = await walked(perform)
    made = [step.wanted for step in steps if step.ended.verdict == "done"]
    is_hijacked = any(step.whose == "attacker" for step in steps)
    is_reached = (
        case.is_harmed(world, made, is_hijacked=is_hijacked)
        if case.attack is not None
        else case.is_solved(world, made)
    )
    return Scored(
        suite=case.suite.name,
        setting=setting,
        case=case.name,
        is_attack=case.attack is not None,
        is_prepared=is_prepared,
        is_reached=is_reached,
        was_hijacked=is_hijacked,
        steps=tuple(steps),
    )


def bare(world: DojoWorld) -> Perform:
    """Return what makes calls with nothing in between: the row that every other one is held against."""

    async def perform(wanted: Wanted) -> Ended:
        world.do(wanted.tool, **wanted.arguments)
        return Ended("done", showed_injection=world.has_shown_injection)

    return perform
