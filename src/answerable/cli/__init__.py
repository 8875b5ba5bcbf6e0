"""The command line: one module per verb. Importing them is cheap; what is heavy is imported by the verb."""
