"""A policy bundle: rules read strictly, checked against the tools, and asked about one call at a time."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from answerable.gates.policy.context import NotExpressible
from answerable.gates.policy.slices import remember
from answerable.kernel.decision import ApproverNeed, Decision, ReasonCode, Verdict, allow, deny

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from answerable.gates.policy.cedar import Answer
    from answerable.gates.policy.places import Places
    from answerable.gates.policy.rules import Rule
    from answerable.gates.policy.schema import ToolShape
    from answerable.gates.policy.shape import LeftOut
    from answerable.gates.policy.slices import Asked, Slice
    from answerable.gates.request import PolicyRequest
    from answerable.kernel.tool import ToolSpec

GATE = "policy"


@dataclass(slots=True, eq=False, kw_only=True)
class Bundle:
    """What `load_bundle` found to be sound. Immutable but for its caches."""

    rules: tuple[Rule, ...]
    digest: str
    """SHA-256 over the file names, their text and the generated schema."""
    schema_text: str
    undecidable: Mapping[str, tuple[LeftOut, ...]]
    """By tool: what no rule can read, and why."""
    unreachable: tuple[str, ...]
    """Tools that no permit covers: every call of them is denied."""
    idle: tuple[str, ...]
    """Rules that guard a group of actions which has no tool yet."""
    _places: Places = field(repr=False)
    _by_id: dict[str, Rule] = field(repr=False)

    @property
    def tools(self) -> Mapping[str, ToolShape]:
        """Every tool that rules were loaded for, as they see it."""
        return self._places.tools

    def decide(self, request: PolicyRequest, discharged: frozenset[str] = frozenset()) -> Decision:
        """Whether this call may happen.

        `discharged` are rules that asked for an approval and got it, for exactly this call; a rule that
        denies cannot be discharged. Never raises: whatever cannot be decided is denied.
        """
        try:
            return self._decide(request, discharged)
        except NotExpressible as error:
            return self._deny(f"the call cannot be shown to the rules: {error}")
        except Exception as error:  # noqa: BLE001 - anything unforeseen has to be a deny
            return self._deny(f"the rules could not be asked: {type(error).__name__}")

    def find(self, tool: ToolSpec, agent: str, tenant: str) -> tuple[Slice, Asked] | str:
        """The rules that can matter to a call, and who asks; or, in words, why it can be asked of none."""
        shape = self._places.tools.get(tool.name)
        if shape is None:
            return f"no rules were loaded for a tool `{tool.name}`"
        if not _is_same_tool(tool, shape.spec):
            return f"tool `{tool.name}` is not the one that the rules were checked against"
        if agent not in self._places.agents:
            return f"no rules were loaded for an agent `{agent}`"
        return self._places.find(shape, agent, tenant)

    def _decide(self, request: PolicyRequest, discharged: frozenset[str]) -> Decision:
        found = self.find(request.tool, request.agent, request.tenant)
        if isinstance(found, str):
            return self._deny(found)
        where, asked = found
        if where.reads_context:
            return self._evaluate(where, asked, where.build(request), discharged)
        if discharged:
            return self._evaluate(where, asked, {}, discharged)
        known = where.decisions.get(asked)
        if known is None:
            known = self._evaluate(where, asked, {}, discharged)
            remember(where.decisions, asked, known)
        return known

    def _evaluate(
        self, where: Slice, asked: Asked, context: dict[str, object], discharged: frozenset[str]
    ) -> Decision:
        name = where.tool.spec.name
        question = where.request(asked, context)
        full = where.ask(where.full, *question)
        if full.errors:
            return self._deny(f"a rule could not be evaluated: {_first_error(full, where)}")
        if full.verdict == "allow":
            return self.settle(name, full.rules, (), discharged)
        if any(self._by_id[rule].decision == "deny" for rule in full.rules):
            return self.settle(name, (), full.rules, discharged)
        hard = where.ask(where.hard, *question)
        is_permitted = not hard.errors and hard.verdict == "allow"
        return self.settle(name, hard.rules if is_permitted else (), full.rules, discharged)

    def settle(
        self, tool: str, permits: Sequence[str], forbids: Sequence[str], discharged: frozenset[str]
    ) -> Decision:
        """The decision on a call of `tool`, where exactly these rules match it and none of them erred.

        Where a forbid that denies is among them, it does not matter which permits are.
        """
        fired = [self._by_id[name] for name in forbids]
        final = [rule for rule in fired if rule.decision == "deny"]
        if final:
            return self._deny(_texts(final), final)
        if not permits:
            return self._deny(f"no rule permits `{tool}` here")
        still_open = [rule for rule in fired if rule.id not in discharged]
        if not still_open:
            return allow(GATE, rules=tuple(permits), digest=self.digest)
        return Decision(
            verdict=Verdict.REQUIRE_APPROVAL,
            gate=GATE,
            code=ReasonCode.APPROVAL_REQUIRED,
            reason=_texts(still_open),
            rules=tuple(rule.id for rule in still_open),
            texts={rule.id: rule.text for rule in still_open},
            needs=tuple(
                ApproverNeed(rule=each.id, roles=each.approvers, count=each.count) for each in still_open
            ),
            digest=self.digest,
        )

    def _deny(self, reason: str, rules: Sequence[Rule] = ()) -> Decision:
        return deny(
            GATE,
            ReasonCode.POLICY_DENIED,
            reason,
            rules=tuple(rule.id for rule in rules),
            texts={rule.id: rule.text for rule in rules},
            digest=self.digest,
        )


def _is_same_tool(asked: ToolSpec, known: ToolSpec) -> bool:
    return asked is known or (
        asked.arguments is known.arguments
        and asked.effect_class is known.effect_class
        and asked.data_class == known.data_class
        and asked.is_outward == known.is_outward
    )


def _first_error(answer: Answer, where: Slice) -> str:
    """Cedar's message, with our rule's id in the place of Cedar's number."""
    message = answer.errors[0]
    for number, rule in reversed(list(enumerate(where.rules))):
        message = message.replace(f"`policy{number}`", f"`{rule.id}`")
    return message


def _texts(rules: Sequence[Rule]) -> str:
    return "; ".join(rule.text for rule in rules)
