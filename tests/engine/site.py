"""A vendor on a clock, tools with limits that ask it, and what came of a call in a word."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from answerable import CallRefused, EffectKey, EffectUnknown, Retry, Run, Tool, ToolFailed, tool

if TYPE_CHECKING:
    from answerable.testing import FakeClock

ONCE = Retry(attempts=1)


class Site:
    """A vendor on a clock: it knows when it was asked, and is down when told so."""

    def __init__(self, clock: FakeClock) -> None:
        self.clock = clock
        self.begun = clock.now_us()
        self.asked: list[float] = []
        self.trouble: list[Exception | None] = []
        self.is_down = False

    def ask(self, answer: str = "fine") -> str:
        """One request."""
        self.asked.append(round((self.clock.now_us() - self.begun) / 1e6, 3))
        trouble = self.trouble.pop(0) if self.trouble else None
        if trouble is not None:
            raise trouble
        if self.is_down:
            raise ToolFailed("no answer", failure="timeout")
        return answer


def look_tool(site: Site, **limits: Any) -> Tool:
    """A read of the site."""

    @tool(effect="read", retry=limits.pop("retry", ONCE), **limits)
    async def look(name: str) -> str:
        """Look."""
        return site.ask(name)

    return look


def pay_tool(site: Site, mode: str = "native_key", **limits: Any) -> Tool:
    """A write at the site."""

    @tool(mode=mode, business_key="pay:{name}", retry=limits.pop("retry", ONCE), **limits)
    async def pay(name: str, *, key: EffectKey) -> str:
        """Pay."""
        return site.ask(key)

    return pay


async def tried(run: Run, what: str, /, **arguments: Any) -> str:
    """What came of one call, in a word."""
    try:
        return str(await run.call(what, **arguments))
    except ToolFailed as failed:
        return failed.failure
    except EffectUnknown:
        return "unknown"
    except CallRefused as refused:
        return str(refused.decision.code)
