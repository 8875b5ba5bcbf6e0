"""The approval gate: who said yes, to exactly what, until when. Signatures are checked, never trusted.

An approval is bound to the digest of the proposal (tool, arguments, plan) and to the rules that asked. It is
single-use, expires, and never comes from the person on whose request the run was started. A person is their
key: one key under two names is one person.
"""

from __future__ import annotations

import base64
import unicodedata
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from answerable.kernel.encoding import encode_entry

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from answerable.kernel.events import ApprovalGiven, ApprovalRequested

DOMAIN = b"answerable/approval/v1\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class Approver:
    """A person who may approve: a name, roles, and the public key that proves it is them."""

    name: str
    roles: frozenset[str]
    public_key: bytes


def statement(
    *,
    journal: str,
    run: str,
    request: str,
    digest: str,
    verdict: str,
    approver: str,
    rules: Sequence[str],
    expires: int,
    nonce: str,
) -> bytes:
    """The bytes that an approver signs."""
    return DOMAIN + encode_entry(
        {
            "journal": journal,
            "run": run,
            "request": request,
            "digest": digest,
            "verdict": verdict,
            "approver": approver,
            "rules": list(rules),
            "expires": expires,
            "nonce": nonce,
        }
    )


def refusal(
    given: ApprovalGiven,
    asked: ApprovalRequested,
    approvers: Mapping[str, Approver],
    *,
    journal: str,
    run: str,
    requester: str,
    now: int,
) -> str:
    """Why an answer does not count; empty where it does.

    `now` is when the answer was recorded: one that came after the deadline does not count, however late it is
    looked at.
    """
    approver = approvers.get(given.approver)
    if approver is None:
        return f"`{given.approver}` is not listed as an approver"
    if given.request != asked.request or given.digest != asked.digest:
        return "it is for another proposal"
    if tuple(given.rules) != tuple(sorted(rule for rule, _, _ in asked.needs)):
        return "it is for other rules"
    if now > asked.expires or given.expires != asked.expires:
        return "it came after the deadline"
    if _is_same_person(given.approver, requester, approvers):
        return f"`{given.approver}` asked for this and cannot approve it"
    if given.verdict not in ("grant", "deny"):
        return f"`{given.verdict}` is no answer"
    if given.verdict == "grant" and not any(approver.roles & set(roles) for _, roles, _ in asked.needs):
        return f"`{given.approver}` has none of the roles that the rules ask for"
    try:
        signed = statement(
            journal=journal,
            run=run,
            request=given.request,
            digest=given.digest,
            verdict=given.verdict,
            approver=given.approver,
            rules=given.rules,
            expires=given.expires,
            nonce=given.nonce,
        )
        Ed25519PublicKey.from_public_bytes(approver.public_key).verify(
            base64.b64decode(given.signature, validate=True), signed
        )
    except (InvalidSignature, ValueError):
        return "its signature is not that of the listed key"
    return ""


def _is_same_person(name: str, requester: str, approvers: Mapping[str, Approver]) -> bool:
    if not requester:
        return False
    keys = [each.public_key for each in approvers.values() if _folded(each.name) == _folded(requester)]
    return _folded(name) == _folded(requester) or approvers[name].public_key in keys


def _folded(name: str) -> str:
    return unicodedata.normalize("NFKC", name).strip().casefold()


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """Where a request stands: `open`, `granted`, `denied` or `expired`, and the inbox entries that count."""

    state: str
    inbox: tuple[int, ...] = ()
    by: tuple[str, ...] = ()


def answer(
    asked: ApprovalRequested,
    given: Sequence[tuple[int, ApprovalGiven, int]],
    approvers: Mapping[str, Approver],
    *,
    journal: str,
    run: str,
    requester: str,
    now: int,
) -> Answer:
    """What people have said so far. `given` holds inbox seq, answer and the time it was recorded.

    One valid no ends it. For each rule the needed number of *different* people, at least one, with one of its
    roles must say yes; one person may satisfy several rules. A request that no rule asked for is never granted.
    """
    valid = [
        (seq, said)
        for seq, said, at in given
        if not refusal(said, asked, approvers, journal=journal, run=run, requester=requester, now=at)
    ]
    for seq, said in valid:
        if said.verdict == "deny":
            return Answer(state="denied", inbox=(seq,), by=(said.approver,))
    yes = {said.approver: seq for seq, said in reversed(valid)}
    enough = [
        len({approvers[name].public_key for name in yes if approvers[name].roles & set(roles)})
        >= max(count, 1)
        for _, roles, count in asked.needs
    ]
    if not enough or not all(enough):
        return Answer(state="expired" if now > asked.expires else "open")
    return Answer(state="granted", inbox=tuple(sorted(yes.values())), by=tuple(sorted(yes)))
