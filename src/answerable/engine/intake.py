"""Accepting work: a task becomes a run in the journal before anybody works on it."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from pydantic import BaseModel, ValidationError

from answerable.engine.context import limits_of
from answerable.errors import InputError, JournalConflict, JournalFenced
from answerable.gates.schema import canonical
from answerable.journal.store import Append, Payload
from answerable.kernel import events
from answerable.kernel.encoding import encode_payload, keyed_digest
from answerable.kernel.entry import EMPTY
from answerable.kernel.ids import RunId, agent_stream, named, payload_ref, run_id_from_source, run_stream
from answerable.kernel.tool import fields_of, render

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from answerable.engine.agent import Agent
    from answerable.engine.ports import Ports
    from answerable.journal.store import JournalStore

SUBMIT_BATCH = 200


class Intake:
    """The door to a journal. `releases` names the release of each agent as it is now."""

    def __init__(
        self, store: JournalStore, ports: Ports, *, tenant: str, owner: str, releases: Mapping[str, str]
    ) -> None:
        self.store = store
        self.ports = ports
        self._tenant = tenant
        self._owner = owner
        self._release_of = releases
        self._releases: set[str] = set()

    async def submit(
        self, agent: Agent, tasks: Sequence[object], *, requested_by: str, kind: str
    ) -> list[RunId]:
        """Accept tasks durably, all or none per commit, before any of them is worked on.

        A task whose source event already has a run is not accepted again: its run is returned. Raises `InputError` for a
        task that is not valid; nothing of the call is accepted then.
        """
        accepted = [_task(agent, task, index) for index, task in enumerate(tasks)]
        runs: list[RunId] = []
        batch: list[Append] = []
        for task in accepted:
            run, append = await self._created(agent, task, requested_by, kind)
            runs.append(run)
            if append is not None and append.stream not in {other.stream for other in batch}:
                batch.append(append)
            if len(batch) >= SUBMIT_BATCH:
                await self._accept(batch)
                batch = []
        if batch:
            await self._accept(batch)
        return runs

    async def _accept(self, batch: list[Append]) -> None:
        try:
            await self.store.append(*batch)
        except (JournalConflict, JournalFenced):
            for append in batch:  # another process accepted one of them: then that one is its run
                with contextlib.suppress(JournalConflict, JournalFenced):
                    await self.store.append(append)

    async def _created(
        self, agent: Agent, task: BaseModel, requested_by: str, kind: str
    ) -> tuple[RunId, Append | None]:
        fields = fields_of(task)
        tenant = self._tenant
        source = render(agent.source, fields) if agent.source else ""
        run = (
            run_id_from_source(tenant, agent.name, source)
            if source
            else RunId(named("run", self.ports.entropy(16)))
        )
        if source and (await self.store.head(run_stream(run))).seq:
            return run, None
        label = f"person:{render(agent.subject, fields)}" if agent.subject else f"run:{run}"
        subject, key = await self.store.subject(label)
        body = encode_payload(
            {
                "task": canonical(task),
                "on_behalf_of": render(agent.on_behalf_of, fields) if agent.on_behalf_of else "",
                "requested_by": requested_by,
            }
        )
        ref = payload_ref(key, body)
        created = events.RunCreated(
            journal=self.store.journal,
            agent=agent.name,
            tenant=tenant,
            kind=kind,
            release=self._release_of[agent.name],
            autonomy=agent.autonomy,
            subject=subject,
            task=ref,
            source=keyed_digest(self.store.tenant_key, "answerable/source/v1", source.encode())
            if source
            else None,
        )
        await self._note_release(agent.name)
        now = self.ports.clock.now_us()
        adopted: tuple[events.Event, ...] = ()
        if kind == "attached":  # ours from the first entry on: nobody may take it for one that was abandoned
            limits = tuple(limits_of(agent, run, now))
            adopted = (events.RunAdopted(epoch=1, owner=self._owner, cause="start", limits=limits),)
        return run, Append(
            stream=run_stream(run),
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


def _task(agent: Agent, task: object, index: int) -> BaseModel:
    if isinstance(task, agent.task):
        return task
    try:
        raw = task.model_dump(mode="json") if isinstance(task, BaseModel) else task
        return agent.task.model_validate_json(encode_payload(raw))
    except (ValidationError, ValueError, TypeError) as error:
        raise InputError(
            f"task {index + 1} is not a `{agent.task.__name__}`: {error}",
            hint="correct it; nothing was accepted",
        ) from None
