"""A process that drives what it is handed."""
