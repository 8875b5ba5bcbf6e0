"""The gate against doing the same again: repeated effects, effects in doubt, and loops."""

from __future__ import annotations

from typing import TYPE_CHECKING

from answerable.kernel.decision import Decision, ReasonCode, allow, deny

if TYPE_CHECKING:
    from collections.abc import Sequence

    from answerable.kernel.state import CallRecord

GATE = "repeat"
SAME_MAX = 2
"""The same call with the same result may happen this often in a row; then it is a loop."""
STILL_MAX = 8
"""So many reads in a row that all showed what was known already are a loop."""


def check(
    history: Sequence[CallRecord], *, tool: str, args: str, is_write: bool, unknown_tools: frozenset[str]
) -> Decision:
    """Whether this call repeats something that must not, or need not, be repeated.

    `args` is the digest of the arguments. `unknown_tools` are tools with an effect of this run on the same
    target that may have happened.
    """
    if is_write and tool in unknown_tools:
        return deny(
            GATE,
            ReasonCode.EFFECT_UNKNOWN,
            f"an earlier `{tool}` on the same target may have happened; until that is known no other is sent",
            rules=("unknown-blocks-target",),
        )
    same = [record for record in history if record.tool == tool and record.args == args]
    if is_write and any(record.state == "done" for record in same):
        return deny(
            GATE,
            ReasonCode.REPEATED_EFFECT,
            f"this run has already done exactly this `{tool}`",
            rules=("effect-once-per-run",),
        )
    loop = _loop(history, same, tool, args)
    if loop:
        return deny(GATE, ReasonCode.LOOP_DETECTED, loop, rules=("no-loops",))
    return allow(GATE)


def _loop(history: Sequence[CallRecord], same: list[CallRecord], tool: str, args: str) -> str:
    if sum(record.state == "failed" for record in same[-SAME_MAX:]) == SAME_MAX:
        return f"the same `{tool}` has failed {SAME_MAX} times"
    recent = list(history)[-SAME_MAX:]
    if len(recent) == SAME_MAX and all(r.tool == tool and r.args == args for r in recent):
        if len({record.result for record in recent}) == 1:
            return f"the same `{tool}` gave the same result {SAME_MAX} times in a row"
    if _alternates(history, tool, args):
        return f"`{tool}` and `{history[-1].tool}` alternate and nothing changes"
    if _stands_still(history) and any(record.tool == tool and record.args == args for record in history):
        return f"the last {STILL_MAX} reads showed nothing new"
    return ""


def _alternates(history: Sequence[CallRecord], tool: str, args: str) -> bool:
    """A-B-A-B, about to become A again, with the same results."""
    tail = list(history)[-4:]
    if len(tail) < 4 or tail[0] == tail[1]:  # noqa: PLR2004
        return False
    return tail[0] == tail[2] and tail[1] == tail[3] and (tail[0].tool, tail[0].args) == (tool, args)


def _stands_still(history: Sequence[CallRecord]) -> bool:
    records = list(history)
    tail, before = records[-STILL_MAX:], records[:-STILL_MAX]
    if len(tail) < STILL_MAX or any(record.cls != "read" for record in tail):
        return False
    seen = set(before)
    news = 0
    for record in tail:
        news += record not in seen
        seen.add(record)
    return news <= 2  # noqa: PLR2004
