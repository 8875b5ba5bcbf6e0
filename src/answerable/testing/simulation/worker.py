"""A simulated worker: a real runtime, with real gates, that drives whatever is open until it is killed."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from answerable.engine.ports import Ports
from answerable.engine.runtime import Runtime, Settings
from answerable.errors import JournalError
from answerable.models.catalog import resolve_model
from answerable.patterns.tool_caller import tool_caller
from answerable.project import bundle_of
from answerable.testing.entropy import fixed_entropy
from answerable.testing.simulation.store import SimJournal
from answerable.testing.simulation.vendor import watched
from answerable.testing.simulation.wire import Wire
from answerable.testing.simulation.world import WorkerClock, World

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from answerable.engine.agent import Agent
    from answerable.gates.approval import Approver
    from answerable.gates.policy import Bundle
    from answerable.kernel.secret import Secret
    from answerable.models.port import ModelPort
    from answerable.testing.simulation.loop import Process

LOOK_AGAIN_S = 2.0
"""How often a worker looks for runs that nobody drives."""
RETRY_S = 0.5
OPEN = ("created", "running", "waiting")


@dataclass(frozen=True, kw_only=True)
class Scene:
    """What is simulated: your agents, the systems of record that they work on, and what they are given to do.

    `resources` builds the vendors of one world, fresh for every seed; `tasks` draws what agents are given, agent name →
    tasks. `invariants` look at a world when all is over, and answer with what is wrong.
    """

    agents: Sequence[Agent]
    resources: Callable[[World], Mapping[str, object]]
    tasks: Callable[[Any], Mapping[str, Sequence[object]]]
    """Gets chance of its own (`random.Random`)."""
    models: Mapping[str, ModelPort] = field(default_factory=dict[str, "ModelPort"])
    secrets: Mapping[str, Secret] = field(default_factory=dict[str, "Secret"])
    approvers: Mapping[str, tuple[Approver, bytes]] = field(
        default_factory=dict[str, "tuple[Approver, bytes]"]
    )
    """Name → who it is, and the private key that answers for them."""
    counted: Sequence[str] = ()
    """Tools whose vendors call `World.happened` with the key of an effect whenever they really do it."""
    invariants: Callable[[World], Sequence[str]] = lambda _: ()


class Staged:
    """A scene with what is loaded once for all of its worlds."""

    def __init__(self, scene: Scene) -> None:
        self.scene = scene
        self.agents = {agent.name: agent for agent in watched(scene.agents)}
        self.bundles: dict[str, Bundle] = {name: bundle_of(agent) for name, agent in self.agents.items()}
        self._models: dict[str, ModelPort] = {}

    def settings(self, world: World) -> Settings:
        """What a runtime in that world is made of."""
        return Settings(
            agents=self.agents,
            policy=lambda agent: self.bundles[agent.name],
            approvers={name: approver for name, (approver, _) in self.scene.approvers.items()},
            resources=world.resources,
            secrets=self.scene.secrets,
            model=self._model,
            program=tool_caller,
        )

    def _model(self, name: str) -> ModelPort:
        if name not in self._models:
            self._models[name] = resolve_model(name, scripted=dict(self.scene.models))
        return self._models[name]


class Worker:
    """One process after another under one number: where one was killed, the next begins."""

    def __init__(
        self, world: World, staged: Staged, number: int, tasks: Mapping[str, Sequence[object]]
    ) -> None:
        self.world = world
        self.staged = staged
        self.number = number
        self.tasks = tasks
        self.lives = 0
        self.process: Process | None = None
        self.clock = WorkerClock(world.loop)
        self.runtime: Runtime | None = None

    def begin(self) -> None:
        """Start a process."""
        steps = self.process.steps if self.process is not None else 0
        self.lives += 1
        self.process = self.world.loop.process(f"worker-{self.number}.{self.lives}")
        self.process.steps = steps
        for trouble in self.world.plan.of("worker"):
            if trouble.who == self.number and trouble.at > steps:
                self.process.at_step[int(trouble.at)] = self._meets(trouble.what, trouble.for_s)
        self.process.start(self._live(self.process))

    def _meets(self, what: str, for_s: float) -> Callable[[], None]:
        def happens() -> None:
            process, world = self.process, self.world
            assert process is not None
            if world.loop.time() >= world.healthy_from:
                return
            match what:
                case "killed":
                    world.kill(process, f"at step {process.steps}")
                case "paused":
                    world.pause(process, for_s, f"at step {process.steps}")
                case _:
                    world.count("clock set")
                    world.say(process.name, f"{what} {for_s:g} s")
                    self.clock.skew_us += int(for_s * 1e6) * (1 if what == "clock forward" else -1)

        return happens

    async def _live(self, process: Process) -> None:
        try:
            await self._work(process)
        except JournalError as error:
            self.world.say(
                process.name, f"ends: {type(error).__name__}: {error.args[0] if error.args else ''}"
            )
            process.kill()
        except BaseException as error:  # noqa: BLE001 - whatever it is, it is a finding
            self.world.problem(f"{process.name} ended with {_told(error)}")
            self.world.is_broken = True
            process.kill()

    async def _work(self, process: Process) -> None:
        world = self.world
        runtime = runtime_in(world, self.staged, process, self.clock, is_fragile=True)
        self.runtime = runtime
        await runtime.begin()
        is_submitted = False
        while True:
            try:
                if not is_submitted:
                    for agent, tasks in self.tasks.items():
                        await runtime.submit(agent, tasks)
                    is_submitted = True
                await runtime.drive_all(concurrency=4)
            except JournalError as error:
                world.count(f"worker met {type(error).__name__}")
                await asyncio.sleep(RETRY_S)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LOOK_AGAIN_S * world.dice.uniform(0.5, 1.5)):
                    await runtime.store.changed()


def runtime_in(
    world: World, staged: Staged, process: Process, clock: WorkerClock, *, is_fragile: bool
) -> Runtime:
    """A runtime in one process of a world. Only requests of fragile processes are lost."""
    wire = Wire(world, process, clock.now_us, is_fragile=is_fragile)
    ports = Ports(clock=clock, entropy=fixed_entropy(f"{world.seed} {process.name}"))
    store = SimJournal(world.ledger, wire)
    return Runtime(store, ports, staged.settings(world))


def _told(error: BaseException) -> str:
    inner = error.exceptions[0] if isinstance(error, BaseExceptionGroup) else error  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]
    import traceback

    frames = traceback.extract_tb(inner.__traceback__)  # pyright: ignore[reportUnknownMemberType, reportUnknownArgumentType]
    where = f" at {frames[-1].name}:{frames[-1].lineno}" if frames else ""
    return f"{type(inner).__name__}: {inner}{where}"  # pyright: ignore[reportUnknownArgumentType]
