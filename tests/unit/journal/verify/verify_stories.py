"""Good journals, each a small story. The vectors, the tests of tampering and the museum all begin here."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from tests.unit.journal.verify.verify_builder import START, Journal, digest, word

if TYPE_CHECKING:
    from collections.abc import Callable

Json = dict[str, Any]

RUN: Final = "run_" + word("run")
STREAM: Final = f"run/{RUN}"
INBOX: Final = f"inbox/{RUN}"
SIGNATURE: Final = "A" * 86 + "=="
BUDGET: Final = f"run:{RUN}"
EFFECT: Final = digest("the effect")


def created(journal: Journal, **fields: object) -> Json:
    """`RunCreated` of a run for one customer."""
    subject = journal.subject("customer")
    task = journal.payload(subject, {"text": "please refund order A-1001"})
    event = {"type": "RunCreated", "journal": journal.journal, "agent": "refund-desk", "tenant": "default"}
    event |= {"kind": "driven", "release": "rel-1", "autonomy": "capped", "subject": subject, "task": task}
    return {**event, **fields}


def adopted(epoch: int = 1, cause: str = "start", **fields: object) -> Json:
    """`RunAdopted` by a process."""
    limits = [[BUDGET, "tool_calls", 20], [BUDGET, "money", 400_000]]
    event = {"type": "RunAdopted", "epoch": epoch, "owner": "host-1/42", "cause": cause, "limits": limits}
    return {**event, **fields}


def decided(path: str, tool: str, effect_class: str, verdict: str = "allow", **fields: object) -> Json:
    """`CallDecided` with everything that is not optional."""
    event = {"type": "CallDecided", "path": path, "tool": tool, "class": effect_class, "verdict": verdict}
    event |= {"digest": digest(f"{path} {tool}"), "gate": "pipeline", "rules": ["permit-desk"]}
    event |= {"policy": digest("bundle"), "labels": {"order_id": ["trusted", "task"]}, "facts": {}}
    return {**event, "totals": {}, "discharged": [], **fields}


def intended(path: str, tool: str, effect: str = EFFECT, attempt: int = 1, **fields: object) -> Json:
    """`CallIntended` of a write."""
    event = {"type": "CallIntended", "path": path, "effect": effect, "attempt": attempt, "tool": tool}
    event |= {"mode": "native_key", "reserve": [[BUDGET, "money", 120_000_000, 400_000_000]], "halt_epoch": 0}
    claim = {"key": digest("claim"), "rule": "once", "amount": 0, "cap": 0}
    totals = [[digest("total"), "refunds", 120_000_000, 0, 0]]
    return {**event, "claim": claim, "totals": totals, "send_by": START + 60_000_000, **fields}


def ended(path: str, tool: str, state: str = "done", via: str = "send", **fields: object) -> Json:
    """`CallEnded`; of a read unless an effect is named."""
    event = {"type": "CallEnded", "path": path, "attempt": 1, "tool": tool, "state": state, "via": via}
    return {**event, "cost": 0, "settle": [[BUDGET, "tool_calls", 0, 1]], "us": 1500, **fields}


def finished(outcome: str = "succeeded", **fields: object) -> Json:
    """`RunEnded`."""
    return {"type": "RunEnded", "outcome": outcome, "rules": [], "unknown": [], **fields}


def model_turn(journal: Journal, path: str, kept: int, texts: list[str]) -> tuple[Json, Json]:
    """A model call that was answered: intent and end."""
    subject = journal.subject("customer")
    added = [journal.payload(subject, {"role": "user", "text": text}) for text in texts]
    reply = journal.payload(subject, {"role": "assistant", "text": f"reply at {path}"})
    intent = {"type": "ModelIntended", "path": path, "attempt": 1, "model": "scripted:desk", "kept": kept}
    intent |= {"added": added, "offer": digest("tools"), "reserve": [[BUDGET, "tokens", 900, 60_000]]}
    end = {"type": "ModelEnded", "path": path, "attempt": 1, "state": "replied", "reply": reply, "cost": 0}
    end |= {"tokens_in": 120, "tokens_out": 18, "table": "none", "scripted": True}
    return intent, {**end, "settle": [[BUDGET, "tokens", 900, 138]]}


def read_steps(journal: Journal, path: str = "0.0") -> tuple[Json, Json]:
    """A read, decided and ended."""
    subject = journal.subject("customer")
    args = journal.payload(subject, {"order_id": "A-1001"})
    result = journal.payload(
        subject, {"order_id": "A-1001", "total": "120.00", "note": "ünïcode \u2028 \x7f"}
    )
    return decided(path, "get_order", "read", args=args), ended(path, "get_order", result=result)


def birth_only(journal: Journal) -> None:
    """A journal in which nothing has happened yet."""
    assert journal.last("tenant/default") is not None


def run_with_read(journal: Journal) -> None:
    """A run reads an order and ends without a done check. Creation and adoption are one entry."""
    journal.append(STREAM, created(journal), adopted())
    journal.append(STREAM, *read_steps(journal))
    journal.append(STREAM, finished("unverified"))


def run_with_write(journal: Journal) -> None:
    """A run reads, then pays a refund: intent, then outcome, then the check said yes."""
    journal.append(STREAM, created(journal, source=digest("ticket 7")), adopted())
    journal.append(STREAM, *read_steps(journal))
    fact = journal.payload(journal.subject("customer"), {"refunded": "0.00"})
    totals = {"refunds": [120_000_000, 0]}
    decision = decided("1.0", "create_refund", "write", facts={"refunds": fact}, totals=totals)
    journal.append(STREAM, decision, intended("1.0", "create_refund"))
    settle = [[BUDGET, "money", 120_000_000, 120_000_000]]
    result = journal.payload(journal.subject("customer"), {"refund": "r-1"})
    end = ended("1.0", "create_refund", effect=EFFECT, result=result, settle=settle, cost=120_000_000)
    journal.append(STREAM, end)
    check = journal.payload(journal.subject("customer"), {"is_done": True})
    journal.append(STREAM, finished(check=check))


def run_with_models(journal: Journal) -> None:
    """Two model calls, the second keeping the first one's messages, and values taken from the outside."""
    journal.append(STREAM, created(journal), adopted())
    first, first_end = model_turn(journal, "0.0", 0, ["hello", "again"])
    journal.append(STREAM, first)
    journal.append(STREAM, first_end)
    journal.append(STREAM, {"type": "ValueTaken", "path": "0.1", "kind": "now", "value": "1767225600000000"})
    second, second_end = model_turn(journal, "1.0", 2, ["and then"])
    journal.append(STREAM, second)
    journal.append(STREAM, second_end, finished("unverified"))


def acts(journal: Journal) -> None:
    """The run's code narrows its tools twice, takes something in, vouches for a value and declassifies."""
    journal.append(STREAM, created(journal), adopted())
    journal.append(STREAM, {"type": "ToolsFixed", "path": "0.0", "tools": ["get_order", "write"]})
    value, why = (journal.payload(journal.subject("customer"), each) for each in ("DE89", "called back"))
    read = {"type": "SourceRead", "path": "1.0", "source": "memory", "trusted": False, "class": "internal"}
    journal.append(STREAM, read | {"value": value})
    journal.append(STREAM, {"type": "Endorsed", "path": "2.0", "value": value, "why": why, "kind": "iban"})
    journal.append(STREAM, {"type": "Declassified", "path": "3.0", "classes": ["personal"], "why": why})
    narrower = {"type": "ToolsFixed", "path": "4.0", "tools": ["get_order"]}
    journal.append(STREAM, narrower, finished("unverified"))


def asked(journal: Journal) -> None:
    """A run asks for an approval and parks."""
    journal.append(STREAM, created(journal), adopted())
    preview = journal.payload(journal.subject("customer"), {"amount_usd": "700.00"})
    decision = decided("0.0", "create_refund", "write", "require_approval", code="approval_required")
    request = {"type": "ApprovalRequested", "path": "0.0", "request": "apr-1", "digest": decision["digest"]}
    request |= {"needs": [["refund-cap", ["lead"], 1]], "expires": START + 3_600_000_000, "preview": preview}
    parked = {"type": "RunParked", "waiting_for": "approval", "request": "apr-1"}
    journal.append(STREAM, decision, request, parked)


def given(verdict: str = "grant", **fields: object) -> Json:
    """`ApprovalGiven` for the request of `asked`."""
    event = {"type": "ApprovalGiven", "request": "apr-1", "verdict": verdict, "approver": "maria"}
    event |= {
        "digest": digest("0.0 create_refund"),
        "rules": ["refund-cap"],
        "expires": START + 3_600_000_000,
    }
    return {**event, "nonce": "n-1", "signature": SIGNATURE, **fields}


def settled(journal: Journal, state: str = "granted") -> tuple[Json, Json]:
    """The fold of inbox entry 1, and the settling by it."""
    folded = {"type": "InboxFolded", "seq": 1, "hash": journal.row(INBOX, 1)["hash"]}
    return folded, {
        "type": "ApprovalSettled",
        "path": "0.0",
        "request": "apr-1",
        "state": state,
        "inbox": [1],
    }


def approved_via_inbox(journal: Journal) -> None:
    """A person grants what was asked; the run wakes under a new epoch, decides again and pays."""
    asked(journal)
    journal.append(INBOX, given())
    journal.append(STREAM, adopted(2, "wake"), *settled(journal), epoch=2)
    decision = decided("0.0", "create_refund", "write", discharged=["refund-cap"])
    journal.append(STREAM, decision, intended("0.0", "create_refund"))
    journal.append(STREAM, ended("0.0", "create_refund", effect=EFFECT), finished())


def denied_via_inbox(journal: Journal) -> None:
    """A person says no; the run escalates."""
    asked(journal)
    journal.append(INBOX, given("deny"))
    packet = journal.payload(journal.subject("customer"), {"steps": 1})
    journal.append(STREAM, adopted(2, "wake"), *settled(journal, "denied"), epoch=2)
    journal.append(STREAM, finished("escalated", code="approval_denied", rules=["refund-cap"], packet=packet))


def halted(journal: Journal) -> None:
    """An operator halts everything while a run is open; later the halt is lifted."""
    journal.append(STREAM, created(journal), adopted())
    journal.append(STREAM, *read_steps(journal))
    halt = {"type": "HaltRaised", "scope": "all", "epoch": 1, "by": "maria", "reason": "wrong price list"}
    journal.append("tenant/default", halt)
    journal.append(STREAM, finished("halted", code="halted"))
    journal.append("tenant/default", {**halt, "type": "HaltLifted", "epoch": 2})


def unknown_then_late(journal: Journal) -> None:
    """A lost reply leaves a write unknown; the run ends and says so; later a late reply settles it."""
    journal.append(STREAM, created(journal), adopted())
    decision = decided("0.0", "create_refund", "irreversible")
    journal.append(STREAM, decision, intended("0.0", "create_refund", mode="at_most_once"))
    lost = ended("0.0", "create_refund", "unknown", effect=EFFECT, failure="timeout", settle=[])
    journal.append(STREAM, lost)
    journal.append(STREAM, finished("escalated", code="effect_unknown", unknown=[EFFECT]))
    journal.append(INBOX, {"type": "EffectReported", "effect": EFFECT, "state": "done", "by": "late-reply"})
    folded = {"type": "InboxFolded", "seq": 1, "hash": journal.row(INBOX, 1)["hash"]}
    late = ended("0.0", "create_refund", "done", "late", effect=EFFECT)
    journal.append(STREAM, adopted(2, "recovery"), folded, late, epoch=2)


def crashed_and_recovered(journal: Journal) -> None:
    """A process dies after the intent; its successor adopts the run and sends again with the same key."""
    journal.append(STREAM, created(journal))
    journal.append(STREAM, adopted(2), epoch=2)
    journal.append(STREAM, decided("0.0", "create_refund", "write"), intended("0.0", "create_refund"))
    journal.append(STREAM, adopted(3, "recovery"), epoch=3)
    journal.append(STREAM, intended("0.0", "create_refund", attempt=2))
    journal.append(STREAM, ended("0.0", "create_refund", effect=EFFECT, attempt=2), finished())


def begun_by_another_release(journal: Journal) -> None:
    """Another release than accepted the run begins it and dies; the run is pinned to it, and it goes on."""
    journal.append(STREAM, created(journal))
    journal.append(STREAM, adopted(2, release="rel-2"), epoch=2)
    journal.append(STREAM, *read_steps(journal), epoch=2)
    journal.append(STREAM, adopted(3, "recovery"), epoch=3)
    journal.append(STREAM, finished("unverified"), epoch=3)


def abandoned(journal: Journal) -> None:
    """An attached run's owner disappears in mid-send: abandoned, and its unknown effect is listed."""
    journal.append(STREAM, created(journal, kind="attached"), adopted())
    journal.append(STREAM, decided("0.0", "create_refund", "write"), intended("0.0", "create_refund"))
    journal.append(STREAM, adopted(2, "recovery"), epoch=2)
    journal.append(STREAM, finished("abandoned", code="effect_unknown", unknown=[EFFECT]))


def subject_erased(journal: Journal) -> None:
    """The customer was erased: the key is destroyed and the contents are gone; every proof stays valid."""
    run_with_write(journal)
    journal.append(
        "tenant/default", {"type": "RetentionApplied", "class": "standard", "before": START, "count": 4}
    )
    journal.subjects[0]["key"] = None
    for row in journal.payloads:
        row |= {"body": None, "erased": journal.time}


def everything_else(journal: Journal) -> None:
    """The remaining events: a release, an exported head, and a loss that an operator accepted."""
    run_with_write(journal)
    journal.append("agent/refund-desk", {"type": "ReleaseSeen", "release": "rel-1", "agent": "refund-desk"})
    journal.append("tenant/default", {"type": "HeadExported", "streams": 3, "digest": digest("a head")})
    loss = {"type": "DiscontinuityAccepted", "by": "maria", "head": digest("a head"), "behind": [STREAM]}
    journal.append("tenant/default", {**loss, "signature": SIGNATURE})
    halt = {"type": "HaltRaised", "scope": "tool:create_refund", "epoch": 1, "by": "maria", "reason": ""}
    journal.append("tenant/eu", halt)


GOOD: Final[dict[str, Callable[[Journal], None]]] = {
    story.__name__: story
    for story in (
        birth_only,
        run_with_read,
        run_with_write,
        run_with_models,
        acts,
        approved_via_inbox,
        denied_via_inbox,
        halted,
        unknown_then_late,
        crashed_and_recovered,
        begun_by_another_release,
        abandoned,
        subject_erased,
        everything_else,
    )
}


def told(story: Callable[[Journal], None], **journal: Any) -> Journal:
    """The journal after a story."""
    made = Journal(**journal)
    story(made)
    return made
