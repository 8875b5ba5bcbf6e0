"""The outside, as a process of its own: it does what it is asked, slowly, loses replies, and remembers when.

`python -m tests.soak.vendor PORT_FILE` listens on loopback. Times are of the monotonic clock, which all processes
of one machine share.
"""

from __future__ import annotations

import asyncio
import json
import random
import sys
import time
from pathlib import Path
from typing import Any

SLOW_S = (0.02, 0.12)
LOSES = 0.01
"""How many replies are lost, after the work was done."""


class Vendor:
    """What was asked, and what really happened."""

    def __init__(self) -> None:
        self.log: list[dict[str, Any]] = []
        self.receipts: dict[str, str] = {}
        self.slow_s = SLOW_S
        self.loses = LOSES
        self.dice = random.Random(7)

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection, one request."""
        try:
            line = (await reader.readline()).decode()
            size = 0
            while (header := (await reader.readline()).strip()) != b"":
                name, _, value = header.partition(b":")
                if name.lower() == b"content-length":
                    size = int(value)
            at = time.monotonic()
            asked = json.loads(await reader.readexactly(size)) if size else {}
            answer = await self.answer(line.split()[1], asked, at)
            if answer is not None:
                body = json.dumps(answer).encode()
                writer.write(
                    b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\nConnection: close\r\n\r\n" % len(body) + body
                )
                await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError, IndexError, ValueError):
            pass  # whoever asked has died
        finally:
            writer.close()

    async def answer(self, path: str, asked: dict[str, Any], at: float) -> object | None:
        """What is answered; None where the reply gets lost."""
        match path:
            case "/log":
                return self.log
            case "/forget":
                self.log = []
                return {}
            case "/set":
                self.slow_s, self.loses = tuple(asked["slow_s"]), asked["loses"]
                return {}
            case "/find":
                return {"receipt": self.receipts.get(asked["key"])}
            case "/look":
                await asyncio.sleep(self.dice.uniform(*self.slow_s) / 4)
                return {"balance": 7}
            case _:
                return await self.work(asked, at)

    async def work(self, asked: dict[str, Any], at: float) -> object | None:
        """Do it, once for each key where keys are honoured; half of the time before anybody waits."""
        is_known = asked["mode"] == "native_key" and asked["key"] in self.receipts
        self.log.append({**asked, "at": at, "is_done": not is_known})
        self.receipts.setdefault(asked["key"], f"receipt {len(self.log)}")
        await asyncio.sleep(self.dice.uniform(*self.slow_s))
        return None if self.dice.random() < self.loses else {"receipt": self.receipts[asked["key"]]}


async def main(port_file: Path) -> None:
    """Listen until killed."""
    server = await asyncio.start_server(Vendor().handle, "127.0.0.1", 0, backlog=512)
    aside = port_file.with_suffix(".new")
    aside.write_text(str(server.sockets[0].getsockname()[1]))
    aside.replace(port_file)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1])))
