"""What rules can speak about: per tool one context shape, and from it the Cedar schema and the validator."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

from answerable.gates.policy.refusal import refuse
from answerable.gates.policy.shape import (
    BOOL,
    DATETIME,
    DECIMAL,
    LONG,
    STRING,
    Attribute,
    LeftOut,
    Record,
    Scalar,
    SetOf,
    Shape,
    shape_of,
)
from answerable.gates.policy.validator import ContextValidator
from answerable.gates.request import ORIGINS
from answerable.kernel.tool import EffectClass

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence

    from answerable.kernel.tool import SessionSpec, ToolSpec

GROUPS: dict[str, tuple[str, ...]] = {"read": (), "write": (), "irreversible": ("write",), "outward": ()}
"""Action groups and what they are in: `action in Action::"write"` is every change outside, `"outward"` every call
that tells somebody outside something."""

LABEL = Record(
    (
        Attribute("trusted", BOOL),
        Attribute("origin", Scalar("String", ORIGINS)),
        Attribute("sources", SetOf(STRING)),
        Attribute("classes", SetOf(STRING)),
        Attribute("unknown_address", BOOL),
    )
)
TOTAL = Record((Attribute("amount", DECIMAL), Attribute("count", LONG)))
RUN = Record(
    (
        Attribute("autonomy", Scalar("String", ("shadow", "propose", "capped", "full"))),
        Attribute("on_behalf_of", STRING),
        Attribute("calls_before", LONG),
        Attribute("classes_read", SetOf(STRING)),
        Attribute("read_untrusted", BOOL),
    )
)
TALLY = Record((Attribute("decided", LONG), Attribute("done", LONG), Attribute("last", LONG)))
_UNITS = ("model_calls", "money", "tokens", "tool_calls")
BUDGET = Record(
    tuple(
        Attribute(f"{unit}{per}", DECIMAL if unit == "money" else LONG, is_optional=True)
        for per in ("", "_per_day")
        for unit in _UNITS
    )
)
PRINCIPAL = Record((Attribute("tenant", STRING),))
RESOURCE = Record(
    (
        Attribute("effect_class", Scalar("String", tuple(each.value for each in EffectClass))),
        Attribute("data_class", STRING),
    )
)
_COMMON = {LABEL: "Label", TOTAL: "Total", RUN: "Run", TALLY: "Tally", BUDGET: "Budget"}
_RESERVED = frozenset({"true", "false", "if", "then", "else", "in", "is", "like", "has", "__cedar"})


@dataclass(frozen=True, slots=True)
class ToolShape:
    """One tool as rules see it."""

    spec: ToolSpec
    context: Record
    left_out: tuple[LeftOut, ...]
    validator: ContextValidator
    names: Mapping[str, frozenset[str]]
    """By part of the context: what there is in it."""


def tool_shapes(tools: Sequence[ToolSpec], sessions: Sequence[SessionSpec] = ()) -> dict[str, ToolShape]:
    """The shape of each tool, by name. Refuses two tools of one name, and facts from unknown tools."""
    by_name = {tool.name: tool for tool in tools}
    if len(by_name) != len(tools):
        names = [tool.name for tool in tools]
        double = next(name for name in names if names.count(name) > 1)
        refuse(
            f"two tools are called `{double}`",
            "give one of them another name",
        )
    session_left_out: list[LeftOut] = []
    session = Record(tuple(_session(each, by_name, session_left_out) for each in sessions))
    history = Record(tuple(Attribute(name, TALLY) for name in sorted(by_name)))
    return {
        name: _tool_shape(by_name[name], by_name, session, history, session_left_out)
        for name in sorted(by_name)
    }


def cedar_schema_text(
    tools: Sequence[ToolSpec],
    agents: Collection[str],
    *,
    roles: Mapping[str, Collection[str]] | None = None,
    tool_sets: Mapping[str, Collection[str]] | None = None,
    sessions: Sequence[SessionSpec] = (),
) -> str:
    """The Cedar schema for these tools, for editors and reviewers. The same input gives the same text."""
    return full_schema(tool_shapes(tools, sessions), agents, roles or {}, tool_sets or {})


def full_schema(
    shapes: Mapping[str, ToolShape],
    agents: Collection[str],
    roles: Mapping[str, Collection[str]],
    tool_sets: Mapping[str, Collection[str]],
) -> str:
    """The schema of every tool, with comments on what rules cannot read."""
    lines = [
        "// Generated from the tools' models. Do not edit: `answerable policy schema` writes it again.",
        f"// Agents: {_listed(agents)}",
        *(f"// Agent {agent} has the roles: {_listed(held)}" for agent, held in sorted(roles.items())),
        *(f"// Tool set {name}: {_listed(inside)}" for name, inside in sorted(tool_sets.items())),
        "",
        *(f"type {name} = {render(shape, {})};" for shape, name in _COMMON.items()),
        "",
        *_entities_and_groups(),
    ]
    for name, shape in shapes.items():
        lines.append("")
        lines.extend(f"// No rule can read {left_out}" for left_out in shape.left_out)
        lines.append(_action(name, shape.spec, render(shape.context, _COMMON)))
    return "\n".join(lines) + "\n"


def slice_schema(tool: ToolSpec, context: Record, others: Mapping[str, ToolSpec]) -> str:
    """The schema of one tool's slice: its context cut down to what the slice reads.

    `others` are tools that a condition of the slice names; they take part in the action hierarchy only.
    """
    lines = [*_entities_and_groups(), _action(tool.name, tool, render(context, {}))]
    lines.extend(f"action {quote(name)} in {_groups_of(other)};" for name, other in sorted(others.items()))
    return "\n".join(lines)


def render(shape: Shape, common: Mapping[Record, str], depth: int = 0) -> str:
    """A shape as a Cedar type, one attribute a line; records in `common` by their name."""
    if isinstance(shape, Scalar):
        return shape.kind
    if isinstance(shape, SetOf):
        return f"Set<{render(shape.item, common, depth)}>"
    if shape in common:
        return common[shape]
    if not shape.attributes:
        return "{}"
    pad = "  " * (depth + 1)
    lines = [pad + line for line in _attributes(shape, common, depth + 1)]
    return "\n".join(["{", *lines, "  " * depth + "}"])


def quote(name: str) -> str:
    """A name as a Cedar string."""
    return json.dumps(name, ensure_ascii=False)


def _tool_shape(
    tool: ToolSpec,
    tools: Mapping[str, ToolSpec],
    session: Record,
    history: Record,
    session_left_out: Sequence[LeftOut],
) -> ToolShape:
    if tool.name in GROUPS:
        refuse(
            f"a tool cannot be called `{tool.name}`: that is a group of actions in rules",
            "give the tool another name",
        )
    left_out = list(session_left_out)
    arguments = shape_of(tool.arguments, "args", left_out)
    context = Record(
        (
            Attribute("args", arguments[0] if arguments else Record(())),
            Attribute(
                "labels", Record(tuple(Attribute(name, LABEL) for name in tool.arguments.model_fields))
            ),
            Attribute("facts", Record(tuple(_facts(tool, tools, left_out)))),
            Attribute("totals", Record(tuple(Attribute(each.name, TOTAL) for each in tool.totals))),
            Attribute("run", RUN),
            Attribute("session", session),
            Attribute("history", history),
            Attribute("budget", BUDGET),
            Attribute("now", DATETIME),
        )
    )
    names = {
        each.name: frozenset(inner.name for inner in each.shape.attributes)
        for each in context.attributes
        if isinstance(each.shape, Record)
    }
    return ToolShape(tool, context, tuple(left_out), ContextValidator(context), names)


def _session(spec: SessionSpec, tools: Mapping[str, ToolSpec], left_out: list[LeftOut]) -> Attribute:
    """What a session fact looks like: who established it, and its value, of which all the tools are agreed."""
    found: list[Shape] = []
    for name in spec.tools:
        if name not in tools:
            refuse(
                f"the session fact `{spec.name}` is established by `{name}`, which is no tool here",
                "give the bundle every tool that establishes something",
            )
        place = f"session.{spec.name}.value"
        shape = shape_of(tools[name].result_annotation, place, left_out)
        inner = shape[0] if shape is not None else None
        for part in spec.value.split(".") if spec.value else ():
            attribute = inner.get(part) if isinstance(inner, Record) else None
            inner = attribute.shape if attribute is not None else None
        if inner is None:
            refuse(
                f"the session fact `{spec.name}` is to hold `{spec.value or 'the result'}` of `{name}`, "
                "which no rule can read",
                "name a field of the tool's result that has a plain type",
            )
        found.append(inner)
    if any(each != found[0] for each in found):
        refuse(
            f"the tools that establish the session fact `{spec.name}` do not agree on its type",
            "let each give the same type at that place, or declare two session facts",
        )
    value = Record((Attribute("by", Scalar("String", spec.tools)), Attribute("value", found[0])))
    return Attribute(spec.name, value, is_optional=True)


def _facts(tool: ToolSpec, tools: Mapping[str, ToolSpec], left_out: list[LeftOut]) -> Iterator[Attribute]:
    for fact in tool.facts:
        if fact.tool not in tools:
            refuse(
                f"tool `{tool.name}`: fact `{fact.name}` is read with `{fact.tool}`, which is no tool here",
                "give the bundle every tool that a fact is read with",
            )
        found = shape_of(tools[fact.tool].result_annotation, f"facts.{fact.name}", left_out)
        if found is not None:
            yield Attribute(fact.name, *found)


def _entities_and_groups() -> list[str]:
    return [
        "entity Role;",
        "entity ToolSet;",
        f"entity Agent in [Role] {render(PRINCIPAL, {})};",
        f"entity Tool in [ToolSet] {render(RESOURCE, {})};",
        "",
        *(_group(name, parents) for name, parents in GROUPS.items()),
    ]


def _group(name: str, parents: tuple[str, ...]) -> str:
    inside = f" in [{', '.join(map(quote, parents))}]" if parents else ""
    return f"action {quote(name)}{inside};"


def _action(name: str, tool: ToolSpec, context: str) -> str:
    head = f"action {quote(name)} in {_groups_of(tool)} appliesTo"
    return f"{head} {{ principal: Agent, resource: Tool, context: {context} }};"


def _groups_of(tool: ToolSpec) -> str:
    return f"[{', '.join(map(quote, groups_of(tool)))}]"


def groups_of(tool: ToolSpec) -> tuple[str, ...]:
    """The groups of actions that a tool is in by itself; `GROUPS` says what those are in."""
    return (tool.effect_class.value, *(("outward",) if tool.is_outward else ()))


def _attributes(record: Record, common: Mapping[Record, str], depth: int) -> Iterator[str]:
    for each in record.attributes:
        name = each.name if each.name.isidentifier() and each.name not in _RESERVED else quote(each.name)
        note = ""
        if isinstance(each.shape, Scalar) and each.shape.values:
            note = "  // " + " | ".join(quote(value) for value in each.shape.values)
        yield f"{name}{'?' if each.is_optional else ''}: {render(each.shape, common, depth)},{note}"


def _listed(names: Collection[str]) -> str:
    return ", ".join(sorted(names)) or "none"
