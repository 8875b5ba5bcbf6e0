"""Every tool and agent that can be asked about, and the slice of the rules for each pair."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from answerable.gates.policy.scope import covers_agent, covers_tool
from answerable.gates.policy.slices import Asked, Slice, make_slice, remember

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

    from answerable.gates.policy.rules import Rule
    from answerable.gates.policy.schema import ToolShape


@dataclass(slots=True, eq=False)
class Places:
    """The tools, agents, roles and sets of a bundle; slices are made when they are first needed."""

    rules: tuple[Rule, ...]
    tools: Mapping[str, ToolShape]
    agents: frozenset[str]
    roles: Mapping[str, tuple[str, ...]]
    sets: Mapping[str, tuple[str, ...]]
    """Per tool, the sets that it is in."""
    slices: dict[tuple[str, tuple[str, ...]], Slice] = field(
        default_factory=dict[tuple[str, tuple[str, ...]], "Slice"]
    )
    found: dict[tuple[str, str, str], tuple[Slice, Asked]] = field(
        default_factory=dict[tuple[str, str, str], "tuple[Slice, Asked]"]
    )

    def find(self, tool: ToolShape, agent: str, tenant: str) -> tuple[Slice, Asked]:
        """The slice for a call of this tool by this agent, and who asks."""
        key = (tool.spec.name, agent, tenant)
        place = self.found.get(key)
        if place is None:
            asked = Asked(agent, tenant, self.roles.get(agent, ()), self.sets.get(tool.spec.name, ()))
            place = (self._slice(tool, agent), asked)
            remember(self.found, key, place)
        return place

    def _slice(self, tool: ToolShape, agent: str) -> Slice:
        rules = [rule for rule in self.rules if self.covers(rule, tool, agent)]
        key = (tool.spec.name, tuple(rule.id for rule in rules))
        found = self.slices.get(key)
        if found is None:
            found = make_slice(tool, rules, self.tools)
            remember(self.slices, key, found)
        return found

    def covers(self, rule: Rule, tool: ToolShape, agent: str) -> bool:
        """Whether the rule's scope heads can match."""
        sets, roles = self.sets.get(tool.spec.name, ()), self.roles.get(agent, ())
        return covers_tool(rule.body, tool.spec, sets) and covers_agent(rule.body, agent, roles)

    def places_of(self, rule: Rule, names: Collection[str]) -> Iterator[tuple[Slice, Asked]]:
        """Where the rule is among those asked, for these tools."""
        for name in names:
            for agent in sorted(self.agents):
                if self.covers(rule, self.tools[name], agent):
                    yield self.find(self.tools[name], agent, "tenant")
