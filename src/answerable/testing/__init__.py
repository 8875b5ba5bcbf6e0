"""What tests of your own agents, tools and stores are made of. Product code never imports it.

A run under test gets its time, ids and chance from `fake_ports`, its model from a `ScriptedModel`, its trouble
from a `FaultyStore`; a journal store of your own is right when `check_journal_store` finds nothing, and a tool keeps its
word when `assert_tool_contract` finds nothing. `simulate` plays all of it together: several workers, one journal, your
agents and vendors, and everything that can go wrong, one exact run for each seed.
"""

from __future__ import annotations

from answerable.models.scripted import ScriptedModel, call, say, use
from answerable.testing.clock import FakeClock
from answerable.testing.entropy import fixed_entropy
from answerable.testing.faults import Fault, FaultyStore, Point
from answerable.testing.ports import fake_ports
from answerable.testing.simulation import Scene, SimulationReport, Size, World, shrink, simulate
from answerable.testing.store_checking import StoreCheckFailed, StoreFactory
from answerable.testing.store_checks import check_journal_store
from answerable.testing.tool_contract import ToolContractBroken, assert_tool_contract

__all__ = [
    "FakeClock",
    "Fault",
    "FaultyStore",
    "Point",
    "Scene",
    "ScriptedModel",
    "SimulationReport",
    "Size",
    "StoreCheckFailed",
    "StoreFactory",
    "ToolContractBroken",
    "World",
    "assert_tool_contract",
    "call",
    "check_journal_store",
    "fake_ports",
    "fixed_entropy",
    "say",
    "shrink",
    "simulate",
    "use",
]
