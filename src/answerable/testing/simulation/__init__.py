"""Deterministic simulation: several workers, one journal, your vendors, and everything that can go wrong, in one thread.

One seed is one exact run. `simulate` plays a scene for many seeds and answers with what was counted and found.
"""

from __future__ import annotations

from answerable.testing.simulation.plan import CALM, Size, Trouble, draw
from answerable.testing.simulation.report import SimulationReport, shrink, simulate
from answerable.testing.simulation.simulate import Told, play
from answerable.testing.simulation.store import SimJournal
from answerable.testing.simulation.worker import Scene, Staged
from answerable.testing.simulation.world import World

__all__ = [
    "CALM",
    "Scene",
    "SimJournal",
    "SimulationReport",
    "Size",
    "Staged",
    "Told",
    "Trouble",
    "World",
    "draw",
    "play",
    "shrink",
    "simulate",
]
