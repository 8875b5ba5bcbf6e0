"""Journals written by hand, entry by entry, so that every answer has a known cause."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import pytest

from answerable.engine.packet import build_packet
from answerable.evidence.view import RunView, load_view
from answerable.journal.sqlite import SqliteJournal
from answerable.journal.store import Append, Payload
from answerable.kernel import events
from answerable.kernel.encoding import encode_payload, keyed_digest
from answerable.kernel.tool import EffectClass, ToolSpec, WriteMode

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

RUN = "run_aaaaaaaaaaaaaaaaaaaaaaaaaa"
START = 1_767_225_600_000_000
EXPIRES = START + 86_400_000_000
EFFECT = "e" * 64
RULE = "More than $500 for one order needs a person."


def spec(name: str, mode: WriteMode | None = None, undo: str | None = None) -> ToolSpec:
    """A tool, as far as a packet looks at it."""
    cls = EffectClass.READ if mode is None else EffectClass.WRITE
    return ToolSpec(
        name=name,
        description="",
        effect_class=cls,
        arguments=None,  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]
        result=None,  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]
        mode=mode,
        undo=undo,
    )


TOOLS = {
    "get_order": spec("get_order"),
    "create_refund": spec("create_refund", WriteMode.NATIVE_KEY, "cancel_refund"),
    "send_reply": spec("send_reply", WriteMode.AT_MOST_ONCE),
}


@dataclass
class Story:
    """Writes one run's journal. Each `write` is an entry, one second after the one before it."""

    path: Path
    task: dict[str, Any] = field(
        default_factory=lambda: {"id": "T-1", "text": "Please refund my broken teapot.", "amount_usd": "700"}
    )
    on_behalf_of: str = "ana@example.com"
    requested_by: str = ""
    begun_by: str | None = None
    """The release that begins it, where another accepted it."""
    limits: tuple[tuple[str, str, int], ...] = (
        (f"run:{RUN}", "tool_calls", 20),
        (f"run:{RUN}", "model_calls", 30),
        (f"run:{RUN}", "money", 400_000),
    )
    _todo: list[Callable[[SqliteJournal], Any]] = field(default_factory=list[Any])
    key: bytes = b"k" * 32
    now: int = START

    def ref(self, content: object) -> str:
        return keyed_digest(self.key, "answerable/payload/v1", encode_payload(content))

    def write(
        self, *written: events.Event, content: tuple[object, ...] = (), stream: str = "", epoch: int = 1
    ) -> Story:
        """Append one entry with its contents."""
        self.now += 1_000_000
        now = self.now

        async def append(store: SqliteJournal) -> None:
            name = stream or f"run/{RUN}"
            payloads = tuple(Payload(self.ref(c), "sub_ana", "result", encode_payload(c)) for c in content)
            head = await store.head(name) if name.startswith("run/") else None
            inbox = await store.head(f"inbox/{RUN}")
            await store.append(
                Append(
                    stream=name,
                    events=tuple(
                        replace(event, hash=inbox.hash) if isinstance(event, events.InboxFolded) else event
                        for event in written
                    ),
                    expect=head,
                    epoch=epoch if name.startswith("run/") else 0,
                    now=now,
                    payloads=payloads,
                )
            )

        self._todo.append(append)
        return self

    def erase(self, content: object) -> Story:
        """Destroy one content, as retention does."""

        async def destroy(store: SqliteJournal) -> None:
            await store.destroy([self.ref(content)], self.now)

        self._todo.append(destroy)
        return self

    def forge(self, content: object, other: bytes) -> Story:
        """Put something else in the place of one content."""

        async def change(store: SqliteJournal) -> None:
            store._small.execute("UPDATE payload SET body = ? WHERE ref = ?", (other, self.ref(content)))  # pyright: ignore[reportPrivateUsage]

        self._todo.append(change)
        return self

    def begin(self) -> Story:
        """The run is accepted and started."""
        task = {"task": self.task, "on_behalf_of": self.on_behalf_of, "requested_by": self.requested_by}
        created = events.RunCreated(
            journal="jnl_x",
            agent="refund-desk",
            tenant="default",
            kind="driven",
            release="f" * 64,
            autonomy="capped",
            subject="sub_ana",
            task=self.ref(task),
        )
        adopted = events.RunAdopted(
            epoch=1, owner="own_first", cause="start", limits=self.limits, release=self.begun_by
        )
        return self.write(created, content=(task,), epoch=0).write(adopted)

    def model(self, path: str, text: str = "", *, cost: int | None = 1500) -> Story:
        """A model was asked and replied."""
        reply = {"role": "assistant", "text": text}
        asked = events.ModelIntended(
            path=path, attempt=1, model="openai:small", kept=0, added=(), offer="0" * 64
        )
        replied = events.ModelEnded(
            path=path,
            attempt=1,
            state="replied",
            tokens_in=100,
            tokens_out=20,
            table="t",
            scripted=False,
            reply=self.ref(reply),
            cost=cost,
        )
        return self.write(asked, replied, content=(reply,))

    def read(self, path: str, result: object) -> Story:
        """An order was looked up."""
        args = {"order_id": "O-1001"}
        ended = events.CallEnded(
            path=path,
            attempt=1,
            tool="get_order",
            state="done",
            via="send",
            cost=0,
            us=2000,
            result=self.ref(result),
        )
        return self.write(self.decided(path, "get_order", args, cls="read"), ended, content=(args, result))

    def decided(self, path: str, tool: str, args: object, **given: Any) -> events.CallDecided:
        """A decision; by default, allow."""
        values: dict[str, Any] = {
            "cls": "write",
            "verdict": "allow",
            "gate": "policy",
            "rules": ("may-refund",),
            **given,
        }
        return events.CallDecided(
            path=path,
            tool=tool,
            digest="d" * 64,
            policy="b" * 64,
            labels={},
            facts={},
            totals={},
            args=self.ref(args),
            **values,
        )

    def held(
        self, path: str, verdict: str, *, code: str, rule: str = "refund-cap", tool: str = "create_refund"
    ) -> Story:
        """A refund was refused, or held for a person."""
        why = {"reason": "amount_usd 700 is over 500", "rules": {rule: RULE}, "policy": "b" * 64}
        args = {"order_id": "O-1001", "amount_usd": "700"}
        decided = self.decided(path, tool, args, verdict=verdict, code=code, rules=(rule,), why=self.ref(why))
        return self.write(decided, content=(args, why))

    def sent(
        self, path: str, state: str, *, tool: str = "create_refund", via: str = "send", ends: bool = True
    ) -> Story:
        """A write was intended, and came to this end."""
        args = {"order_id": "O-1001", "amount_usd": "48"}
        result = {"refund_id": "R-1"} if state == "done" else {"error": "the shop did not answer"}
        intent = events.CallIntended(
            path=path,
            effect=EFFECT,
            attempt=1,
            tool=tool,
            mode=TOOLS[tool].mode.value,  # type: ignore[union-attr] # pyright: ignore[reportOptionalMemberAccess]
            halt_epoch=0,
            send_by=self.now,
            undo=TOOLS[tool].undo,
        )
        self.write(self.decided(path, tool, args), intent, content=(args,))
        if ends:
            ended = events.CallEnded(
                path=path,
                effect=EFFECT,
                attempt=1,
                tool=tool,
                state=state,
                via=via,
                cost=0,
                us=5000,
                result=self.ref(result),
                failure=None if state == "done" else "timeout",
            )
            self.write(ended, content=(result,))
        return self

    def ask(self, path: str) -> Story:
        """People are asked, and the run parks."""
        preview = {
            "tool": "create_refund",
            "arguments": {"amount_usd": "700"},
            "plan": None,
            "rules": {"refund-cap": RULE},
        }
        asked = events.ApprovalRequested(
            path=path,
            request="apr_1",
            digest="d" * 64,
            needs=(("refund-cap", ("support-lead",), 1),),
            expires=EXPIRES,
            preview=self.ref(preview),
        )
        self.write(asked, content=(preview,))
        return self.write(events.RunParked(waiting_for="approval", request="apr_1", wake_at=EXPIRES))

    def answer(self, path: str, verdict: str, state: str, note: str = "") -> Story:
        """Somebody answers, and the run takes it in."""
        given = events.ApprovalGiven(
            request="apr_1",
            verdict=verdict,
            approver="dana",
            digest="d" * 64,
            rules=("refund-cap",),
            expires=EXPIRES,
            nonce="n",
            signature="s",
            note=self.ref(note) if note else None,
        )
        self.write(given, content=(note,) if note else (), stream=f"inbox/{RUN}")
        self.write(events.RunAdopted(epoch=2, owner="own_second", cause="wake", limits=self.limits), epoch=2)
        return self.write(
            events.InboxFolded(seq=1, hash="0" * 64),
            events.ApprovalSettled(path=path, request="apr_1", state=state, inbox=(1,)),
            epoch=2,
        )

    def end(
        self,
        outcome: str,
        *,
        code: str | None = None,
        reason: str = "",
        rules: tuple[str, ...] = (),
        epoch: int = 1,
    ) -> Story:
        """The run ends; an escalated one has its packet, built from what was written so far."""

        async def finish(store: SqliteJournal) -> None:
            view = await load_view(store, RUN)
            content: list[object] = [{"answer": None, "reason": reason}]
            if outcome != "succeeded":
                content.append(packet_of(view, code=code or "internal", reason=reason, rules=rules))
            refs = [self.ref(each) for each in content]
            ended = events.RunEnded(
                outcome=outcome,
                code=code,
                rules=rules,
                answer=refs[0],
                packet=refs[1] if len(refs) > 1 else None,
                unknown=tuple(view.state.unknown),
            )
            self.write(ended, content=tuple(content), epoch=epoch)
            await self._todo.pop()(store)

        self._todo.append(finish)
        return self

    def tell(self) -> RunView:
        """Write it all into a journal, and read it back."""
        return asyncio.run(self._tell())

    async def _tell(self) -> RunView:
        store = await SqliteJournal.open(
            self.path / "journal.db",
            entropy=lambda count: b"\x07" * count,
            clock=lambda: START,
            public_key="key",
        )
        try:
            store._small.execute("INSERT INTO subject VALUES ('sub_ana', ?, 'ana')", (self.key,))  # pyright: ignore[reportPrivateUsage]
            for write in list(self._todo):
                await write(store)
            return await load_view(store, RUN)
        finally:
            await store.close()


def packet_of(view: RunView, **given: Any) -> dict[str, object]:
    """A packet of the run as it stands."""
    values: dict[str, Any] = {
        "code": "policy_denied",
        "reason": "amount_usd 700 is over 500",
        "rules": ("refund-cap",),
        "rule_texts": {"refund-cap": RULE},
        "question": "",
        "now": START + 60_000_000,
        "deadline": None,
        "default": "nothing further is done",
        "head": view.head,
        "contents": view.readable(),
        **given,
    }
    return build_packet(
        run=view.run,
        agent="refund-desk",
        owner="support-platform",
        state=view.state,
        tools=TOOLS,
        journal="jnl_aaaaaaaaaaaaaaaaaaaaaaaaaa",
        **values,
    )


@pytest.fixture
def story(tmp_path: Path) -> Story:
    """A journal to be written."""
    return Story(tmp_path)


@pytest.fixture
def packet() -> Callable[..., dict[str, object]]:
    """Builds a packet of a view."""
    return packet_of
