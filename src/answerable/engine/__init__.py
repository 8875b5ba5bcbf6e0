"""The engine: drives runs. Deciding is pure; only `perform` touches the outside."""
