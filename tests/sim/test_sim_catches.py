"""Code that is wrong on purpose: the simulation must find each of these, or it proves nothing where it finds none."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from tests.sim.sim_desk import SCENE

from answerable.engine import next as next_
from answerable.engine import perform, recorder, sending
from answerable.journal.sqlite import project, writer
from answerable.kernel import events
from answerable.kernel.entry import make_entry
from answerable.kernel.tool import RESENDABLE, WriteMode
from answerable.testing.simulation import Staged, play
from answerable.testing.simulation import store as sim_store

if TYPE_CHECKING:
    from collections.abc import Callable

SEEDS = 80
"""Among how many seeds a mistake must show."""


def fence_off(patch: pytest.MonkeyPatch) -> None:
    """A store that appends wherever the stream stands now."""
    real = writer.Writer._append
    patch.setattr(writer.Writer, "_append", lambda self, append: real(self, replace(append, expect=None)))


def last_look_off(patch: pytest.MonkeyPatch) -> None:
    """An engine that does not look at owner and halts before it sends."""

    async def look(_self: Any) -> Any:
        await asyncio.sleep(0)
        return True, ()

    patch.setattr(recorder.Recorder, "look", look)


def look_that_holds_for_ever(patch: pytest.MonkeyPatch) -> None:
    """An engine that believes its last look, and its deadline, however long ago they were."""
    patch.setattr(perform.Performer, "_is_stale", lambda *_: False)
    patch.setattr(sending, "SEND_WITHIN_S", 60.0)


def intent_after_the_send(patch: pytest.MonkeyPatch) -> None:
    """An engine whose intents ride with what comes next."""
    real = recorder.Recorder.commit

    async def commit(self: Any, *given: Any) -> Any:
        if not any(isinstance(event, events.CallIntended) for event in given):
            return await real(self, *given)
        self.note(*given)
        return make_entry(self.stream, self.head, self.state.epoch, self.ports.clock.now_us(), given)

    patch.setattr(recorder.Recorder, "commit", commit)


def claim_not_taken(patch: pytest.MonkeyPatch) -> None:
    """A store that takes no claims."""
    patch.setattr(project, "_take", lambda *_: None)


def halts_not_looked_at(patch: pytest.MonkeyPatch) -> None:
    """A store that takes intents under a halt."""
    patch.setattr(project, "_refuse_if_halted", lambda *_: None)


def budget_not_looked_at(patch: pytest.MonkeyPatch) -> None:
    """A store that takes intents over a budget."""
    real = project._reserve
    patch.setattr(
        project, "_reserve", lambda db, reserve: real(db, tuple((b, u, a, 10**15) for b, u, a, _ in reserve))
    )


def totals_not_looked_at(patch: pytest.MonkeyPatch) -> None:
    """A store that does not mind that a total moved."""

    def move(db: Any, key: str, amount: int, *_seen: int) -> None:
        db.execute(
            "INSERT INTO total VALUES (?, ?, 1) ON CONFLICT (key) DO UPDATE SET amount = amount + ?, count = count + 1",
            (key, amount, amount),
        )

    patch.setattr(project, "_move_total", move)


def believes_that_it_was_written(patch: pytest.MonkeyPatch) -> None:
    """A store that takes a lost answer for a yes, and does not read back."""
    real = sim_store.SimJournal._append

    async def append(self: Any, appends: Any, trouble: Any) -> Any:
        if trouble is None or trouble.what != "lost request" or appends[0].expect is None:
            return await real(self, appends, trouble)
        made = tuple(make_entry(a.stream, a.expect, a.epoch, a.now, a.events) for a in appends)
        self._wire.acknowledged(made)
        return made

    patch.setattr(sim_store.SimJournal, "_append", append)


def lost_reply_is_a_failure(patch: pytest.MonkeyPatch) -> None:
    """An engine that takes a timeout for a no."""
    real = perform.Performer._send

    async def send(self: Any, *given: Any, **named: Any) -> Any:
        return await real(self, *given, **{**named, "is_write": False})

    patch.setattr(perform.Performer, "_send", send)


def sends_again_what_it_must_not(patch: pytest.MonkeyPatch) -> None:
    """An engine that sends again whatever it was."""
    for module in (next_, sending):
        patch.setattr(module, "RESENDABLE", RESENDABLE | {WriteMode.AT_MOST_ONCE})


def probe_that_does_not_wait(patch: pytest.MonkeyPatch) -> None:
    """An engine that asks while what was sent may still be on its way."""
    real = sending.probe

    async def probe(ctx: Any, proposal: Any, intent: Any, _not_before: int) -> None:
        await real(ctx, proposal, intent, 0)

    patch.setattr(sending, "probe", probe)


def new_key_for_each_attempt(patch: pytest.MonkeyPatch) -> None:
    """An engine that gives the vendor another key when it sends again."""
    real = sending.again

    async def again(ctx: Any, proposal: Any, intent: Any, **named: Any) -> None:
        effect = intent.effect[::-1] if intent.attempt == 1 else intent.effect
        await real(ctx, proposal, replace(intent, effect=effect), **named)

    patch.setattr(sending, "again", again)


MISTAKES: dict[Callable[[pytest.MonkeyPatch], None], str] = {
    fence_off: "",
    last_look_off: "was sent",
    look_that_holds_for_ever: "was sent",
    intent_after_the_send: "without an intent",
    claim_not_taken: "",
    halts_not_looked_at: "under a halt",
    budget_not_looked_at: "overspent",
    totals_not_looked_at: "",
    believes_that_it_was_written: "lost",
    lost_reply_is_a_failure: "says that it did not",
    sends_again_what_it_must_not: "at most once",
    probe_that_does_not_wait: "happened",
    new_key_for_each_attempt: "",
}
"""What is wrong, and a word that must stand in what is found."""


@pytest.mark.parametrize("mistake", MISTAKES, ids=lambda mistake: mistake.__name__)
def test_a_mistake_is_found(
    mistake: Callable[[pytest.MonkeyPatch], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first seed in which it shows says what it broke."""
    staged = Staged(SCENE)
    mistake(monkeypatch)
    for seed in range(SEEDS):
        found = play(staged, seed).problems
        if any(MISTAKES[mistake] in problem for problem in found):
            print(f"\n{mistake.__name__}: seed {seed}: {found[0].splitlines()[0]}")
            return
    pytest.fail(f"{mistake.__name__} was not found in {SEEDS} seeds")
