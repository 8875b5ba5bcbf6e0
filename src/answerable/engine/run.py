"""The handle that a run's code holds: everything it learns from or does to the outside goes through it."""

from __future__ import annotations

import asyncio
import uuid
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar, cast

from pydantic import TypeAdapter

from answerable.engine import acts, calls, modelcalls
from answerable.engine.signals import Escalated
from answerable.errors import AnswerableError, CallRefused, ConfigError, RunDiverged
from answerable.gates.handles import hide
from answerable.gates.schema import canonical
from answerable.kernel import events
from answerable.kernel.decision import ReasonCode
from answerable.kernel.ids import RunId, StepPath
from answerable.models.port import Message, ToolOffer
from answerable.models.structured import Problem, validate_output

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence

    from answerable.engine.context import Context
    from answerable.kernel.state import RunState
    from answerable.models.port import ModelReply
    from answerable.models.port import ToolCall as ModelToolCall
    from answerable.tools.declare import Tool


Output = TypeVar("Output")
Given = TypeVar("Given")


@dataclass(frozen=True, slots=True, kw_only=True)
class Answered:
    """What became of one call of a batch: a value, or the error that stands for it."""

    value: Any = None
    error: AnswerableError | None = None
    shown: Any = None
    """The value in its JSON form, as a model may see it: hidden values are handles."""


class Run:
    """One run. Its code may have one call outstanding at a time; `gather` is for several at once."""

    def __init__(self, ctx: Context) -> None:
        self._ctx = ctx
        self._turn = 0
        self._offered = frozenset[str]()
        """The tools that the model was shown last: it may propose no others."""
        self._is_busy = False
        self._is_over = False
        self._doing: asyncio.Task[Any] | None = None
        self._idle = asyncio.Event()

    async def finish(self, *, is_stopped: bool = False) -> None:
        """Begin no further step, and wait for the one that is outstanding; where the run is stopped, cancel it."""
        self._is_over = True
        while self._is_busy:
            if is_stopped and self._doing is not None and self._doing is not asyncio.current_task():
                self._doing.cancel()
            self._idle.clear()
            await self._idle.wait()

    def check_complete(self) -> None:
        """Raise `RunDiverged` where the journal holds steps that the run's code did not take this time."""
        state = self._ctx.recorder.state
        steps = (*state.models, *state.calls, *state.values, *state.acts, *state.fixed)
        last = max((StepPath.parse(path).turn for path in steps), default=0)
        if last > self._turn:
            raise RunDiverged(f"the run's code ended after {self._turn} steps, but its journal holds {last}")

    @property
    def id(self) -> RunId:
        """The run's id."""
        return self._ctx.recorder.run

    @property
    def turns(self) -> int:
        """How many steps the code has asked for."""
        return self._turn

    @property
    def agent(self) -> Any:
        """The agent, as declared."""
        return self._ctx.agent

    async def call(self, tool: Tool | str, /, *positional: object, **arguments: Any) -> Any:
        """Call one tool and return its validated result (None in shadow mode).

        Arguments are named, always. Raises `CallRefused` where a gate says no (nothing was done), `ToolFailed` where it
        certainly was not done, `EffectUnknown` where nobody knows.
        """
        self._refuse_positional(positional, tool)
        return (
            await self._alone("call", lambda path: calls.call(self._ctx, path, _name(tool), arguments))
        ).value

    async def compensate(self, effect: str, tool: Tool | str, /, **arguments: Any) -> Any:
        """Take an effect back: an effect itself, through the same gates. `effect` is the key of what it undoes."""
        return (
            await self._alone(
                "call", lambda path: calls.call(self._ctx, path, _name(tool), arguments, undoes=effect)
            )
        ).value

    async def gather(self, proposals: Sequence[tuple[Tool | str, dict[str, Any]]]) -> list[Any]:
        """Call several tools as one batch: reads together, writes one after the other in order.

        Raises the first error, once everything that was begun has ended.
        """
        answered = await self._batch([(_name(tool), arguments) for tool, arguments in proposals], None)
        for one in answered:
            if one.error is not None:
                raise one.error
        return [one.value for one in answered]

    async def propose(self, proposed: Sequence[ModelToolCall]) -> list[Answered]:
        """Put a model's proposals through the gates. Arguments are taken exactly as the model wrote them.

        A refusal by a gate is raised, never handed back as a mistake in the call: a model that is told that 700 is too
        much tries 499. What was not valid, failed, or is unknown is answered.
        """
        # Several providers write a call without arguments as empty text; a schema refuses it where some are needed.
        written = [(call.name, call.arguments if call.arguments.strip() else "{}") for call in proposed]
        return await self._batch(written, self._offered)

    async def model(
        self,
        messages: Sequence[Message],
        *,
        tools: Sequence[Tool] | None = None,
        extra: Sequence[ToolOffer] = (),
        output_schema: dict[str, Any] | None = None,
    ) -> ModelReply:
        """Ask the agent's model. `tools` are offered (by default all of the agent's), `extra` are only shown.

        Raises `ModelFailed` when no model of the agent's ladder gave a usable reply.
        """
        fixed = self._ctx.recorder.state.tool_set
        offers = [
            offer(tool)
            for tool in (self._ctx.agent.tools if tools is None else tools)
            if fixed is None or tool.name in fixed
        ]
        self._offered = frozenset(one.name for one in offers)
        return await self._alone(
            "model",
            lambda path: modelcalls.ask(
                self._ctx,
                path,
                messages,
                [*offers, *extra],
                output_schema=output_schema,
                tokens_max=self._ctx.agent.tokens_per_reply,
            ),
        )

    async def structured(
        self, messages: Sequence[Message], output: type[Output] | TypeAdapter[Output], *, attempts: int = 3
    ) -> Output:
        """Ask the agent's model for an answer of a type, with no tools offered.

        What does not validate is told to the model and asked for again, within the run's budget; after `attempts` tries
        the run is handed to a person.
        """
        adapter: TypeAdapter[Any] = output if isinstance(output, TypeAdapter) else TypeAdapter(output)
        asked = list(messages)
        problem = ""
        for _ in range(attempts):
            reply = await self.model(asked, tools=(), output_schema=adapter.json_schema())
            answer = validate_output(reply.text, adapter)
            if not isinstance(answer, Problem):
                return cast("Output", answer)
            problem = answer.text
            asked += [
                Message(role="assistant", text=reply.text),
                Message(
                    role="user",
                    text=f"That is not what was asked for: {problem}. Answer with the JSON alone.",
                ),
            ]
        raise Escalated(
            ReasonCode.INVALID_CALL,
            f"the model gave no usable answer in {attempts} tries: {problem}",
            question="What is the answer?",
        )

    async def now(self) -> datetime:
        """The time, as the journal has it: the same on every replay."""
        micros = int(await self._value("now", lambda: str(self._ctx.ports.clock.now_us())))
        return datetime.fromtimestamp(micros / 1e6, UTC)

    async def random(self) -> float:
        """A number from 0 up to 1, the same on every replay."""
        drawn = await self._value("random", lambda: self._ctx.ports.entropy(7).hex())
        return (int(drawn, 16) >> 3) / 2**53

    async def uuid(self) -> uuid.UUID:
        """A random UUID, the same on every replay."""
        drawn = await self._value("uuid", lambda: self._ctx.ports.entropy(16).hex())
        return uuid.UUID(bytes=bytes.fromhex(drawn), version=4)

    async def take_in(
        self, name: str, value: object, *, data_class: str = "internal", is_trusted: bool = False
    ) -> None:
        """Say that the run has read something that no tool gave: a memory, a message from another agent.

        Untrusted unless you say otherwise. From here on its data class is part of what the run has read.
        """

        async def once(path: StepPath) -> None:
            acts.take_in(self._ctx, path, name, value, data_class, is_trusted=is_trusted)

        await self._alone("act", once)

    async def endorse(self, value: str, *, why: str, kind: str | None = None) -> None:
        """Vouch for a value: your code has checked it. From here on an argument that equals it is trusted.

        `kind` limits it to parameters of that kind or text that holds the value. `why` is kept for an auditor.
        """

        async def once(path: StepPath) -> None:
            acts.endorse(self._ctx, path, value, kind, why)

        await self._alone("act", once)

    async def declassify(self, *classes: str, why: str) -> None:
        """Say that what the run writes from here on holds nothing of these data classes, and why."""

        async def once(path: StepPath) -> None:
            acts.declassify(self._ctx, path, classes, why)

        await self._alone("act", once)

    async def fix_tools(self, names: Collection[str]) -> None:
        """Narrow the run to these tools, for the rest of it. Refused once anything untrusted may have been read."""
        await self._alone("tool set", lambda path: acts.fix_tools(self._ctx, path, names))

    async def begin(self, task: object) -> None:
        """Fix the tool set that the agent declares for this task, before anything is read."""
        if self._ctx.agent.tools_for is not None:
            names = self._ctx.agent.tools_for(task)
            await acts.fix_tools(self._ctx, StepPath(0, 0), names, is_first=True)

    def escalate(self, reason: str, *, question: str = "", code: str = ReasonCode.USER_REQUESTED) -> NoReturn:
        """Stop and hand the work to a person."""
        raise Escalated(code, reason, question=question)

    async def _value(self, kind: str, take: Callable[[], str]) -> str:
        async def once(path: StepPath) -> str:
            known = self._ctx.recorder.state.values.get(str(path))
            if known is None:
                known = events.ValueTaken(path=str(path), kind=kind, value=take())
                self._ctx.recorder.note(known)
            elif known.kind != kind:
                raise RunDiverged(
                    f"at step {path} the run asks for `{kind}`, but its journal says `{known.kind}`"
                )
            return known.value

        return await self._alone("value", once)

    async def _alone(self, kind: str, step: Callable[[StepPath], Awaitable[Given]]) -> Given:
        if self._is_busy:
            raise ConfigError(
                "a run has one call outstanding at a time", hint="use `await run.gather([...])` for a batch"
            )
        if self._is_over:
            raise ConfigError("the run is over", hint="its steps end with its code: await each of them")
        self._is_busy = True
        self._doing = asyncio.current_task()
        self._turn += 1
        path = StepPath(self._turn, 0)
        try:
            self._same_kind(path, kind)
            return await step(path)
        finally:
            self._is_busy = False
            self._doing = None
            self._idle.set()

    def _same_kind(self, path: StepPath, kind: str) -> None:
        """A step that was of another kind before means that the code is another one."""
        state = self._ctx.recorder.state
        was = [name for name, steps in _kinds_of(state) if str(path) in steps and name != kind]
        if was:
            raise RunDiverged(
                f"at step {path} the run makes a {kind} step, but its journal says a {was[0]} step"
            )

    async def _batch(
        self, proposals: list[tuple[str, Any]], offered: frozenset[str] | None
    ) -> list[Answered]:
        async def all_of_them(path: StepPath) -> list[Answered]:
            return await _together(self._ctx, path.turn, proposals, offered)

        return await self._alone("call", all_of_them)

    def _refuse_positional(self, positional: tuple[object, ...], tool: Tool | str) -> None:
        if positional:
            raise ConfigError(
                f"`{_name(tool)}` was called with arguments by position",
                hint="name every argument: rules are about names, and a position has none",
            )


async def _together(
    ctx: Context, turn: int, proposals: list[tuple[str, Any]], offered: frozenset[str] | None
) -> list[Answered]:
    """A batch: reads run together, writes one after the other in index order, refusals end it."""
    answers: list[Answered | None] = [None] * len(proposals)
    reads = [
        index
        for index, (name, _) in enumerate(proposals)
        if (tool := ctx.tools.get(name)) is not None and not tool.spec.is_write
    ]
    together = await asyncio.gather(
        *(_answer(ctx, turn, index, proposals[index], offered) for index in reads), return_exceptions=True
    )
    for index, answered in zip(reads, together, strict=True):
        if isinstance(answered, BaseException):
            raise answered
        answers[index] = answered
    for index, proposal in enumerate(proposals):
        if answers[index] is None:
            answers[index] = await _answer(ctx, turn, index, proposal, offered)
    return [answer for answer in answers if answer is not None]


async def _answer(
    ctx: Context, turn: int, index: int, proposal: tuple[str, Any], offered: frozenset[str] | None
) -> Answered:
    name, raw = proposal
    try:
        result = await calls.call(ctx, StepPath(turn, index), name, raw, offered=offered)
    except CallRefused as refused:
        if refused.decision.code is not ReasonCode.INVALID_CALL:
            raise
        return Answered(error=refused)
    except ConfigError:
        raise
    except RunDiverged:
        raise
    except AnswerableError as error:
        if type(error).__name__ not in ("ToolFailed", "EffectUnknown"):
            raise
        return Answered(error=error)
    shown = hide(ctx.specs[name].gives, canonical(result.value), f"{turn}.{index}")
    return Answered(value=result.value, shown=shown)


def _kinds_of(state: RunState) -> tuple[tuple[str, Mapping[str, object]], ...]:
    return (
        ("call", state.calls),
        ("model", state.models),
        ("value", state.values),
        ("act", state.acts),
        ("tool set", state.fixed),
    )


def offer(tool: Tool) -> ToolOffer:
    """A tool as a model is shown it."""
    return ToolOffer(name=tool.name, description=tool.spec.description, parameters=tool.spec.parameters())


def _name(tool: Tool | str) -> str:
    return tool if isinstance(tool, str) else tool.name
