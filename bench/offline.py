"""Nothing measured here may talk to anybody: a benchmark that phones home measures the phone.

Two nets, because either could have a hole: the peers' own switches for tracing, set in the child's
environment, and a guard on sockets inside the child.
"""

import ipaddress
import os
import socket
from pathlib import Path
from typing import cast

TELEMETRY_OFF = {
    "DO_NOT_TRACK": "1",
    "LANGCHAIN_TRACING_V2": "false",
    "LANGSMITH_TRACING": "false",
    "OTEL_SDK_DISABLED": "true",
}


class NetworkRefused(ConnectionError):
    """A subject tried to reach something that is not on this machine."""


def environment(home: Path) -> dict[str, str]:
    """Return the whole environment of a child: built up, not inherited.

    An inherited key or endpoint could switch a peer's tracing on, or change what is measured, on
    one machine and not on the next. The empty `home` keeps settings files of the user out too.
    """
    return {
        "HOME": str(home),
        "LANG": "C.UTF-8",
        "PATH": os.environ.get("PATH", os.defpath),
        **TELEMETRY_OFF,
    }


def is_local(family: int, address: object) -> bool:
    """Return whether an address is this machine; a name that is not an address is not."""
    if family == socket.AF_UNIX:
        return True
    host = cast("tuple[object, ...]", address)[0] if isinstance(address, tuple) else None
    if not isinstance(host, str):
        return False
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def refuse_the_network() -> None:
    """Make this process unable to connect beyond loopback through Python's sockets.

    The methods are replaced rather than watched by an audit hook: a hook would run on every
    audited event and so would itself be measured.
    """
    connect, connect_ex = socket.socket.connect, socket.socket.connect_ex

    def guarded_connect(self: socket.socket, address: object, /) -> None:
        _require_local(self, address)
        connect(self, address)  # pyright: ignore[reportArgumentType]

    def guarded_connect_ex(self: socket.socket, address: object, /) -> int:
        _require_local(self, address)
        return connect_ex(self, address)  # pyright: ignore[reportArgumentType]

    socket.socket.connect = guarded_connect  # pyright: ignore[reportAttributeAccessIssue]
    socket.socket.connect_ex = guarded_connect_ex  # pyright: ignore[reportAttributeAccessIssue]


def _require_local(connection: socket.socket, address: object) -> None:
    if not is_local(connection.family, address):
        msg = f"the benchmark is offline; refused to connect to `{address}`"
        raise NetworkRefused(msg)
