"""Long runs on PostgreSQL, with real workers and a real vendor process. `make soak` runs them; `make test` does not."""
