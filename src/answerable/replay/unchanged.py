"""The unchanged replay of a finished run: no model and no tool is called, and nothing is written.

The run's code is called again. Each thing it asks for is named by a keyed digest of its bytes, and the journal answers
only where that digest is the one recorded; so a replay that comes to its end has asked for the same bytes, in the same
order, and ended in the same way.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NoReturn

from answerable.engine import driving
from answerable.engine.ports import Ports
from answerable.engine.recorder import Recorder
from answerable.engine.run import Run
from answerable.engine.signals import Parked
from answerable.errors import ConfigError, RunDiverged
from answerable.kernel.encoding import encode_payload
from answerable.kernel.events import RunEnded
from answerable.kernel.ids import payload_ref, run_stream
from answerable.kernel.state import RunState, extend

if TYPE_CHECKING:
    from answerable.engine.runtime import Runtime
    from answerable.kernel.entry import Entry
    from answerable.kernel.events import Event
    from answerable.kernel.ids import RunId

STOPPED_FROM_OUTSIDE = frozenset({"budget_exhausted", "halted", "internal", "model_failure"})
"""Endings that came between two steps: the tape ends where the run was stopped."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplayReport:
    """What a replay found. `difference` names the first thing that was not as recorded; empty where all was."""

    run: str
    is_equal: bool
    difference: str
    steps: int
    """Recorded steps that the code asked for again."""


class _TapeEnd(BaseException):
    """The code asked for something that the journal does not hold."""


@dataclass(frozen=True, slots=True)
class _StoppedClock:
    """Time as it was when the run ended: a replay takes no time."""

    at: int

    def now_us(self) -> int:
        return self.at

    def monotonic_ns(self) -> int:
        return 0

    async def sleep(self, seconds: float) -> None:  # noqa: ARG002 - the clock's port names it
        raise _TapeEnd


class _Reader(Recorder):
    """A recorder that writes nothing: whatever the code would add ends the tape."""

    def note(self, *_events: Event) -> NoReturn:
        raise _TapeEnd

    async def commit(self, *_events: Event) -> Entry | None:
        raise _TapeEnd

    async def take_turn(self, *_: object) -> NoReturn:
        raise _TapeEnd


class _NoPerformer:
    """Stands where tools are performed: a replay performs none."""

    def __getattr__(self, _name: str) -> NoReturn:
        raise _TapeEnd


async def replay(runtime: Runtime, run: RunId) -> ReplayReport:
    """Replay a finished run. Raises `ConfigError` where it has not ended, `JournalError` where content is gone."""
    reader = await _Reader.load(runtime.store, Ports(clock=_StoppedClock(0), entropy=_none), run)
    state = reader.state = await _until_it_ended(runtime, run, reader)
    ended = state.ended
    if ended is None:
        raise ConfigError(f"`{run}` has not ended", hint="only a finished run can be replayed")
    assert state.created is not None
    if state.created.kind == "attached":
        raise ConfigError(
            f"`{run}` is an attached run: its code is not ours to call again",
            hint="only driven runs can be replayed",
        )
    reader.ports = Ports(clock=_StoppedClock(state.ended_at), entropy=_none)
    ctx, task = await runtime.context_of(reader)
    ctx.performer = _NoPerformer()  # pyright: ignore[reportAttributeAccessIssue]
    ctx.ports = reader.ports
    asked = Run(ctx)
    program = ctx.agent.program or runtime.settings.program
    try:
        await asked.begin(task)
        answer: Any = await program(asked, task)
        ending = await _judged(ctx, task, answer, ended)
    except _TapeEnd:
        return _at_tape_end(run, reader, asked, ended)
    except (Parked, RunDiverged) as error:
        return ReplayReport(
            run=run, is_equal=False, difference=str(error) or "the run parks", steps=asked.turns
        )
    except BaseException as error:  # it is the ending that is compared, whatever it was
        found = driving.ending_for(error)
        if found is None:
            raise
        ending = found
    return _compare(run, reader, asked, ended, ending)


async def _until_it_ended(runtime: Runtime, run: RunId, reader: _Reader) -> RunState:
    """The run as it was when it ended: what people have said of it since is not part of what is replayed."""
    state = RunState()
    for entry in await runtime.store.entries(run_stream(run)):
        if state.ended is None:
            extend(state, entry, reader.inbox)
    return state


def _none(_count: int) -> bytes:
    raise _TapeEnd


async def _judged(ctx: Any, task: Any, answer: object, ended: RunEnded) -> driving.Ending:
    """The ending of a run whose code came to its end: the done check, over the facts that were recorded."""
    if ended.check is None:
        return await driving.judge(ctx, task, answer)
    check: Any = await ctx.recorder.content(ended.check)
    facts: dict[str, Any] = {}
    for name, fact in ctx.agent.done.facts.items():
        content = await ctx.recorder.content(check["facts"][name])
        facts[name] = fact.tool.spec.result.validate_json(encode_payload(content))
    return driving.judged(ctx.agent, task, answer, facts, check["facts"])


def _at_tape_end(run: RunId, reader: _Reader, asked: Run, ended: RunEnded) -> ReplayReport:
    missing = _unasked(reader, asked)
    if ended.code in STOPPED_FROM_OUTSIDE and not missing:
        return ReplayReport(run=run, is_equal=True, difference="", steps=asked.turns)
    difference = missing or f"at step {asked.turns} the code asks for something that was not recorded"
    return ReplayReport(run=run, is_equal=False, difference=difference, steps=asked.turns)


def _compare(
    run: RunId, reader: _Reader, asked: Run, ended: RunEnded, ending: driving.Ending
) -> ReplayReport:
    differences = [
        f"it ends with {name} `{now}`; recorded is `{then}`"
        for name, then, now in (
            ("outcome", ended.outcome, ending.outcome),
            ("code", ended.code, ending.code),
            ("rules", ended.rules, ending.rules),
            ("answer", ended.answer, _ref(reader, driving.answer_content(ending))),
            ("check", ended.check, _ref(reader, ending.check) if ending.check is not None else None),
        )
        if then != now
    ]
    missing = _unasked(reader, asked)
    if missing:
        differences.insert(0, missing)
    return ReplayReport(
        run=run, is_equal=not differences, difference="; ".join(differences), steps=asked.turns
    )


def _unasked(reader: _Reader, asked: Run) -> str:
    """Recorded steps that the code did not ask for."""
    state = reader.state
    later = [
        path
        for path in (*state.models, *state.calls, *state.values)
        if int(path.partition(".")[0]) > asked.turns
    ]
    return f"{len(later)} recorded steps were not asked for, from {later[0]} on" if later else ""


def _ref(reader: _Reader, content: object) -> str:
    return payload_ref(reader.key, encode_payload(content))
