"""A place: one tool and one agent of a bundle. What is the same for all its requests, Cedar itself is asked.

Which entities are in which, and whether the head of a rule fits, depends on nothing that a request can change. So none of
it is encoded: the evaluator that decides in the end gives the answer, under the whole schema of the bundle.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NoReturn

from cedarpy import pst

from answerable.errors import PolicyError
from answerable.gates.policy import cedar
from answerable.gates.policy.candidates import assemble
from answerable.gates.policy.context import build_context, context_text
from answerable.gates.policy.slices import Asked, entities_text
from answerable.prove.values import NoForm

if TYPE_CHECKING:
    from collections.abc import Sequence

    from answerable.gates.policy import Bundle, Rule
    from answerable.gates.policy.places import Places
    from answerable.gates.policy.schema import ToolShape
    from answerable.gates.policy.slices import Slice
    from answerable.gates.request import PolicyRequest
    from answerable.kernel.tool import ToolSpec

TENANT = "tenant"
"""The attribute of the agent that a request chooses."""
_ANY_TENANT = "any"
_PERMIT_ALL = "permit (principal, action, resource);"


@dataclass(frozen=True, slots=True, eq=False)
class Place:
    """See the module. `find` gives the slice of the rules and who asks, for a tenant."""

    bundle: Bundle
    tool: ToolShape
    agent: str
    asked: Asked
    attributes: dict[pst.EntityUid, dict[str, Any]]
    """The fixed attributes of the agent and of the tool."""
    _schema: cedar.Schema = field(repr=False)
    _entities: cedar.Entities = field(repr=False)
    _known: dict[pst.Expr, bool] = field(default_factory=dict[pst.Expr, bool], repr=False)

    @property
    def name(self) -> str:
        """The tool's name."""
        return self.tool.spec.name

    @property
    def uids(self) -> dict[str, pst.EntityUid]:
        """The entities behind `principal`, `action` and `resource`."""
        names = {
            "principal": ("Agent", self.agent),
            "action": ("Action", self.name),
            "resource": ("Tool", self.name),
        }
        return {var: pst.EntityUid(pst.EntityType(kind), name) for var, (kind, name) in names.items()}

    @property
    def rules(self) -> tuple[Rule, ...]:
        """The rules whose heads fit."""
        return self.slice(_ANY_TENANT)[0].rules

    def slice(self, tenant: str) -> tuple[Slice, Asked]:
        """The rules that are asked here, as the bundle asks them."""
        return _places(self.bundle).find(self.tool, self.agent, tenant)

    def tool_of(self, name: str) -> ToolSpec | None:
        """Another tool of the same bundle."""
        found = _places(self.bundle).tools.get(name)
        return found.spec if found is not None else None

    def refuse(self, message: str, hint: str) -> NoReturn:
        """Refuse to prove anything about this place."""
        raise PolicyError(f"`{self.name}` for `{self.agent}`: {message}", hint=hint)

    def is_true(self, expr: pst.Expr) -> bool:
        """What Cedar says of an expression that reads nothing of the request. Raises `NoForm` where that is an error."""
        found = self._known.get(expr)
        if found is None:
            found = self._known[expr] = self._ask(_template(expr))
        return found

    def is_covered(self, body: pst.Template) -> bool:
        """Whether the head of a rule fits here."""
        return self._ask(
            pst.Template("head", "permit", body.principal, body.action, body.resource, (), pst.FrozenMap())
        )

    def matches(self, rule: Rule, request: PolicyRequest) -> bool:
        """Whether Cedar finds that a `forbid` applies to a request; one that errs does, to be safe.

        The whole context is looked at: a rule of no bundle is asked here.
        """
        policies = cedar.PolicySet.from_str(f"{_PERMIT_ALL}\n{rule.source}")
        context = context_text(build_context(request, self.tool))
        asked = replace(self.asked, tenant=request.tenant)
        entities = cedar.read_entities(entities_text(self.tool, asked), self._schema)
        answer = cedar.ask(self._question(context), policies, entities, self._schema)
        return answer.verdict == "deny" or bool(answer.errors)

    def _ask(self, body: pst.Template) -> bool:
        policies = pst.PolicySet(pst.FrozenMap(), pst.FrozenMap({body.id: body}), ())
        question = self._question(context_text(assemble(self.tool.context, {})))
        answer = cedar.ask(question, cedar.PolicySet.from_pst(policies), self._entities, self._schema)
        if answer.errors:
            raise NoForm(f"Cedar cannot evaluate a part of it: {answer.errors[0]}", "correct that part")
        return answer.verdict == "allow"

    def _question(self, context: str) -> dict[str, object]:
        uids = {var: {"type": str(uid.type), "id": uid.id} for var, uid in self.uids.items()}
        return {**uids, "context": context}


def places_of(bundle: Bundle) -> tuple[Place, ...]:
    """Every tool and agent that the bundle can be asked about, in order."""
    places = _places(bundle)
    schema = _schema(bundle.schema_text)
    return tuple(
        _place(bundle, tool, agent, places, schema)
        for _, tool in sorted(places.tools.items())
        for agent in sorted(places.agents)
    )


def place_at(bundle: Bundle, tool: str, agent: str) -> Place:
    """One place. Raises `KeyError` where the bundle has no such tool or agent."""
    places = _places(bundle)
    if agent not in places.agents:
        raise KeyError(agent)
    return _place(bundle, places.tools[tool], agent, places, _schema(bundle.schema_text))


def _place(bundle: Bundle, tool: ToolShape, agent: str, places: Places, schema: cedar.Schema) -> Place:
    asked = places.find(tool, agent, _ANY_TENANT)[1]
    text = entities_text(tool, asked)
    attributes: dict[pst.EntityUid, dict[str, Any]] = {}
    for each in json.loads(text):
        uid = pst.EntityUid(pst.EntityType(each["uid"]["type"]), each["uid"]["id"])
        is_agent = each["uid"]["type"] == "Agent"
        attributes[uid] = {
            name: value for name, value in each["attrs"].items() if not (is_agent and name == TENANT)
        }
    return Place(bundle, tool, agent, asked, attributes, schema, cedar.read_entities(text, schema))


def _places(bundle: Bundle) -> Places:
    """The one place where a bundle is looked into."""
    return bundle._places  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]


@lru_cache(maxsize=8)
def _schema(text: str) -> cedar.Schema:
    return cedar.Schema.from_str(text)


def _template(expr: pst.Expr) -> pst.Template:
    scope = pst.ScopeAny()
    return pst.Template("asked", "permit", scope, scope, scope, (pst.When(expr),), pst.FrozenMap())


def rules_of(places: Sequence[Place]) -> tuple[Rule, ...]:
    """The rules of these places' bundles, each once."""
    bundles = dict.fromkeys(place.bundle for place in places)
    return tuple(rule for bundle in bundles for rule in bundle.rules)
