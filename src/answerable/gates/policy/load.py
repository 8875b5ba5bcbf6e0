"""Loading a bundle: read every file, check every rule, and show that every rule can apply."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from answerable.gates.policy import cedar
from answerable.gates.policy.bundle import Bundle
from answerable.gates.policy.canary import can_apply, check_validator
from answerable.gates.policy.check import check_fields, check_names, check_types, known_entities
from answerable.gates.policy.places import Places
from answerable.gates.policy.refusal import refuse
from answerable.gates.policy.rules import Rule, read_rules
from answerable.gates.policy.schema import full_schema, tool_shapes
from answerable.gates.policy.scope import covers_action, equals_group, groups_only, named_tools
from answerable.kernel.encoding import encode_payload, sha256_hex

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from answerable.gates.policy.schema import ToolShape
    from answerable.kernel.tool import SessionSpec, ToolSpec


def load_bundle(
    sources: Mapping[str, str],
    tools: Sequence[ToolSpec],
    agents: Collection[str],
    *,
    roles: Mapping[str, Collection[str]] | None = None,
    tool_sets: Mapping[str, Collection[str]] | None = None,
    sessions: Sequence[SessionSpec] = (),
) -> Bundle:
    """Read, check and try out a policy. `sources` maps a file's name to its text.

    `roles` says which roles each agent holds, `tool_sets` which tools each set has, `sessions` what a run
    establishes for its later calls. Raises `PolicyError`,
    with file, line, rule and what to do, for anything that might not mean what its author meant.
    """
    shapes = tool_shapes(tools, sessions)
    held = {agent: tuple(sorted(set(names))) for agent, names in (roles or {}).items()}
    _check_given(shapes, agents, held, tool_sets or {})
    schema_text = full_schema(shapes, agents, held, tool_sets or {})
    places = Places(
        rules=(),
        tools=shapes,
        agents=frozenset(agents),
        roles=held,
        sets={
            name: tuple(sorted(each for each, inside in (tool_sets or {}).items() if name in inside))
            for name in shapes
        },
    )
    rules = _checked(read_rules(sources), places, schema_text, frozenset(tool_sets or ()))
    places.rules = rules
    for shape in shapes.values():
        check_validator(shape)
    for rule in rules:
        _check_applies(rule, places)
    return Bundle(
        rules=rules,
        digest=_digest(sources, schema_text, tools),
        schema_text=schema_text,
        undecidable={name: shape.left_out for name, shape in shapes.items() if shape.left_out},
        unreachable=tuple(
            name
            for name in shapes
            if not any(rule.effect == "permit" and name in rule.actions for rule in rules)
        ),
        idle=tuple(rule.id for rule in rules if not rule.actions),
        _places=places,
        _by_id={rule.id: rule for rule in rules},
    )


def _digest(sources: Mapping[str, str], schema_text: str, tools: Sequence[ToolSpec]) -> str:
    """The rules, what they can speak about, and the marks on which labels rest."""
    described: list[object] = [sorted(sources.items()), schema_text]
    marks = {tool.name: found for tool in tools if (found := tool.marks()) is not None}
    if marks:
        described.append(marks)
    return sha256_hex(encode_payload(described))


def _checked(
    rules: tuple[Rule, ...], places: Places, schema_text: str, tool_sets: frozenset[str]
) -> tuple[Rule, ...]:
    """The rules with the tools that each applies to, once every static check has passed."""
    every_role = frozenset(role for held in places.roles.values() for role in held)
    known = known_entities(places.tools, places.agents, every_role, tool_sets)
    checked: list[Rule] = []
    for rule in rules:
        check_names(rule, known)
        reached = tuple(
            name
            for name, tool in places.tools.items()
            if any(places.covers(rule, tool, agent) for agent in places.agents)
        )
        if reached:
            check_fields(rule, [places.tools[name] for name in reached])
        elif not _is_idle(rule, places):
            hint = "a group is reached with `in`: `action in Action::…`"
            rule.refuse(
                "its scope fits no agent and tool together",
                hint if equals_group(rule.body) else "widen the scope, or delete the rule",
            )
        checked.append(replace(rule, actions=reached))
    check_types([rule for rule in checked if rule.actions], _schema(schema_text))
    return tuple(checked)


def _is_idle(rule: Rule, places: Places) -> bool:
    """Whether the rule guards groups of actions in which there is no tool yet: it waits for the first one."""
    return groups_only(rule.body) and not any(
        covers_action(rule.body, tool.spec) for tool in places.tools.values()
    )


def _schema(text: str) -> cedar.Schema:
    try:
        return cedar.Schema.from_str(text)
    except ValueError as error:
        refuse(f"the tools cannot be described to Cedar: {error}", "look for an unusual tool or field name")


def _check_applies(rule: Rule, places: Places) -> None:
    """Every tool that the rule names by itself has to be reached; of a group or of all, one is enough."""
    named = [[name] for name in named_tools(rule.body) if name in rule.actions]
    for names in named or ([list(rule.actions)] if rule.actions else []):
        if not can_apply(rule, places.places_of(rule, names)):
            what = "fire" if rule.effect == "forbid" else "permit anything"
            where = f" for `{names[0]}`" if named else ""
            rule.refuse(
                f"it could not be shown to {what}{where}: no value that was tried meets its conditions",
                "look for conditions that exclude each other; if it is right, write it as simpler rules",
            )


def _check_given(
    shapes: Mapping[str, ToolShape],
    agents: Collection[str],
    roles: Mapping[str, Collection[str]],
    tool_sets: Mapping[str, Collection[str]],
) -> None:
    for agent in roles:
        if agent not in agents:
            refuse(
                f"roles are given to an agent `{agent}` that does not exist",
                "name only agents of this project",
            )
    for name, inside in tool_sets.items():
        for tool in inside:
            if tool not in shapes:
                refuse(
                    f"tool set `{name}` has a tool `{tool}` that does not exist",
                    "name only tools of this project",
                )
