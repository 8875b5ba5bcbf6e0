"""The databases that these tests use."""

from tests.postgres_server import blank_url, postgres_url

__all__ = ["blank_url", "postgres_url"]
