"""Tools: typed functions that an agent may propose to use."""
