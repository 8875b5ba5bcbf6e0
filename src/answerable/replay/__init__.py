"""Replay: ask a run's code again, with everything that it learnt served from the journal."""

from answerable.replay.unchanged import ReplayReport, replay

__all__ = ["ReplayReport", "replay"]
