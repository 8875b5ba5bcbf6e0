"""The bank's tools with their labels, and its rules."""
