# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
"""The few calls made to Cedar, typed. Nothing else in the package hands it requests, entities or schemas."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import cedarpy
from cedarpy import pst

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

PolicySet = cedarpy.PolicySet
Schema = cedarpy.Schema
Entities = cedarpy.Entities


@dataclass(frozen=True, slots=True)
class Answer:
    """What one policy set says: the verdict and the ids of the rules that decided it, sorted.

    `errors` are Cedar's: whatever the verdict, with any of them nothing is allowed.
    """

    verdict: Literal["allow", "deny"]
    rules: tuple[str, ...]
    errors: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Fault:
    """What Cedar's validator found: the position of the rule in what it was given, and its words."""

    position: int
    message: str


def ask(request: Mapping[str, object], policies: PolicySet, entities: Entities, schema: Schema) -> Answer:
    """One evaluation, always under a schema: without one, a rule over a wrong type is silently skipped."""
    result = cedarpy.is_authorized(dict(request), policies, entities, schema)
    found = result.diagnostics
    errors = tuple(found.errors)
    if result.decision is cedarpy.Decision.NoDecision:
        errors = errors or ("Cedar came to no decision",)
    return Answer(
        "allow" if result.allowed else "deny",
        tuple(sorted(found.id_annotations_by_reason.values())),
        errors,
    )


def matching_set(texts: Iterable[str]) -> PolicySet:
    """Rules that only say whether they match: each permits, and its id is its number.

    Whether a rule matches a request does not depend on its effect, so one evaluation names all that do.
    """
    found = json.loads(cedarpy.policies_to_json_str("\n".join(texts)))
    rules: dict[str, dict[str, object]] = found["staticPolicies"]
    for name, rule in rules.items():
        rule["effect"] = "permit"
        rule["annotations"] = {"id": name.removeprefix("policy")}
    return PolicySet.from_json_str(json.dumps(found))


def read_policies(text: str) -> pst.PolicySet:
    """The tree of some rules. Raises `ValueError` where it is not Cedar."""
    return cedarpy.policies_to_pst(text)


def read_entities(text: str, schema: Schema) -> Entities:
    """Parsed entities, checked against the schema. Raises `ValueError` where they do not fit it."""
    return Entities.from_json_str(text, schema)


def first_fault(texts: Iterable[str], schema: Schema) -> Fault | None:
    """The first thing that Cedar's strict validator holds against these rules."""
    found = cedarpy.validate_policies("\n".join(texts), schema)
    if found.validation_passed:
        return None
    error = found.errors[0]
    return Fault(int(error.policy_id.removeprefix("policy")), error.error)
