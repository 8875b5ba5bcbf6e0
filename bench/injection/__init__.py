"""How many attacks of a worst-case hijacked model the gates stop, and how many tasks then still need nobody."""
