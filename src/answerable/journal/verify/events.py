"""The events of version 1, field by field, as the tables of section 5 have them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from answerable.journal.verify import fields as f

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from answerable.journal.verify.canonical import JsonValue


class EventRule(NamedTuple):
    """Where an event may stand, what it must hold and what it may hold."""

    stream: str
    """The kind of stream: `run`, `inbox`, `tenant` or `agent`."""
    required: Mapping[str, f.Field]
    optional: Mapping[str, f.Field]


_MODES: Final = (
    "read",
    "native_key",
    "upsert",
    "conditional",
    "probe_then_write",
    "draft_then_commit",
    "at_most_once",
)
_OUTCOMES: Final = ("succeeded", "unverified", "escalated", "failed", "halted", "abandoned")
_CODES: Final = (
    "policy_denied",
    "approval_required",
    "approval_denied",
    "approval_expired",
    "budget_exhausted",
    "loop_detected",
    "repeated_effect",
    "claim_held",
    "tool_failure",
    "model_failure",
    "effect_unknown",
    "invalid_call",
    "fact_unavailable",
    "not_done",
    "ambiguous_input",
    "user_requested",
    "low_confidence",
    "autonomy",
    "halted",
    "diverged",
    "internal",
)


def _rule(stream: str, table: Mapping[str, f.Field]) -> EventRule:
    """A rule from a table in which a trailing `?` marks what may be left out, as in the specification."""
    required = {name: field for name, field in table.items() if not name.endswith("?")}
    optional = {name[:-1]: field for name, field in table.items() if name.endswith("?")}
    return EventRule(stream, required, optional)


_RUN: Final[dict[str, dict[str, f.Field]]] = {
    "RunCreated": {
        "journal": f.JOURNAL,
        "agent": f.NAMED,
        "tenant": f.NAMED,
        "kind": f.one_of("driven", "attached"),
        "release": f.TOKEN,
        "autonomy": f.one_of("shadow", "propose", "capped", "full"),
        "subject": f.SUBJECT,
        "task": f.REF,
        "source?": f.DIGEST,
    },
    "RunAdopted": {
        "epoch": f.SEQ,
        "owner": f.TOKEN,
        "cause": f.one_of("start", "wake", "recovery"),
        "limits": f.LIMITS,
        "release?": f.TOKEN,
    },
    "ValueTaken": {"path": f.PATH, "kind": f.one_of("now", "random", "uuid"), "value": f.TOKEN},
    "ModelIntended": {
        "path": f.PATH,
        "attempt": f.SEQ,
        "model": f.TOKEN,
        "kept": f.COUNT,
        "added": f.REFS,
        "offer": f.DIGEST,
        "reserve": f.RESERVE,
    },
    "ModelEnded": {
        "path": f.PATH,
        "attempt": f.SEQ,
        "state": f.one_of("replied", "failed", "unknown"),
        "reply?": f.REF,
        "failure?": f.TOKEN,
        "tokens_in": f.COUNT,
        "tokens_out": f.COUNT,
        "cost?": f.COUNT,
        "table": f.TOKEN_OR_EMPTY,
        "scripted": f.BOOLEAN,
        "settle": f.SETTLE,
    },
    "CallDecided": {
        "path": f.PATH,
        "tool": f.TOKEN,
        "class": f.one_of("read", "write", "irreversible", "invalid"),
        "args?": f.REF,
        "digest": f.DIGEST,
        "verdict": f.one_of("allow", "require_approval", "deny"),
        "gate": f.TOKEN_OR_EMPTY,
        "code?": f.TOKEN,
        "rules": f.TOKENS,
        "policy": f.DIGEST,
        "why?": f.REF,
        "labels": f.LABELS,
        "facts": f.FACTS,
        "totals": f.TOTALS_SEEN,
        "discharged": f.TOKENS,
        "now?": f.COUNT,
        "autonomy?": f.one_of("shadow", "propose", "capped", "full"),
        "left?": f.COUNTS,
    },
    "ToolsFixed": {"path": f.PATH, "tools": f.TOKENS},
    "SourceRead": {
        "path": f.PATH,
        "source": f.TOKEN,
        "trusted": f.BOOLEAN,
        "class": f.TOKEN,
        "value": f.REF,
    },
    "Endorsed": {"path": f.PATH, "value": f.REF, "why": f.REF, "kind?": f.TOKEN},
    "Declassified": {"path": f.PATH, "classes": f.TOKENS, "why": f.REF},
    "ApprovalRequested": {
        "path": f.PATH,
        "request": f.TOKEN,
        "digest": f.DIGEST,
        "needs": f.NEEDS,
        "expires": f.COUNT,
        "preview": f.REF,
    },
    "ApprovalSettled": {
        "path": f.PATH,
        "request": f.TOKEN,
        "state": f.one_of("granted", "denied", "expired", "voided"),
        "inbox": f.SEQS,
    },
    "InboxFolded": {"seq": f.SEQ, "hash": f.DIGEST},
    "CallIntended": {
        "path": f.PATH,
        "effect": f.DIGEST,
        "attempt": f.SEQ,
        "tool": f.TOKEN,
        "mode": f.one_of(*_MODES),
        "claim?": f.CLAIM,
        "reserve": f.RESERVE,
        "totals": f.TOTALS,
        "halt_epoch": f.COUNT,
        "send_by": f.COUNT,
        "undoes?": f.DIGEST,
        "undo?": f.TOKEN,
    },
    "CallEnded": {
        "path": f.PATH,
        "effect?": f.DIGEST,
        "attempt": f.SEQ,
        "tool": f.TOKEN,
        "state": f.one_of("done", "failed", "unknown", "shadowed"),
        "via": f.one_of("send", "probe", "person", "fallback", "late"),
        "result?": f.REF,
        "failure?": f.TOKEN,
        "cost": f.COUNT,
        "settle": f.SETTLE,
        "us": f.COUNT,
    },
    "RunParked": {
        "waiting_for": f.one_of("approval", "timer", "release"),
        "request?": f.TOKEN,
        "wake_at?": f.COUNT,
    },
    "RunEnded": {
        "outcome": f.one_of(*_OUTCOMES),
        "code?": f.one_of(*_CODES),
        "rules": f.TOKENS,
        "answer?": f.REF,
        "check?": f.REF,
        "packet?": f.REF,
        "unknown": f.DIGESTS,
    },
}

_INBOX: Final[dict[str, dict[str, f.Field]]] = {
    "ApprovalGiven": {
        "request": f.TOKEN,
        "verdict": f.one_of("grant", "deny"),
        "approver": f.TOKEN,
        "digest": f.DIGEST,
        "rules": f.TOKENS,
        "expires": f.COUNT,
        "nonce": f.TOKEN,
        "signature": f.SIGNATURE,
        "note?": f.REF,
    },
    "EffectReported": {
        "effect": f.DIGEST,
        "state": f.one_of("done", "failed"),
        "by": f.TOKEN,
        "result?": f.REF,
    },
}

_TENANT: Final[dict[str, dict[str, f.Field]]] = {
    "JournalCreated": {"journal": f.JOURNAL, "key": f.PUBLIC_KEY, "format": f.FORMAT},
    "HaltRaised": {"scope": f.SCOPE, "epoch": f.SEQ, "by": f.TOKEN, "reason": f.TOKEN_OR_EMPTY},
    "HaltLifted": {"scope": f.SCOPE, "epoch": f.SEQ, "by": f.TOKEN, "reason": f.TOKEN_OR_EMPTY},
    "HeadExported": {"streams": f.COUNT, "digest": f.DIGEST},
    "RetentionApplied": {"class": f.TOKEN, "before": f.COUNT, "count": f.COUNT},
    "DiscontinuityAccepted": {"by": f.TOKEN, "head": f.DIGEST, "behind": f.BEHIND, "signature": f.SIGNATURE},
}

_AGENT: Final[dict[str, dict[str, f.Field]]] = {"ReleaseSeen": {"release": f.TOKEN, "agent": f.NAMED}}

EVENTS: Final[dict[str, EventRule]] = {
    name: _rule(stream, table)
    for stream, tables in (("run", _RUN), ("inbox", _INBOX), ("tenant", _TENANT), ("agent", _AGENT))
    for name, table in tables.items()
}


def check_event(stream: str, event: JsonValue) -> Iterator[tuple[str, str]]:
    """What is wrong with one event of `stream`, as pairs of kind and message; nothing where it is sound."""
    if not isinstance(event, dict):
        yield "envelope", "an event is not an object"
        return
    name = event.get("type")
    rule = EVENTS.get(name) if isinstance(name, str) else None
    if rule is None:
        yield "unknown_event", f"version 1 has no event {name!a:.80}"
        return
    if stream.partition("/")[0] != rule.stream:
        yield "wrong_stream", f"{name} does not belong into {stream}"
    yield from _check_fields(f"{name}", rule, event)


def _check_fields(name: str, rule: EventRule, event: dict[str, JsonValue]) -> Iterator[tuple[str, str]]:
    seen = 1
    for key, field in rule.required.items():
        if key not in event:
            yield "missing_field", f"{name} lacks `{key}`"
            continue
        seen += 1
        if not field.is_valid(event[key]):
            yield "field_type", f"`{key}` of {name} is not {field.name}"
    for key, field in rule.optional.items():
        if key in event:
            seen += 1
            if not field.is_valid(event[key]):
                yield "field_type", f"`{key}` of {name} is not {field.name}"
    if seen != len(event):
        known = {"type", *rule.required, *rule.optional}
        for key in event.keys() - known:
            yield "unknown_field", f"{name} has no field {key!a:.80}"


def payload_refs(event: dict[str, JsonValue]) -> Iterator[tuple[str, str]]:
    """The payloads that a sound event refers to, as pairs of field and ref."""
    rule = EVENTS[str(event["type"])]
    for table in (rule.required, rule.optional):
        for key, field in table.items():
            if field.refs is not None and key in event:
                for ref in field.refs(event[key]):
                    yield key, ref
