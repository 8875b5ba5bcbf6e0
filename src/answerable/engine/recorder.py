"""The pen of one run: it keeps the run's state, and writes its entries in order.

`note` is for what has already happened and may ride with the next commit; `commit` returns once everything
noted so far, and what it is given, is durable. An intent is given to `commit`, never noted.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Self

from answerable.errors import JournalError
from answerable.journal.store import Append, Payload
from answerable.kernel.encoding import NotEncodable, decode, encode_payload, keyed_digest
from answerable.kernel.entry import EMPTY, Entry, Head, make_entry
from answerable.kernel.events import RunAdopted
from answerable.kernel.ids import PayloadRef, RunId, inbox_stream, payload_ref, run_stream
from answerable.kernel.state import RunState, apply_event, extend, pass_time

if TYPE_CHECKING:
    from answerable.engine.ports import Ports
    from answerable.journal.store import Halt, JournalStore
    from answerable.kernel.events import Event
    from answerable.kernel.throttle import Ask, Limits, Report, Turn

RIDE_S = 0.01
"""How long a noted outcome may ride before it is written by itself."""
NOTED_MAX = 12
"""How many noted events are waited for: so many fit into one entry, and no more can be lost."""
KEPT_MAX = 256
"""How much written content stays in memory; the rest is read again when somebody asks."""


class Recorder:
    """See the module. One at a time per run and process; the journal refuses a second owner."""

    def __init__(
        self,
        store: JournalStore,
        ports: Ports,
        run: RunId,
        subject: tuple[str, bytes],
        *,
        state: RunState,
        head: Head,
    ) -> None:
        self.store = store
        self.ports = ports
        self.run = run
        self.stream = run_stream(run)
        self.subject, self.key = subject
        self.state = state
        self.head = head
        self.inbox: list[Entry] = []
        self._noted: list[Event] = []
        self._payloads: dict[str, Payload] = {}
        self._kept: dict[str, bytes] = {}
        self._written = set[str]()
        self._pen = asyncio.Lock()
        self._timer: asyncio.TimerHandle | None = None
        self._flushing: asyncio.Task[None] | None = None
        self._was_let_go = False

    @classmethod
    async def load(cls, store: JournalStore, ports: Ports, run: RunId) -> Self:
        """The pen of a run that is in the journal."""
        state, head = RunState(), EMPTY
        entries = await store.entries(run_stream(run))
        # Read after the run's own: they may name entries of the inbox that were not there a moment ago.
        inbox = await store.entries(inbox_stream(run))
        for entry in entries:
            extend(state, entry, inbox)
            head = entry.head
        if state.created is None:
            raise JournalError(f"there is no run `{run}`", hint="`answerable runs` lists them")
        key = await store.subject_key(state.created.subject)
        if key is None:
            raise JournalError(f"the content of `{run}` has been erased", hint="it can be shown, not driven")
        recorder = cls(store, ports, run, (state.created.subject, key), state=state, head=head)
        recorder.inbox = inbox
        return recorder

    async def look(self) -> tuple[bool, tuple[Halt, ...]]:
        """The last look before a send: whether the run is still ours, and what is halted."""
        look = await self.store.look(self.stream)
        return look.epoch == self.state.epoch, look.halts

    async def take_turn(self, key: str, limits: Limits, ask: Ask, /) -> Turn:
        """Ask for a turn under a tool's limits, which the store keeps for everybody."""
        return await self.store.take_turn(key, limits, ask)

    async def tell_turn(self, key: str, limits: Limits, report: Report, /) -> None:
        """Say what came of a turn."""
        await self.store.tell_turn(key, limits, report)

    def seal(self, content: object, retention: str) -> PayloadRef:
        """Take content in, to be written with the next commit, and return the name it gets."""
        body = encode_payload(content)
        ref = payload_ref(self.key, body)
        if ref not in self._written and ref not in self._payloads:
            self._payloads[ref] = Payload(ref, self.subject, retention, body)
        return ref

    def digest(self, domain: str, *parts: str) -> str:
        """A digest under the subject's key."""
        return keyed_digest(self.key, domain, "\x1f".join(parts).encode())

    async def content(self, ref: str) -> Any:
        """What is behind a ref. Raises `JournalError` where it has been erased."""
        return decode(await self.body(ref))

    async def body(self, ref: str) -> bytes:
        """The encoded form of what is behind a ref. Raises `JournalError` where it has been erased."""
        if ref in self._payloads:
            return self._payloads[PayloadRef(ref)].body
        if ref not in self._kept:
            found = (await self.store.payloads([ref]))[ref]
            if not isinstance(found, bytes):
                raise JournalError(
                    f"content of `{self.run}` that is needed to go on has been erased",
                    hint="the run can be shown, not driven; start it again",
                )
            self._keep(ref, found)
        return self._kept[ref]

    def _keep(self, ref: str, body: bytes) -> None:
        if len(self._kept) >= KEPT_MAX:
            del self._kept[next(iter(self._kept))]
        self._kept[ref] = body

    @property
    def is_full(self) -> bool:
        """Whether so much is noted that it should be written before more is done."""
        return len(self._noted) >= NOTED_MAX

    def note(self, *events: Event) -> None:
        """Record what has happened; it is durable with the next commit, at the latest after a moment."""
        now = self.ports.clock.now_us()
        for event in events:
            apply_event(self.state, event, max(now, self.head.time), self.inbox)
        self._noted += events
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(RIDE_S, self._flush_soon)

    async def commit(self, *events: Event) -> Entry | None:
        """Make everything noted, and `events`, durable. Returns the entry that holds `events`.

        Raises what the store raises; then `events` did not happen, and what was noted is still to be written.
        """
        async with self._pen:
            if self._timer is not None:
                self._timer.cancel()
                self._timer = None
            if not events and not self._noted:
                return None
            noted = list(self._noted)  # a copy: more may be noted while this is written
            try:
                entry = await self._append((*noted, *events))
            except NotEncodable:
                if len(noted) + len(events) < 2:  # noqa: PLR2004
                    raise
                entry = await self._in_parts([*noted, *events], len(noted))
                self._stop_if_let_go()
                return entry
            self._noted = self._noted[len(noted) :]
            for event in events:
                apply_event(self.state, event, entry.time, self.inbox)
            self._stop_if_let_go()
            return entry

    async def _in_parts(self, events: list[Event], noted: int) -> Entry:
        """Too much for one entry: write it as several, in order."""
        half = len(events) // 2
        entry: Entry | None = None
        for start, part in ((0, events[:half]), (half, events[half:])):
            try:
                entry = await self._append(tuple(part))
            except NotEncodable:
                if len(part) < 2:  # noqa: PLR2004
                    raise
                entry = await self._in_parts(part, max(0, noted - start))
                continue
            for index, event in enumerate(part, start):
                if index < noted:
                    self._noted.remove(event)
                else:
                    apply_event(self.state, event, entry.time, self.inbox)
        assert entry is not None
        return entry

    async def _append(self, events: tuple[Event, ...]) -> Entry:
        payloads = tuple(self._payloads.values())
        append = Append(
            stream=self.stream,
            events=events,
            expect=self.head,
            epoch=self.epoch_for(events),
            now=self.ports.clock.now_us(),
            payloads=payloads,
        )
        try:
            (entry,) = await self.store.append(append)
        except asyncio.CancelledError:
            # The store has waited for the answer; the state must know it too before we let go.
            entry = await self._written_as(append)
            if entry is None:
                raise
            self._was_let_go = True
        self.head = entry.head
        pass_time(self.state, entry.time, is_owned=not isinstance(events[-1], RunAdopted))
        for payload in payloads:
            self._payloads.pop(payload.ref, None)
            self._written.add(payload.ref)
            self._keep(payload.ref, payload.body)
        return entry

    async def _written_as(self, append: Append) -> Entry | None:
        """The entry that `append` became, if it did."""
        assert append.expect is not None
        would_be = make_entry(self.stream, append.expect, append.epoch, append.now, append.events)
        for entry in await self.store.entries(self.stream, after=append.expect.seq):
            if entry.hash == would_be.hash:
                return entry
        return None

    def _stop_if_let_go(self) -> None:
        """Go on with the cancellation that came while an entry was being written."""
        if self._was_let_go:
            self._was_let_go = False
            raise asyncio.CancelledError

    def epoch_for(self, events: tuple[Event, ...]) -> int:
        """The epoch of an entry: that of the owner, which `RunAdopted` raises."""
        raised = [event.epoch for event in events if isinstance(event, RunAdopted)]
        return raised[0] if raised else self.state.epoch

    def _flush_soon(self) -> None:
        self._timer = None
        if self._noted and self._flushing is None:
            self._flushing = asyncio.get_running_loop().create_task(self._flush())

    async def _flush(self) -> None:
        try:
            await self.commit()
        except JournalError:
            # What could not be written is still noted; the next commit raises it to somebody who can act.
            pass
        finally:
            self._flushing = None

    async def drop(self) -> None:
        """Let go without writing: the run has another owner, or this process is going down."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._flushing is not None:
            await asyncio.wait([self._flushing])
