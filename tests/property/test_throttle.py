"""Over any schedule: never more sends than declared, never more than one trial, and a success closes the breaker."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from fractions import Fraction

from hypothesis import given, settings
from hypothesis import strategies as st

from answerable.kernel.throttle import (
    Ask,
    Breaker,
    Limits,
    Rate,
    Report,
    Throttle,
    Turn,
    parse_throttle,
    take,
    tell,
)

S = 1_000_000
LEASE_US = 2 * S
steps = st.lists(
    st.tuples(
        st.integers(0, 400_000),  # time that goes by
        st.sampled_from(["ask", "ask", "ask", "wake", "ok", "failed", "unsent", "retry after"]),
        st.integers(0, 50),  # who does it, of those who could
        st.integers(0, 3 * S),  # how patient they are
        st.integers(1, 2),  # how many requests they make
    ),
    max_size=120,
)
rates = st.builds(
    Rate, calls=st.integers(1, 40), per_s=st.sampled_from([0.5, 1.0, 3.0]), burst=st.integers(1, 5)
)
breakers = st.builds(
    Breaker,
    failures=st.integers(1, 4),
    within_s=st.sampled_from([0.5, 5.0]),
    pause_s=st.sampled_from([0.3, 1.0]),
)


@dataclass
class World:
    """Callers before one tool, and the slow, obvious record of what they did."""

    limits: Limits
    now: int = 1_000 * S
    state: Throttle = field(default_factory=Throttle)
    waiting: list[tuple[Turn, int]] = field(default_factory=list)
    flying: list[Turn] = field(default_factory=list)
    sent: list[tuple[int, int]] = field(default_factory=list)
    """When each turn was due, and for how many requests."""
    shut: list[tuple[int, int]] = field(default_factory=list)

    def ask(self, patience_us: int, sends: int, held: Turn | None = None) -> Turn:
        """Ask for a turn, and do what the answer says."""
        ask = Ask(patience_us=patience_us, sends=sends, held=held)
        self.state, turn = take(self.state, self.limits, ask, self.now)
        self.state = parse_throttle(self.state.to_text())
        if turn.verdict == "wait":
            self.waiting.append((turn, sends))
        elif turn.verdict == "go":
            self.sent.append((self.now, sends))
            self.flying.append(turn)
            assert not any(start < self.now < end for start, end in self.shut)
        return turn

    def tell(self, turn: Turn, result: str, retry_after_us: int = 0) -> None:
        """Say what came of it."""
        report = Report(result=result, trial=turn.trial, retry_after_us=retry_after_us)  # type: ignore[arg-type]
        self.state = tell(self.state, self.limits, report, self.now)
        if retry_after_us and self.limits.rate is not None:
            self.shut.append((self.now, self.now + retry_after_us))

    def step(self, do: str, who: int, patience_us: int, sends: int) -> None:
        """One step of a schedule. Who was told to wait wakes exactly on time, and asks again."""
        if do == "ask":
            self.ask(patience_us, sends)
        elif do == "wake":
            return
        elif self.flying:
            turn = self.flying.pop(who % len(self.flying))
            self.tell(turn, "failed" if do == "retry after" else do, S if do == "retry after" else 0)

    def pass_time(self, us: int) -> None:
        """Let time go by; those whose turn comes meanwhile take it, in order."""
        until = self.now + us
        while due := [one for one in self.waiting if one[0].at <= until]:
            first = min(due, key=lambda one: one[0].at)
            self.waiting.remove(first)
            self.now = max(self.now, first[0].at)
            self.ask(10 * S, first[1], first[0])
        self.now = until


def _never_too_many(world: World, rate: Rate) -> None:
    """The reference: in every window between two sends, at most rate * time + burst. A draft is a part of its write."""
    times = [at for at, sends in world.sent for _ in range(sends)]
    drafts = sum(sends - 1 for _, sends in world.sent)
    for first in range(len(times)):
        for last in range(first, len(times)):
            allowed = Fraction(times[last] - times[first], rate.interval_us) + rate.burst
            most = (
                sum(sends - 1 for at, sends in world.sent if times[first] <= at <= times[last])
                if drafts
                else 0
            )
            assert last - first + 1 <= allowed + most


@settings(max_examples=300, deadline=None)
@given(rates, steps)
def test_never_more_than_the_rate_and_its_burst(rate: Rate, schedule: list) -> None:
    """In any window, whoever asks, waits, fails or is told to keep quiet."""
    world = World(Limits(rate=rate, breaker=None, lease_us=LEASE_US))
    for gap, do, who, patience_us, sends in schedule:
        world.pass_time(gap)
        world.step(do, who, patience_us, sends)

    _never_too_many(world, rate)


@settings(max_examples=200, deadline=None)
@given(rates, st.integers(1, 60))
def test_a_crowd_is_served_at_the_full_rate_and_in_order(rate: Rate, crowd: int) -> None:
    """Nobody overtakes, and no turn is lost."""
    world = World(Limits(rate=rate, breaker=None, lease_us=LEASE_US))
    turns = [world.ask(10**12, 1) for _ in range(crowd)]
    begun = world.now
    world.pass_time(crowd * rate.interval_us)

    assert [turn.at for turn in turns] == sorted(turn.at for turn in turns)
    assert len(world.sent) == crowd
    assert world.sent[-1][0] - begun == max(0, crowd - rate.burst) * rate.interval_us


@settings(max_examples=300, deadline=None)
@given(breakers, st.none() | rates, steps)
def test_never_more_than_one_trial_and_a_success_closes(
    breaker: Breaker, rate: Rate | None, schedule: list
) -> None:
    """While it is open nothing goes but the trial; a second one only once the first has ended or was given up."""
    world = World(Limits(rate=rate, breaker=breaker, lease_us=LEASE_US))
    for gap, do, who, patience_us, sends in schedule:
        world.pass_time(gap)
        was_open, trials = world.state.open_until, world.state.trials
        flying = {turn.trial for turn in world.flying}
        before = len(world.sent)
        world.step(do, who, patience_us, sends)
        if was_open and world.state.open_until and len(world.sent) > before:
            assert world.flying[-1].trial == world.state.trials == trials + 1
            assert trials not in flying or world.state.seen >= was_open
        landed = flying - {turn.trial for turn in world.flying}
        if do == "ok" and was_open and landed == {trials} and trials:
            assert world.state.open_until == 0
    _probed_until_it_works(world)


def _probed_until_it_works(world: World) -> None:
    """From wherever it stands: silence for long enough, one trial that goes through, and all is as new."""
    world.now += 3_600 * S
    world.waiting.clear()
    turn = world.ask(S, 1)
    assert turn.verdict in ("go", "wait")
    if world.state.open_until:
        assert take(world.state, world.limits, Ask(patience_us=S), world.now)[1].verdict == "circuit_open"
    world.now = max(world.now, turn.at)
    world.tell(turn, "ok")
    assert world.state.open_until == 0
    assert world.ask(10 * S, 1).verdict in ("go", "wait")


@settings(max_examples=200, deadline=None)
@given(rates, breakers, steps, st.integers(1, 10_000 * S))
def test_a_clock_that_is_set_back_changes_no_wait(
    rate: Rate, breaker: Breaker, schedule: list, back: int
) -> None:
    """Whoever asks after the correction is told to wait as long as without it."""
    world = World(Limits(rate=rate, breaker=breaker, lease_us=LEASE_US), now=20_000 * S)
    for gap, do, who, patience_us, sends in schedule:
        world.pass_time(gap)
        world.step(do, who, patience_us, sends)
    world.state = replace(world.state, seen=world.now)
    _, straight = take(world.state, world.limits, Ask(patience_us=S), world.now)
    _, corrected = take(world.state, world.limits, Ask(patience_us=S), world.now - back)

    assert (corrected.verdict, corrected.wait_us) == (straight.verdict, straight.wait_us)
