"""A wire between a client and a server that can be cut at the worst moment: when COMMIT is under way."""

from __future__ import annotations

import contextlib
import socket
import threading
from enum import StrEnum
from typing import TYPE_CHECKING

from psycopg.conninfo import conninfo_to_dict

if TYPE_CHECKING:
    from types import TracebackType

COMMIT = b"\x00commit\x00"
"""How the request to carry out the prepared statement `commit` looks on the wire."""


class Cut(StrEnum):
    """What becomes of the next COMMIT. The client hears the same in both."""

    REQUEST = "lost request"
    REPLY = "lost reply"


class Proxy:
    """Listens on a port of this machine and passes everything on, until `cut` says otherwise."""

    def __init__(self, url: str) -> None:
        said = conninfo_to_dict(url)
        self._to = f"{said['host']}/.s.PGSQL.{said.get('port', 5432)}"
        self._listener = socket.create_server(("127.0.0.1", 0))
        port = self._listener.getsockname()[1]
        self.url = f"postgresql://{said['user']}@127.0.0.1:{port}/{said['dbname']}"
        self.cut: Cut | None = None
        self.is_closed_for_new = False
        self.cuts = 0
        self._open: set[socket.socket] = set()
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self) -> Proxy:  # noqa: PYI034
        return self

    def __exit__(
        self, _type: type[BaseException] | None, _error: BaseException | None, _at: TracebackType | None
    ) -> None:
        self._listener.close()
        self.cut_all()

    def cut_all(self) -> None:
        """Every connection is gone at once."""
        for each in list(self._open):
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                if self.is_closed_for_new:
                    client.close()
                    continue
                server = socket.socket(socket.AF_UNIX)
                server.connect(self._to)
                self._open |= {client, server}
                threading.Thread(target=self._up, args=(client, server), daemon=True).start()
                threading.Thread(target=self._down, args=(server, client), daemon=True).start()

    def _up(self, client: socket.socket, server: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := client.recv(1 << 16):
                if self.cut is not None and COMMIT in data:
                    cut, self.cut = self.cut, None
                    self.cuts += 1
                    # Nobody is listened to any more; whether the server hears the request is the difference.
                    client.shutdown(socket.SHUT_RDWR)
                    if cut is Cut.REPLY:
                        server.sendall(data)
                    break
                server.sendall(data)
        with contextlib.suppress(OSError):
            server.shutdown(socket.SHUT_WR)

    def _down(self, server: socket.socket, client: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := server.recv(1 << 16):
                client.sendall(data)
        for each in (client, server):
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()
            self._open.discard(each)
