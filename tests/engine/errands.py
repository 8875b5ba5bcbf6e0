"""Two reads, a keyed write, a write that happens at most once; and a store whose process dies."""

from __future__ import annotations

from typing import Any

from tests.engine.workshop import Vendor

from answerable import EffectKey, tool
from answerable.testing import Fault, FaultyStore


@tool(effect="read")
async def look(name: str, *, vendor: Vendor) -> str:
    """Look something up."""
    vendor.asked.append(f"look {name}")
    return f"{name} is there"


@tool(effect="read")
async def peek(name: str, *, vendor: Vendor) -> str:
    """Look something up without touching it."""
    vendor.asked.append(f"peek {name}")
    return f"{name} is still there"


@tool(mode="native_key")
async def pay(name: str, *, key: EffectKey, vendor: Vendor) -> str:
    """Pay somebody."""
    return vendor.do(key)


@tool(mode="at_most_once")
async def ring(name: str, *, key: EffectKey, vendor: Vendor) -> str:
    """Ring at somebody's door."""
    return vendor.do(key)


TOOLS = [look, peek, pay, ring]


def die_at(kind: str, *, nth: int = 1) -> Any:
    """A store that fails for good from the `nth` append that holds an event of this kind."""
    seen = 0

    def fault(appends: Any) -> Fault | None:
        nonlocal seen
        seen += any(type(event).__name__ == kind for append in appends for event in append.events)
        return Fault.LOST_REQUEST if seen >= nth else None

    return lambda store: FaultyStore(store, fault=fault)
