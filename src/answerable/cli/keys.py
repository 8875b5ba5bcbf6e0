"""Approvers' private keys: files that only their owner can read."""

from __future__ import annotations

import base64
import binascii
import getpass
import json
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from answerable.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from answerable.gates.approval import Approver

TYPE = "answerable/approver-key"
SUFFIX = ".key"
RAW_BYTES = 32
_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")


@dataclass(frozen=True, slots=True, repr=False)
class ApproverKey:
    """A private key and whose it is. Never printed."""

    name: str
    path: Path
    private: bytes

    @property
    def public_text(self) -> str:
        """The public key as `answerable.toml` lists it."""
        return f"ed25519:{base64.b64encode(self.public).decode()}"

    @property
    def public(self) -> bytes:
        """The public key."""
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

        return Ed25519PrivateKey.from_private_bytes(self.private).public_key().public_bytes_raw()

    def snippet(self, roles: Sequence[str]) -> str:
        """What goes into `answerable.toml`."""
        listed = ", ".join(json.dumps(role) for role in roles)
        return f'[[approvers]]\nname = "{self.name}"\nroles = [{listed}]\npublic_key = "{self.public_text}"\n'


def key_home() -> Path:
    """Where keys are kept by default."""
    return Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config") / "answerable" / "keys"


def user_name() -> str:
    """The name of whoever is at the keyboard, in the form of an approver's name."""
    try:
        name = getpass.getuser()
    except (KeyError, OSError):
        name = ""
    return re.sub(r"[^a-z0-9._-]+", "-", name.lower()).strip("-._") or "operator"


def make_key(name: str, folder: Path | None, *, reuse: bool = False) -> ApproverKey:
    """Make a key file with mode 0600. One that exists is never overwritten; with `reuse` it is taken."""
    from answerable.journal.sqlite.files import write_private

    if not _NAME.fullmatch(name):
        raise ConfigError(f"`{name}` is no approver's name", hint="use a-z, 0-9, dot, _ and -, at most 64")
    home = folder or key_home()
    path = home / f"{name}{SUFFIX}"
    if path.exists():
        if reuse:
            return read_key(path)
        raise ConfigError(f"`{path}` is there already", hint="move it away, or choose another name or --out")
    home.mkdir(parents=True, exist_ok=True, mode=0o700)
    private = os.urandom(RAW_BYTES)
    content = {"type": TYPE, "v": 1, "name": name, "private_key": base64.b64encode(private).decode()}
    write_private(path, json.dumps(content).encode() + b"\n")
    return ApproverKey(name, path, private)


def read_key(path: Path) -> ApproverKey:
    """A key from its file. Raises `ConfigError` for one that others can read, or that is none."""
    try:
        mode = path.stat().st_mode
        content: dict[str, Any] = json.loads(path.read_text("utf-8"))
        private = base64.b64decode(content["private_key"], validate=True)
        name = str(content["name"])
    except FileNotFoundError:
        raise ConfigError(f"there is no key `{path}`", hint="`answerable key new NAME` makes one") from None
    except (OSError, ValueError, KeyError, TypeError, binascii.Error):
        raise _no_key(path) from None
    if content.get("type") != TYPE or len(private) != RAW_BYTES or not _NAME.fullmatch(name):
        raise _no_key(path)
    if mode & 0o077:
        raise ConfigError(f"others can read the private key `{path}`", hint=f"chmod 600 {path}")
    return ApproverKey(name, path, private)


def _no_key(path: Path) -> ConfigError:
    return ConfigError(f"`{path}` is not an approver's key", hint="name one that `answerable key new` made")


def find_key(path: Path | None, approvers: Sequence[Approver]) -> ApproverKey:
    """The key that was named, or the one key in the default folder whose owner the project lists."""
    if path is not None:
        return read_key(path)
    home = key_home()
    listed = {approver.name: approver.public_key for approver in approvers}
    found = [
        key
        for candidate in sorted(home.glob(f"*{SUFFIX}"))
        if (key := read_key(candidate)) and listed.get(key.name) == key.public
    ]
    if len(found) == 1:
        return found[0]
    if found:
        names = ", ".join(f"`{key.name}`" for key in found)
        raise ConfigError(
            f"{len(found)} keys could answer: {names}", hint=f"choose one: --key {found[0].path}"
        )
    who = ", ".join(f"`{name}`" for name in listed) or "nobody"
    raise ConfigError(
        f"no key in `{home}` belongs to an approver of this project; it lists {who}",
        hint="`answerable key new NAME --role ROLE` makes one and prints what to add to answerable.toml",
    )
