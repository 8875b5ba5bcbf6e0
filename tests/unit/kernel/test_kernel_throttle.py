"""The arithmetic of limits: turns of a rate, and the states of a breaker."""

from __future__ import annotations

from dataclasses import replace

import pytest

from answerable.kernel.throttle import (
    SHUT_MAX_US,
    Ask,
    Breaker,
    Limits,
    Rate,
    Report,
    Throttle,
    Turn,
    parse_rate,
    parse_throttle,
    take,
    tell,
)

S = 1_000_000
NOW = 100_000 * S
TEN = Limits(rate=Rate(calls=10), breaker=None, lease_us=35 * S)
BREAKER = Limits(rate=None, breaker=Breaker(failures=3, within_s=60, pause_s=30), lease_us=35 * S)
BOTH = replace(BREAKER, rate=Rate(calls=10))
PATIENT = Ask(patience_us=30 * S)


def broken(at: int = NOW, limits: Limits = BREAKER) -> Throttle:
    """A breaker that has just opened."""
    state = Throttle()
    for _ in range(3):
        state = tell(state, limits, Report(result="failed"), at)
    return state


@pytest.mark.parametrize(
    ("text", "calls", "per_s"),
    [("10/s", 10, 1), ("600/m", 600, 60), ("100/10s", 100, 10), ("1/h", 1, 3600), ("5000/d", 5000, 86_400)],
)
def test_a_rate_in_words(text: str, calls: int, per_s: float) -> None:
    """Calls in a period."""
    assert parse_rate(text) == Rate(calls=calls, per_s=per_s)


@pytest.mark.parametrize(
    "text", ["", "10", "10/", "0/s", "-1/s", "1.5/s", "10/0s", "10 /s", "10/week", "١/s"]
)
def test_what_is_no_rate_is_refused(text: str) -> None:
    """And nothing is guessed."""
    with pytest.raises(ValueError, match="is no rate"):
        parse_rate(text)


def test_a_rate_is_never_rounded_in_its_favour() -> None:
    """Three in a second are 333,334 microseconds apart."""
    assert Rate(calls=3).interval_us == 333_334
    assert (Rate(calls=10, burst=5).slack_us, str(Rate(calls=600, per_s=60))) == (400_000, "600 in 60 s")


def test_turns_are_spaced_evenly_and_given_in_order() -> None:
    """The first goes at once, each other one interval later."""
    state, given = Throttle(), list[int]()
    for _ in range(4):
        state, turn = take(state, TEN, PATIENT, NOW)
        given.append(turn.wait_us)

    assert given == [0, 100_000, 200_000, 300_000]


def test_a_burst_goes_at_once_and_is_earned_back() -> None:
    """After a pause as many as declared; then evenly again."""
    limits = replace(TEN, rate=Rate(calls=10, burst=3))
    state, waits = Throttle(), list[int]()
    for _ in range(5):
        state, turn = take(state, limits, PATIENT, NOW)
        waits.append(turn.wait_us)
    _, later = take(state, limits, PATIENT, NOW + 10 * S)

    assert waits == [0, 0, 0, 100_000, 200_000]
    assert later.verdict == "go"


def test_two_requests_take_two_turns() -> None:
    """A draft and its commit: both have been earned when the caller may go."""
    state, first = take(Throttle(), TEN, Ask(patience_us=S, sends=2), NOW)
    _, second = take(state, TEN, PATIENT, NOW)

    assert (first.wait_us, second.wait_us) == (100_000, 200_000)


def test_who_would_wait_too_long_takes_nothing() -> None:
    """And hears when the next turn is."""
    state = Throttle(free_at=NOW + 5 * S)

    after, turn = take(state, TEN, Ask(patience_us=4 * S), NOW)

    assert (turn.verdict, turn.wait_us) == ("rate_limited", 5 * S)
    assert after is state


def test_a_turn_that_was_waited_for_is_kept() -> None:
    """Asking again at its time takes no second one, also when it is asked a little early."""
    state, _ = take(Throttle(), TEN, PATIENT, NOW)
    state, held = take(state, TEN, PATIENT, NOW)
    asking = replace(PATIENT, held=held)

    early, still = take(state, TEN, asking, NOW + 99_000)
    after, turn = take(state, TEN, asking, NOW + 101_000)

    assert (still.verdict, still.wait_us, turn.verdict) == ("wait", 1_000, "go")
    assert early is state
    assert after is state


def test_a_vendor_that_asks_for_silence_gets_it_from_everybody() -> None:
    """Also from those who had a turn before it is over; they take a new one."""
    state, _ = take(Throttle(), TEN, PATIENT, NOW)
    state, held = take(state, TEN, PATIENT, NOW)
    state = tell(state, TEN, Report(result="failed", retry_after_us=7 * S), NOW)
    state, moved = take(state, TEN, replace(PATIENT, held=held), NOW + 100_000)
    _, other = take(state, TEN, PATIENT, NOW + 100_000)

    assert (moved.at, other.at) == (NOW + 7 * S, NOW + 7 * S + 100_000)
    again = tell(state, TEN, Report(result="failed", retry_after_us=10**18), NOW)
    assert again.shut_until == NOW + SHUT_MAX_US
    assert tell(again, TEN, Report(result="failed", retry_after_us=S), NOW) is again


def test_a_burst_is_not_there_after_silence() -> None:
    """The bucket is empty until then."""
    limits = replace(TEN, rate=Rate(calls=10, burst=5))
    state = tell(Throttle(), limits, Report(result="failed", retry_after_us=S), NOW)
    state, first = take(state, limits, PATIENT, NOW + S)
    _, second = take(state, limits, PATIENT, NOW + S)

    assert (first.wait_us, second.wait_us) == (0, 100_000)


def test_a_clock_that_is_set_back_moves_everything_with_it() -> None:
    """Nobody waits for the hour that the clock lost, and a pause stays as long as it was."""
    state, _ = take(broken(limits=BOTH), BOTH, PATIENT, NOW)
    state = tell(state, BOTH, Report(result="failed", retry_after_us=S), NOW)
    _, turn = take(state, BOTH, PATIENT, NOW - 3600 * S)

    assert (turn.verdict, turn.wait_us) == ("circuit_open", 30 * S)

    waiting, _ = take(Throttle(), TEN, PATIENT, NOW)
    waiting, held = take(waiting, TEN, PATIENT, NOW)
    _, again = take(waiting, TEN, replace(PATIENT, held=held), NOW - 3600 * S)

    assert (again.verdict, again.wait_us) == ("wait", 200_000)  # a new turn: the old one is an hour away


def test_a_clock_that_is_set_back_opens_no_breaker_that_was_about_to_close() -> None:
    """What was over stays over."""
    state = replace(broken(), seen=NOW, open_until=NOW - 10 * S, failures=(NOW - S,))
    after = tell(state, BREAKER, Report(result="unsent", trial=0), 5 * S)

    assert (after.seen, after.open_until, after.failures) == (5 * S, 1, (4 * S,))


# The breaker


def test_failures_within_the_window_open_it() -> None:
    """Older ones are forgotten; successes in between are none of its business."""
    state = Throttle()
    for at in (0, 30, 70, 80):
        state = tell(state, BREAKER, Report(result="failed"), NOW + at * S)
        assert tell(state, BREAKER, Report(result="ok"), NOW + at * S) is state
        assert not state.open_until or at == 80

    _, turn = take(state, BREAKER, PATIENT, NOW + 81 * S)
    assert (turn.verdict, turn.wait_us) == ("circuit_open", 29 * S)


def test_a_closed_breaker_changes_nothing() -> None:
    """So a store has nothing to write."""
    state = tell(Throttle(), BREAKER, Report(result="failed"), NOW)

    after, turn = take(state, BREAKER, PATIENT, NOW + S)

    assert after is state
    assert (turn.verdict, turn.trial) == ("go", 0)


def test_exactly_one_is_tried_after_the_pause() -> None:
    """The others wait for what becomes of it, or until it is given up."""
    state, trial = take(broken(), BREAKER, PATIENT, NOW + 30 * S)
    same, other = take(state, BREAKER, PATIENT, NOW + 31 * S)
    _, next_trial = take(state, BREAKER, PATIENT, NOW + 65 * S)

    assert (trial.verdict, trial.trial) == ("go", 1)
    assert (other.verdict, other.at) == ("circuit_open", NOW + 65 * S)
    assert same is state
    assert (next_trial.verdict, next_trial.trial) == ("go", 2)


@pytest.mark.parametrize(
    ("result", "verdict", "trial"), [("ok", "go", 0), ("failed", "circuit_open", 0), ("unsent", "go", 2)]
)
def test_what_became_of_the_trial_decides(result: str, verdict: str, trial: int) -> None:
    """Success closes it, failure opens it again, and what was not sent lets another try."""
    state, _ = take(broken(), BREAKER, PATIENT, NOW + 30 * S)
    state = tell(state, BREAKER, Report(result=result, trial=1), NOW + 32 * S)  # type: ignore[arg-type]
    _, turn = take(state, BREAKER, PATIENT, NOW + 33 * S)

    assert (turn.verdict, turn.trial) == (verdict, trial)
    if result == "failed":
        assert turn.at == NOW + 62 * S


@pytest.mark.parametrize("late", [Report(result="ok"), Report(result="ok", trial=1), Report(result="failed")])
def test_who_is_late_decides_nothing(late: Report) -> None:
    """What was sent before it opened, and a trial that was given up, say nothing of the vendor now."""
    state, _ = take(broken(), BREAKER, PATIENT, NOW + 30 * S)
    state, second = take(state, BREAKER, PATIENT, NOW + 66 * S)

    assert second.trial == 2
    assert tell(state, BREAKER, late, NOW + 67 * S) is state


def test_nothing_is_decided_before_there_was_a_trial() -> None:
    """A report without a trial is that of a call from before."""
    state = broken()

    assert tell(state, BREAKER, Report(result="ok", trial=0), NOW + S) is state


def test_a_trial_waits_for_its_turn_and_stays_the_trial() -> None:
    """Rate and breaker together: its lease begins with its turn."""
    state = replace(broken(limits=BOTH), free_at=NOW + 31 * S)
    state, held = take(state, BOTH, PATIENT, NOW + 30 * S)
    _, other = take(state, BOTH, PATIENT, NOW + 30 * S)
    state, turn = take(state, BOTH, replace(PATIENT, held=held), NOW + 31 * S)

    assert (held.verdict, held.trial, other.verdict) == ("wait", 1, "circuit_open")
    assert (turn.verdict, turn.trial, state.trial_until) == ("go", 1, NOW + 66 * S)


def test_who_waits_while_it_opens_is_not_sent() -> None:
    """A turn of the rate is no way round the breaker."""
    state, _ = take(Throttle(), BOTH, PATIENT, NOW)
    state, held = take(state, BOTH, PATIENT, NOW)
    for _ in range(3):
        state = tell(state, BOTH, Report(result="failed"), NOW + 50_000)

    _, turn = take(state, BOTH, replace(PATIENT, held=held), NOW + 100_000)

    assert turn.verdict == "circuit_open"


def test_a_limit_that_is_declared_no_more_is_ignored() -> None:
    """A breaker that was taken away holds nobody up, and a rate that was taken away neither."""
    _, turn = take(broken(limits=BOTH), TEN, PATIENT, NOW)
    _, other = take(Throttle(free_at=NOW + S), BREAKER, PATIENT, NOW)

    assert (turn.verdict, other.verdict) == ("go", "go")


# How it is kept


def test_what_is_written_is_read_back() -> None:
    """Every field."""
    state = Throttle(seen=1, free_at=2, shut_until=3, failures=(4, 5), open_until=6, trial_until=7, trials=8)

    assert parse_throttle(state.to_text()) == state


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        Throttle().to_text().replace('"seen":0', '"seen":"0"'),
        Throttle().to_text().replace('"seen":0', '"seen":0,"more":0'),
        Throttle().to_text().replace("[]", "[true]"),
        Throttle().to_text().replace("[]", "0"),
    ],
)
def test_what_is_in_another_form_is_refused(text: str) -> None:
    """Nothing is made up for it."""
    with pytest.raises(ValueError):
        parse_throttle(text)


def test_a_breaker_in_words() -> None:
    """As people read it in an error."""
    assert str(Breaker()) == "5 failures within 60 s"
    assert Turn(verdict="go", at=0, wait_us=0).trial == 0
