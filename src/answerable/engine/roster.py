"""The agents that a process knows: each with its tools, its policy, and the release that it is."""

from __future__ import annotations

from typing import TYPE_CHECKING

from answerable.engine.dispatch.releases import release_name
from answerable.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable

    from answerable.engine.agent import Agent
    from answerable.engine.perform import Performer
    from answerable.gates.pipeline import Policy
    from answerable.models.port import ModelPort
    from answerable.tools.declare import Tool


class Roster:
    """See the module. An agent is known from the start, or once somebody brings it along with a task."""

    def __init__(
        self,
        performer: Performer,
        *,
        policy: Callable[[Agent], Policy],
        model: Callable[[str], ModelPort],
    ) -> None:
        self.releases: dict[str, str] = {}
        """Agent → release."""
        self.tools: dict[str, dict[str, Tool]] = {}
        self.policies: dict[str, Policy] = {}
        self._performer = performer
        self._policy = policy
        self._model = model
        self._agents: dict[str, Agent] = {}

    def names(self) -> list[str]:
        """What can be driven here, as it is listed of a worker."""
        return [release_name(agent, release) for agent, release in self.releases.items()]

    def find(self, agent: Agent | str) -> Agent:
        """The agent of this name. Raises `ConfigError` for one that nobody has brought."""
        name = agent if isinstance(agent, str) else agent.name
        if name not in self._agents and not isinstance(agent, str):
            self.register(agent)
        known = self._agents.get(name)
        if known is None:
            raise ConfigError(
                f"the runtime does not know the agent `{name}`",
                hint=f"it knows {', '.join(self._agents) or 'none'}: give it the agent itself, or agents=[...]",
            )
        return known

    def register(self, agent: Agent) -> None:
        """Get to know an agent: its policy loads, and its tools have what they need, or it is refused."""
        tools = agent.all_tools()
        for tool in tools.values():
            self._performer.check(tool)
        for name in agent.models:
            self._model(name)
        policy = self._policy(agent)
        self.releases[agent.name] = agent.release()
        self._agents[agent.name], self.tools[agent.name], self.policies[agent.name] = agent, tools, policy
