"""Two sets of rules side by side: which were added, which are gone, and what changed in those that stayed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

    from answerable.gates.policy import Rule

_SIDES = ("effect", "decision", "text", "owner", "count")


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleChange:
    """One rule that is not the same on both sides; on one of them it may be missing."""

    id: str
    before: Rule | None
    after: Rule | None
    parts: tuple[str, ...] = ()
    """What changed: `effect`, `decision`, `approvers`, `count`, `scope`, `conditions`, `text`, `owner`."""

    def described(self) -> dict[str, Any]:
        """As JSON."""
        return {
            "id": self.id,
            "change": self.kind,
            "parts": list(self.parts),
            "before": _described(self.before),
            "after": _described(self.after),
        }

    @property
    def kind(self) -> str:
        """`added`, `removed` or `changed`."""
        if self.before is None:
            return "added"
        return "removed" if self.after is None else "changed"


def rule_changes(before: Sequence[Rule], after: Sequence[Rule]) -> tuple[RuleChange, ...]:
    """What differs, by id. Where a rule stands, and in which file, is no difference."""
    old, new = {rule.id: rule for rule in before}, {rule.id: rule for rule in after}
    found: list[RuleChange] = []
    for name in dict.fromkeys((*old, *new)):
        one, other = old.get(name), new.get(name)
        parts = changed_parts(one, other) if one is not None and other is not None else ()
        if one is None or other is None or parts:
            found.append(RuleChange(id=name, before=one, after=other, parts=parts))
    return tuple(found)


def changed_parts(one: Rule, other: Rule) -> tuple[str, ...]:
    """In which parts two rules differ."""
    parts = [name for name in _SIDES if getattr(one, name) != getattr(other, name)]
    if set(one.approvers) != set(other.approvers):
        parts.append("approvers")
    if _scope(one) != _scope(other):
        parts.append("scope")
    if one.body.clauses != other.body.clauses:
        parts.append("conditions")
    return tuple(sorted(parts))


def decides_alike(one: Rule, other: Rule) -> bool:
    """Whether two rules of the same id decide the same, word for word."""
    return not set(changed_parts(one, other)) - {"text", "owner"}


def _scope(rule: Rule) -> tuple[object, ...]:
    return rule.body.principal, rule.body.action, rule.body.resource


def _described(rule: Rule | None) -> dict[str, Any] | None:
    if rule is None:
        return None
    return {
        "effect": rule.effect,
        "decision": rule.decision,
        "text": rule.text,
        "owner": rule.owner,
        "approvers": list(rule.approvers),
        "count": rule.count,
        "file": rule.file,
        "line": rule.line,
        "source": rule.source,
    }
