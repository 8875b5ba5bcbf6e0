"""The policy gate: rules in Cedar, checked against the tools' own types, asked about one call at a time.

`spec/policy.md` says what a bundle is and what it promises. Everything here is pure: no clock, no files.
"""

from __future__ import annotations

from answerable.gates.policy.bundle import Bundle
from answerable.gates.policy.load import load_bundle
from answerable.gates.policy.rules import Rule
from answerable.gates.policy.schema import cedar_schema_text

__all__ = ["Bundle", "Rule", "cedar_schema_text", "load_bundle"]
