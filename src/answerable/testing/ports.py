"""The ports of a runtime under test."""

from __future__ import annotations

from answerable.engine.ports import Clock, Ports
from answerable.testing.clock import FakeClock
from answerable.testing.entropy import fixed_entropy


def fake_ports(seed: int | str = 0, *, clock: Clock | None = None) -> Ports:
    """Virtual time and fixed chance: the same test makes the same journal, byte for byte, every time.

    Two runtimes on one journal need different seeds, as two processes have different chance.
    """
    return Ports(clock=clock or FakeClock(), entropy=fixed_entropy(seed))
