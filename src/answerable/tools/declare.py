"""`@tool`: a typed function becomes a tool, or is refused with the reason and the fix.

The parameters before a bare `*` are the tool's arguments: what a model may fill in. Those after it are
injected when the call is performed and never shown to a model: `key: EffectKey` gets the effect's key, a
parameter annotated `Secret` gets the credential of that name, `plan` gets what the plan function returned, `facts` gets
the facts that were decided on, by name (a `conditional` write passes the version in one of them to the vendor), and
anything else gets the runtime's resource of that name.
"""

from __future__ import annotations

import hashlib
import inspect
import typing
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel, TypeAdapter, create_model
from pydantic.errors import PydanticUserError

from answerable.errors import ToolError
from answerable.kernel.ids import EffectKey
from answerable.kernel.marks import MarkError, marks_of, marks_of_model
from answerable.kernel.secret import Secret
from answerable.kernel.throttle import Breaker, Rate
from answerable.kernel.tool import (
    Cardinality,
    EffectClass,
    FactSpec,
    Impact,
    Retry,
    ToolSpec,
    Total,
    WriteMode,
)
from answerable.tools.argument_types import Arguments, Unfit, check_model, check_type, free_text
from answerable.tools.promises import NAME, Problem, as_rate, check_promises
from answerable.tools.registered import Fact, Function, Injection, Tool

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from answerable.kernel.marks import Marks

__all__ = ["Arguments", "Fact", "Function", "Injection", "Tool", "fact", "tool"]

_RESERVED = frozenset({"tool", "type"})


def fact(tool_: Tool, *, max_age_s: float = 0.0, **arguments: str) -> Fact:
    """Declare a read of current state: `fact(get_order, order_id="{order_id}")`.

    Each keyword maps a parameter of the read to a template over the arguments of the tool that declares it.
    Raises `ToolError` if `tool_` is not a read or does not have the parameters.
    """
    if tool_.spec.is_write:
        raise ToolError(
            f"`{tool_.spec.name}` is a write and cannot be a fact", hint="facts are read-only tools"
        )
    fields = tool_.spec.arguments.model_fields
    unknown = set(arguments) - set(fields)
    if unknown:
        raise ToolError(
            f"`{tool_.spec.name}` has no parameter {', '.join(f'`{name}`' for name in sorted(unknown))}",
            hint=f"its parameters are {', '.join(fields)}",
        )
    missing = [name for name, info in fields.items() if info.is_required() and name not in arguments]
    if missing:
        raise ToolError(
            f"the fact does not say `{missing[0]}`", hint=f"`{tool_.spec.name}` cannot do without"
        )
    return Fact(tool=tool_, arguments=dict(arguments), max_age_s=max_age_s)


def tool(
    *,
    effect: Literal["read", "write", "irreversible"] | None = None,
    mode: str | None = None,
    name: str | None = None,
    business_key: str | None = None,
    cardinality: Cardinality = "once",
    undo: Tool | None = None,
    impact: Impact | None = None,
    totals: tuple[Total, ...] = (),
    facts: Mapping[str, Fact] | None = None,
    timeout_s: float = 30.0,
    retry: Retry | None = None,
    rate: str | Rate | None = None,
    breaker: Breaker | None = None,
    key_ttl_s: float | None = None,
    probe: Function | None = None,
    probe_lag_s: float = 0.0,
    draft: Function | None = None,
    plan: Callable[..., object] | None = None,
    fallback: Callable[..., object] | None = None,
    is_result_trusted: bool = False,
    data_class: str = "internal",
    price_usd: str = "0",
) -> Callable[[Function], Tool]:
    """Turn a typed function into a tool.

    A read says `effect="read"`. A write says its `mode` (see `spec/effects.md`), and
    `effect="irreversible"` where nothing can take it back. There is no default: a tool that says neither is
    refused, since a write that was registered as a read would pass without a claim.

    `rate` (`"10/s"`) and `breaker` protect the vendor; every process that uses the journal shares them.

    Raises `ToolError` for anything that could not be gated: an untyped or float money argument, a write
    without a mode, a probe mode without a probe, a template that names no argument or fact.
    """

    def register(function: Function) -> Tool:
        problem = Problem(name or getattr(function, "__name__", "?"))
        effect_class, write_mode = _effect(problem, effect, mode)
        _check_function(problem, "it", function)
        for what, helper in (("its probe", probe), ("its draft", draft)):
            _check_function(problem, what, helper)
        for what, helper in (("its plan", plan), ("its fallback", fallback)):
            _check_function(problem, what, helper, may_wait=False)
        hints = _hints(problem, function)
        arguments, injected = _signature(problem, function, hints)
        declared = dict(facts or {})
        spec = ToolSpec(
            name=problem.name,
            description=_description(problem, function),
            effect_class=effect_class,
            mode=write_mode,
            arguments=arguments,
            result=_result(problem, hints),
            result_annotation=hints.get("return"),
            business_key=business_key,
            cardinality=cardinality,
            undo=undo.name if undo else None,
            impact=impact,
            totals=totals,
            facts=tuple(
                FactSpec(name=key, tool=f.tool.name, arguments=f.arguments, max_age_s=f.max_age_s)
                for key, f in declared.items()
            ),
            timeout_s=timeout_s,
            retry=retry or Retry(),
            rate=as_rate(problem, rate),
            breaker=breaker,
            key_ttl_s=key_ttl_s,
            probe_lag_s=probe_lag_s,
            is_result_trusted=is_result_trusted,
            data_class=data_class,
            price_usd=_price(problem, price_usd),
            has_probe=probe is not None,
            plan_digest=_source_digest(plan),
            free_text=free_text(arguments),
            takes=_marked(problem, marks_of_model, arguments),
            gives=_marked(problem, marks_of, hints.get("return")),
        )
        registered = Tool(
            spec=spec,
            function=function,
            is_async=inspect.iscoroutinefunction(function),
            injected=injected,
            facts=declared,
            undo=undo,
            plan=plan,
            probe=probe,
            draft=draft,
            fallback=fallback,
        )
        check_promises(problem, registered)
        return registered

    return register


def _effect(problem: Problem, effect: str | None, mode: str | None) -> tuple[EffectClass, WriteMode | None]:
    if not NAME.fullmatch(problem.name):
        raise problem("has a name that models and policies cannot share", "use a-z, 0-9 and _, at most 64")
    if effect == "read":
        if mode is not None:
            raise problem("is a read and has a write mode", 'drop `mode`, or say `effect="write"`')
        return EffectClass.READ, None
    modes = ", ".join(m.value for m in WriteMode)
    if mode is None:
        raise problem(
            "does not say what it does outside",
            f'say `effect="read"`, or the write mode: {modes}',
        )
    try:
        return EffectClass(effect or "write"), WriteMode(mode)
    except ValueError:
        raise problem(f"has the unknown effect or mode `{effect or mode}`", f"modes are {modes}") from None


def _check_function(problem: Problem, what: str, function: object, *, may_wait: bool = True) -> None:
    """Refuse what would not do its work when it is called by name and, where it waits, awaited."""
    if function is None:
        return
    if not (inspect.isfunction(function) or inspect.ismethod(function)):
        raise problem(
            f"cannot be made of this: {what} is no plain function", "write it with `def` or `async def`"
        )
    inner = inspect.unwrap(function)
    if inspect.isgeneratorfunction(inner) or inspect.isasyncgenfunction(inner):
        raise problem(f"cannot be made of this: {what} is a generator", "return the whole result")
    if inspect.iscoroutinefunction(inner) is not inspect.iscoroutinefunction(function):
        raise problem(
            f"cannot be made of this: {what} hides whether it waits", "wrap `async def` in `async def`"
        )
    if inspect.iscoroutinefunction(function) and not may_wait:
        raise problem(f"cannot be made of this: {what} waits", "it must be pure: write it with `def`")


def _hints(problem: Problem, function: Function) -> dict[str, Any]:
    try:
        return typing.get_type_hints(function, include_extras=True)
    except (NameError, AttributeError, TypeError, SyntaxError) as error:
        raise problem(f"has an annotation that cannot be read: {error}", "import the name") from None


def _signature(
    problem: Problem, function: Function, hints: dict[str, Any]
) -> tuple[type[BaseModel], tuple[tuple[str, Injection], ...]]:
    arguments: dict[str, Any] = {}
    injected: list[tuple[str, Injection]] = []
    parameters = inspect.signature(function).parameters
    for parameter in parameters.values():
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            raise problem(f"takes `{parameter}`", "name every argument: what is open cannot be gated")
        if parameter.kind is parameter.POSITIONAL_ONLY:
            raise problem(f"takes `{parameter.name}` by position only", "calls name their arguments")
        annotation = hints.get(parameter.name)
        if annotation is None:
            raise problem(f"does not type `{parameter.name}`", "annotate every parameter")
        if parameter.kind is parameter.KEYWORD_ONLY:
            injected.append((parameter.name, _injection(parameter.name, annotation)))
            continue
        _check_parameter(problem, parameter.name, annotation)
        default = ... if parameter.default is parameter.empty else parameter.default
        arguments[parameter.name] = (annotation, default)
    try:
        inspect.signature(function, follow_wrapped=False).bind(**dict.fromkeys(parameters))
    except TypeError as error:
        raise problem(
            f"is wrapped in a function with other parameters: {error}", "pass on `**kwargs`"
        ) from None
    try:
        model = create_model(f"{problem.name}_arguments", __base__=Arguments, **arguments)
        check_model(model, "")
        model.model_json_schema()
    except Unfit as unfit:
        raise problem(str(unfit), unfit.hint) from None
    return model, tuple(injected)


def _check_parameter(problem: Problem, name: str, annotation: object) -> None:
    is_plain = name.isascii() and not name.startswith("_") and not hasattr(BaseModel, name)
    if not is_plain or name in _RESERVED:
        raise problem(f"has a parameter called `{name}`", "choose a plain name")
    try:
        check_type(annotation, name)
    except Unfit as unfit:
        raise problem(str(unfit), unfit.hint) from None


def _injection(name: str, annotation: object) -> Injection:
    if annotation is EffectKey:
        return "key"
    if annotation is Secret:
        return "secret"
    return name if name in ("plan", "draft", "facts") else "resource"


def _price(problem: Problem, price_usd: str) -> Decimal:
    try:
        return Decimal(price_usd)
    except InvalidOperation:
        raise problem(f"has the price `{price_usd}`", 'dollars as text, from "0"') from None


def _result(problem: Problem, hints: dict[str, Any]) -> TypeAdapter[Any]:
    if "return" not in hints:
        raise problem("does not type its result", "annotate what it returns (`-> None` is fine)")
    try:
        result = TypeAdapter[Any](hints["return"])
        result.json_schema(mode="serialization")
    except PydanticUserError:
        raise problem("has a result without a schema", "return a Pydantic model or plain data") from None
    return result


def _marked(problem: Problem, look: Callable[[Any], Marks], annotation: Any) -> Marks:
    try:
        return look(annotation)
    except MarkError as error:
        raise problem(
            f"is marked in a way that cannot be kept: {error}", "see the guide on provenance"
        ) from None


def _description(problem: Problem, function: Function) -> str:
    text = inspect.getdoc(function)
    if not text:
        raise problem("has no docstring", "say in one sentence what it does: the model reads it")
    return text


def _source_digest(function: Callable[..., object] | None) -> str:
    if function is None:
        return ""
    try:
        source = inspect.getsource(function)
    except (OSError, TypeError):
        source = getattr(function, "__qualname__", repr(type(function)))
    return hashlib.sha256(source.encode()).hexdigest()
