"""A slice: the rules that can matter to one agent and one tool, parsed once and ready to ask.

Rules are dropped by their scope heads only. Cedar is shown only what the slice's rules read: building its
context is most of the cost of a decision.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeVar

from cedarpy import pst

from answerable.gates.policy import cedar
from answerable.gates.policy.context import build_context, context_text
from answerable.gates.policy.schema import GROUPS, slice_schema
from answerable.gates.policy.shape import Attribute, Record
from answerable.gates.policy.tree import Reads, context_reads, prune_shape, prune_value
from answerable.gates.policy.validator import ContextValidator
from answerable.kernel.encoding import encode_payload

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from answerable.gates.policy.cedar import Answer
    from answerable.gates.policy.rules import Rule
    from answerable.gates.policy.schema import ToolShape
    from answerable.gates.policy.shape import Shape
    from answerable.gates.request import PolicyRequest
    from answerable.kernel.decision import Decision
    from answerable.kernel.tool import ToolSpec

_Key = TypeVar("_Key")
_Value = TypeVar("_Value")

CACHED_MAX = 1024
"""Entries of one cache; when it is full it starts anew."""


@dataclass(frozen=True, slots=True)
class Asked:
    """Who asks for what: all that decides the entities of a request."""

    agent: str
    tenant: str
    roles: tuple[str, ...]
    tool_sets: tuple[str, ...]


@dataclass(slots=True)
class Slice:
    """The rules for one tool and one kind of agent."""

    tool: ToolShape
    rules: tuple[Rule, ...]
    reads: Reads
    context: Record
    """What Cedar is shown."""
    built: Record
    """What is built and checked before."""
    validator: ContextValidator
    schema: cedar.Schema
    full: cedar.PolicySet
    hard: cedar.PolicySet
    entities: dict[Asked, cedar.Entities] = field(default_factory=dict[Asked, cedar.Entities])
    decisions: dict[Asked, Decision] = field(default_factory=dict["Asked", "Decision"])

    @property
    def reads_context(self) -> bool:
        """Whether any rule looks at the context; if none does, the decision rests on the entities alone."""
        return not self.reads.is_empty

    def build(self, request: PolicyRequest) -> dict[str, object]:
        """The context, checked: the whole, but of facts and history only what the rules read.

        Those are large, and come typed out of their tools and the journal. Raises `NotExpressible`.
        """
        return build_context(request, self.tool, self.built, self.validator)

    def request(self, asked: Asked, context: dict[str, object]) -> tuple[dict[str, object], cedar.Entities]:
        """The request and entities in Cedar's form, with the context cut to what the rules read."""
        name = self.tool.spec.name
        return {
            "principal": {"type": "Agent", "id": asked.agent},
            "action": {"type": "Action", "id": name},
            "resource": {"type": "Tool", "id": name},
            "context": context_text(prune_value(context, self.context)),
        }, self._entities(asked)

    def _entities(self, asked: Asked) -> cedar.Entities:
        found = self.entities.get(asked)
        if found is None:
            # Always with the schema: without it a wrong type would only make a rule be skipped.
            found = cedar.read_entities(entities_text(self.tool, asked), self.schema)
            remember(self.entities, asked, found)
        return found

    def ask(self, policies: cedar.PolicySet, request: dict[str, object], entities: cedar.Entities) -> Answer:
        """One evaluation, always under the schema."""
        return cedar.ask(request, policies, entities, self.schema)


def make_slice(tool: ToolShape, rules: Sequence[Rule], tools: Mapping[str, ToolShape]) -> Slice:
    """Parse what is needed to decide calls of `tool` under `rules`."""
    reads = context_reads(rule.body.clauses for rule in rules)
    context: Record = prune_shape(tool.context, reads)  # pyright: ignore[reportAssignmentType]
    built = Record(
        tuple(
            Attribute(each.name, _read_of(context, each.name)) if each.name in _LARGE else each
            for each in tool.context.attributes
        )
    )
    return Slice(
        tool=tool,
        rules=tuple(rules),
        reads=reads,
        context=context,
        built=built,
        validator=ContextValidator(built),
        schema=cedar.Schema.from_str(slice_schema(tool.spec, context, _other_actions(tool, rules, tools))),
        full=policy_set(rules),
        hard=policy_set([rule for rule in rules if rule.decision != "require_approval"]),
    )


_LARGE = frozenset({"facts", "history"})


def _read_of(context: Record, name: str) -> Shape:
    found = context.get(name)
    return found.shape if found is not None else Record(())


def policy_set(rules: Sequence[Rule]) -> cedar.PolicySet:
    """The rules as one parsed set."""
    return cedar.PolicySet.from_str("\n".join(rule.source for rule in rules))


def entities_text(tool: ToolShape, asked: Asked) -> str:
    """The entities of a request: the agent with its roles, the tool with its sets."""
    spec = tool.spec
    roles = [{"type": "Role", "id": role} for role in asked.roles]
    sets = [{"type": "ToolSet", "id": name} for name in asked.tool_sets]
    described: list[object] = [
        {"uid": {"type": "Agent", "id": asked.agent}, "attrs": {"tenant": asked.tenant}, "parents": roles},
        {
            "uid": {"type": "Tool", "id": spec.name},
            "attrs": {"effect_class": spec.effect_class.value, "data_class": spec.data_class},
            "parents": sets,
        },
        *({"uid": uid, "attrs": {}, "parents": []} for uid in (*roles, *sets)),
    ]
    return encode_payload(described).decode()


def remember(cache: dict[_Key, _Value], key: _Key, value: _Value) -> None:
    """Keep a value; a full cache is emptied first, so that no caller can make it grow without end."""
    if len(cache) >= CACHED_MAX:
        cache.clear()
    cache[key] = value


def _other_actions(
    tool: ToolShape, rules: Sequence[Rule], tools: Mapping[str, ToolShape]
) -> dict[str, ToolSpec]:
    """The other tools that conditions name: they have a place in the hierarchy of actions."""
    uids = {uid for rule in rules for uid in pst.entity_uids(rule.body.clauses) if str(uid.type) == "Action"}
    return {uid.id: tools[uid.id].spec for uid in uids if uid.id not in {tool.spec.name, *GROUPS}}
