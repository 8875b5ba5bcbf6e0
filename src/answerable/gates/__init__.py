"""The gates: pure functions from a proposal to a decision, and the permit that proves them all."""
