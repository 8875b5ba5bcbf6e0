"""What the simulation found, each told once more without it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from answerable.engine.recorder import Recorder
from answerable.journal.sqlite import SqliteJournal
from answerable.journal.store import Append
from answerable.kernel import events
from answerable.kernel.ids import RunId
from answerable.testing import FaultyStore, fake_ports, fixed_entropy
from answerable.testing.store_events import NOW, effect_of, run_name, write_run

if TYPE_CHECKING:
    from pathlib import Path

RUN = RunId(run_name(1))


class Between(FaultyStore):
    """Between the first two reads of a run somebody says something, and its owner takes it in."""

    is_told = False

    async def entries(self, stream: str, *, after: int = 0) -> Any:
        found = await self.inside.entries(stream, after=after)
        if not self.is_told:
            self.is_told = True
            said = events.EffectReported(effect=effect_of(RUN, "1.0"), state="done", by="somebody")
            inbox = Append(stream=f"inbox/{RUN}", events=(said,), expect=None, epoch=0, now=NOW)
            (entry,) = await self.inside.append(inbox)
            head = await self.inside.head(f"run/{RUN}")
            taken = events.InboxFolded(seq=entry.seq, hash=entry.hash)
            await self.inside.append(
                Append(stream=f"run/{RUN}", events=(taken,), expect=head, epoch=head.epoch, now=NOW)
            )
        return found


async def test_a_run_is_read_while_its_owner_takes_an_answer_in(tmp_path: Path) -> None:
    """The run is read before its inbox: what it names of the inbox is there then."""
    store = await SqliteJournal.open(tmp_path / "journal.db", entropy=fixed_entropy(), clock=lambda: NOW)
    try:
        await write_run(store, RUN)

        loaded = await Recorder.load(Between(store), fake_ports(), RUN)  # pyright: ignore[reportArgumentType]

        assert loaded.state.inbox_seq in (0, 1)
    finally:
        await store.close()
