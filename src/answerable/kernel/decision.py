"""What a gate answers: a verdict, the rules that decided, and the reason in words."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum


class Verdict(StrEnum):
    """What may happen next with a call."""

    ALLOW = "allow"
    REQUIRE_APPROVAL = "require_approval"
    DENY = "deny"


class ReasonCode(StrEnum):
    """Why a call did not simply pass, or why a run ended without success. A closed list."""

    POLICY_DENIED = "policy_denied"
    APPROVAL_REQUIRED = "approval_required"
    APPROVAL_DENIED = "approval_denied"
    APPROVAL_EXPIRED = "approval_expired"
    BUDGET_EXHAUSTED = "budget_exhausted"
    LOOP_DETECTED = "loop_detected"
    REPEATED_EFFECT = "repeated_effect"
    CLAIM_HELD = "claim_held"
    TOOL_FAILURE = "tool_failure"
    MODEL_FAILURE = "model_failure"
    EFFECT_UNKNOWN = "effect_unknown"
    INVALID_CALL = "invalid_call"
    FACT_UNAVAILABLE = "fact_unavailable"
    NOT_DONE = "not_done"
    AMBIGUOUS_INPUT = "ambiguous_input"
    USER_REQUESTED = "user_requested"
    LOW_CONFIDENCE = "low_confidence"
    AUTONOMY = "autonomy"
    HALTED = "halted"
    DIVERGED = "diverged"
    INTERNAL = "internal"


@dataclass(frozen=True, slots=True, kw_only=True)
class ApproverNeed:
    """Who has to say yes for one rule: any of `roles`, `count` different people."""

    rule: str
    roles: tuple[str, ...]
    count: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """A gate's answer.

    `gate` names the gate that decided; `rules` the ids that were decisive, sorted; `reason` is for
    people. `needs` is set only where the verdict is `require_approval`. `digest` names the policy
    bundle, so that a later reader knows which text the rule ids refer to.
    """

    verdict: Verdict
    gate: str
    code: ReasonCode | None = None
    reason: str = ""
    rules: tuple[str, ...] = ()
    texts: dict[str, str] = field(default_factory=dict[str, str])
    needs: tuple[ApproverNeed, ...] = ()
    digest: str = ""


def allow(gate: str, *, rules: tuple[str, ...] = (), digest: str = "") -> Decision:
    """Yes, by these rules."""
    return Decision(verdict=Verdict.ALLOW, gate=gate, rules=rules, digest=digest)


def deny(
    gate: str,
    code: ReasonCode,
    reason: str,
    *,
    rules: tuple[str, ...] = (),
    texts: dict[str, str] | None = None,
    digest: str = "",
) -> Decision:
    """No, and why."""
    return Decision(
        verdict=Verdict.DENY,
        gate=gate,
        code=code,
        reason=reason,
        rules=rules,
        texts=texts or {},
        digest=digest,
    )
