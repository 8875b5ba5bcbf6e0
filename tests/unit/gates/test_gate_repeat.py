"""Loops in every shape, and what looks like one and is none."""

from __future__ import annotations

import pytest

from answerable.gates.repeat import STILL_MAX, check
from answerable.kernel.decision import ReasonCode, Verdict
from answerable.kernel.state import CallRecord


def record(said: str) -> CallRecord:
    """`look(a)=1` is a read; `PAY(a)=ok` a write; `!` at the end failed, `?` unknown, `~` shadowed."""
    state = {"!": "failed", "?": "unknown", "~": "shadowed"}.get(said[-1], "done")
    name, _, rest = said.rstrip("!?~").partition("(")
    args, _, result = rest.partition(")=")
    return CallRecord(
        tool=name.lower(),
        args=args.rstrip(")"),
        cls="write" if name.isupper() else "read",
        state=state,
        result=result,
    )


def verdict(history: str, call: str, unknown: frozenset[str] = frozenset()) -> str:
    """`allow`, or the code of the refusal."""
    asked = record(call)
    decision = check(
        [record(each) for each in history.split()],
        tool=asked.tool,
        args=asked.args,
        is_write=asked.cls == "write",
        unknown_tools=unknown,
    )
    if decision.verdict is Verdict.ALLOW:
        return "allow"
    assert decision.reason
    assert decision.rules
    return str(decision.code)


@pytest.mark.parametrize(
    ("shape", "history", "call"),
    [
        ("the same answer twice in a row", "look(a)=1 look(a)=1", "look(a)"),
        ("the same failure twice in a row", "look(a)=e! look(a)=e!", "look(a)"),
        ("another failure each time", "look(a)=e! look(a)=f!", "look(a)"),
        ("a failure, something else, a failure", "look(a)=e! see(b)=1 look(a)=e!", "look(a)"),
        ("A-B-A-B", "look(a)=1 see(b)=2 look(a)=1 see(b)=2", "look(a)"),
        ("A-B-A-B with other arguments of one tool", "look(a)=1 look(b)=2 look(a)=1 look(b)=2", "look(a)"),
        ("A-B-A-B after other things", "x(1)=1 look(a)=1 see(b)=2 look(a)=1 see(b)=2", "look(a)"),
        ("a read and a write that keeps failing", "look(a)=1 PAY(b)=e! look(a)=1 PAY(b)=e!", "look(a)"),
        ("a write that fails twice", "PAY(b)=e! PAY(b)=e!", "PAY(b)"),
        ("a failing write with reads in between", "PAY(b)=e! look(a)=1 PAY(b)=f!", "PAY(b)"),
        ("round and round", "a()=1 b()=2 c()=3 a()=1 b()=2 c()=3 a()=1 b()=2 c()=3 a()=1 b()=2", "c()"),
        ("a loop after a write", "PAY(b)=ok look(a)=1 look(a)=1", "look(a)"),
        ("a loop in shadow", "PAY(b)~ look(a)=1 PAY(b)~ look(a)=1", "PAY(b)"),
        ("polling an unknown effect", "PAY(b)? look(a)=1 look(a)=1", "look(a)"),
    ],
)
def test_a_loop_is_seen(shape: str, history: str, call: str) -> None:
    """Each of these would go on until the money is gone."""
    assert verdict(history, call) == ReasonCode.LOOP_DETECTED, shape


@pytest.mark.parametrize(
    ("why", "history", "call"),
    [
        ("nothing has happened yet", "", "look(a)"),
        ("once more is no loop", "look(a)=1", "look(a)"),
        ("polling that moves on", "look(a)=open look(a)=paid", "look(a)"),
        ("polling that moves on, often", "look(a)=1 look(a)=2 look(a)=3 look(a)=4", "look(a)"),
        ("other arguments", "look(a)=1 look(a)=1", "look(b)"),
        ("another tool", "look(a)=1 look(a)=1", "see(a)"),
        ("the same read after a write", "look(a)=1 look(a)=1 PAY(b)=ok", "look(a)"),
        ("the same read around writes", "look(a)=1 PAY(b)=ok look(a)=1 PAY(c)=ok", "look(a)"),
        (
            "reading again after each write",
            "look(a)=1 PAY(b)=ok look(a)=2 PAY(c)=ok look(a)=3 PAY(d)=ok",
            "look(a)",
        ),
        (
            "a read that failed before the write that makes it possible",
            "look(a)=e! look(a)=e! MAKE(a)=ok",
            "look(a)",
        ),
        ("a write that failed before the write that it needs", "PAY(a)=e! PAY(a)=e! OPEN(a)=ok", "PAY(a)"),
        ("looking after an effect that is unknown", "look(a)=1 look(a)=1 PAY(b)?", "look(a)"),
        ("a failure and then an answer", "look(a)=e! look(a)=1 look(a)=e!", "look(a)"),
        ("A-B-A", "look(a)=1 see(b)=2 look(a)=1", "see(b)"),
        ("A-B-A-B that moves on", "look(a)=1 see(b)=2 look(a)=3 see(b)=2", "look(a)"),
        ("A-B-A-B that goes on elsewhere", "look(a)=1 see(b)=2 look(a)=1 see(b)=2", "think(c)"),
        ("a write that failed once", "PAY(b)=e!", "PAY(b)"),
        ("another refund on the same order", "PAY(a,5)=ok", "PAY(a,6)"),
        ("a shadowed write again", "PAY(b)~", "PAY(b)"),
        (
            "checking everything again after a write",
            "".join(f"r{n}()=1 " for n in range(8)) + "PAY(b)=ok " + "".join(f"r{n}()=1 " for n in range(8)),
            "r0()",
        ),
    ],
)
def test_what_is_no_loop_passes(why: str, history: str, call: str) -> None:
    """A false alarm costs a person's time."""
    assert verdict(history, call) == "allow", why


def test_a_write_that_is_done_is_not_done_again_in_the_run() -> None:
    """Whatever came in between; a read is."""
    assert verdict("PAY(b)=ok look(a)=1 PAY(c)=ok", "PAY(b)") == ReasonCode.REPEATED_EFFECT
    assert verdict("PAY(b)=ok", "PAY(c)") == "allow"


def test_what_was_done_long_ago_is_remembered() -> None:
    """The history that loops are looked for in is short; what was done is not forgotten with it."""
    again = check([], tool="pay", args="b", is_write=True, unknown_tools=frozenset(), is_done=True)
    read = check([], tool="look", args="b", is_write=False, unknown_tools=frozenset(), is_done=True)

    assert again.code is ReasonCode.REPEATED_EFFECT
    assert read.verdict is Verdict.ALLOW


def test_while_an_effect_is_unknown_no_other_is_sent_on_its_target() -> None:
    """Reads are: that is how one finds out."""
    unknown = frozenset({"pay"})
    assert verdict("PAY(b)?", "PAY(b,other-reason)", unknown) == ReasonCode.EFFECT_UNKNOWN
    assert verdict("PAY(b)?", "pay(b)", unknown) == "allow"
    assert verdict("PAY(b)?", "MAIL(b)", unknown) == "allow"


def test_reads_that_show_nothing_new_are_a_loop_only_once_they_repeat() -> None:
    """A new question is always allowed; so are many reads that each show something."""
    still = " ".join(f"r{n % 2}(x)=1 s(x)=1" for n in range(STILL_MAX))
    assert verdict(still, "r1(x)") == ReasonCode.LOOP_DETECTED
    assert verdict(still, "new(x)") == "allow"
    assert verdict(" ".join(f"r(x)={n}" for n in range(20)), "r(x)") == "allow"
    assert verdict("a(x)=1 b(x)=1 c(x)=1 a(x)=1 b(x)=1 c(x)=1", "a(x)") == "allow", "not often enough yet"
