"""Evidence: what the journal says of a run, in forms that people and other programs can use."""
