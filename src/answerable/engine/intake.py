"""Accepting work: a task becomes a run in the journal before anybody works on it."""

from __future__ import annotations

import contextlib
from collections import Counter, defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ValidationError

from answerable.engine.context import limits_of
from answerable.errors import InputError, IntakeFull, JournalConflict, JournalFenced
from answerable.gates.schema import canonical
from answerable.journal.store import Append, Payload
from answerable.kernel import events
from answerable.kernel.encoding import encode_payload, keyed_digest
from answerable.kernel.entry import EMPTY
from answerable.kernel.ids import RunId, agent_stream, named, payload_ref, run_id_from_source, run_stream
from answerable.kernel.tool import TemplateError, fields_of, render

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from contextlib import AbstractContextManager

    from answerable.engine.agent import Agent
    from answerable.engine.ports import Ports
    from answerable.journal.store import JournalStore

SUBMIT_BATCH = 200


@dataclass(frozen=True, slots=True)
class Accepted:
    """What became of one task: its run, and whether the run is new or its source event already had it."""

    run: RunId
    is_new: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class _Named:
    """A task that is valid, the event that it came from, and the run that it gets."""

    task: BaseModel
    fields: dict[str, Any]
    source: str
    run: RunId


class Intake:
    """The door to a journal. `releases` names the release of each agent as it is now.

    It needs no secret, resource, policy or model: a process that only accepts work holds none of them.
    """

    def __init__(
        self,
        store: JournalStore,
        ports: Ports,
        *,
        tenant: str,
        owner: str,
        releases: Mapping[str, str],
        max_open: int | None = None,
    ) -> None:
        self.store = store
        self.ports = ports
        self.max_open = max_open
        self._tenant = tenant
        self._owner = owner
        self._release_of = releases
        self._releases: set[str] = set()
        self._entering: defaultdict[str, Counter[RunId]] = defaultdict(Counter)

    async def submit(
        self, agent: Agent, tasks: Sequence[object], *, requested_by: str, kind: str
    ) -> list[RunId]:
        """The runs of `accept`, in the order of the tasks."""
        return [one.run for one in await self.accept(agent, tasks, requested_by=requested_by, kind=kind)]

    async def accept(
        self,
        agent: Agent,
        tasks: Sequence[object],
        *,
        requested_by: str = "",
        kind: str = "driven",
        sources: Sequence[str] = (),
    ) -> list[Accepted]:
        """Accept tasks durably, all or none per commit, before any of them is worked on.

        `sources` names the event that each task came from; without it the agent's own `source` does. A task whose
        event already has a run is not accepted again: its run is returned. Raises `InputError` for a task that is
        not valid, `IntakeFull` where the new runs do not fit; nothing of the call is accepted then.
        """
        if sources and len(sources) != len(tasks):
            raise InputError("there are not as many sources as tasks", hint="name one for each, or none")
        named = [self._name(agent, task, i, sources[i] if sources else None) for i, task in enumerate(tasks)]
        fresh = await self._fresh({one.run: one for one in named}.values())
        created: set[RunId] = set()
        try:
            room = await self._room_for(agent.name, fresh)
        except IntakeFull:  # what somebody else has accepted since needs no room of ours
            fresh = await self._fresh(fresh)
            room = await self._room_for(agent.name, fresh)
        with room:
            for start in range(0, len(fresh), SUBMIT_BATCH):
                batch = fresh[start : start + SUBMIT_BATCH]
                created |= await self._append(
                    {one.run: await self._created(agent, one, requested_by, kind) for one in batch}
                )
        accepted: list[Accepted] = []
        for one in named:
            accepted.append(Accepted(one.run, one.run in created))
            created.discard(one.run)  # twice in one call: the second is a duplicate of the first
        return accepted

    async def room(self, agent: str) -> int | None:
        """How many more runs of an agent may be accepted now; None where nothing limits them.

        What this process is accepting counts. Several processes that look at once may go past the limit by what each
        of them accepts in that moment: it keeps a queue short, it is no budget.
        """
        if self.max_open is None:
            return None
        entering = len(self._entering[agent])
        return max(0, self.max_open - await self.store.open_runs(agent) - entering)

    async def has_run(self, agent: str, source: str) -> bool:
        """Whether an event has a run already."""
        run = run_id_from_source(self._tenant, agent, source)
        return bool((await self.store.head(run_stream(run))).seq)

    async def _fresh(self, tasks: Iterable[_Named]) -> list[_Named]:
        """Those of which the journal has no run."""
        return [
            one for one in tasks if not one.source or not (await self.store.head(run_stream(one.run))).seq
        ]

    async def _room_for(self, agent: str, tasks: Sequence[_Named]) -> AbstractContextManager[object]:
        """Hold room for new runs of an agent until they are in the journal. Raises `IntakeFull`."""
        if self.max_open is None or not tasks:
            return contextlib.nullcontext()
        entering, runs = self._entering[agent], [one.run for one in tasks]
        entering.update(runs)  # before anything is awaited: two calls cannot take the same room
        held = contextlib.ExitStack()
        held.callback(_leave, entering, runs)
        try:
            is_open = await self.store.open_runs(agent)
            if is_open + len(entering) > self.max_open:
                raise IntakeFull(
                    f"`{agent}` has {is_open} open runs, and {self.max_open} may be open: {len(runs)} more do not fit",
                    hint="submit again once some have ended; `max_open` under `[intake]` is the limit",
                )
        except BaseException:
            held.close()
            raise
        return held

    async def _append(self, batch: Mapping[RunId, Append]) -> set[RunId]:
        """Write the first entries of runs; which of them were written here, and not by another process."""
        try:
            await self.store.append(*batch.values())
            return set(batch)
        except (JournalConflict, JournalFenced):
            written: set[RunId] = set()
            for (
                run,
                append,
            ) in batch.items():  # another process accepted one of them: then that one is its run
                with contextlib.suppress(JournalConflict, JournalFenced):
                    await self.store.append(append)
                    written.add(run)
            return written

    def _name(self, agent: Agent, given: object, index: int, source: str | None) -> _Named:
        task = _task(agent, given, index)
        fields = fields_of(task)
        try:
            if source is None:
                source = render(agent.source, fields) if agent.source else ""
            for template in (agent.subject, agent.on_behalf_of):
                render(template, fields)
        except TemplateError as error:
            raise _refused(index, agent, str(error)) from None
        run = (
            run_id_from_source(self._tenant, agent.name, source)
            if source
            else RunId(named("run", self.ports.entropy(16)))
        )
        return _Named(task=task, fields=fields, source=source, run=run)

    async def _created(self, agent: Agent, one: _Named, requested_by: str, kind: str) -> Append:
        label = f"person:{render(agent.subject, one.fields)}" if agent.subject else f"run:{one.run}"
        subject, key = await self.store.subject(label)
        body = encode_payload(
            {
                "task": canonical(one.task),
                "on_behalf_of": render(agent.on_behalf_of, one.fields) if agent.on_behalf_of else "",
                "requested_by": requested_by,
            }
        )
        ref = payload_ref(key, body)
        created = events.RunCreated(
            journal=self.store.journal,
            agent=agent.name,
            tenant=self._tenant,
            kind=kind,
            release=self._release_of[agent.name],
            autonomy=agent.autonomy,
            subject=subject,
            task=ref,
            source=keyed_digest(self.store.tenant_key, "answerable/source/v1", one.source.encode())
            if one.source
            else None,
        )
        await self._note_release(agent.name)
        now = self.ports.clock.now_us()
        adopted: tuple[events.Event, ...] = ()
        if kind == "attached":  # ours from the first entry on: nobody may take it for one that was abandoned
            limits = tuple(limits_of(agent, one.run, now))
            adopted = (events.RunAdopted(epoch=1, owner=self._owner, cause="start", limits=limits),)
        return Append(
            stream=run_stream(one.run),
            events=(created, *adopted),
            expect=EMPTY,
            epoch=1,
            now=now,
            payloads=(Payload(ref, subject, "task", body),),
        )

    async def _note_release(self, agent: str) -> None:
        release = self._release_of[agent]
        if release in self._releases:
            return
        self._releases.add(release)
        stream = agent_stream(agent)
        for entry in await self.store.entries(stream):
            if any(isinstance(e, events.ReleaseSeen) and e.release == release for e in entry.events):
                return
        seen = events.ReleaseSeen(release=release, agent=agent)
        await self.store.append(
            Append(stream=stream, events=(seen,), expect=None, epoch=0, now=self.ports.clock.now_us())
        )


def _leave(entering: Counter[RunId], runs: Sequence[RunId]) -> None:
    for run in runs:
        entering[run] -= 1
        if not entering[run]:
            del entering[run]


def _task(agent: Agent, task: object, index: int) -> BaseModel:
    if isinstance(task, agent.task):
        return task
    try:
        raw = task.model_dump(mode="json") if isinstance(task, BaseModel) else task
        return agent.task.model_validate_json(encode_payload(raw))
    except ValidationError as error:  # what was given is not repeated: it is somebody's content
        found = error.errors(include_url=False, include_input=False)
        why = "; ".join(f"`{'.'.join(map(str, one['loc']))}`: {one['msg'].lower()}" for one in found)
        raise _refused(index, agent, why) from None
    except (ValueError, TypeError) as error:
        raise _refused(index, agent, str(error)) from None


def _refused(index: int, agent: Agent, why: str) -> InputError:
    return InputError(
        f"task {index + 1} is not a `{agent.task.__name__}`: {why}",
        hint="correct it; nothing was accepted",
    )
