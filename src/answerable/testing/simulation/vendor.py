"""The systems of record, far away: a request travels there and its answer back, and each of them can be lost."""

from __future__ import annotations

import asyncio
import inspect
from contextvars import ContextVar
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from answerable.errors import NotDone
from answerable.kernel.tool import PROBEABLE, RESENDABLE, WriteMode
from answerable.testing.simulation.loop import process_now

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from answerable.engine.agent import Agent
    from answerable.kernel.tool import ToolSpec
    from answerable.testing.simulation.plan import Trouble
    from answerable.testing.simulation.world import World
    from answerable.tools.declare import Tool


@dataclass(frozen=True, slots=True)
class Sending:
    """What is being sent: which effect, by which tool."""

    effect: str
    spec: ToolSpec
    begun_at: float


@dataclass(slots=True, kw_only=True)
class Request:
    """One request to a vendor."""

    number: int
    who: str
    what: str
    sending: Sending | None
    """None for a read, a probe or a draft."""
    left_at: float = 0.0
    was_paused: bool = False
    """Whether the process was paused after its last look and before the request left."""


_SENDING: ContextVar[Sending | None] = ContextVar("answerable_simulated_sending", default=None)
_KEY = "_simulated_effect"


class Remote:
    """Stands where a client of a vendor stands: each method of `target` becomes a request that travels.

    `target` is the vendor itself, in memory; its methods are plain functions, and do their work when a request arrives.
    """

    def __init__(self, world: World, name: str, target: object) -> None:
        self._world = world
        self._name = name
        self._target = target
        self._is_out_until = 0.0

    def __getattr__(self, method: str) -> Any:
        work = getattr(self._target, method)
        if inspect.iscoroutinefunction(work):
            message = f"`{self._name}.{method}` waits: a simulated vendor does its work in a plain function"
            raise TypeError(message)

        async def ask(*args: Any, **kwargs: Any) -> Any:
            return await self._ask(method, lambda: work(*args, **kwargs))

        return ask

    async def _ask(self, method: str, work: Callable[[], Any]) -> Any:
        world, sending, process = self._world, _SENDING.get(), process_now()
        assert process is not None
        number = world.number("vendor")
        request = Request(number=number, who=process.name, what=f"{self._name}.{method}", sending=sending)
        trouble = world.trouble("vendor", lambda what: _fits(what, sending))
        what = trouble.what if trouble is not None else ""
        if what == "paused in the send":
            assert trouble is not None
            world.pause(process, trouble.for_s, "between its last look and the send")
            await asyncio.sleep(0)
        request.left_at = world.loop.time()
        if sending is not None:
            request.was_paused = process.woken_at >= sending.begun_at
            world.watch.sent(request)
        try:
            self._refuse(trouble)
            return await self._deliver(request, trouble, work)
        except NotDone:
            world.refused.add(number)
            raise

    def _refuse(self, trouble: Trouble | None) -> None:
        """Say no in the vendor's place: then nothing was done."""
        if trouble is not None and trouble.what == "refused":
            raise NotDone("no, says the simulation", failure="permission")
        if trouble is not None and trouble.what == "rate limited":
            raise NotDone("too much, says the simulation", failure="rate_limited", retry_after_s=1.0)
        now = self._world.loop.time()
        if trouble is not None and trouble.what == "outage":
            self._is_out_until = now + trouble.for_s
        if now < min(self._is_out_until, self._world.healthy_from):
            raise NotDone("the vendor is down, says the simulation", failure="upstream")

    async def _deliver(self, request: Request, trouble: Trouble | None, work: Callable[[], Any]) -> Any:
        world = self._world
        answer: asyncio.Future[Any] = world.loop.create_future()
        what = trouble.what if trouble is not None else ""

        def arrive(answers: bool) -> None:  # noqa: FBT001 - of two copies only the first is answered
            world.say(request.who, f"request {request.number} arrives: {request.what}")
            try:
                value, error = work(), None
            except Exception as raised:  # noqa: BLE001 - it is what the vendor answers
                value, error = None, raised
            if answers and what not in ("lost reply", "late"):
                outside.call_later(_travel_s(world), reply, value, error)

        def reply(value: Any, error: Exception | None) -> None:
            if answer.done():
                return
            answer.set_exception(error) if error is not None else answer.set_result(value)

        outside = world.loop.outside
        delay_s = _travel_s(world)
        if what == "late":
            assert trouble is not None
            assert request.sending is not None
            delay_s = _late_s(request.sending.spec, trouble.for_s)
        if what != "lost request":
            outside.call_later(delay_s, arrive, True)
        if what == "twice":
            outside.call_later(delay_s + world.dice.uniform(0.0, 5.0), arrive, False)
        return await answer


def _fits(what: str, sending: Sending | None) -> bool:
    """Whether a trouble can happen to this request, and is one that its mode has promised something for."""
    if sending is None:
        return what not in ("late", "twice", "paused in the send")
    # A network that delivers twice does twice what has no key; no mode without one promises anything then.
    return what != "twice" or sending.spec.mode in RESENDABLE


def _travel_s(world: World) -> float:
    """How long a request or an answer travels: mostly not long."""
    return world.dice.uniform(0.001, 0.05 if world.dice.random() < 0.8 else 0.9)  # noqa: PLR2004


def _late_s(spec: ToolSpec, part: float) -> float:
    """How late a late request arrives: after the timeout, and no later than the tool says that it may."""
    if spec.mode in PROBEABLE:
        return spec.timeout_s + 0.8 * part * spec.probe_lag_s  # the rest is the vendor's own
    return spec.timeout_s * (1 + 10 * part)


def watched(agents: Sequence[Agent]) -> list[Agent]:
    """The agents, with tools that say which effect is being sent."""
    known: dict[int, Tool] = {}

    def wrap(tool: Tool) -> Tool:
        if id(tool) not in known:
            known[id(tool)] = _watched(tool, wrap(tool.undo) if tool.undo is not None else None)
        return known[id(tool)]

    return [replace(agent, tools=[wrap(tool) for tool in agent.tools]) for agent in agents]


def _watched(tool: Tool, undo: Tool | None) -> Tool:
    if not tool.spec.is_write:
        return tool
    function, spec = tool.function, tool.spec

    async def send(**given: Any) -> Any:
        token = _SENDING.set(Sending(given.pop(_KEY), spec, asyncio.get_running_loop().time()))
        try:
            value = function(**given)
            return await value if inspect.isawaitable(value) else value
        finally:
            _SENDING.reset(token)

    return replace(tool, function=send, is_async=True, injected=(*tool.injected, (_KEY, "key")), undo=undo)


def send_window_s(spec: ToolSpec) -> float:
    """How long a draft may take before the send of what was drafted begins."""
    return spec.timeout_s if spec.mode is WriteMode.DRAFT_THEN_COMMIT else 0.0
