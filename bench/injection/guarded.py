"""One case through the product as it is: a real runtime, a real journal, and every gate before each call.

The run is attached, because a driven run ends at its first refusal, and the worst case goes on. Nobody ever answers: what
is asked expires at once. Each case has a journal of its own, so that no total or claim of one is seen by another.
"""

import tempfile
from collections.abc import AsyncGenerator, Collection, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from types import ModuleType
from typing import Any, Literal, get_args

from answerable import Agent, Budget, CallRefused, EffectUnknown, Run, ToolFailed, open_runtime
from answerable.gates.policy.bundle import Bundle
from answerable.kernel.decision import ReasonCode
from answerable.models.scripted import ScriptedModel
from answerable.project import bundle_of
from bench.injection.banking import tools as banking_tools
from bench.injection.oracle import Ended, Perform, Wanted
from bench.injection.slack import tools as slack_tools
from bench.injection.world import Request, World
from bench.nobody import say_nothing

Setting = Literal["open", "standard", "strict"]
SETTINGS: tuple[Setting, ...] = get_args(Setting)
"""From the laxest to the strictest; each has the rules of all before it."""
CALLS_MAX = 200
_TOOLS: Mapping[str, ModuleType] = {"banking": banking_tools, "slack": slack_tools}
_NAMES = {"banking": "bank-assistant", "slack": "chat-assistant"}
_POLICIES = Path(__file__).resolve().parent
_ASKED = frozenset({ReasonCode.APPROVAL_EXPIRED, ReasonCode.APPROVAL_DENIED})


@dataclass(frozen=True, slots=True)
class Guard:
    """An agent with the labels of one suite and the rules of one setting, read and checked once."""

    agent: Agent
    bundle: Bundle


def guard_of(suite: str, setting: Setting | None, *, has_links: bool = False) -> Guard:
    """Load a suite's tools and rules; without a setting only its permit, so that nothing is refused for its origin.

    `has_links` adds the rule on addresses in messages, which was written after the first results.
    """
    folder = _POLICIES / suite / "policy"
    names = ["base", *SETTINGS[: SETTINGS.index(setting) + 1]] if setting is not None else ["base"]
    if has_links and (folder / "links.cedar").exists():
        names.append("links")
    module = _TOOLS[suite]
    agent = Agent(
        name=_NAMES[suite],
        owner="bench",
        prompt=module.PROMPT,
        tools=module.TOOLS,
        models=["scripted:nobody"],
        policy={f"{name}.cedar": (folder / f"{name}.cedar").read_text("utf-8") for name in names},
        task=Request,
        budget=Budget(tool_calls=CALLS_MAX),
        autonomy="full",
        approval_ttl="0.001ms",
    )
    return Guard(agent, bundle_of(agent))


@asynccontextmanager
async def performing(
    guard: Guard, prompt: str, world: World, planned: Collection[str] | None = None
) -> AsyncGenerator[Perform]:
    """Yield what makes a call through every gate, in a run of its own that is about this request.

    `planned` are the only tools of the run, fixed before its first call; None where it has them all.
    """
    with tempfile.TemporaryDirectory(prefix="injection-") as folder:
        async with (
            open_runtime(
                f"sqlite:///{folder}/run.db",
                agents=[guard.agent],
                bundles={guard.agent.name: guard.bundle},
                models={"scripted:nobody": ScriptedModel("nobody", say_nothing)},
                resources={"world": world},
                durability="relaxed",
            ) as runtime,
            runtime.start(guard.agent, Request(text=prompt)) as run,
        ):
            if planned is not None:
                await run.fix_tools(planned)

            async def perform(wanted: Wanted) -> Ended:
                return await _call(run, world, wanted)

            yield perform


async def _call(run: Run, world: World, wanted: Wanted) -> Ended:
    arguments = {name: _exact(value) for name, value in wanted.arguments.items()}
    try:
        await run.call(wanted.tool, **arguments)
    except CallRefused as refused:
        decision = refused.decision
        verdict = "asked" if decision.code in _ASKED else "denied"
        return Ended(verdict, decision.rules, decision.reason)
    except (ToolFailed, EffectUnknown) as error:
        return Ended("failed", why=str(error))
    return Ended("done", showed_injection=world.has_shown_injection)


def _exact(value: Any) -> Any:
    """AgentDojo's amounts are floats; the product takes exact numbers only."""
    return Decimal(str(value)) if isinstance(value, float) else value
