"""The runtime: accepts tasks durably, drives runs, takes halts and approvals, and resumes what is open."""

from __future__ import annotations

import asyncio
import contextlib
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ValidationError

from answerable.engine import approvals, driving, people
from answerable.engine.context import Context, Person
from answerable.engine.halting import HaltReport, halt_in
from answerable.engine.intake import Intake
from answerable.engine.outcome import Outcome
from answerable.engine.perform import Performer
from answerable.engine.recorder import Recorder
from answerable.engine.run import Run
from answerable.engine.signals import Escalated, Halted, Stopping
from answerable.errors import (
    AnswerableError,
    ConfigError,
    InputError,
    JournalBusy,
    JournalConflict,
    JournalError,
    JournalFenced,
    JournalFull,
    RunHalted,
)
from answerable.kernel import events
from answerable.kernel.encoding import encode_payload
from answerable.kernel.ids import (
    RunId,
    named,
    tenant_stream,
)

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence

    from answerable.engine.agent import Agent, Program
    from answerable.engine.ports import Ports
    from answerable.gates.approval import Approver
    from answerable.gates.pipeline import Policy
    from answerable.journal.store import JournalStore
    from answerable.kernel.secret import Secret
    from answerable.models.port import ModelPort
    from answerable.tools.declare import Tool

LOOK_AGAIN_S = 0.05
OPEN = ("created", "running", "waiting")


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What a runtime is made of. The composition root fills it in."""

    agents: Mapping[str, Agent]
    """Known from the start. Others are known once somebody brings them along with a task."""
    policy: Callable[[Agent], Policy]
    approvers: Mapping[str, Approver]
    resources: Mapping[str, object]
    secrets: Mapping[str, Secret]
    model: Callable[[str], ModelPort]
    program: Program
    """What drives an agent that declares none."""
    tenant: str = "default"
    sync_workers: int = 8
    requested_by: str = ""


@dataclass(slots=True, kw_only=True)
class _Active:
    task: asyncio.Task[Any]
    ctx: Context


class Runtime:
    """See the module. Made by `answerable.open_runtime`."""

    def __init__(self, store: JournalStore, ports: Ports, settings: Settings) -> None:
        self.store = store
        self.ports = ports
        self.settings = settings
        self.owner = named("own", ports.entropy(16))
        self._performer = Performer(ports, settings.resources, settings.secrets, settings.sync_workers)
        self._active: dict[str, _Active] = {}
        self._is_stopping = False
        self._watcher: asyncio.Task[None] | None = None
        self._seen_epoch = 0
        self._lost_until = 0
        self._agents: dict[str, Agent] = {}
        self._policies: dict[str, Policy] = {}
        self._tools: dict[str, dict[str, Tool]] = {}
        self._release_of: dict[str, str] = {}
        self._intake = Intake(
            store, ports, tenant=settings.tenant, owner=self.owner, releases=self._release_of
        )

    async def begin(self) -> None:
        """Take a name, check that every tool has what it needs, and start looking for halts."""
        await self.store.take_name(self.owner)
        for agent in self.settings.agents.values():
            self._register(agent)
        self._seen_epoch = (await self.store.halts())[0]
        for entry in await self.store.entries(tenant_stream("default")):
            if any(isinstance(event, events.DiscontinuityAccepted) for event in entry.events):
                self._lost_until = entry.time
        self._watcher = asyncio.get_running_loop().create_task(self._look_for_halts())

    async def close(self) -> None:
        """Stop taking steps, let what is being sent come to its end, and close the journal."""
        self._is_stopping = True
        if self._active:
            await asyncio.wait([active.task for active in self._active.values()], timeout=30)
        if self._watcher is not None:
            self._watcher.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._watcher
        self._performer.close()
        await self.store.close()

    def stop(self) -> None:
        """Begin nothing new: runs stay open, and are resumed by whoever drives them next."""
        self._is_stopping = True

    # Accepting work

    async def submit(
        self, agent: Agent | str, tasks: Sequence[object], *, requested_by: str = "", kind: str = "driven"
    ) -> list[RunId]:
        """Accept tasks durably, all or none per commit, before any of them is worked on.

        A task whose source event already has a run is not accepted again: its run is returned. Raises `InputError`
        for a task that is not valid; nothing of the call is accepted then.
        """
        return await self._intake.submit(
            self._agent(agent), tasks, requested_by=requested_by or self.settings.requested_by, kind=kind
        )

    # Driving

    async def run(self, agent: Agent | str, task: object, *, requested_by: str = "") -> Outcome:
        """Accept one task and drive it until it ends or waits for a person."""
        (run,) = await self.submit(agent, [task], requested_by=requested_by)
        return await self.drive(run)

    async def drive(self, run: RunId) -> Outcome:
        """Drive one run until it ends or waits. A run that has ended is only reported."""
        for _ in range(5):
            try:
                return await self._drive(run)
            except JournalConflict:
                continue  # somebody else wrote between our reading and our writing: read again
            except _Interrupted:
                continue  # a halt came while the run was being taken or ended: read what it came to
            except JournalFenced:
                break
        return driving.outcome_of(await Recorder.load(self.store, self.ports, run))

    async def _drive(self, run: RunId) -> Outcome:
        recorder = await Recorder.load(self.store, self.ports, run)
        state = recorder.state
        assert state.created is not None
        if state.ended is not None:
            return await self._ended(recorder)
        if run in self._active or self._is_stopping:
            return driving.outcome_of(recorder)
        if (
            state.owner
            and state.owner != self.owner
            and state.parked is None
            and await self.store.is_alive(state.owner)
        ):
            return driving.outcome_of(recorder)
        ctx, task = await self._context(recorder, can_park=state.created.kind == "driven")
        if (state.epoch == 0 or state.parked is not None) and await self._is_halted(ctx):
            # What has not begun, or waits, goes on once the halt is lifted.
            return driving.outcome_of(recorder)
        if state.parked is not None and not await self._is_ready(ctx):
            return driving.outcome_of(recorder)
        if state.epoch and state.created.release != self._release_of[ctx.agent.name]:
            return await self._wait_for_release(ctx)
        if state.created_at <= self._lost_until and state.last_at <= self._lost_until:
            return await self._give_up_on_lost(ctx)
        cause = "start" if state.epoch == 0 else "wake" if state.parked is not None else "recovery"
        program = ctx.agent.program or self.settings.program
        work = asyncio.get_running_loop().create_task(self._work(ctx, task, cause, program))
        self._active[run] = _Active(task=work, ctx=ctx)
        try:
            return await asyncio.shield(work)
        except asyncio.CancelledError:
            if work.done():
                if work.cancelled() and not _is_being_cancelled():
                    raise _Interrupted from None
                raise
            self._is_stopping = True  # our caller is going: finish what is being sent, begin nothing new
            await asyncio.wait([work])
            raise
        finally:
            self._active.pop(run, None)

    async def _work(self, ctx: Context, task: BaseModel, cause: str, program: Program) -> Outcome:
        try:
            await driving.adopt(ctx, self.owner, cause)
            created = ctx.recorder.state.created
            assert created is not None
            if created.kind == "attached":
                return await driving.end(ctx, _abandoned())
            run = Run(ctx)
            return await driving.drive(ctx, task, lambda: _to_its_end(run, program(run, task)))
        finally:
            await ctx.recorder.drop()

    async def _ended(self, recorder: Recorder) -> Outcome:
        """Report a run that has ended; first settle what somebody has said since of its unknown effects."""
        state = recorder.state
        said = {
            said.effect
            for entry in recorder.inbox
            for said in entry.events
            if isinstance(said, events.EffectReported)
        }
        if said & set(state.unknown):
            ctx, _ = await self._context(recorder, can_park=False)
            await driving.take_reports(ctx, self.owner)
        return await driving.told(recorder)

    async def _is_halted(self, ctx: Context) -> bool:
        """Whether a halt covers the run, or the tool that it waits for."""
        state = ctx.recorder.state
        covers = set(ctx.scopes())
        if state.parked is not None:
            covers |= {
                f"tool:{step.decided.tool}"
                for step in state.calls.values()
                if any(request.request == state.parked.request for request in step.requests)
            }
        return any(halt.scope in covers for halt in (await self.store.halts())[1])

    async def _wait_for_release(self, ctx: Context) -> Outcome:
        """Park a run whose prompt, tools or models are not the ones that it began with."""
        recorder = ctx.recorder
        assert recorder.state.created is not None
        if recorder.state.parked is None:
            await driving.adopt(ctx, self.owner, "recovery")
            await recorder.commit(events.RunParked(waiting_for="release"))
        return driving.outcome_of(recorder, reason=_other_release(recorder.state.created.release))

    async def _give_up_on_lost(self, ctx: Context) -> Outcome:
        """Entries after the run's last one may be lost: what they said was sent cannot be known any more."""
        await driving.adopt(ctx, self.owner, "recovery")
        ending = driving.Ending(
            "escalated",
            code="effect_unknown",
            reason="entries of the journal were lost: this run may have done more than is recorded",
            rules=("accepted-loss",),
        )
        return await driving.end(ctx, ending)

    async def _context(self, recorder: Recorder, *, can_park: bool) -> tuple[Context, BaseModel]:
        created = recorder.state.created
        assert created is not None
        agent = self._agent(created.agent)
        content = await recorder.content(created.task)
        try:
            task = agent.task.model_validate_json(encode_payload(content["task"]))
        except ValidationError as error:
            raise InputError(
                f"the task of `{recorder.run}` is no `{agent.task.__name__}` any more: {error}",
                hint="drive it with the release that accepted it",
            ) from None
        ctx = Context(
            recorder=recorder,
            agent=agent,
            tools=self._tools[agent.name],
            policy=self._policies[agent.name],
            approvers=self.settings.approvers,
            performer=self._performer,
            model=self.settings.model,
            ports=self.ports,
            tenant=created.tenant,
            person=Person(
                on_behalf_of=content.get("on_behalf_of", ""), requested_by=content.get("requested_by", "")
            ),
            can_park=can_park,
            is_stopping=lambda: self._is_stopping,
        )
        return ctx, task

    async def context_of(self, recorder: Recorder) -> tuple[Context, BaseModel]:
        """What a run works with, and its task: for those who look at a run without driving it."""
        return await self._context(recorder, can_park=True)

    async def _is_ready(self, ctx: Context) -> bool:
        """Whether there is a reason to wake a parked run. Looking costs no entry."""
        parked = ctx.recorder.state.parked
        assert parked is not None
        if parked.waiting_for == "release":
            created = ctx.recorder.state.created
            return created is not None and created.release == self._release_of[ctx.agent.name]
        if parked.waiting_for != "approval":
            return parked.wake_at is None or self.ports.clock.now_us() >= parked.wake_at
        for step in ctx.recorder.state.calls.values():
            for request in step.requests:
                if request.request == parked.request:
                    return approvals.look(ctx, request, ctx.recorder.inbox).state != "open"
        return True

    async def drive_all(
        self,
        runs: Sequence[RunId] | None = None,
        *,
        concurrency: int = 8,
        on_progress: Callable[[int, int], None] | None = None,
    ) -> list[Outcome]:
        """Drive these runs, or every open one, a few at a time. Safe to repeat, also by several processes.

        A run that cannot be driven does not keep the others from it: the first error is raised once they are done. A
        journal that cannot be written ends it at once.
        """
        todo = [RunId(row.run) for row in await self.store.runs(states=OPEN)] if runs is None else list(runs)
        outcomes: list[Outcome | None] = [None] * len(todo)
        queue = iter(range(len(todo)))
        finished = 0
        failed: list[AnswerableError] = []

        async def worker() -> None:
            nonlocal finished
            for index in queue:
                if any(isinstance(error, (JournalFull, JournalBusy)) for error in failed):
                    return
                try:
                    outcomes[index] = await self.drive(todo[index])
                except AnswerableError as error:
                    failed.append(error)
                finished += 1
                if on_progress is not None:
                    on_progress(finished, len(todo))

        async with asyncio.TaskGroup() as group:
            for _ in range(min(concurrency, len(todo))):
                group.create_task(worker())
        if failed:
            raise failed[0]
        return [outcome for outcome in outcomes if outcome is not None]

    @asynccontextmanager
    async def start(self, agent: Agent | str, task: object, *, requested_by: str = "") -> AsyncGenerator[Run]:
        """An attached run: your code owns the loop, its calls pass the same gates.

        It never parks: an approval is waited for inline. Leaving the block ends the run; a refusal that leaves it
        escalates it. A crash leaves it to be settled as abandoned, with its unknowns listed.
        """
        (run,) = await self.submit(agent, [task], requested_by=requested_by, kind="attached")
        recorder = await Recorder.load(self.store, self.ports, run)
        ctx, given = await self._context(recorder, can_park=False)
        if recorder.head.seq != 1 or recorder.state.owner != self.owner or run in self._active:
            raise InputError(f"this task has a run already: `{run}`", hint=f"see `answerable show {run}`")
        current = asyncio.current_task()
        assert current is not None
        self._active[run] = _Active(task=current, ctx=ctx)
        handle = Run(ctx)
        try:
            yield handle
            await handle.finish()
            ending = await driving.judge(ctx, given, None)
        except (JournalError, Stopping):
            raise
        except asyncio.CancelledError as cancelled:
            await handle.finish(is_stopped=True)
            halted = await driving.halt_in_force(ctx)
            await driving.end(
                ctx, halted or _abandoned("the code that owned this attached run was cancelled")
            )
            if halted is None:
                raise
            current.uncancel()  # it was the halt that cancelled, not somebody who wants the caller to stop
            raise RunHalted(f"the run was halted: {halted.reason}", hint="`answerable runs`") from cancelled
        except BaseException as error:
            await handle.finish()
            ending = driving.ending_for(error)
            if ending is not None:
                await driving.end(ctx, ending)
            if isinstance(error, Halted):
                raise RunHalted(f"the run was halted: {error.reason}", hint="`answerable runs`") from error
            if isinstance(error, Escalated):
                raise AnswerableError(f"the run was handed to a person: {error.reason}") from error
            raise
        else:
            await driving.end(ctx, ending)
        finally:
            self._active.pop(run, None)
            await recorder.drop()

    # Stopping

    async def halt(self, scope: str, *, by: str, reason: str) -> HaltReport:
        """Stop a run, an agent, a tool or everything, in every process that uses this journal."""
        epoch = await halt_in(self.store, self.ports, events.HaltRaised, scope, by=by, reason=reason)
        await self._cancel_halted()
        flying = [
            {"run": run, "effect": effect, "path": path}
            for run, active in self._active.items()
            for effect, path in active.ctx.recorder.state.unknown.items()
        ]
        return HaltReport(scope=scope, epoch=epoch, in_flight=flying)

    async def lift(self, scope: str, *, by: str, reason: str) -> int:
        """Let go on what a halt stopped. Runs that ended as halted stay ended."""
        if scope not in {halt.scope for halt in (await self.store.halts())[1]}:
            raise ConfigError(
                f"no halt of `{scope}` is in force", hint="`answerable runs` shows what is stopped"
            )
        return await halt_in(self.store, self.ports, events.HaltLifted, scope, by=by, reason=reason)

    async def _look_for_halts(self) -> None:
        while True:
            try:
                await self.store.changed()
                await self._cancel_halted()
            except (
                JournalError
            ):  # a journal that cannot be read now is looked at again: nobody else looks for halts
                await asyncio.sleep(LOOK_AGAIN_S)

    async def _cancel_halted(self) -> None:
        """Cancel what is being awaited in runs that a new halt covers."""
        epoch, active = await self.store.halts()
        if epoch == self._seen_epoch:
            return
        self._seen_epoch = epoch
        scopes = {halt.scope for halt in active}
        for one in list(self._active.values()):
            in_flight = {
                one.ctx.recorder.state.calls[path].decided.tool
                for path in one.ctx.recorder.state.unknown.values()
            }
            covers = one.ctx.scopes() | {f"tool:{tool}" for tool in in_flight}
            if covers & scopes and one.task is not asyncio.current_task():
                one.task.cancel()

    # People

    async def answer(
        self, run: RunId, verdict: str, *, approver: str, private_key: bytes, note: str = ""
    ) -> events.ApprovalGiven:
        """Answer the request that a run waits for, signed with the approver's key (32 raw Ed25519 bytes).

        Raises `ApprovalError` for an answer that could not count; nothing is recorded then.
        """
        ctx, _ = await self._context(await Recorder.load(self.store, self.ports, run), can_park=True)
        return await people.answer(ctx, verdict, approver=approver, private_key=private_key, note=note)

    async def report(self, run: RunId, effect: str, state: str, *, by: str) -> None:
        """Say what became of an unknown effect: `done` or `failed`, after having looked."""
        recorder = await Recorder.load(self.store, self.ports, run)
        await people.report(recorder, effect, state, by=by)
        if recorder.state.ended is not None:
            await self.drive(run)  # nobody else will: a run that has ended is driven by nobody

    def _agent(self, agent: Agent | str) -> Agent:
        name = agent if isinstance(agent, str) else agent.name
        if name not in self._agents and not isinstance(agent, str):
            self._register(agent)
        known = self._agents.get(name)
        if known is None:
            raise ConfigError(
                f"the runtime does not know the agent `{name}`",
                hint=f"it knows {', '.join(self._agents) or 'none'}: give it the agent itself, or agents=[...]",
            )
        return known

    def _register(self, agent: Agent) -> None:
        """Get to know an agent: its policy loads, and its tools have what they need, or it is refused."""
        tools = agent.all_tools()
        for tool in tools.values():
            self._performer.check(tool)
        for name in agent.models:
            self.settings.model(name)
        policy = self.settings.policy(agent)
        self._release_of[agent.name] = agent.release()
        self._agents[agent.name], self._tools[agent.name], self._policies[agent.name] = agent, tools, policy


def _other_release(release: str) -> str:
    return (
        f"it began with release {release[:12]} and waits for it: the agent's prompt, tools or models are others now;"
        " drive it with the release that began it"
    )


def _abandoned(reason: str = "the process that owned this attached run is gone") -> driving.Ending:
    return driving.Ending("abandoned", code="internal", reason=reason)


class _Interrupted(Exception):
    """A run's work was cancelled by a halt, outside of the run's own code."""


def _is_being_cancelled() -> bool:
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


async def _to_its_end(run: Run, program: Awaitable[object]) -> object:
    """Call a run's code, and leave none of its steps behind when it returns or raises."""
    try:
        answer = await program
    except (asyncio.CancelledError, Halted):
        await run.finish(is_stopped=True)
        raise
    except BaseException:
        await run.finish()
        raise
    await run.finish()
    run.check_complete()
    return answer
