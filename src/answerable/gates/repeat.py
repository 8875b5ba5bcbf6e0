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
"""So many reads in a row that showed next to nothing new are a loop."""
NEWS_MAX = 2
"""So many new results among them are next to nothing."""


def check(
    history: Sequence[CallRecord],
    *,
    tool: str,
    args: str,
    is_write: bool,
    unknown_tools: frozenset[str],
    is_done: bool = False,
) -> Decision:
    """Whether this call repeats something that must not, or need not, be repeated.

    `args` is the digest of the arguments. `unknown_tools` are tools with an effect of this run on the same
    target that may have happened. `is_done` says that this run has done exactly this, however long ago.
    """
    if is_write and tool in unknown_tools:
        return deny(
            GATE,
            ReasonCode.EFFECT_UNKNOWN,
            f"an earlier `{tool}` on the same target may have happened; until that is known no other is sent",
            rules=("unknown-blocks-target",),
        )
    same = [record for record in history if record.tool == tool and record.args == args]
    if is_write and (is_done or any(record.state == "done" for record in same)):
        return deny(
            GATE,
            ReasonCode.REPEATED_EFFECT,
            f"this run has already done exactly this `{tool}`",
            rules=("effect-once-per-run",),
        )
    loop = _loop(_since_change(history), tool, args)
    if loop:
        return deny(GATE, ReasonCode.LOOP_DETECTED, loop, rules=("no-loops",))
    return allow(GATE)


def _since_change(history: Sequence[CallRecord]) -> list[CallRecord]:
    """The calls since the last write that happened, or may have: what it changed may be looked at again."""
    for index in range(len(history) - 1, -1, -1):
        if history[index].cls != "read" and history[index].state in ("done", "unknown"):
            return list(history)[index + 1 :]
    return list(history)


def _loop(records: list[CallRecord], tool: str, args: str) -> str:
    same = [record for record in records if (record.tool, record.args) == (tool, args)]
    if sum(record.state == "failed" for record in same[-SAME_MAX:]) == SAME_MAX:
        return f"the same `{tool}` has failed {SAME_MAX} times"
    last = records[-SAME_MAX:]
    if last == same[-SAME_MAX:] and len(last) == SAME_MAX and len(set(last)) == 1:
        return f"the same `{tool}` gave the same result {SAME_MAX} times in a row"
    if _alternates(records, tool, args):
        return f"`{tool}` and `{records[-1].tool}` alternate and nothing changes"
    if same and _stands_still(records):
        return f"the last {STILL_MAX} reads showed nothing new"
    return ""


def _alternates(records: list[CallRecord], tool: str, args: str) -> bool:
    """A-B-A-B, about to become A again, with the same results."""
    tail = records[-2 * SAME_MAX :]
    if len(tail) < 2 * SAME_MAX or (tail[0].tool, tail[0].args) != (tool, args):
        return False
    return tail[:2] == tail[2:]


def _stands_still(records: list[CallRecord]) -> bool:
    tail, seen = records[-STILL_MAX:], set(records[:-STILL_MAX])
    if len(tail) < STILL_MAX or any(record.cls != "read" for record in tail):
        return False
    return len(set(tail) - seen) <= NEWS_MAX
