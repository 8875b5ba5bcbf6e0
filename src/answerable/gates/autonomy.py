"""The autonomy gate: how much an agent may do by itself, per agent and tool."""

from __future__ import annotations

from typing import TYPE_CHECKING

from answerable.kernel.decision import (
    ApproverNeed,
    Decision,
    ReasonCode,
    Verdict,
    allow,
    deny,
)

if TYPE_CHECKING:
    from answerable.gates.request import Autonomy
    from answerable.kernel.tool import ToolSpec

GATE = "autonomy"
PROPOSE_RULE = "autonomy-propose"
OPERATOR = "operator"
"""The role that answers for an agent which may only propose."""


def check(spec: ToolSpec, autonomy: Autonomy, *, discharged: frozenset[str]) -> Decision:
    """Whether the agent may do this without asking.

    `shadow`: performed by nobody. `propose`: a person says yes to each write. `capped`: by itself, inside
    declared caps: a write that moves money needs a total or a business key to count against. `full`: by itself.
    """
    if not spec.is_write or autonomy in ("full", "shadow"):
        return allow(GATE)
    if autonomy == "propose":
        if PROPOSE_RULE in discharged:
            return allow(GATE)
        return Decision(
            verdict=Verdict.REQUIRE_APPROVAL,
            gate=GATE,
            code=ReasonCode.APPROVAL_REQUIRED,
            reason=f"the agent may only propose `{spec.name}`",
            rules=(PROPOSE_RULE,),
            texts={PROPOSE_RULE: "While an agent may only propose, a person says yes to each write."},
            needs=(ApproverNeed(rule=PROPOSE_RULE, roles=(OPERATOR,)),),
        )
    if autonomy != "capped":
        problem = f"`{autonomy}` is no level of autonomy"
        return deny(GATE, ReasonCode.AUTONOMY, problem, rules=("autonomy-known",))
    if spec.impact is not None and spec.impact.money and not (spec.totals or spec.business_key):
        return deny(
            GATE,
            ReasonCode.AUTONOMY,
            f"`{spec.name}` moves money, and no total or business key caps it",
            rules=("autonomy-capped-needs-a-cap",),
        )
    return allow(GATE)
