"""Ways to drive an agent. Each is a program over the same gated calls."""
