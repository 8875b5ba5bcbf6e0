"""Raising and lifting halts. This needs a journal and nothing else: it must work when nothing else does."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from answerable.errors import ConfigError, JournalConflict, JournalError
from answerable.journal.store import Append
from answerable.kernel.events import HaltLifted, HaltRaised
from answerable.kernel.ids import tenant_stream

if TYPE_CHECKING:
    from answerable.engine.ports import Ports
    from answerable.journal.store import JournalStore

TOKEN_MAX = 128
TRIES = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class HaltReport:
    """What a halt found: its epoch, and the effects that were in flight."""

    scope: str
    epoch: int
    in_flight: list[dict[str, str]] = field(default_factory=list[dict[str, str]])


async def halt_in(
    store: JournalStore,
    ports: Ports,
    kind: type[HaltRaised | HaltLifted],
    scope: str,
    *,
    by: str,
    reason: str,
) -> int:
    """Raise or lift a halt in a journal, without a runtime: it must work when nothing else does."""
    if not reason.isascii() or not reason.isprintable() or len(reason) > TOKEN_MAX:  # entries hold no content
        raise ConfigError(
            f"the reason `{reason[:40]}` cannot be recorded", hint="at most 128 plain ASCII characters"
        )
    prefix, _, name = scope.partition(":")
    if scope != "all" and (prefix not in ("run", "agent", "tool") or not name):
        raise ConfigError(f"`{scope}` cannot be halted", hint="all, run:ID, agent:NAME or tool:NAME")
    stream = tenant_stream("default")
    for _ in range(TRIES):
        head = await store.head(stream)
        epoch = (await store.halts())[0] + 1
        event = kind(scope=scope, epoch=epoch, by=by, reason=reason)
        try:
            await store.append(
                Append(stream=stream, events=(event,), expect=head, epoch=0, now=ports.clock.now_us())
            )
        except JournalConflict:
            continue
        return epoch
    raise JournalError("the halt could not be written: the journal is too busy", hint="try again at once")
