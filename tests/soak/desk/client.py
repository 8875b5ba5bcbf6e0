"""Asking the vendor, over a connection for each request."""

from __future__ import annotations

import asyncio
import json
from typing import Any

from answerable import ToolFailed


async def ask(port: int, path: str, asked: dict[str, Any] | None = None) -> Any:
    """One request. Raises `ToolFailed` where no answer comes back."""
    body = json.dumps(asked or {}).encode()
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        try:
            writer.write(
                b"POST %s HTTP/1.1\r\nContent-Length: %d\r\n\r\n" % (path.encode(), len(body)) + body
            )
            await writer.drain()
            reply = await reader.read()
        finally:
            writer.close()
    except OSError as error:
        raise ToolFailed(f"no answer: {error}", failure="upstream") from None
    _, _, answer = reply.partition(b"\r\n\r\n")
    if not answer:
        raise ToolFailed("the connection was closed without an answer", failure="timeout")
    return json.loads(answer)
