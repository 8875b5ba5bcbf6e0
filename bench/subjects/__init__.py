"""One module per thing measured; each is run as its own process and prints one JSON line."""
