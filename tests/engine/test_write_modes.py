"""Every write mode, by the same four tests: it works, twice is once, it unwinds, and unwinding twice is once.

The vendor here has a state, loses requests and replies as it is told to, and counts what it really did. Once is what
a mode promises; where it cannot, it promises never twice, and to say so.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest
from pydantic import BaseModel
from tests.engine.workshop import healthy, make_agent, runtime_of, state_of

from answerable import EffectKey, NotDone, Retry, Run, Tool, ToolFailed, fact, tool
from answerable.testing import FakeClock, Fault, FaultyStore

if TYPE_CHECKING:
    from pathlib import Path

    from answerable.engine.outcome import Outcome
    from answerable.kernel.state import CallStep

MODES = ("native_key", "upsert", "conditional", "probe_then_write", "draft_then_commit", "at_most_once")
LOST_REQUEST, LOST_REPLY = "lost request", "lost reply"
DIED_BEFORE, DIED_AFTER = "died between intent and send", "died between send and outcome"
TROUBLES = (LOST_REQUEST, LOST_REPLY, DIED_BEFORE, DIED_AFTER)
AFTER_THE_WORK = (LOST_REPLY, DIED_AFTER)


class Record(BaseModel):
    """A record and its version."""

    text: str
    version: int


@dataclass
class Outside:
    """A system of record. One verb has one trouble, once.

    `worked` holds what really changed something, in order: doing it twice shows, also where the state does not.
    """

    verb: str = ""
    trouble: str = ""
    level: int = 5
    record: Record = field(default_factory=lambda: Record(text="old", version=7))
    asked: list[tuple[str, str]] = field(default_factory=list)
    worked: list[str] = field(default_factory=list)
    versions: list[int] = field(default_factory=list)
    drafts: dict[str, str] = field(default_factory=dict)
    answers: dict[str, str] = field(default_factory=dict)

    @property
    def state(self) -> tuple[int, str]:
        """What is in force."""
        return self.level, self.record.text

    def keyed(self, verb: str, key: str) -> str:
        """Add or take away, once for each key."""
        return self._serve(verb, key, lambda: self.answers.get(key) or self._move(verb, key))

    def blind(self, verb: str, reference: str = "") -> str:
        """Add or take away, whatever was done before; the reference is only kept."""
        return self._serve(verb, reference, lambda: self._move(verb, reference))

    def put(self, verb: str, text: str) -> str:
        """Set the record."""
        return self._serve(verb, "", lambda: self._write(verb, text))

    def put_over(self, verb: str, text: str, version: int) -> str:
        """Set the record, if it still has that version."""
        self.versions.append(version)

        def work() -> str:
            if version != self.record.version:
                raise NotDone(f"the record is at {self.record.version}", failure="permission")
            return self._write(verb, text)

        return self._serve(verb, "", work)

    def draft(self, verb: str, reference: str) -> str:
        """Note what is to be done, and do nothing. Each draft is another one."""
        name = f"draft {len(self.drafts) + 1}"
        self.drafts[name] = f"{verb} {reference}"
        return name

    def commit(self, name: str) -> str:
        """Do what a draft says, each time that it is asked to."""
        verb, reference = self.drafts[name].split()
        return self._serve(verb, reference, lambda: self._move(verb, reference))

    def find(self, reference: str) -> str | None:
        """What was answered to the work of that reference."""
        return self.answers.get(reference)

    def _serve(self, verb: str, key: str, work: Any) -> str:
        self.asked.append((verb, key))
        trouble, self.trouble = (self.trouble, "") if verb == self.verb else ("", self.trouble)
        if trouble == LOST_REQUEST:
            raise ToolFailed("no answer", failure="timeout")
        answer = work()
        if trouble == LOST_REPLY:
            raise ToolFailed("no answer", failure="timeout")
        return answer

    def _move(self, verb: str, reference: str) -> str:
        self.level += 1 if verb == "make" else -1
        self.worked.append(verb)
        self.answers[reference] = f"receipt {len(self.worked)}"
        return self.answers[reference]

    def _write(self, verb: str, text: str) -> str:
        if text != self.record.text:
            self.worked.append(verb)
        self.record = Record(text=text, version=self.record.version + 1)
        return text


def _is(outside: object) -> Outside:
    assert isinstance(outside, Outside)
    return outside


@tool(effect="read")
async def get_record(*, outside: object) -> Record:
    """Read the record."""
    return _is(outside).record


async def found(arguments: BaseModel, *, key: EffectKey, outside: object) -> str | None:
    """Ask for the work of a key."""
    return _is(outside).find(key)


def write(mode: str, verb: str, *, undo: Tool | None = None) -> Tool:
    """A write in a mode. `make` and `take_back` do the opposite of each other."""

    async def drafted(arguments: BaseModel, *, key: EffectKey, outside: object) -> str:
        return _is(outside).draft(verb, key)

    async def keyed(text: str, *, key: EffectKey, outside: object) -> str:
        """Send with the key."""
        return _is(outside).keyed(verb, key)

    async def put(text: str, *, outside: object) -> str:
        """Set a state."""
        return _is(outside).put(verb, text)

    async def put_over(text: str, *, facts: dict[str, Any], outside: object) -> str:
        """Set a state over the version that was decided on."""
        return _is(outside).put_over(verb, text, facts["record"].version)

    async def referred(text: str, *, key: EffectKey, outside: object) -> str:
        """Send with the key as a mere reference."""
        return _is(outside).blind(verb, key)

    async def commit(text: str, *, draft: str, outside: object) -> str:
        """Commit a draft."""
        return _is(outside).commit(draft)

    async def blind(text: str, *, outside: object) -> str:
        """Send, and know nothing."""
        return _is(outside).blind(verb)

    functions = dict(zip(MODES, (keyed, put, put_over, referred, commit, blind), strict=True))
    more: dict[str, Any] = {
        "conditional": {"facts": {"record": fact(get_record)}},
        "probe_then_write": {"probe": found},
        "draft_then_commit": {"probe": found, "draft": drafted},
    }.get(mode, {})
    register = tool(name=verb, mode=mode, undo=undo, retry=Retry(attempts=3, backoff_s=0.1), **more)
    return register(functions[mode])


def after(mode: str, *, times: int) -> tuple[int, str]:
    """What is in force once something was done so often."""
    is_state = mode in ("upsert", "conditional")
    return (5, "new" if times else "old") if is_state else (5 + times, "old")


@dataclass
class Story:
    """One run that makes, and perhaps takes back, by as many processes as it takes."""

    folder: Path
    mode: str
    outside: Outside = field(default_factory=Outside)
    steps: dict[str, CallStep] = field(default_factory=dict)
    processes: int = 0

    async def play(self, *, is_undoing: bool = False, verb: str = "", trouble: str = "") -> Outcome:
        """The run's outcome, once `verb` had its trouble."""
        self.outside.verb, self.outside.trouble = verb, trouble
        undo = write(self.mode, "take_back")
        make = write(self.mode, "make", undo=undo)

        async def program(run: Run, _task: Any) -> str:
            await run.call(make, text="new")
            if is_undoing:
                clock.advance(60)
                effect = (await state_of(runtime, run.id)).calls["1.0"].intent.effect
                await run.compensate(effect, undo, text="old")
            return "over"

        agent, clock = make_agent([make, undo, get_record], program), FakeClock()
        deaths = [(verb, trouble)] if trouble in (DIED_BEFORE, DIED_AFTER) else []
        while True:
            self.processes += 1
            async with runtime_of(
                self.folder,
                agent,
                clock=clock,
                seed=self.processes,
                resources={"outside": self.outside},
                wrap_store=lambda store: FaultyStore(store, fault=lambda appends: die(deaths, appends)),
            ) as runtime:
                (run,) = await runtime.submit(agent, [{"id": "1"}])
                if deaths:
                    with pytest.raises(Exception, match="lost"):
                        await runtime.drive(run)
                    assert deaths == []
                    continue
                outcome = await runtime.drive(run)
                state = await state_of(runtime, run)
                self.steps = {step.decided.tool: step for step in state.calls.values()}
            await healthy(self.folder)
            return outcome

    def ended(self, verb: str) -> str:
        """How the call of a verb ended."""
        ended = self.steps[verb].ended
        assert ended is not None
        return ended.state

    def effect(self, verb: str) -> str:
        """The effect key of a verb's call."""
        intent = self.steps[verb].intent
        assert intent is not None
        return intent.effect

    def asked(self, verb: str) -> list[str]:
        """The keys with which the vendor was asked to do it, in order."""
        return [key for asked, key in self.outside.asked if asked == verb]


def die(deaths: list[tuple[str, str]], appends: Any) -> Fault | None:
    """The process dies once: when the intent is durable, or before the outcome is."""
    for event in (event for append in appends for event in append.events):
        kind, verb = type(event).__name__, getattr(event, "tool", "")
        if (kind, (verb, DIED_BEFORE)) == ("CallIntended", *deaths[:1]):
            deaths.clear()
            return Fault.LOST_REPLY
        if (kind, (verb, DIED_AFTER)) == ("CallEnded", *deaths[:1]):
            deaths.clear()
            return Fault.LOST_REQUEST
    return None


def check_once(story: Story, verb: str, trouble: str, outcome: Outcome, undone: bool) -> None:
    """The work of `verb` was done once, or it is said that nobody knows; never was it done twice."""
    mode, is_done = story.mode, trouble in AFTER_THE_WORK or story.mode != "at_most_once"
    times = story.outside.worked.count(verb)
    is_known = mode != "at_most_once" and not (mode == "conditional" and trouble in AFTER_THE_WORK)

    assert times == (1 if is_done else 0)
    assert story.outside.state == after(mode, times=1 - times if undone else times)
    assert story.processes == (2 if trouble in (DIED_BEFORE, DIED_AFTER) else 1)
    if is_known:
        assert (story.ended(verb), outcome.name, outcome.unknown) == ("done", "unverified", ())
    else:
        assert (story.ended(verb), outcome.name, outcome.code) == ("unknown", "escalated", "effect_unknown")
        assert outcome.unknown == (story.effect(verb),)


def check_sends(story: Story, verb: str, trouble: str) -> None:
    """What could be sent again was, with the same key; what had to be asked for was; what could not be was left."""
    mode, keys = story.mode, story.asked(verb)
    is_first_lost = trouble == DIED_BEFORE  # before the vendor heard of it
    if mode == "at_most_once":
        expected = 0 if is_first_lost else 1
    elif mode in ("probe_then_write", "draft_then_commit"):
        expected = 2 if trouble == LOST_REQUEST else 1
    else:
        expected = 1 if is_first_lost else 2
    assert len(keys) == expected
    if mode in ("native_key", "probe_then_write", "draft_then_commit"):
        assert set(keys) == {story.effect(verb)}
    if mode == "conditional":
        assert len(set(story.outside.versions[-expected:])) == 1


@pytest.mark.parametrize("mode", MODES)
async def test_it_works(mode: str, tmp_path: Path) -> None:
    """Asked once, it is done once, and the run gets what the vendor answered."""
    story = Story(tmp_path, mode)

    outcome = await story.play()

    assert (outcome.name, outcome.unknown, story.ended("make")) == ("unverified", (), "done")
    assert story.outside.state == after(mode, times=1)
    assert (story.outside.worked, len(story.asked("make"))) == (["make"], 1)


@pytest.mark.parametrize("trouble", TROUBLES)
@pytest.mark.parametrize("mode", MODES)
async def test_twice_is_once(mode: str, trouble: str, tmp_path: Path) -> None:
    """A lost request, a lost reply, a process that died before the send or after it: the work is done once."""
    story = Story(tmp_path, mode)

    outcome = await story.play(verb="make", trouble=trouble)

    check_once(story, "make", trouble, outcome, undone=False)
    check_sends(story, "make", trouble)


@pytest.mark.parametrize("mode", MODES)
async def test_it_unwinds(mode: str, tmp_path: Path) -> None:
    """The undo takes it back through the gates, as an effect of its own that names what it undoes."""
    story = Story(tmp_path, mode)

    outcome = await story.play(is_undoing=True)

    undo = story.steps["take_back"]
    assert (outcome.name, outcome.unknown, story.ended("take_back")) == ("unverified", (), "done")
    assert story.outside.state == after(mode, times=0)
    assert story.outside.worked == ["make", "take_back"]
    assert undo.intent is not None
    assert undo.decided.verdict == "allow"
    assert undo.intent.undoes == story.effect("make") != story.effect("take_back")


@pytest.mark.parametrize("trouble", TROUBLES)
@pytest.mark.parametrize("mode", MODES)
async def test_unwinding_twice_is_once(mode: str, trouble: str, tmp_path: Path) -> None:
    """Whatever befalls the undo, nothing is taken back twice, and what was made is not made again."""
    story = Story(tmp_path, mode)

    outcome = await story.play(is_undoing=True, verb="take_back", trouble=trouble)

    assert story.outside.worked.count("make") == 1
    assert story.ended("make") == "done"
    check_once(story, "take_back", trouble, outcome, undone=True)
    check_sends(story, "take_back", trouble)


async def test_a_draft_by_itself_changes_nothing(tmp_path: Path) -> None:
    """The lost commit is drafted a second time; only what is committed counts."""
    story = Story(tmp_path, "draft_then_commit")

    await story.play(verb="make", trouble=LOST_REQUEST)

    assert len(story.outside.drafts) == 2
    assert story.outside.worked == ["make"]


@pytest.mark.parametrize("trouble", TROUBLES)
async def test_what_is_at_most_once_is_not_sent_again_by_a_later_process_either(
    trouble: str, tmp_path: Path
) -> None:
    """The run has ended as escalated: driving it again only reports that, and sends nothing."""
    story = Story(tmp_path, "at_most_once")
    first = await story.play(verb="make", trouble=trouble)
    asked = len(story.asked("make"))

    again = await story.play()

    assert (again.name, again.code, again.unknown) == ("escalated", "effect_unknown", first.unknown)
    assert len(story.asked("make")) == asked <= 1
