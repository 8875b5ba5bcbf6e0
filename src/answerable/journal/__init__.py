"""The journal: the program's only truth, and the stores that keep it."""
