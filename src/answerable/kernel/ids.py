"""Names for things, and how they are derived. Nothing here rolls dice: entropy is an argument."""

from __future__ import annotations

import base64
import hashlib
import re
from datetime import UTC, datetime
from typing import NamedTuple, NewType

from answerable.kernel.encoding import keyed_digest

RunId = NewType("RunId", str)
"""`run_` and 26 base-32 digits."""
StreamName = NewType("StreamName", str)
"""`run/ID`, `inbox/ID`, `agent/NAME` or `tenant/NAME`."""
PayloadRef = NewType("PayloadRef", str)
"""The keyed digest of a payload: 64 hex digits."""
EffectKey = NewType("EffectKey", str)
"""What a vendor is given as idempotency key: 64 hex digits, the same on every attempt."""
RequestId = NewType("RequestId", str)
"""One request for approval: `apr_` and 26 base-32 digits."""


_PATH = re.compile(r"(?:0|[1-9][0-9]*)\.(?:0|[1-9][0-9]*)")


class StepPath(NamedTuple):
    """Where in a run a call stands: the turn, and the index within that turn's batch."""

    turn: int
    index: int  # pyright: ignore[reportIncompatibleMethodOverride]

    def __str__(self) -> str:
        return f"{self.turn}.{self.index}"

    @classmethod
    def parse(cls, text: str) -> StepPath:
        """The path behind `"3.0"`. Raises `ValueError` for anything else."""
        if not _PATH.fullmatch(text):
            message = f"`{text}` is no path: it is written as TURN.INDEX"
            raise ValueError(message)
        turn, _, index = text.partition(".")
        return cls(int(turn), int(index))


def named(prefix: str, entropy: bytes) -> str:
    """`prefix`, `_` and 26 lowercase base-32 digits of 16 bytes."""
    return f"{prefix}_{base64.b32encode(entropy[:16]).decode().rstrip('=').lower()}"


def run_id_from_source(tenant: str, agent: str, source: str) -> RunId:
    """The run that a source event gets: the same event cannot start two runs."""
    return RunId(named("run", _hash("answerable/run/v1", tenant, agent, source)))


def child_run_id(parent: RunId, path: StepPath, index: int) -> RunId:
    """The id of the `index`-th child that `parent` starts at `path`."""
    return RunId(named("run", _hash("answerable/child/v1", parent, str(path), str(index))))


def effect_key(run: RunId, path: StepPath, tool: str, arguments_digest: str) -> EffectKey:
    """The key of one effect. Written into the intent once, afterwards always read back."""
    return EffectKey(_hash("answerable/effect/v1", run, str(path), tool, arguments_digest).hex())


def request_id(run: RunId, path: StepPath, round_: int) -> RequestId:
    """The id of the `round_`-th request for approval of the call at `path`."""
    return RequestId(named("apr", _hash("answerable/approval/v1", run, str(path), str(round_))))


def payload_ref(subject_key: bytes, body: bytes) -> PayloadRef:
    """The name of content: who has the key of its subject can check it, nobody else can guess it."""
    return PayloadRef(keyed_digest(subject_key, "answerable/payload/v1", body))


def utc_day(at_us: int) -> str:
    """The day that budgets and totals are counted by, as `2026-05-27`."""
    return f"{datetime.fromtimestamp(at_us / 1e6, UTC):%Y-%m-%d}"


def claim_key(tenant_key: bytes, tenant: str, tool: str, target: str) -> str:
    """What a write holds while it may be happening: the same for the same target, in every run."""
    return keyed_digest(tenant_key, "answerable/claim/v1", f"{tenant}\x1f{tool}\x1f{target}".encode())


def total_key(tenant_key: bytes, name: str, target: str, period: str) -> str:
    """Under which a running total is kept: one per name, target and period."""
    return keyed_digest(tenant_key, "answerable/total/v1", f"{name}\x1f{target}\x1f{period}".encode())


def run_stream(run: RunId) -> StreamName:
    """The stream that only the run's owner writes."""
    return StreamName(f"run/{run}")


def inbox_stream(run: RunId) -> StreamName:
    """The stream in which everybody else writes to a run."""
    return StreamName(f"inbox/{run}")


def tenant_stream(tenant: str) -> StreamName:
    """Where halts, heads, retention and discontinuities of a tenant are recorded."""
    return StreamName(f"tenant/{tenant}")


def agent_stream(agent: str) -> StreamName:
    """Where releases and autonomy of an agent are recorded."""
    return StreamName(f"agent/{agent}")


def _hash(domain: str, *parts: str) -> bytes:
    return hashlib.sha256("\x1f".join((domain, *parts)).encode()).digest()
