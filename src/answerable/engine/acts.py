"""What only the run's own code may do about values: take one in, vouch for one, declassify, narrow the tool set.

Each is a step of the run, journaled with its reason. A model can do none of them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from answerable.engine.learning import learn
from answerable.errors import ConfigError, RunDiverged
from answerable.gates.provenance import RESERVED
from answerable.gates.request import NOT_SOURCES
from answerable.gates.schema import canonical
from answerable.kernel import events
from answerable.kernel.marks import Kind, MarkError

if TYPE_CHECKING:
    from collections.abc import Collection

    from answerable.engine.context import Context
    from answerable.kernel.ids import StepPath
    from answerable.kernel.state import Act


def take_in(
    ctx: Context, path: StepPath, name: str, value: Any, data_class: str, *, is_trusted: bool
) -> None:
    """See `Run.take_in`."""
    event = events.SourceRead(
        path=str(path),
        source=_source(ctx, name),
        trusted=is_trusted,
        cls=_token("data class", data_class),
        value=ctx.recorder.seal(canonical(value), "source"),
    )
    _act(ctx, path, event)


def endorse(ctx: Context, path: StepPath, value: object, kind: str | None, why: str) -> None:
    """See `Run.endorse`."""
    if not isinstance(value, str) or not value.strip():
        raise ConfigError("only text can be endorsed", hint="endorse the one value that the call will have")
    if kind is not None:
        try:
            Kind(kind)
        except MarkError as error:
            raise ConfigError(str(error)) from None
    event = events.Endorsed(
        path=str(path), value=ctx.recorder.seal(value, "source"), why=_why(ctx, why), kind=kind
    )
    _act(ctx, path, event)


def declassify(ctx: Context, path: StepPath, classes: Collection[str], why: str) -> None:
    """See `Run.declassify`."""
    if not classes:
        raise ConfigError("nothing is declassified", hint="name the data classes")
    names = tuple(sorted(_token("data class", each) for each in classes))
    _act(ctx, path, events.Declassified(path=str(path), classes=names, why=_why(ctx, why)))


async def fix_tools(ctx: Context, path: StepPath, names: Collection[str], *, is_first: bool = False) -> None:
    """See `Run.fix_tools`. `is_first` is before the run's code has begun: then no model has read the task yet."""
    tools = tuple(sorted(set(names)))
    known = ctx.recorder.state.fixed.get(str(path))
    if known is not None:
        if known != tools:
            raise _diverged(path, f"the tool set {', '.join(known) or '(none)'}")
        return
    unknown = sorted(set(tools) - {tool.name for tool in ctx.agent.tools})
    if unknown:
        raise ConfigError(
            f"the tool set names `{unknown[0]}`, which `{ctx.agent.name}` does not have",
            hint=f"its tools are {', '.join(tool.name for tool in ctx.agent.tools)}",
        )
    state = ctx.recorder.state
    if state.tool_set is not None and not set(tools) <= set(state.tool_set):
        raise ConfigError(
            "a tool set that was fixed is never widened", hint="fix the widest set that is needed"
        )
    if not is_first:
        learned = await learn(ctx.learned, state, ctx.agent, ctx.specs, ctx.recorder.content)
        if not learned.origins.is_clean and (state.models or state.read):
            raise ConfigError(
                "the tool set would be chosen after untrusted text was read, and so perhaps by its author",
                hint="fix it before the first model call and the first read, or declare `tools_for` on the agent",
            )
    ctx.recorder.note(events.ToolsFixed(path=str(path), tools=tools))


def _act(ctx: Context, path: StepPath, event: Act) -> None:
    known = ctx.recorder.state.acts.get(str(path))
    if known is None:
        ctx.recorder.note(event)
    elif known != event:
        raise _diverged(path, f"`{type(known).__name__}` of something else")


def _diverged(path: StepPath, said: str) -> RunDiverged:
    return RunDiverged(f"at step {path} the run's code does something else than its journal says: {said}")


def _why(ctx: Context, why: str) -> str:
    if not why.strip():
        raise ConfigError("it is not said why", hint="`why=` is what an auditor will read")
    return ctx.recorder.seal(why, "source")


def _source(ctx: Context, name: str) -> str:
    """A name of its own: rules ask who vouches for a value, and must not be answered by a namesake."""
    if name in ctx.tools:
        raise ConfigError(
            f"`{name}` is a tool: its results are taken in anyway", hint="name the source otherwise"
        )
    return _token("source", name)


def _token(what: str, name: str) -> str:
    is_token = 0 < len(name) <= 64 and name.isascii() and name.isprintable()  # noqa: PLR2004
    if not is_token or name.startswith(NOT_SOURCES) or name in RESERVED:
        raise ConfigError(
            f"`{name}` is no name for a {what}",
            hint=f"use plain ASCII, at most 64 characters, and none of {', '.join(sorted(RESERVED))}",
        )
    return name
