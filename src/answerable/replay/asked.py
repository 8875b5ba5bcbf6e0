"""What the rules were asked for every recorded call, from the journal alone.

A run is folded again, event by event, by the engine's own fold and `learn`; before each decision what was known then is put
together by the engine's own `policy_request`. No tool and no model is called, and nothing is written. What cannot be had (its
content was erased, its tool is another one now) is said, never guessed.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import lru_cache
from itertools import islice
from typing import TYPE_CHECKING, Any, Literal, cast

from pydantic import ValidationError

from answerable.engine.deciding import policy_request
from answerable.engine.learning import Learned, learn
from answerable.errors import JournalUnreadable
from answerable.gates.request import Label, PolicyRequest
from answerable.journal.store import Erased
from answerable.kernel.encoding import decode
from answerable.kernel.events import (
    CallDecided,
    CallEnded,
    Endorsed,
    InboxFolded,
    RunCreated,
    SourceRead,
)
from answerable.kernel.ids import RunId, inbox_stream, run_stream
from answerable.kernel.state import IllegalEvent, RunState, apply_event

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Iterable, Sequence

    from pydantic import BaseModel

    from answerable.engine.agent import Agent
    from answerable.gates.request import Autonomy
    from answerable.journal.store import JournalStore, RunRow
    from answerable.kernel.entry import Entry
    from answerable.kernel.tool import FactSpec, ToolSpec

RUNS_AT_ONCE = 64
"""Of so many runs the content is read in one go."""

WhyNot = Literal["", "unasked", "erased", "changed"]
"""Why the rules cannot be asked again: they were not asked then, the content is gone, the tool is another one now."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """One recorded decision, and what the rules were asked for it; no `request` where `why_not` says why."""

    event: CallDecided
    time: int
    request: PolicyRequest | None = None
    why_not: WhyNot = ""
    problem: str = ""
    """The same in words."""
    is_exact: bool = True
    """Whether all that it was asked with is known. An older version wrote neither time nor autonomy; where some reads of
    a batch had to wait, it is not written which was asked about first; and of a tool that is gone nobody knows what a run
    learned from it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunAsked:
    """The decisions of one run in order, and the run as it stands now."""

    run: RunId
    asked: tuple[Asked, ...]
    state: RunState


async def asked_of(
    store: JournalStore,
    agent: Agent,
    rows: Iterable[RunRow],
    *,
    since: int = 0,
    is_read: Callable[[ToolSpec], bool] = lambda _: True,
) -> AsyncGenerator[RunAsked]:
    """What the rules were asked in these runs of `agent`, by decisions made from `since` on (microseconds of UTC).

    Where `is_read` says that rules look at nothing but who calls which tool, no more than that is put together, and the
    arguments; what else there was need not be there any more. The runs may be under way: each is read as it stands when
    its turn comes. Raises `JournalUnreadable` where entries cannot be folded.
    """
    reader = _Reader(store, agent, is_read)
    waiting = iter(rows)
    while some := list(islice(waiting, RUNS_AT_ONCE)):
        tapes = [await reader.tape(RunId(row.run)) for row in some]
        bodies = await store.payloads({ref for tape in tapes for ref in tape.refs})
        for tape in tapes:
            yield await _Retold(reader, tape, bodies, since).told()


@dataclass(slots=True)
class _Tape:
    """What is written of a run: its entries and, where it took any in, those of its inbox; and what it refers to."""

    run: RunId
    entries: Sequence[Entry]
    inbox: Sequence[Entry] = ()
    refs: list[str] = field(default_factory=list[str])
    """The content that will be needed."""
    mixed_up: frozenset[str] = frozenset()
    """The turns in which calls were made side by side, and some of them waited for a turn or a commit."""


class _Reader:
    """What is the same for all runs of an agent."""

    def __init__(self, store: JournalStore, agent: Agent, is_read: Callable[[ToolSpec], bool]) -> None:
        self.store = store
        self.agent = replace(agent, prompt="")  # it speaks for labels, and those are written down
        self.specs: dict[str, ToolSpec] = {name: tool.spec for name, tool in agent.all_tools().items()}
        self.read = {name for name, spec in self.specs.items() if is_read(spec)}
        self._slow = {name for name, spec in self.specs.items() if spec.is_limited or spec.price_usd}
        self._teaching = {name for session in agent.sessions() for name in session.tools}

    async def tape(self, run: RunId) -> _Tape:
        """What is written of a run. The inbox is read after the run's entries, which may name its own."""
        tape = _Tape(run, await self.store.entries(run_stream(run)))
        is_answered = False
        decided: list[CallDecided] = []
        for entry in tape.entries:
            for event in entry.events:
                match event:
                    case CallDecided():
                        decided.append(event)
                    case CallEnded():
                        if event.tool in self._teaching and event.result is not None:
                            tape.refs.append(event.result)
                    case RunCreated():
                        tape.refs.append(event.task)
                    case SourceRead() | Endorsed():
                        tape.refs.append(event.value)
                    case InboxFolded():
                        is_answered = True
                    case _:
                        pass
        for event in decided:
            if event.cls != "invalid" and event.args is not None:
                tape.refs += (event.args, *event.facts.values())
        if self._slow:
            tape.mixed_up = self._mixed_up(decided)
        if is_answered:
            tape.inbox = await self.store.entries(inbox_stream(run))
        return tape

    def _mixed_up(self, decided: list[CallDecided]) -> frozenset[str]:
        turns: dict[str, set[str]] = {}
        for event in decided:
            turns.setdefault(_turn(event), set()).add(event.path)
        slow = {_turn(event) for event in decided if event.tool in self._slow}
        return frozenset(turn for turn in slow if len(turns[turn]) > 1)


def _turn(event: CallDecided) -> str:
    return event.path.partition(".")[0]


class _Gone(Exception):
    """Content that is needed has been erased."""


class _Changed(Exception):
    """What was recorded is not of the form that the tool has now. The message says what."""


@dataclass(slots=True, eq=False)
class _Retold:
    """One run, folded again."""

    reader: _Reader
    tape: _Tape
    bodies: dict[str, bytes | Erased]
    since: int
    state: RunState = field(default_factory=RunState)
    learned: Learned = field(init=False)
    lost: _Gone | _Changed | None = None
    """Why it is not known what the run had learned: from there on nothing can be asked again."""
    is_known: bool = True
    """Whether all the tools that it used so far still exist."""
    on_behalf_of: str | None = None
    _typed: dict[tuple[str, str], object] = field(default_factory=dict[tuple[str, str], object])
    """Facts by tool and ref: a call that was decided twice had them twice."""

    def __post_init__(self) -> None:
        # What is believed decides labels, and those are written down.
        self.learned = Learned(telling=frozenset())

    async def told(self) -> RunAsked:
        """Fold the run, and stop before each decision."""
        asked: list[Asked] = []
        try:
            for entry in self.tape.entries:
                for event in entry.events:
                    if isinstance(event, CallDecided) and event.cls != "invalid":
                        if entry.time >= self.since:
                            asked.append(await self._asked(event, entry.time))
                        self.is_known = self.is_known and event.tool in self.reader.specs
                    apply_event(self.state, event, entry.time, self.tape.inbox)
        except IllegalEvent as error:
            raise JournalUnreadable(
                f"`{self.tape.run}` cannot be read: {error}",
                hint="`answerable audit verify` names every place that was changed",
            ) from None
        return RunAsked(run=self.tape.run, asked=tuple(asked), state=self.state)

    async def _asked(self, event: CallDecided, at: int) -> Asked:
        if event.gate == "facts":
            problem = "a fact could not be had, so the rules were not asked"
            return Asked(event=event, time=at, why_not="unasked", problem=problem)
        try:
            request = await self._request(event, at)
        except _Gone as error:
            return Asked(event=event, time=at, why_not="erased", problem=str(error))
        except _Changed as error:
            return Asked(event=event, time=at, why_not="changed", problem=str(error))
        is_told = event.now is not None and event.autonomy is not None and event.left is not None
        is_exact = is_told and self.is_known and _turn(event) not in self.tape.mixed_up
        return Asked(event=event, time=at, request=request, is_exact=is_exact)

    async def _request(self, event: CallDecided, at: int) -> PolicyRequest:
        created = self.state.created
        assert created is not None
        spec = self.reader.specs.get(event.tool)
        if spec is None:
            raise _Changed(f"there is no tool `{event.tool}` any more")
        if spec.effect_class.value != event.cls:
            raise _Changed(f"`{event.tool}` was a {event.cls}, and is a {spec.effect_class.value} now")
        arguments = self._arguments(spec, event.args)
        autonomy = cast("Autonomy", event.autonomy or created.autonomy)
        if spec.name not in self.reader.read:
            return PolicyRequest(
                agent=created.agent,
                tenant=created.tenant,
                on_behalf_of="",
                tool=spec,
                arguments=arguments,
                autonomy=autonomy,
            )
        await self._learn()
        request = policy_request(
            self.state,
            self.learned,
            event.path,
            agent=created.agent,
            tenant=created.tenant,
            on_behalf_of=self._on_behalf_of(created.task),
            tool=spec,
            arguments=arguments,
            labels=_labels(event.labels),
            facts=self._facts(spec, event),
            totals={total.name: _total(spec, total.name, event) for total in spec.totals},
            autonomy=autonomy,
            budget_left=event.left or {},
            now_us=at if event.now is None else event.now,
        )
        if self.is_known:
            return request
        known = {name: tally for name, tally in request.history.items() if name in self.reader.specs}
        return replace(request, history=known)  # of a tool that is gone no rule can speak

    async def _learn(self) -> None:
        """Take in what the run had read by now."""
        if self.lost is not None:
            raise self.lost.with_traceback(None)
        try:
            await learn(self.learned, self.state, self.reader.agent, self.reader.specs, self._content)
        except _Gone:
            self.lost = _Gone("something that the run had read before has been erased")
        except ValidationError as error:
            self.lost = _Changed(f"what the run had established is of another form now: {_first(error)}")
        if self.lost is not None:
            raise self.lost

    async def _content(self, ref: str) -> Any:
        return self._decoded(ref, "content")

    def _decoded(self, ref: str, what: str) -> Any:
        try:
            return decode(self._body(ref, what))
        except ValueError:
            raise _unlike(ref) from None

    def _body(self, ref: str, what: str) -> bytes:
        body = self.bodies.get(ref)
        if body is None or isinstance(body, Erased):
            raise _Gone(f"its {what} has been erased")
        return body

    def _on_behalf_of(self, task: str) -> str:
        if self.on_behalf_of is None:
            content = self._decoded(task, "task")
            if not isinstance(content, dict):
                raise _unlike(task)
            self.on_behalf_of = str(cast("dict[str, object]", content).get("on_behalf_of", ""))
        return self.on_behalf_of

    def _arguments(self, spec: ToolSpec, ref: str | None) -> BaseModel:
        if ref is None:
            raise _Gone("its arguments were not recorded")
        body = self._body(ref, "arguments")
        try:
            return spec.arguments.model_validate_json(body)
        except ValidationError as error:
            raise _Changed(f"its arguments are not what `{spec.name}` takes now: {_first(error)}") from None
        except Exception as error:  # noqa: BLE001 - a type's own validator may raise anything
            raise _Changed(f"its arguments cannot be validated: {error}") from None

    def _facts(self, spec: ToolSpec, event: CallDecided) -> dict[str, object]:
        found: dict[str, object] = {}
        for fact in spec.facts:
            ref = event.facts.get(fact.name)
            if ref is None:
                raise _Changed(f"`{spec.name}` has a fact `{fact.name}` that was not read then")
            if (fact.tool, ref) not in self._typed:
                self._typed[fact.tool, ref] = self._fact(fact, self._body(ref, f"fact `{fact.name}`"))
            found[fact.name] = self._typed[fact.tool, ref]
        return found

    def _fact(self, fact: FactSpec, body: bytes) -> object:
        try:
            return self.reader.specs[fact.tool].result.validate_json(body)
        except ValidationError as error:
            raise _Changed(
                f"its fact `{fact.name}` is not what `{fact.tool}` answers now: {_first(error)}"
            ) from None
        except Exception as error:  # noqa: BLE001 - as above
            raise _Changed(f"its fact `{fact.name}` cannot be validated: {error}") from None


def _unlike(ref: str) -> JournalUnreadable:
    return JournalUnreadable(
        f"the content `{ref[:12]}…` is not what its entry committed to",
        hint="`answerable audit verify` names every place that was changed",
    )


def _total(spec: ToolSpec, name: str, event: CallDecided) -> tuple[int, int]:
    total = event.totals.get(name)
    if total is None:
        raise _Changed(f"`{spec.name}` has a total `{name}` that was not kept then")
    return total


def _labels(written: dict[str, tuple[str, ...]]) -> dict[str, Label]:
    """The labels of a call. Those of its arguments are often the same, and are then read once."""
    found: dict[str, Label] = {}
    texts: tuple[str, ...] = ()
    label = Label()
    for name, each in written.items():
        if each != texts:
            texts, label = each, _label(each)
        found[name] = label
    return found


@lru_cache(maxsize=4096)
def _label(texts: tuple[str, ...]) -> Label:
    return Label.from_texts(texts)


def _first(error: ValidationError) -> str:
    first = error.errors(include_url=False, include_context=False, include_input=False)[0]
    place = ".".join(str(part) for part in first["loc"])
    return f"`{place}`: {first['msg']}" if place else first["msg"]
