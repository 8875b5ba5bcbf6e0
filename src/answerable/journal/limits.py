"""What a store says of the limits that it keeps for tools: which vendors are being left alone."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from answerable.journal.store import Finding

if TYPE_CHECKING:
    from collections.abc import Mapping

    from answerable.kernel.throttle import Throttle


def limit_findings(states: Mapping[str, Throttle], now: int) -> list[Finding]:
    """A warning for each tool of which nothing is sent now; nothing where everything goes through."""
    return [finding for key, state in sorted(states.items()) for finding in _of(key, state, now)]


def _of(key: str, state: Throttle, now: int) -> list[Finding]:
    found: list[Finding] = []
    if state.open_until:
        until = max(state.open_until, state.trial_until)
        rest = (
            f"nothing is sent until {_clock(until)}"
            if until > now
            else "the next call is let through as a trial"
        )
        found.append(
            Finding(
                name="open-breaker",
                level="warn",
                message=f"the breaker of `{key}` is open: {rest}",
                hint="look what is wrong at the vendor; it is tried again by itself",
            )
        )
    if state.shut_until > now:
        found.append(
            Finding(
                name="vendor-asked-to-wait",
                level="warn",
                message=f"nothing of `{key}` is sent until {_clock(state.shut_until)}: the vendor asked for it",
                hint="ask the vendor for a higher limit, or declare a lower `rate`",
            )
        )
    return found


def _clock(at: int) -> str:
    return datetime.fromtimestamp(at / 1e6, UTC).strftime("%H:%M:%S UTC")
