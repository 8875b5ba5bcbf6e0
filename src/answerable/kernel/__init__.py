"""Pure values: what everything else is made of. No I/O, no clock, no dice."""
