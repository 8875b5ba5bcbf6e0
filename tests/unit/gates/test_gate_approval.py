"""Who may say yes, to what, until when: every way in which an answer must not count."""

from __future__ import annotations

import base64
from dataclasses import replace
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from answerable.gates.approval import Answer, Approver, answer, refusal, statement
from answerable.kernel.events import ApprovalGiven, ApprovalRequested

DIGEST = "d" * 64
KEYS = {
    name: Ed25519PrivateKey.from_private_bytes(name.encode().ljust(32, b"."))
    for name in ("ann", "bob", "cy", "mallory")
}
ASKED = ApprovalRequested(
    path="1.0",
    request="apr_1",
    digest=DIGEST,
    needs=(("over-cap", ("lead", "finance"), 1),),
    expires=1000,
    preview=DIGEST,
)
TWO = replace(ASKED, needs=(("over-cap", ("lead",), 2),))


def person(name: str, *roles: str, key: str | None = None) -> Approver:
    """An approver with the key of that name, or of another."""
    return Approver(
        name=name, roles=frozenset(roles), public_key=KEYS[key or name].public_key().public_bytes_raw()
    )


PEOPLE = {each.name: each for each in (person("ann", "lead"), person("bob", "lead"), person("cy", "finance"))}
CONTEXT: dict[str, Any] = {"journal": "jnl_1", "run": "run_1", "requester": ""}


def said(
    by: str,
    verdict: str = "grant",
    *,
    asked: ApprovalRequested = ASKED,
    key: str = "",
    where: Any = None,
    **changes: Any,
) -> ApprovalGiven:
    """A signed answer; what is in `changes` is signed too."""
    signed: dict[str, Any] = {
        "request": asked.request,
        "verdict": verdict,
        "approver": by,
        "digest": asked.digest,
        "rules": tuple(sorted(rule for rule, _, _ in asked.needs)),
        "expires": asked.expires,
        "nonce": "n1",
        **changes,
    }
    place = {"journal": "jnl_1", "run": "run_1"} | (where or {})
    signature = KEYS[key or by].sign(statement(**place, **signed))
    return ApprovalGiven(**signed, signature=base64.b64encode(signature).decode())


def why_not(
    given: ApprovalGiven,
    *,
    asked: ApprovalRequested = ASKED,
    people: Any = None,
    now: int = 10,
    **context: Any,
) -> str:
    """Why it does not count."""
    return refusal(given, asked, people or PEOPLE, now=now, **(CONTEXT | context))


def stands(
    *given: ApprovalGiven,
    asked: ApprovalRequested = ASKED,
    people: Any = None,
    now: int = 10,
    at: int = 10,
    **context: Any,
) -> Answer:
    """Where the request stands after these answers, all recorded at `at`."""
    numbered = [(seq, each, at) for seq, each in enumerate(given, 1)]
    return answer(asked, numbered, people or PEOPLE, now=now, **(CONTEXT | context))


def test_a_yes_from_the_right_person_counts() -> None:
    """The plain case: one lead, in time."""
    assert why_not(said("ann")) == ""
    assert stands(said("ann")) == Answer(state="granted", inbox=(1,), by=("ann",))
    assert stands(said("cy")).state == "granted", "any of the roles will do"


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        (said("mallory"), "not listed"),
        (said("ann", request="apr_2"), "another proposal"),
        (said("ann", digest="e" * 64), "another proposal"),
        (said("ann", rules=()), "other rules"),
        (said("ann", rules=("over-cap", "weekend")), "other rules"),
        (said("ann", expires=2000), "deadline"),
        (said("ann", "maybe"), "no answer"),
        (said("ann", "GRANT"), "no answer"),
        (said("ann", key="bob"), "signature"),
        (said("ann", where={"run": "run_2"}), "signature"),
        (said("ann", where={"journal": "jnl_2"}), "signature"),
        (replace(said("ann"), signature=""), "signature"),
        (replace(said("ann"), signature="not base64!"), "signature"),
        (replace(said("ann"), signature="ä"), "signature"),
        (replace(said("ann"), signature=base64.b64encode(b"short").decode()), "signature"),
        (replace(said("ann"), nonce="n2"), "signature"),
        (replace(said("ann"), nonce="\ud800"), "signature"),
        (replace(said("ann"), nonce="n" * 9000), "signature"),
        (replace(said("ann"), approver="bob"), "signature"),
        (replace(said("ann", "deny"), verdict="grant"), "signature"),
    ],
)
def test_an_answer_that_is_not_exactly_for_this_does_not_count(given: ApprovalGiven, reason: str) -> None:
    """Forged, replayed from another run or request, altered after it was signed, or by nobody we know."""
    assert reason in why_not(given)
    assert stands(given).state == "open"


def test_a_listed_key_that_is_no_key_lets_nobody_in() -> None:
    """A broken project file is not a way round."""
    people = {"ann": replace(PEOPLE["ann"], public_key=b"short")}
    assert "signature" in why_not(said("ann"), people=people)


def test_the_wrong_role_can_refuse_but_not_grant() -> None:
    """Anybody who is listed may stop it."""
    people = {"ann": person("ann", "intern")}
    assert "none of the roles" in why_not(said("ann"), people=people)
    assert stands(said("ann"), people=people).state == "open"
    assert stands(said("ann", "deny"), people=people).state == "denied"


@pytest.mark.parametrize("requester", ["ann", "Ann", " ann ", "ANN", "\uff41nn"])
def test_nobody_approves_what_they_asked_for(requester: str) -> None:
    """However the name is written."""
    assert "cannot approve it" in why_not(said("ann"), requester=requester)
    assert stands(said("bob"), requester=requester).state == "granted"


def test_a_second_name_does_not_make_the_requester_another_person() -> None:
    """A person is their key."""
    people = PEOPLE | {"bea": person("bea", "lead", key="bob")}
    given = said("bea", key="bob")
    assert "cannot approve it" in why_not(given, people=people, requester="bob")
    assert why_not(given, people=people, requester="ann") == ""


def test_an_answer_after_the_deadline_does_not_count_and_one_before_does_however_late_it_is_read() -> None:
    """What counts is when it was recorded."""
    assert why_not(said("ann"), now=1000) == ""
    assert "deadline" in why_not(said("ann"), now=1001)
    assert stands(said("ann"), at=1001, now=1001).state == "expired"
    assert stands(said("ann"), at=1000, now=9999).state == "granted"


def test_silence_is_a_no_once_the_deadline_has_passed() -> None:
    """Open until then, and after that expired."""
    assert stands(now=1000).state == "open"
    assert stands(now=1001) == Answer(state="expired")


def test_two_people_means_two_different_people() -> None:
    """Not one twice, not one under two names, not one with two roles."""
    assert stands(said("ann", asked=TWO), asked=TWO).state == "open"
    assert stands(said("ann", asked=TWO), said("ann", asked=TWO, nonce="n2"), asked=TWO).state == "open"
    people = PEOPLE | {"anna": person("anna", "lead", "finance", key="ann")}
    alias = said("anna", asked=TWO, key="ann")
    assert stands(said("ann", asked=TWO), alias, asked=TWO, people=people).state == "open"
    both = stands(said("ann", asked=TWO), said("cy", asked=TWO), said("bob", asked=TWO), asked=TWO)
    assert both.state == "granted"
    assert both.by == ("ann", "bob"), "finance was not asked"
    assert both.inbox == (1, 3)


def test_each_rule_needs_its_own_people_and_one_person_may_satisfy_several() -> None:
    """The rules that fired are all asked."""
    asked = replace(ASKED, needs=(("b-rule", ("finance",), 1), ("a-rule", ("lead",), 1)))
    assert stands(said("ann", asked=asked), asked=asked).state == "open"
    assert stands(said("ann", asked=asked), said("cy", asked=asked), asked=asked).state == "granted"
    people = {"ann": person("ann", "lead", "finance")}
    assert stands(said("ann", asked=asked), asked=asked, people=people).state == "granted"


def test_one_no_beats_every_yes() -> None:
    """Before it or after it, also of somebody who had said yes."""
    assert stands(said("bob"), said("ann", "deny")) == Answer(state="denied", inbox=(2,), by=("ann",))
    assert stands(said("ann", "deny"), said("bob"), said("cy")).state == "denied"
    assert stands(said("ann"), said("ann", "deny", nonce="n2")).state == "denied"
    assert stands(said("bob"), replace(said("ann", "deny"), nonce="forged")).state == "granted"


@pytest.mark.parametrize("needs", [(), (("r", ("lead",), 0),), (("r", ("lead",), -1),), (("r", (), 1),)])
def test_a_request_that_needs_nobody_is_never_granted_by_nobody(needs: Any) -> None:
    """Whoever forgot to say how many did not mean none."""
    asked = replace(ASKED, needs=needs)
    assert stands(asked=asked).state == "open"
    assert stands(asked=asked, now=1001).state == "expired"


def test_a_request_without_rules_is_granted_by_nobody_at_all() -> None:
    """There is no role that could say yes to it."""
    asked = replace(ASKED, needs=())
    assert stands(said("ann", asked=asked), asked=asked).state == "open"


def test_the_first_valid_yes_of_a_person_is_the_one_that_counts() -> None:
    """So the journal names the same entry, however often they repeat themselves."""
    assert stands(said("ann"), said("ann", nonce="n2")).inbox == (1,)
