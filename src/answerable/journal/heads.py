"""Heads: signed statements of where every stream stands, kept outside the database (`spec/journal.md` section 4)."""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from answerable.errors import ConfigError, JournalBehindHead
from answerable.journal.sqlite.files import publish_private, write_private
from answerable.journal.store import Append
from answerable.kernel.encoding import sha256_hex
from answerable.kernel.events import DiscontinuityAccepted, HeadExported
from answerable.kernel.ids import tenant_stream

if TYPE_CHECKING:
    from collections.abc import Callable

    from answerable.journal.store import Custody, JournalStore

DOMAIN = b"answerable/head/v1\n"
NAMED_MAX = 50


@dataclass(frozen=True, slots=True)
class SigningKey:
    """The key that signs heads: a file beside the database.

    Whoever has both can sign anything, so heads must leave the machine to prove something.
    """

    private: Ed25519PrivateKey

    @property
    def public_text(self) -> str:
        """The public key, base64."""
        return base64.b64encode(self.private.public_key().public_bytes_raw()).decode()

    def sign(self, data: bytes) -> str:
        """The signature, base64."""
        return base64.b64encode(self.private.sign(data)).decode()


def signing_key(custody: Custody) -> SigningKey:
    """The journal's signing key. Raises `ConfigError` where it is not there, or is no key."""
    try:
        raw = base64.b64decode(custody.key.read_bytes().strip(), validate=True)
        return SigningKey(Ed25519PrivateKey.from_private_bytes(raw))
    except (OSError, ValueError) as error:
        raise ConfigError(
            f"the signing key `{custody.key}` cannot be used: {error}",
            hint="restore it from where it is kept",
        ) from None


def public_key_for(custody: Custody, entropy: Callable[[int], bytes], *, is_new: bool) -> str:
    """The public key that a new journal names; a key is made where there is neither journal nor key.

    Empty for a journal whose key is kept elsewhere: it can be used, but no head can be signed here. Its key is never
    replaced by another one.
    """
    if not custody.key.exists():
        if not is_new:
            return ""
        if custody.key.parent.is_dir():
            publish_private(custody.key, base64.b64encode(entropy(32)) + b"\n")
    return signing_key(custody).public_text


def signed_bytes(head: dict[str, Any]) -> bytes:
    """What a head's signature is over."""
    return DOMAIN + orjson.dumps(
        {name: value for name, value in head.items() if name != "signature"}, option=orjson.OPT_SORT_KEYS
    )


async def export_head(store: JournalStore, out: Path) -> dict[str, Any]:
    """Sign where every stream stands now, write it to `out`, and remember it beside the journal.

    The export is itself recorded, in an entry that the *next* head covers. Keep `out` on another machine.
    """
    key = signing_key(store.custody)
    if key.public_text != store.public_key:
        raise ConfigError(
            "the signing key is not the one that the journal names",
            hint="restore the journal's own .key file",
        )
    streams = [[name, (at := await store.head(name)).seq, at.hash] for name in await store.streams()]
    head: dict[str, Any] = {
        "v": 1,
        "type": "answerable/head",
        "journal": store.journal,
        "key": key.public_text,
        "time": store.now(),
        "streams": streams,
    }
    head["signature"] = key.sign(signed_bytes(head))
    text = json.dumps(head, sort_keys=True, separators=(",", ":")).encode() + b"\n"
    _keep(store.custody, out, text)
    exported = HeadExported(streams=len(streams), digest=sha256_hex(signed_bytes(head)))
    await store.append(
        Append(stream=tenant_stream("default"), events=(exported,), expect=None, epoch=0, now=store.now())
    )
    return head


def _keep(custody: Custody, out: Path, text: bytes) -> None:
    out.parent.mkdir(parents=True, exist_ok=True)
    write_private(out, text)
    if out.resolve() != custody.head.resolve():
        write_private(custody.head, text)


def read_head(path: Path, public_key: str) -> dict[str, Any]:
    """A head that was exported earlier. Raises `ConfigError` where it is not one, or not signed with the key."""
    try:
        head = orjson.loads(path.read_bytes())
        Ed25519PublicKey.from_public_bytes(base64.b64decode(public_key)).verify(
            base64.b64decode(head["signature"]), signed_bytes(head)
        )
    except (OSError, ValueError, KeyError, TypeError, InvalidSignature) as error:
        raise ConfigError(
            f"`{path}` is not a head of this journal: {type(error).__name__}",
            hint="a head is made by `answerable audit head`",
        ) from None
    return head


async def behind(store: JournalStore, head: dict[str, Any]) -> list[str]:
    """The streams in which the journal is behind, or other than, a head."""
    found: list[str] = []
    for name, seq, hash_ in head["streams"]:
        entries = await store.entry_hash(name, seq)
        if entries != hash_:
            found.append(name)
    return found


async def check_not_behind(store: JournalStore, *, accept_loss: bool = False) -> None:
    """Refuse a journal that is behind the last head exported from it.

    Raises `JournalBehindHead`. With `accept_loss` the loss is recorded, signed, and the head forgotten.
    """
    path = store.custody.head
    if not path.exists():
        return
    head = read_head(path, store.public_key)
    missing = await behind(store, head)
    if not missing:
        return
    if not accept_loss:
        raise JournalBehindHead(
            f"the journal `{store.custody.name}` is older than the head exported from it: `{missing[0]}`"
            + (f" and {len(missing) - 1} more streams are behind" if len(missing) > 1 else " is behind"),
            hint="restore a newer backup; or, knowing that those entries are lost, `answerable doctor --accept-loss`",
        )
    key = signing_key(store.custody)
    digest = sha256_hex(signed_bytes(head))
    accepted = DiscontinuityAccepted(
        by="operator",
        head=digest,
        behind=tuple(missing[:NAMED_MAX]),
        signature=key.sign(b"answerable/discontinuity/v1\n" + digest.encode()),
    )
    await store.append(
        Append(stream=tenant_stream("default"), events=(accepted,), expect=None, epoch=0, now=store.now())
    )
    path.unlink()
