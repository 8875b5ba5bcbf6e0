"""Limits that protect a vendor: a bucket of turns and a breaker, as values. Pure: no I/O, no clock, no dice.

A store keeps one `Throttle` for each tenant and tool, and lets one caller at a time put a question to it; so every
process of a journal shares it. Times are microseconds, read by the store while nobody else can write the row.
"""

from __future__ import annotations

import math
import re
from dataclasses import asdict, dataclass, fields, replace
from typing import Any, Literal, cast

import orjson

SHUT_MAX_US = 3_600_000_000
"""A vendor that asks to be left alone for longer than this is for a person to look at."""
_SECONDS = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}
_RATE = re.compile(r"([1-9][0-9]{0,5})/([1-9][0-9]{0,3})?([smhd])")


@dataclass(frozen=True, slots=True, kw_only=True)
class Rate:
    """How often a tool may be sent: `calls` in `per_s` seconds, spaced evenly.

    `burst` may follow one another at once after a pause; more than 1 is for vendors that count in whole periods. A
    call waits for its turn for `wait_s`, or the tool's timeout where that is None; then it is not sent.
    """

    calls: int
    per_s: float = 1.0
    burst: int = 1
    wait_s: float | None = None

    @property
    def interval_us(self) -> int:
        """The time between two turns, rounded up: never more often than declared."""
        return math.ceil(self.per_s * 1e6 / self.calls)

    @property
    def slack_us(self) -> int:
        """How far turns may be taken ahead of their even spacing."""
        return (self.burst - 1) * self.interval_us

    def __str__(self) -> str:
        return f"{self.calls} in {self.per_s:g} s"


def parse_rate(text: str) -> Rate:
    """The rate that `"10/s"`, `"600/m"` or `"100/10s"` says. Raises `ValueError` for anything else."""
    match = _RATE.fullmatch(text)
    if match is None:
        message = f"`{text}` is no rate"
        raise ValueError(message)
    return Rate(calls=int(match[1]), per_s=float(int(match[2] or 1) * _SECONDS[match[3]]))


@dataclass(frozen=True, slots=True, kw_only=True)
class Breaker:
    """When to leave a failing vendor alone: after `failures` within `within_s` nothing is sent for `pause_s`.

    Then one call of all processes is tried. If it goes through, the others follow; if not, another pause begins.
    """

    failures: int = 5
    within_s: float = 60.0
    pause_s: float = 30.0

    def __str__(self) -> str:
        return f"{self.failures} failures within {self.within_s:g} s"


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What is declared of a tool. After `lease_us` a trial that nobody told of is given up."""

    rate: Rate | None
    breaker: Breaker | None
    lease_us: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """The answer to a caller.

    `go`: send now. `wait`: the turn is at `at`; ask again then, holding this one. `rate_limited`: there is no turn
    within the time that the caller has. `circuit_open`: the breaker lets nothing through before `at`.
    """

    verdict: Literal["go", "wait", "rate_limited", "circuit_open"]
    at: int
    wait_us: int
    trial: int = 0
    """Which trial of a breaker this is; 0 for an ordinary turn."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """A caller's question: room for `sends` requests, within `patience_us`, holding the turn that it was given."""

    patience_us: int
    sends: int = 1
    held: Turn | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What came of a turn. `unsent` lets go of a trial; `retry_after_us` is what the vendor asked for."""

    result: Literal["ok", "failed", "unsent"]
    trial: int = 0
    retry_after_us: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Throttle:
    """The state of one tool's limits. The empty one has all its turns, and a closed breaker."""

    seen: int = 0
    """The time at which it last changed."""
    free_at: int = 0
    """When the turns that were given out will all have been earned."""
    shut_until: int = 0
    """Until when the vendor asked to be left alone."""
    failures: tuple[int, ...] = ()
    """When the last failures were, while the breaker is closed."""
    open_until: int = 0
    """0 while the breaker is closed. Once this is over, one trial is let through."""
    trial_until: int = 0
    """Until when the trial that is under way is waited for."""
    trials: int = 0
    """How many trials there were: the number of the last one is its name."""

    def to_text(self) -> str:
        """How a store keeps it."""
        return orjson.dumps(asdict(self)).decode()


_TIMES = {field.name for field in fields(Throttle)} - {"failures"}


def parse_throttle(text: str) -> Throttle:
    """The state that `to_text` wrote. Raises `ValueError` for anything else."""
    read: Any = orjson.loads(text)
    given = cast("dict[str, Any]", read) if isinstance(read, dict) else {}
    listed = given.pop("failures", None)
    failures: list[Any] = cast("list[Any]", listed) if isinstance(listed, list) else [None]
    if set(given) != _TIMES or not all(type(time) is int for time in (*given.values(), *failures)):
        message = "what is kept of a tool's limits is in another form"
        raise ValueError(message)
    return Throttle(failures=tuple(failures), **given)


def take(state: Throttle, limits: Limits, ask: Ask, now: int) -> tuple[Throttle, Turn]:
    """A turn for one caller, and the state after it: the same object where nothing changed.

    A caller that was told to wait asks again at its time, holding its turn. The turn is kept, unless the vendor has
    asked for silence or the breaker has opened since.
    """
    before, state = state, _since(state, now)
    trial, closed_until = _trial(state, limits, ask.held, now)
    if closed_until:
        return _at(before, state, now), Turn(
            verdict="circuit_open", at=closed_until, wait_us=closed_until - now
        )
    at = now
    if limits.rate is not None:
        at, free_at = _slot(state, limits.rate, ask, now)
        if at - now > ask.patience_us:
            return _at(before, state, now), Turn(verdict="rate_limited", at=at, wait_us=at - now)
        state = replace(state, free_at=free_at)
    if trial:
        state = replace(state, trials=trial, trial_until=max(at, now) + limits.lease_us)
    wait_us = max(0, at - now)
    turn = Turn(verdict="wait" if wait_us else "go", at=at, wait_us=wait_us, trial=trial)
    return _at(before, state, now), turn


def tell(state: Throttle, limits: Limits, report: Report, now: int) -> Throttle:
    """The state after what came of a turn; the same object where it changes nothing."""
    before, state = state, _since(state, now)
    if limits.rate is not None and report.retry_after_us > 0:
        shut_until = max(state.shut_until, now + min(report.retry_after_us, SHUT_MAX_US))
        free_at = max(state.free_at, shut_until + limits.rate.slack_us)
        state = replace(state, shut_until=shut_until, free_at=free_at)
    if limits.breaker is not None:
        state = _count(state, limits.breaker, report, now)
    return _at(before, state, now)


def _count(state: Throttle, breaker: Breaker, report: Report, now: int) -> Throttle:
    reopened = now + int(breaker.pause_s * 1e6)
    if state.open_until:
        if report.trial != state.trials or not state.trials:
            return state  # sent before it opened, or a trial that was given up: it decides nothing any more
        if report.result == "ok":
            return replace(state, open_until=0, trial_until=0, failures=())
        return replace(
            state, open_until=reopened if report.result == "failed" else state.open_until, trial_until=0
        )
    if report.result != "failed":
        return state
    since = now - int(breaker.within_s * 1e6)
    failures = (*(at for at in state.failures if at > since), now)[-breaker.failures :]
    if len(failures) >= breaker.failures:
        return replace(state, failures=(), open_until=reopened, trial_until=0)
    return replace(state, failures=failures)


def _trial(state: Throttle, limits: Limits, held: Turn | None, now: int) -> tuple[int, int]:
    """The number of the trial that the caller may make, or until when nobody may; two zeros where none is needed."""
    if limits.breaker is None or not state.open_until:
        return 0, 0
    if held is not None and held.trial and held.trial == state.trials and now < state.trial_until:
        return held.trial, 0
    until = max(state.open_until, state.trial_until)
    return (0, until) if now < until else (state.trials + 1, 0)


def _slot(state: Throttle, rate: Rate, ask: Ask, now: int) -> tuple[int, int]:
    """When the caller's turn is, and when all turns given out, this one included, will have been earned."""
    held = ask.held
    if held is not None and held.at >= state.shut_until and held.at - now <= held.wait_us:
        return held.at, state.free_at
    free_at = max(state.free_at, now)
    at = max(now, free_at + (ask.sends - 1) * rate.interval_us - rate.slack_us)
    return at, free_at + ask.sends * rate.interval_us


def _since(state: Throttle, now: int) -> Throttle:
    """The state seen from `now`. Where the clock was set back, everything moves back with it: pauses stay as long."""
    back = state.seen - now
    if back <= 0:
        return state
    return replace(
        state,
        seen=now,
        free_at=max(0, state.free_at - back),
        shut_until=max(0, state.shut_until - back),
        failures=tuple(at - back for at in state.failures),
        open_until=max(1, state.open_until - back) if state.open_until else 0,
        trial_until=max(0, state.trial_until - back),
    )


def _at(before: Throttle, after: Throttle, now: int) -> Throttle:
    return before if after == before else replace(after, seen=now)
