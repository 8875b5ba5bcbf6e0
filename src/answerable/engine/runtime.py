"""The runtime: accepts tasks durably, drives runs, takes halts and approvals, and resumes what is open."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from pydantic import BaseModel, ValidationError

from answerable.engine import approvals, driving, people
from answerable.engine.attached import abandoned, attached
from answerable.engine.context import Context, Person
from answerable.engine.dispatch.in_process import InProcess
from answerable.engine.dispatch.reconcile import wake, wake_all
from answerable.engine.halting import HaltReport, halt, halt_in
from answerable.engine.intake import Intake
from answerable.engine.outcome import Outcome
from answerable.engine.perform import Performer
from answerable.engine.recorder import Recorder
from answerable.engine.roster import Roster
from answerable.engine.run import Run
from answerable.engine.signals import Halted
from answerable.engine.watching import Active, HaltWatcher
from answerable.errors import (
    AnswerableError,
    ConfigError,
    InputError,
    JournalBusy,
    JournalConflict,
    JournalFenced,
    JournalFull,
)
from answerable.kernel import events
from answerable.kernel.encoding import encode_payload
from answerable.kernel.ids import (
    RunId,
    named,
    tenant_stream,
)
from answerable.observe.logs import name_agent

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Mapping, Sequence

    from answerable.engine.agent import Agent, Program
    from answerable.engine.dispatch.port import Dispatcher, Lease
    from answerable.engine.ports import Ports
    from answerable.gates.approval import Approver
    from answerable.gates.pipeline import Policy
    from answerable.journal.store import JournalStore
    from answerable.kernel.secret import Secret
    from answerable.kernel.state import RunState
    from answerable.models.port import ModelPort

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
    is_worker: bool = False
    """Whether this process takes work that others accepted: what it can drive is then listed."""
    max_open: int | None = None
    """How many runs of one agent may be open before no more are accepted."""


class Runtime:
    """See the module. Made by `answerable.open_runtime`."""

    def __init__(self, store: JournalStore, ports: Ports, settings: Settings) -> None:
        self.store = store
        self.ports = ports
        self.settings = settings
        self.dispatcher: Dispatcher = InProcess(store)
        """Who tells workers of runs; the composition root puts in the one that goes with the journal."""
        self.owner = named("own", ports.entropy(16))
        self._performer = Performer(ports, settings.resources, settings.secrets, settings.sync_workers)
        self._active: dict[str, Active] = {}
        self._is_stopping = False
        self._let_go = set[str]()
        self._watcher = HaltWatcher(store, self._active)
        self._lost_until = 0
        self._roster = Roster(self._performer, policy=settings.policy, model=settings.model)
        self.intake = Intake(
            store,
            ports,
            tenant=settings.tenant,
            owner=self.owner,
            releases=self._roster.releases,
            max_open=settings.max_open,
        )

    async def begin(self) -> None:
        """Check that every tool has what it needs, take a name, and start looking for halts."""
        for agent in self.settings.agents.values():
            self._roster.register(agent)
        await self.store.take_name(self.owner, self.releases() if self.settings.is_worker else ())
        for entry in await self.store.entries(tenant_stream("default")):
            if any(isinstance(event, events.DiscontinuityAccepted) for event in entry.events):
                self._lost_until = entry.time
        await self._watcher.begin()

    async def close(self) -> None:
        """Stop taking steps, let what is being sent come to its end, and close the journal."""
        self._is_stopping = True
        if self._active:
            await asyncio.wait([active.task for active in self._active.values()], timeout=30)
        await self._watcher.close()
        self._performer.close()
        await self.dispatcher.close()
        await self.store.close()

    def stop(self) -> None:
        """Begin nothing new: runs stay open, and are resumed by whoever drives them next."""
        self._is_stopping = True

    def releases(self) -> list[str]:
        """What this process can drive, as it is listed of a worker: `AGENT@RELEASE`."""
        return self._roster.names()

    @property
    def is_stopping(self) -> bool:
        """Whether nothing new is begun any more."""
        return self._is_stopping

    def let_go(self, run: RunId) -> None:
        """Stop driving a run at its next step: it is somebody else's now."""
        if run in self._active:
            self._let_go.add(run)

    # Accepting work

    async def submit(
        self, agent: Agent | str, tasks: Sequence[object], *, requested_by: str = "", kind: str = "driven"
    ) -> list[RunId]:
        """Accept tasks durably, all or none per commit, before any of them is worked on.

        A task whose source event already has a run is not accepted again: its run is returned. Raises `InputError`
        for a task that is not valid, `IntakeFull` where too many runs are open; nothing is accepted then.
        """
        return await self.intake.submit(
            self._roster.find(agent),
            tasks,
            requested_by=requested_by or self.settings.requested_by,
            kind=kind,
        )

    # Driving

    async def run(self, agent: Agent | str, task: object, *, requested_by: str = "") -> Outcome:
        """Accept one task and drive it until it ends or waits for a person."""
        (run,) = await self.submit(agent, [task], requested_by=requested_by)
        return await self.drive(run)

    async def drive(self, run: RunId, *, lease: Lease | None = None) -> Outcome:
        """Drive one run until it ends or waits. A run that has ended is only reported.

        With a lease, the run is taken from those who had it before, although they may look alive: their next append is
        refused. A run of an agent or release that is not here is then left as it is, and its outcome says that it waits
        for the release: another worker may have it. Without a lease nobody is taken anything from; a run that another
        release began is parked, and one that was never begun is begun with the release that is here, and pinned to it.
        """
        for _ in range(5):
            try:
                return await self._drive(run, lease)
            except JournalConflict:
                continue  # somebody else wrote between our reading and our writing: read again
            except _Interrupted:
                continue  # a halt came while the run was being taken or ended: read what it came to
            except JournalFenced:
                break
        return driving.outcome_of(await Recorder.load(self.store, self.ports, run))

    async def _drive(self, run: RunId, lease: Lease | None) -> Outcome:
        recorder = await Recorder.load(self.store, self.ports, run)
        state = recorder.state
        assert state.created is not None
        name_agent(run, state.created.agent)
        if state.ended is not None:
            return await self._ended(recorder)
        if run in self._active or self._is_stopping:
            return driving.outcome_of(recorder)
        if (
            state.owner
            and state.owner != self.owner
            and state.parked is None
            and not (lease is not None and state.owner in lease.instead_of)
            and await self.store.is_alive(state.owner)
        ):
            return driving.outcome_of(recorder)
        if lease is not None and state.release != self._roster.releases.get(state.created.agent):
            return self._not_here(recorder, state.created)
        ctx, task = await self._context(recorder, can_park=state.created.kind == "driven")
        if (state.epoch == 0 or state.parked is not None) and await self._is_halted(ctx):
            # What has not begun, or waits, goes on once the halt is lifted.
            return driving.outcome_of(recorder)
        if state.parked is not None and not await self._is_ready(ctx):
            return driving.outcome_of(recorder)
        if state.epoch and state.release != self._roster.releases[ctx.agent.name]:
            return await self._wait_for_release(ctx)
        if state.created_at <= self._lost_until and state.last_at <= self._lost_until:
            return await self._give_up_on_lost(ctx)
        cause = "start" if state.epoch == 0 else "wake" if state.parked is not None else "recovery"
        program = ctx.agent.program or self.settings.program
        work = asyncio.get_running_loop().create_task(self._work(ctx, task, cause, program))
        self._active[run] = Active(task=work, ctx=ctx)
        self._let_go.discard(run)
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
            await driving.adopt(ctx, self.owner, cause, release=self._roster.releases[ctx.agent.name])
            created = ctx.recorder.state.created
            assert created is not None
            if created.kind == "attached":
                return await driving.end(ctx, abandoned())
            run = Run(ctx)
            return await driving.drive(ctx, task, lambda: _to_its_end(run, task, program))
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

    def _not_here(self, recorder: Recorder, created: events.RunCreated) -> Outcome:
        """A run that another worker may be able to drive: nothing is written, so nobody is kept from it."""
        reason = _other_release(recorder.state)
        if created.agent not in self._roster.releases:
            reason = f"the agent `{created.agent}` is not here"
        return replace(driving.outcome_of(recorder, reason=reason), waiting_for="release")

    async def _wait_for_release(self, ctx: Context) -> Outcome:
        """Park a run whose prompt, tools or models are not the ones that it began with."""
        recorder = ctx.recorder
        if recorder.state.parked is None:
            await driving.adopt(ctx, self.owner, "recovery")
            await recorder.commit(events.RunParked(waiting_for="release"))
        return driving.outcome_of(recorder, reason=_other_release(recorder.state))

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
        agent = self._roster.find(created.agent)
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
            tools=self._roster.tools[agent.name],
            policy=self._roster.policies[agent.name],
            approvers=self.settings.approvers,
            performer=self._performer,
            model=self.settings.model,
            ports=self.ports,
            tenant=created.tenant,
            person=Person(
                on_behalf_of=content.get("on_behalf_of", ""), requested_by=content.get("requested_by", "")
            ),
            can_park=can_park,
            is_stopping=lambda: self._is_stopping or recorder.run in self._let_go,
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
            return ctx.recorder.state.release == self._roster.releases[ctx.agent.name]
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
        self._active[run] = Active(task=current, ctx=ctx)
        try:
            async with attached(ctx, given) as handle:
                yield handle
        finally:
            self._active.pop(run, None)
            await recorder.drop()

    # Stopping

    async def halt(self, scope: str, *, by: str, reason: str, wait_s: float = 0.0) -> HaltReport:
        """Stop a run, an agent, a tool or everything, in every process that uses this journal.

        For up to `wait_s` it is waited for what was in flight to come to its end, here and elsewhere.
        """
        return await halt(
            self.store, self.ports, scope, by=by, reason=reason, wait_s=wait_s, then=self._watcher.look
        )

    async def lift(self, scope: str, *, by: str, reason: str) -> int:
        """Let go on what a halt stopped. Runs that ended as halted stay ended."""
        if scope not in {halt.scope for halt in (await self.store.halts())[1]}:
            raise ConfigError(
                f"no halt of `{scope}` is in force", hint="`answerable runs` shows what is stopped"
            )
        epoch = await halt_in(self.store, self.ports, events.HaltLifted, scope, by=by, reason=reason)
        await wake_all(self.store, self.dispatcher)
        return epoch

    # Workers

    async def enqueue(self, runs: Sequence[RunId]) -> None:
        """Hand runs to the workers instead of driving them here. A run that need not be driven is left out."""
        await wake(self.store, self.dispatcher, *runs)

    # People

    async def answer(
        self,
        run: RunId,
        verdict: str,
        *,
        approver: str,
        private_key: bytes,
        note: str = "",
        is_driven: bool = False,
    ) -> events.ApprovalGiven:
        """Answer the request that a run waits for, signed with the approver's key (32 raw Ed25519 bytes).

        Raises `ApprovalError` for an answer that could not count; nothing is recorded then. Whoever drives the run
        himself says so with `is_driven`; otherwise workers are told at once.
        """
        ctx, _ = await self._context(await Recorder.load(self.store, self.ports, run), can_park=True)
        given = await people.answer(ctx, verdict, approver=approver, private_key=private_key, note=note)
        if not is_driven:
            await wake(self.store, self.dispatcher, run)
        return given

    async def report(self, run: RunId, effect: str, state: str, *, by: str) -> None:
        """Say what became of an unknown effect: `done` or `failed`, after having looked."""
        recorder = await Recorder.load(self.store, self.ports, run)
        await people.report(recorder, effect, state, by=by)
        if recorder.state.ended is not None:
            await self.drive(run)  # nobody else will: a run that has ended is driven by nobody
        else:
            await wake(self.store, self.dispatcher, run)


def _other_release(state: RunState) -> str:
    did = "began with" if state.epoch else "was accepted by"
    return (
        f"it {did} release {state.release[:12]} and waits for it: the agent's prompt, tools or models are others now;"
        " drive it with that release"
    )


class _Interrupted(Exception):
    """A run's work was cancelled by a halt, outside of the run's own code."""


def _is_being_cancelled() -> bool:
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


async def _to_its_end(run: Run, task: BaseModel, program: Program) -> object:
    """Call a run's code, and leave none of its steps behind when it returns or raises."""
    try:
        await run.begin(task)
        answer = await program(run, task)
    except (asyncio.CancelledError, Halted):
        await run.finish(is_stopped=True)
        raise
    except BaseException:
        await run.finish()
        raise
    await run.finish()
    run.check_complete()
    return answer
