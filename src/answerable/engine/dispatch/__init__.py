"""Handing runs to workers. An engine dispatches; what is true is in the journal."""
