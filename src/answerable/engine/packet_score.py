"""How complete an escalation packet is: computed from the packet alone, by code and never by a model."""

from __future__ import annotations

from typing import Any, cast

Json = dict[str, Any]

RULE_CODES = frozenset({"policy_denied", "approval_required", "approval_denied", "approval_expired"})
"""Reasons behind which there is always at least one rule."""


def completeness(packet: dict[str, object]) -> dict[str, object]:
    """Each required section with what it lacks, and the share that is complete, in whole per cent."""
    held = cast("Json", packet)
    sections = [
        {"section": name, "is_present": not lacks, "lacks": lacks}
        for name, lacks in (
            ("ids", _ids(held)),
            ("deadline", _deadline(held)),
            ("reason", _reason(held)),
            ("rules", _rules(held)),
            ("question", _question(held)),
            ("ask", [] if "task" in held["ask"] else ["the task"]),
            ("facts", [_at(fact, "value") for fact in held["facts"] if "value" not in fact]),
            ("attempts", _attempts(held)),
            ("effects", _effects(held)),
            ("safe", [] if held["safe"]["is_safe"] else ["what may still be done"]),
            ("spend", _spend(held)),
            ("resume", [] if held["resume"] else ["the head that the token is bound to"]),
        )
    ]
    present = sum(bool(section["is_present"]) for section in sections)
    return {"score": present * 100 // len(sections), "sections": sections}


def _at(item: Json, what: str) -> str:
    path = item.get("path") or item["source"]["path"]
    return f"the {what} at {path}"


def _ids(packet: Json) -> list[str]:
    return [name for name in ("packet", "run", "journal", "agent", "owner") if not packet["ids"][name]]


def _deadline(packet: Json) -> list[str]:
    is_waiting = any(answer["answer"] == "approve" for answer in packet["question"]["answers"])
    lacks = ["when an answer is needed"] if is_waiting and not packet["deadline"] else []
    return lacks if packet["default"] else [*lacks, "what happens if nobody answers"]


def _reason(packet: Json) -> list[str]:
    return [name for name in ("code", "text") if not packet["reason"][name]]


def _rules(packet: Json) -> list[str]:
    reason = packet["reason"]
    if not reason["rules"] and reason["code"] in RULE_CODES:
        return ["the rule that decided"]
    return [f"the text of `{rule['id']}`" for rule in reason["rules"] if not rule["text"]]


def _question(packet: Json) -> list[str]:
    question = packet["question"]
    lacks = [] if question["text"].strip() else ["the question"]
    return lacks if question["answers"] else [*lacks, "the answers"]


def _attempts(packet: Json) -> list[str]:
    lacks: list[str] = []
    for tried in packet["attempts"]:
        if "arguments" not in tried and tried["class"] != "invalid":
            lacks.append(_at(tried, "arguments"))
        if tried["state"] == "done" and "result" not in tried:
            lacks.append(_at(tried, "result"))
        if tried["state"] == "failed" and "failure" not in tried:
            lacks.append(_at(tried, "failure"))
        if tried["decision"]["verdict"] != "allow" and "reason" not in tried["decision"]:
            lacks.append(_at(tried, "reason of the decision"))
    return lacks


def _effects(packet: Json) -> list[str]:
    lacks: list[str] = []
    for group in ("done", "unknown"):
        for effect in packet["effects"][group]:
            if "arguments" not in effect:
                lacks.append(_at(effect, "arguments"))
            if "effect" not in effect:
                lacks.append(_at(effect, "key"))
    return lacks


def _spend(packet: Json) -> list[str]:
    spend = packet["spend"]
    lacks = [] if spend["money_usd"]["is_known"] else ["what it cost"]
    return lacks if spend["tool_calls"]["limit"] is not None else [*lacks, "the limits"]
