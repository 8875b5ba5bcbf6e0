"""What is served over HTTP: the doors for work, and whether a process is well."""
