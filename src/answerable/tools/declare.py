"""`@tool`: a typed function becomes a tool, or is refused with the reason and the fix.

The parameters before a bare `*` are the tool's arguments: what a model may fill in. Those after it are
injected when the call is performed and never shown to a model: `key: EffectKey` gets the effect's key, a
parameter annotated `Secret` gets the credential of that name, `plan` gets what the plan function returned,
and anything else gets the runtime's resource of that name.
"""

from __future__ import annotations

import hashlib
import inspect
import re
import typing
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Literal, NoReturn, get_args, get_origin

from pydantic import BaseModel, ConfigDict, TypeAdapter, create_model
from pydantic.errors import PydanticSchemaGenerationError

from answerable.errors import ToolError
from answerable.kernel.ids import EffectKey
from answerable.kernel.secret import Secret
from answerable.kernel.tool import (
    PROBEABLE,
    Cardinality,
    EffectClass,
    FactSpec,
    FreeText,
    Impact,
    Retry,
    ToolSpec,
    Total,
    UpTo,
    WriteMode,
    holes,
)

_NAME = re.compile(r"[a-z][a-z0-9_]{0,63}")
_RESERVED = frozenset({"tool", "type"})

Injection = Literal["key", "secret", "plan", "draft", "resource"]
Function = Callable[..., Awaitable[Any] | Any]


class Arguments(BaseModel):
    """What a model used inside a tool's arguments must inherit: strict, closed and frozen."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, allow_inf_nan=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Fact:
    """A fact as declared: which read, and from which arguments."""

    tool: Tool
    arguments: dict[str, str]
    max_age_s: float = 0.0


def fact(tool_: Tool, *, max_age_s: float = 0.0, **arguments: str) -> Fact:
    """Declare a read of current state: `fact(get_order, order_id="{order_id}")`.

    Each keyword maps a parameter of the read to a template over the arguments of the tool that declares it.
    Raises `ToolError` if `tool_` is not a read or does not have the parameters.
    """
    if tool_.spec.is_write:
        raise ToolError(
            f"`{tool_.spec.name}` is a write and cannot be a fact", hint="facts are read-only tools"
        )
    unknown = set(arguments) - set(tool_.spec.arguments.model_fields)
    if unknown:
        raise ToolError(
            f"`{tool_.spec.name}` has no parameter {', '.join(f'`{name}`' for name in sorted(unknown))}",
            hint=f"its parameters are {', '.join(tool_.spec.arguments.model_fields)}",
        )
    return Fact(tool=tool_, arguments=dict(arguments), max_age_s=max_age_s)


@dataclass(frozen=True, slots=True, kw_only=True)
class Tool:
    """A registered tool: its `spec`, and the functions that act.

    It is deliberately not callable: an effect happens only through a run.
    """

    spec: ToolSpec
    function: Function
    is_async: bool
    injected: tuple[tuple[str, Injection], ...] = ()
    facts: Mapping[str, Fact] = field(default_factory=dict[str, Fact])
    undo: Tool | None = None
    plan: Callable[..., object] | None = None
    probe: Function | None = None
    draft: Function | None = None
    fallback: Callable[..., object] | None = None

    @property
    def name(self) -> str:
        """The only name it answers to."""
        return self.spec.name

    def __call__(self, *_args: object, **_kwargs: object) -> NoReturn:
        """Always raises: calling a tool directly would pass no gate."""
        raise ToolError(
            f"`{self.name}` cannot be called directly: that would pass no gate",
            hint=f"use `await run.call({self.name}, ...)`",
        )


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

    Raises `ToolError` for anything that could not be gated: an untyped or float money argument, a write
    without a mode, a probe mode without a probe, a template that names no argument or fact.
    """

    def register(function: Function) -> Tool:
        tool_name = name or function.__name__
        problem = _Problem(tool_name)
        effect_class, write_mode = _effect(problem, effect, mode)
        hints = _hints(problem, function)
        arguments, injected = _signature(problem, function, hints)
        declared = dict(facts or {})
        spec = ToolSpec(
            name=tool_name,
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
            key_ttl_s=key_ttl_s,
            probe_lag_s=probe_lag_s,
            is_result_trusted=is_result_trusted,
            data_class=data_class,
            price_usd=Decimal(price_usd),
            has_fallback=fallback is not None,
            has_probe=probe is not None,
            plan_digest=_source_digest(plan),
            free_text=frozenset(_free_text(arguments)),
        )
        _check_declaration(problem, spec, declared, probe, draft)
        return Tool(
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

    return register


class _Problem:
    """Builds the errors of one tool, so that each names it."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __call__(self, message: str, hint: str) -> ToolError:
        return ToolError(f"the tool `{self.name}` {message}", hint=hint)


def _effect(problem: _Problem, effect: str | None, mode: str | None) -> tuple[EffectClass, WriteMode | None]:
    if not _NAME.fullmatch(problem.name):
        raise problem("has a name that models and policies cannot share", "use a-z, 0-9 and _, at most 64")
    if effect == "read":
        if mode is not None:
            raise problem("is a read and has a write mode", "drop `mode`, or say `effect=\"write\"`")
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


def _hints(problem: _Problem, function: Function) -> dict[str, Any]:
    try:
        return typing.get_type_hints(function, include_extras=True)
    except NameError as error:
        raise problem(f"has an annotation that cannot be read: {error}", "import the name") from None


def _signature(
    problem: _Problem, function: Function, hints: dict[str, Any]
) -> tuple[type[BaseModel], tuple[tuple[str, Injection], ...]]:
    arguments: dict[str, Any] = {}
    injected: list[tuple[str, Injection]] = []
    for parameter in inspect.signature(function).parameters.values():
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
        if parameter.name.startswith("_") or parameter.name in _RESERVED:
            raise problem(f"has a parameter called `{parameter.name}`", "choose a plain name")
        _check_annotation(problem, parameter.name, annotation)
        default = ... if parameter.default is parameter.empty else parameter.default
        arguments[parameter.name] = (annotation, default)
    try:
        model = create_model(f"{problem.name}_arguments", __base__=Arguments, **arguments)
        TypeAdapter(model)
    except PydanticSchemaGenerationError as error:
        raise problem(f"has a parameter without a schema: {error.message}", "use typed, plain data") from None
    return model, tuple(injected)


def _injection(name: str, annotation: object) -> Injection:
    if annotation is EffectKey:
        return "key"
    if annotation is Secret:
        return "secret"
    if name == "plan" or name == "draft":
        return name
    return "resource"


def _check_annotation(problem: _Problem, name: str, annotation: Any) -> None:
    """Refuse what could slip past the gates: open dictionaries, Any, lax nested models, float."""
    if annotation is Any or annotation is object:
        raise problem(f"types `{name}` as Any", "say what it holds: what is open cannot be gated")
    if annotation is float:
        raise problem(f"types `{name}` as float", "use Decimal: policies and money need exact numbers")
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        if not issubclass(annotation, Arguments):
            raise problem(f"has a lax model in `{name}`", "inherit it from `answerable.Arguments`")
        for inner, info in annotation.model_fields.items():
            if info.alias or info.validation_alias:
                raise problem(f"has an alias in `{name}.{inner}`", "one name per argument")
            _check_annotation(problem, f"{name}.{inner}", info.annotation)
    if getattr(annotation, "__metadata__", None):
        for extra in annotation.__metadata__:
            if getattr(extra, "alias", None) or getattr(extra, "validation_alias", None):
                raise problem(f"has an alias in `{name}`", "one name per argument")
    origin = get_origin(annotation)
    if origin in (set, frozenset) and Decimal in get_args(annotation):
        raise problem(f"has a set of decimals in `{name}`", "use a list")
    if origin is Literal:
        return
    for part in get_args(annotation):
        if part is not type(None) and part is not Ellipsis and not isinstance(part, FreeText):
            if isinstance(part, type) or get_origin(part) is not None or part is Any:
                _check_annotation(problem, name, part)


def _result(problem: _Problem, hints: dict[str, Any]) -> TypeAdapter[Any]:
    if "return" not in hints:
        raise problem("does not type its result", "annotate what it returns (`-> None` is fine)")
    try:
        return TypeAdapter(hints["return"])
    except PydanticSchemaGenerationError:
        raise problem("has a result without a schema", "return a Pydantic model or plain data") from None


def _description(problem: _Problem, function: Function) -> str:
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


def _free_text(model: type[BaseModel], prefix: str = "") -> list[str]:
    found: list[str] = []
    for name, info in model.model_fields.items():
        if any(item is FreeText or isinstance(item, FreeText) for item in info.metadata):
            found.append(prefix + name)
        annotation = info.annotation
        for part in (annotation, *get_args(annotation)):
            if isinstance(part, type) and issubclass(part, BaseModel):
                found.extend(_free_text(part, f"{prefix}{name}."))
            elif any(isinstance(item, FreeText) for item in getattr(part, "__metadata__", ())):
                found.append(prefix + name)
    return found


def _check_declaration(
    problem: _Problem,
    spec: ToolSpec,
    facts: Mapping[str, Fact],
    probe: Function | None,
    draft: Function | None,
) -> None:
    if not spec.is_write:
        if spec.business_key or spec.undo or spec.totals or spec.impact:
            raise problem("is a read and declares an impact", "impacts, totals, keys and undo are for writes")
    if spec.mode in PROBEABLE and probe is None:
        raise problem(f"is `{spec.mode}` and has no probe", "say how to ask whether it happened: `probe=`")
    if spec.mode is WriteMode.DRAFT_THEN_COMMIT and draft is None:
        raise problem("is `draft_then_commit` and has no draft", "say how to make the draft: `draft=`")
    if spec.timeout_s <= 0 or spec.retry.attempts < 1:
        raise problem("has no time or no attempt", "`timeout_s` above 0, at least one attempt")
    for key, declared in facts.items():
        if declared.tool.facts:
            raise problem(f"has the fact `{key}`, which needs facts itself", "facts cannot need facts")
        _check_holes(problem, spec, " ".join(declared.arguments.values()), {})
    templates = [spec.business_key or "", *(total.by for total in spec.totals)]
    for template in templates:
        _check_holes(problem, spec, template, facts)
    named = [total.of for total in spec.totals]
    if spec.impact is not None:
        named += [part for part in (spec.impact.money, spec.impact.recipients) if part]
    if isinstance(spec.cardinality, UpTo):
        named.append(spec.cardinality.amount)
        _check_holes(problem, spec, "{" + spec.cardinality.total + "}", facts)
        if not spec.business_key:
            raise problem("has a cardinality and no business key", "say what the amounts add up to")
    for argument in named:
        if argument not in spec.arguments.model_fields:
            raise problem(f"declares an impact on `{argument}`, which is no argument", "name an argument")


def _check_holes(problem: _Problem, spec: ToolSpec, template: str, facts: Mapping[str, Fact]) -> None:
    for hole in holes(template):
        root = hole.split(".")[0]
        if root not in spec.arguments.model_fields and root not in facts:
            raise problem(f"has `{{{hole}}}` in a template", "name an argument, or a declared fact")
