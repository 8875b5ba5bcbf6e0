"""The company chat's tools with their labels, and its rules."""
