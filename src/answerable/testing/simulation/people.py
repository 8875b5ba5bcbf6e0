"""What people do in a simulated world: halt and lift, answer, say what became of an effect, submit again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from answerable.engine.halting import halt_in
from answerable.errors import AnswerableError, ApprovalError, ConfigError
from answerable.journal.store import Append
from answerable.kernel.events import HaltLifted, HaltRaised
from answerable.kernel.ids import RunId, tenant_stream
from answerable.kernel.state import fold
from answerable.testing.simulation.ledger import inline
from answerable.testing.simulation.worker import runtime_in

if TYPE_CHECKING:
    from collections.abc import Coroutine, Mapping, Sequence

    from answerable.engine.runtime import Runtime
    from answerable.testing.simulation.plan import Trouble
    from answerable.testing.simulation.worker import Staged
    from answerable.testing.simulation.world import World

ANSWER_EVERY_S = 7.0
LATER_TASKS_S = 60.0
"""Half of the tasks come in the course of so long a time."""


class People:
    """Operators and approvers, at a machine of their own that never fails."""

    def __init__(self, world: World, staged: Staged, tasks: Mapping[str, Sequence[object]]) -> None:
        self._world = world
        self._staged = staged
        self._tasks = tasks
        self._process = world.loop.process("people")
        self._runtime: Runtime = runtime_in(world, staged, self._process, world.clock, is_fragile=False)
        self._halted = set[str]()
        self._asked = set[str]()

    def begin(self) -> None:
        """Do what is planned, at its time, and look for questions in between."""
        self._process.start(self._begin())
        for trouble in self._world.plan.of("people"):
            self._process.call_later(trouble.at, self._start, trouble)
        self._process.call_later(ANSWER_EVERY_S, self._look)
        for agent, tasks in self._tasks.items():
            for task in tasks[(len(tasks) + 1) // 2 :]:
                at_s = self._world.dice.uniform(0.0, LATER_TASKS_S)
                self._process.call_later(at_s, self._submit, agent, task)

    def _submit(self, agent: str, task: object) -> None:
        self._do(self._submitted(agent, [task]))

    async def _submitted(self, agent: str, tasks: Sequence[object]) -> None:
        await self._runtime.submit(agent, tasks)

    async def _begin(self) -> None:
        await self._runtime.begin()

    def _start(self, trouble: Trouble) -> None:
        if self._world.loop.time() < self._world.healthy_from:
            self._do(self._act(trouble))

    def _do(self, work: Coroutine[Any, Any, None]) -> None:
        self._process.start(self._safely(work))

    async def _safely(self, work: Coroutine[Any, Any, None]) -> None:
        try:
            await work
        except AnswerableError as error:
            self._world.say(
                "people", f"could not: {type(error).__name__}: {error.args[0] if error.args else ''}"
            )

    async def _act(self, trouble: Trouble) -> None:
        self._world.say("people", str(trouble))
        match trouble.what:
            case "report":
                await self.report()
            case "submit again":
                for agent, tasks in self._tasks.items():
                    await self._submitted(agent, [tasks[trouble.who % len(tasks)]])
            case _:
                await self._halt(trouble)

    # Halts

    def halt_at_once(self, scope: str, for_s: float) -> None:
        """A halt that is there this very moment, whoever is about to send."""
        ledger, now = self._world.ledger, self._world.clock.now_us()
        stream = tenant_stream("default")
        epoch = inline(ledger.halts())[0] + 1
        raised = HaltRaised(scope=scope, epoch=epoch, by="simulation", reason="a drill")
        ledger.commit((Append(stream=stream, events=(raised,), expect=None, epoch=0, now=now),))
        self._world.count("halted")
        self._halted.add(scope)
        self._process.call_later(for_s, self._lift_later, scope)

    async def _halt(self, trouble: Trouble) -> None:
        scope = self._scope(trouble)
        self._world.count("halted")
        self._halted.add(scope)
        await self._turn(HaltRaised, scope)
        self._process.call_later(trouble.for_s, self._lift_later, scope)

    def _lift_later(self, scope: str) -> None:
        self._do(self._lift(scope))

    async def _lift(self, scope: str) -> None:
        if scope in self._halted:
            self._halted.discard(scope)
            await self._turn(HaltLifted, scope)

    async def lift_all(self) -> None:
        """Let everything go on."""
        for scope in sorted(self._halted):
            await self._lift(scope)

    async def _turn(self, kind: type[HaltRaised | HaltLifted], scope: str) -> None:
        await halt_in(
            self._runtime.store, self._runtime.ports, kind, scope, by="simulation", reason="a drill"
        )

    def _scope(self, trouble: Trouble) -> str:
        kind = trouble.what.removeprefix("halt ")
        agents = sorted(self._staged.agents)
        agent = self._staged.agents[agents[trouble.who % len(agents)]]
        match kind:
            case "agent":
                return f"agent:{agent.name}"
            case "tool":
                tools = sorted(agent.all_tools())
                return f"tool:{tools[trouble.who % len(tools)]}"
            case "run":
                runs = [row.run for row in inline(self._world.ledger.runs())]
                return f"run:{runs[trouble.who % len(runs)]}" if runs else "all"
            case _:
                return "all"

    # Answers

    def _look(self) -> None:
        self._do(self.answer())
        self._process.call_later(ANSWER_EVERY_S, self._look)

    async def answer(self) -> None:
        """Answer some of what is asked: mostly yes, sometimes no, sometimes not at all."""
        for row in await self._runtime.store.runs(states=("waiting",)):
            if row.waiting_for != "approval" or row.request is None or row.request in self._asked:
                continue
            chosen = self._world.dice.random()
            if chosen < 0.3:  # noqa: PLR2004 - thinks about it
                continue
            self._asked.add(row.request)
            if chosen > 0.9:  # noqa: PLR2004 - forgets it
                continue
            verdict = "deny" if chosen > 0.8 else "grant"  # noqa: PLR2004
            for name, (_, key) in sorted(self._staged.scene.approvers.items()):
                try:
                    await self._runtime.answer(RunId(row.run), verdict, approver=name, private_key=key)
                except (ApprovalError, ConfigError):
                    continue
                self._world.count(f"approval: {verdict}")

    async def report(self) -> None:
        """Say of unknown effects what really became of them, where nothing can be on its way any more."""
        world = self._world
        for row in inline(world.ledger.runs()):
            read = world.ledger.entries
            state = fold(inline(read(f"run/{row.run}")), inline(read(f"inbox/{row.run}")))
            if state.ended is None:
                continue
            for effect in sorted(state.unknown):
                if effect in state.reported or not world.is_settled(effect):
                    continue
                said = "done" if world.done[effect] else "failed"
                world.count("reported")
                await self._runtime.report(RunId(row.run), effect, said, by="simulation")
