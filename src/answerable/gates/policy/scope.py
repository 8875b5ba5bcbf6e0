"""Scope heads: which tools and agents a rule can apply to, read from its first line alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cedarpy import pst

from answerable.gates.policy.schema import GROUPS, groups_of

if TYPE_CHECKING:
    from collections.abc import Collection

    from answerable.kernel.tool import ToolSpec


def covers_tool(body: pst.Template, tool: ToolSpec, tool_sets: Collection[str]) -> bool:
    """Whether the rule's action and resource scopes can match a call of this tool."""
    return covers_action(body, tool) and _covers_entity(
        body.resource, "Tool", tool.name, "ToolSet", tool_sets
    )


def covers_agent(body: pst.Template, agent: str, roles: Collection[str]) -> bool:
    """Whether the rule's principal scope can match this agent."""
    return _covers_entity(body.principal, "Agent", agent, "Role", roles)


def named_tools(body: pst.Template) -> tuple[str, ...]:
    """The tools that the action scope names one by one."""
    return tuple(name for name in _action_names(body.action) if name not in GROUPS)


def groups_only(body: pst.Template) -> bool:
    """Whether the action scope reaches into groups of tools and names nothing else."""
    return isinstance(body.action, pst.ActionIn) and all(each.id in GROUPS for each in body.action.entities)


def equals_group(body: pst.Template) -> bool:
    """Whether the action scope says `==` of a group: no call is ever the group itself."""
    return isinstance(body.action, pst.ActionEq) and body.action.entity.id in GROUPS


def _action_names(scope: pst.ActionConstraint) -> tuple[str, ...]:
    match scope:
        case pst.ActionEq(entity):
            return (entity.id,)
        case pst.ActionIn(entities):
            return tuple(each.id for each in entities)
        case _:
            return ()


def covers_action(body: pst.Template, tool: ToolSpec) -> bool:
    """Whether the rule's action scope can match a call of this tool. In doubt it can."""
    match body.action:
        case pst.ActionEq(entity):
            return entity.id == tool.name
        case pst.ActionIn(entities):
            own = groups_of(tool)
            held = {tool.name, *own, *(above for group in own for above in GROUPS[group])}
            return any(each.id in held for each in entities)
        case _:
            return True


def _covers_entity(
    scope: pst.PrincipalOrResourceConstraint, kind: str, name: str, parent_kind: str, parents: Collection[str]
) -> bool:
    """Whether an entity of this kind, name and parents can match. In doubt it can."""
    match scope:
        case pst.ScopeEq(pst.EntityUid(type_, id_)):
            return (str(type_), id_) == (kind, name)
        case pst.ScopeIs(type_):
            return str(type_) == kind
        case pst.ScopeIn(pst.EntityUid() as entity):
            return _is_in(entity, kind, name, parent_kind, parents)
        case pst.ScopeIsIn(type_, pst.EntityUid() as entity):
            return str(type_) == kind and _is_in(entity, kind, name, parent_kind, parents)
        case _:
            return True


def _is_in(entity: pst.EntityUid, kind: str, name: str, parent_kind: str, parents: Collection[str]) -> bool:
    held = {(kind, name), *((parent_kind, each) for each in parents)}
    return (str(entity.type), entity.id) in held
