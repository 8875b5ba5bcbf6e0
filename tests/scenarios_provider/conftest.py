"""A loopback server that speaks the provider's protocol, and an environment that points to it."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

import pytest

from .asking import KEY
from .openai_server import Server, start_server

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("OPENAI_API_KEY", KEY)


@pytest.fixture
def serve(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Start a server with a script and point the provider's own environment variable at it."""
    with contextlib.ExitStack() as stack:

        def start(*script: Any) -> Server:
            server = stack.enter_context(start_server(script))
            monkeypatch.setenv("OPENAI_BASE_URL", server.base_url)
            return server

        yield start
