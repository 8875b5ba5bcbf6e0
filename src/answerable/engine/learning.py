"""What a run has learned so far: where values come from, and what was established once. Kept beside the fold.

It is a view of the journal, extended as the run goes on and made anew after a crash: nothing in it is state of its own.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from answerable.gates import handles, provenance
from answerable.gates.request import Established, Label
from answerable.gates.schema import Refused, parse_object
from answerable.kernel.encoding import encode_payload
from answerable.kernel.events import Declassified, Endorsed, SourceRead
from answerable.kernel.marks import Marks
from answerable.kernel.tool import TemplateError, look_up

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from answerable.engine.agent import Agent
    from answerable.kernel.state import CallStep, RunState
    from answerable.kernel.tool import SessionSpec, ToolSpec

    Content = Callable[[str], Awaitable[Any]]
    """What is behind a ref."""

_TEXT = Marks(sort="text")


@dataclass(slots=True)
class Learned:
    """See the module. `seen` counts how much of what the run read has been taken in."""

    origins: provenance.Origins = field(default_factory=provenance.Origins)
    session: dict[str, Established] = field(default_factory=dict[str, Established])
    seen: int = -1
    telling: frozenset[str] | None = None
    """Tools in whose results something is trusted; found out when it begins, unless it is given."""
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    """The reads of a batch are labelled together: one after the other takes in what is new."""


async def learn(
    learned: Learned, state: RunState, agent: Agent, specs: Mapping[str, ToolSpec], content: Content
) -> Learned:
    """Take in what the run has read since the last time."""
    async with learned.lock:
        await _learn(learned, state, agent, specs, content)
    return learned


def tools_that_tell(specs: Mapping[str, ToolSpec]) -> frozenset[str]:
    """The tools in whose results something is trusted."""
    return frozenset(
        name
        for name, spec in specs.items()
        if spec.is_result_trusted or any(node.is_trusted for node in spec.gives.nodes())
    )


async def _learn(
    learned: Learned, state: RunState, agent: Agent, specs: Mapping[str, ToolSpec], content: Content
) -> None:
    if learned.seen < 0:
        await _begin(learned, state, agent, content)
        learned.telling = tools_that_tell(specs) if learned.telling is None else learned.telling
        learned.seen = 0
    sessions = agent.sessions() if learned.seen < len(state.read) else ()
    while learned.seen < len(state.read):
        path = state.read[learned.seen]
        learned.seen += 1
        act = state.acts.get(path)
        if act is not None:
            await _take_act(learned, act, content)
            continue
        step = state.calls[path]
        spec = specs.get(step.decided.tool)
        if spec is None or step.ended is None:  # a tool that is gone; or an attempt of which another follows
            continue
        if learned.telling and spec.is_write:  # it matters only where something may be believed later
            await _take_written(learned, spec, step, content)
        await _take_result(learned, spec, step, sessions, content)


async def _begin(learned: Learned, state: RunState, agent: Agent, content: Content) -> None:
    """The prompt is the owner's own words; the task is trusted as far as its fields are marked."""
    prompt = (("", agent.prompt_text()),)
    learned.origins.add(provenance.Source(name="prompt", values=prompt, is_trusted=True))
    marks = agent.task_marks()
    is_trusted = all(
        node.is_trusted or node.sort in ("closed", "number")
        for node in marks.nodes()
        if not node.inside and node.items is None
    )
    assert state.created is not None
    task: Any = None
    if any(node.is_trusted for node in marks.nodes()):
        task = (await content(state.created.task))["task"]
    source = provenance.source_of("task", marks, task, classes=(agent.task_class,))
    learned.origins.add(
        provenance.Source(name="task", values=source.values, classes=source.classes, is_trusted=is_trusted)
    )


async def _take_act(learned: Learned, act: SourceRead | Endorsed | Declassified, content: Content) -> None:
    match act:
        case SourceRead():
            value = await content(act.value) if act.trusted else None
            learned.origins.add(
                provenance.source_of(act.source, _TEXT, value, classes=(act.cls,), is_trusted=act.trusted)
            )
        case Endorsed():
            value = (act.kind or "", str(await content(act.value)))
            learned.origins.add(
                provenance.Source(name="endorsed", values=(value,), is_trusted=True, is_endorsed=True)
            )
        case Declassified():
            learned.origins.declassify(act.classes)


async def _take_written(learned: Learned, spec: ToolSpec, step: CallStep, content: Content) -> None:
    assert step.ended is not None
    if step.ended.state not in ("done", "unknown") or step.decided.args is None:
        return
    arguments = await content(step.decided.args)
    labels = {name: Label.from_texts(step.decided.labels.get(name, ("untrusted",))) for name in arguments}
    learned.origins.wrote(provenance.untrusted_texts(spec.takes, arguments, labels))


async def _take_result(
    learned: Learned, spec: ToolSpec, step: CallStep, sessions: tuple[SessionSpec, ...], content: Content
) -> None:
    ended = step.ended
    assert ended is not None
    establishes = [each for each in sessions if spec.name in each.tools and each.name not in learned.session]
    result: Any = None
    is_telling = learned.telling is not None and spec.name in learned.telling
    if ended.state == "done" and ended.result is not None and (is_telling or establishes):
        result = await content(ended.result)
    learned.origins.add(
        provenance.source_of(
            spec.name,
            spec.gives,
            result,
            classes=(spec.data_class,),
            is_trusted=spec.is_result_trusted and ended.state == "done",
        )
    )
    for each in establishes if result is not None else ():
        value = _value_at(spec, each.value, result)
        if value is not None:
            learned.session[each.name] = Established(by=spec.name, value=value)


def _value_at(spec: ToolSpec, path: str, result: Any) -> object:
    """The typed value at a path of a recorded result; None where there is none."""
    value = spec.result.validate_json(encode_payload(result))
    try:
        return look_up(f"result.{path}" if path else "result", {"result": value})
    except TemplateError:
        return None


async def resolve(
    raw: Any, spec: ToolSpec, state: RunState, specs: Mapping[str, ToolSpec], content: Content
) -> tuple[Any, dict[str, provenance.Handed]]:
    """The proposed arguments with every handle replaced by its value, and what came by a handle, by path.

    Raises `Refused` for a handle that this run was not given, or that is not of the kind that is taken there.
    """
    if isinstance(raw, (str, bytes)):
        if handles.PREFIX not in (raw if isinstance(raw, str) else raw.decode(errors="replace")):
            return raw, {}
        raw = parse_object(raw)
    given = list(handles.handles_in(raw))
    values: dict[str, str] = {}
    handed: dict[str, provenance.Handed] = {}
    for place, text in given:
        named = handles.parse(text)
        assert named is not None
        step, path = named
        known = state.calls.get(step)
        source = specs.get(known.decided.tool) if known is not None else None
        if known is None or source is None or known.ended is None or known.ended.result is None:
            raise Refused(f"`{place}`: there is no `{text}` in this run")
        leaf = handles.hidden_at(source.gives, await content(known.ended.result), path)
        if leaf is None or known.ended.state != "done":
            raise Refused(f"`{place}`: there is no `{text}` in this run")
        taken = handles.kind_at(spec.takes, place)
        if taken != leaf.marks.kind:
            raise Refused(
                f"`{place}`: the handle is of a value of kind `{leaf.marks.kind}`, which is not what is taken here"
            )
        values[place] = leaf.text
        handed[place] = provenance.Handed(
            source=source.name,
            is_trusted=source.is_result_trusted or leaf.marks.is_trusted,
            classes=frozenset({source.data_class}),
        )
    return handles.put_in(raw, values.get), handed
