"""Larch & Loom: a written service policy as rules, and an agent that works under them. Start with `README.md`."""
