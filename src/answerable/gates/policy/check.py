"""What is refused when a bundle is read: names that do not exist, types that cannot match, dead rules."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NoReturn

from cedarpy import pst

from answerable.gates.policy import cedar
from answerable.gates.policy.refusal import did_you_mean
from answerable.gates.policy.schema import GROUPS, PRINCIPAL
from answerable.gates.policy.shape import Attribute, Record, Scalar
from answerable.gates.policy.tree import chain, item_shape, look_up, walk

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from answerable.gates.policy.rules import Rule
    from answerable.gates.policy.schema import ToolShape

_POLICY_ID = re.compile(r"for policy `policy\d+`, ")
_NAMED_MAX = 3
_COMPARED = frozenset({"eq", "not_eq", "contains", "contains_all", "contains_any"})


def check_names(rule: Rule, known: Mapping[str, frozenset[str]]) -> None:
    """Refuse a rule that names an entity type or an entity that does not exist."""
    for uid in sorted(pst.entity_uids(rule.body), key=str):
        kind = str(uid.type)
        _check_kind(rule, kind, known)
        if uid.id not in known[kind]:
            rule.refuse(f"`{uid}` does not exist", did_you_mean(uid.id, known[kind]))
    for node in walk(rule.body):
        if isinstance(node, (pst.ScopeIs, pst.ScopeIsIn, pst.Is)):
            _check_kind(rule, str(node.entity_type), known)


def check_fields(rule: Rule, shapes: Sequence[ToolShape]) -> None:
    """Refuse a rule that mentions an attribute which no tool in its scope has, or a value it cannot have.

    Cedar's validator lets `has` ask for what can never be there, and text be compared with a value that
    is not on its closed list; either way a rule would silently never fire.
    """
    for node in walk(rule.body.clauses):
        for var, path in _mentions(node):
            if not any(look_up(root, path) for root in _roots(var, shapes)):
                _unknown_field(rule, var, path, shapes)
        if isinstance(node, pst.BinaryOp) and node.op in _COMPARED:
            _check_values(rule, node.left, node.right, shapes)
            _check_values(rule, node.right, node.left, shapes)


def check_types(rules: Sequence[Rule], schema: cedar.Schema) -> None:
    """Refuse what Cedar's own strict validator finds."""
    fault = cedar.first_fault((rule.source for rule in rules), schema)
    if fault is not None:
        message = _POLICY_ID.sub("", fault.message)
        rules[fault.position].refuse(message, _type_hint(message))


def _type_hint(message: str) -> str:
    if "optional attribute" in message:
        return "it may be absent: ask first, as in `context.facts has order && …`"
    if "saw decimal" in message:
        return 'decimals are compared with `.greaterThan(decimal("500.00"))`, `.lessThanOrEqual(…)` and so on'
    if "not found" in message:
        return "not every tool in the rule's scope has it: name the tool, or ask first with `has`"
    return "`answerable policy schema` prints the names and types that rules can use"


def _check_kind(rule: Rule, kind: str, known: Mapping[str, frozenset[str]]) -> None:
    if kind not in known:
        message = f"there is no entity type `{kind}`"
        rule.refuse(message, did_you_mean(kind, known))


def _mentions(node: object) -> Iterator[tuple[str, tuple[str, ...]]]:
    """The attribute paths that a node asks for, each with the variable it starts from."""
    if isinstance(node, pst.GetAttr) and (found := chain(node)) is not None:
        yield found
    elif isinstance(node, pst.HasAttr) and (found := chain(node.base)) is not None:
        yield found[0], (*found[1], *node.attrs)


def _roots(var: str, shapes: Sequence[ToolShape]) -> list[Record]:
    if var == "context":
        return [shape.context for shape in shapes]
    if var == "resource":
        return [_resource(shapes)]
    return [PRINCIPAL if var == "principal" else Record(())]


def _resource(shapes: Sequence[ToolShape]) -> Record:
    """The tool's attributes, with just the values that the tools in scope have."""
    values = {
        "effect_class": {shape.spec.effect_class.value for shape in shapes},
        "data_class": {shape.spec.data_class for shape in shapes},
    }
    return Record(
        tuple(Attribute(name, Scalar("String", tuple(sorted(found)))) for name, found in values.items())
    )


def _unknown_field(rule: Rule, var: str, path: tuple[str, ...], shapes: Sequence[ToolShape]) -> NoReturn:
    dotted = ".".join(path)
    if var == "context":
        for left_out in (each for shape in shapes for each in shape.left_out):
            if dotted == left_out.path or dotted.startswith(f"{left_out.path}."):
                message = f"`context.{left_out.path}` cannot be read by a rule: {left_out.why}"
                rule.refuse(message, "change its type in the tool, or write the rule on something else")
    depth = next(
        n for n in range(len(path)) if not any(look_up(root, path[: n + 1]) for root in _roots(var, shapes))
    )
    near: set[str] = set()
    for root in _roots(var, shapes):
        parent = look_up(root, path[:depth])
        near.update(each.name for each in parent.attributes) if isinstance(parent, Record) else None
    message = f"`{'.'.join((var, *path[: depth + 1]))}` does not exist for {_tools(shapes)}"
    rule.refuse(message, did_you_mean(path[depth], near))


def _tools(shapes: Sequence[ToolShape]) -> str:
    names = [f"`{shape.spec.name}`" for shape in shapes]
    return " or ".join(names) if len(names) <= _NAMED_MAX else "any of its tools"


def _check_values(rule: Rule, expr: object, other: object, shapes: Sequence[ToolShape]) -> None:
    found = chain(expr)
    if found is None:
        return
    scalars = [
        item_shape(shape)
        for root in _roots(found[0], shapes)
        if (shape := look_up(root, found[1])) is not None
    ]
    if not scalars or not all(isinstance(each, Scalar) and each.values for each in scalars):
        return
    values = {value for each in scalars if isinstance(each, Scalar) for value in each.values}
    literals = other.elements if isinstance(other, pst.Set) else (other,)
    for literal in literals:
        if isinstance(literal, pst.StringLit) and literal.value not in values:
            message = f'`{".".join((found[0], *found[1]))}` is never "{literal.value}"'
            rule.refuse(message, did_you_mean(literal.value, values))


def known_entities(
    tools: Mapping[str, ToolShape], agents: frozenset[str], roles: frozenset[str], tool_sets: frozenset[str]
) -> dict[str, frozenset[str]]:
    """Every entity that a rule may name, by type."""
    return {
        "Action": frozenset({*tools, *GROUPS}),
        "Agent": agents,
        "Role": roles,
        "Tool": frozenset(tools),
        "ToolSet": tool_sets,
    }
