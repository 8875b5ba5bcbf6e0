"""Whether a delivery was signed by its sender: pure, over headers, body and the time.

What is not signed is not believed: an event id counts only where the scheme signs it. Otherwise who has seen one
delivery could send it again under another id, and start a second run.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

SIGNATURES_MAX = 8
"""How many signatures of one delivery are looked at: a sender that rotates its secret sends two."""
_EVENT = re.compile(r"[A-Za-z0-9_:+/=@-]{1,200}")
"""Without the dot that parts what is signed: another event id cannot make the same bytes."""
_SECONDS = re.compile(r"[0-9]{1,12}")


class Unsigned(Exception):
    """A delivery that its sender did not sign, or signed too long ago. The message holds nothing of it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scheme:
    """How one kind of sender signs."""

    signature_header: str
    prefix: str
    """What stands before each signature."""
    timestamp_header: str = ""
    """Empty: the time is not signed. The signature's own header: it stands there as `t=SECONDS`."""
    event_header: str = ""
    """The sender's id of the event; it is signed."""
    signs: tuple[str, ...]
    """What is signed, in order: `event`, `timestamp`, `body`, or text as it is."""
    encoding: Literal["hex", "base64"] = "hex"
    is_secret_base64: bool = False


SCHEMES = {
    "answerable": Scheme(
        signature_header="answerable-signature",
        prefix="sha256=",
        timestamp_header="answerable-timestamp",
        signs=("timestamp", ".", "body"),
    ),
    "standard": Scheme(
        signature_header="webhook-signature",
        prefix="v1,",
        timestamp_header="webhook-timestamp",
        event_header="webhook-id",
        signs=("event", ".", "timestamp", ".", "body"),
        encoding="base64",
        is_secret_base64=True,
    ),
    "stripe": Scheme(
        signature_header="stripe-signature",
        prefix="v1=",
        timestamp_header="stripe-signature",
        signs=("timestamp", ".", "body"),
    ),
    "slack": Scheme(
        signature_header="x-slack-signature",
        prefix="v0=",
        timestamp_header="x-slack-request-timestamp",
        signs=("v0:", "timestamp", ":", "body"),
    ),
    "github": Scheme(signature_header="x-hub-signature-256", prefix="sha256=", signs=("body",)),
}


def named_headers(
    scheme: Scheme, *, signature: str | None, timestamp: str | None, event: str | None
) -> Scheme:
    """The scheme with the headers that a sender uses. Headers are compared in lower case."""
    changed = replace(
        scheme,
        signature_header=(signature or scheme.signature_header).lower(),
        timestamp_header=(timestamp or scheme.timestamp_header).lower(),
        event_header=(event or scheme.event_header).lower(),
    )
    if event and "event" not in scheme.signs:
        changed = replace(changed, signs=("event", ".", *changed.signs))
    return changed


def check(
    scheme: Scheme,
    secrets: Sequence[bytes],
    header: Callable[[str], Sequence[str]],
    body: bytes,
    *,
    now_s: float,
    window_s: float,
) -> str:
    """The sender's id of the event, or empty where it gives none. Raises `Unsigned`.

    `header` gives every value of a header. Each secret is tried, and every signature compared in constant time.
    """
    signature = _one(header(scheme.signature_header), scheme.signature_header)
    parts = signature.split("," if scheme.timestamp_header == scheme.signature_header else " ")
    values = {"body": body, "timestamp": b"", "event": b""}
    if scheme.timestamp_header:
        values["timestamp"] = _timestamp(scheme, header, parts).encode()
    if scheme.event_header:
        event = _one(header(scheme.event_header), scheme.event_header)
        if not _EVENT.fullmatch(event):
            raise Unsigned(f"`{scheme.event_header}` is no event id")
        values["event"] = event.encode()
    signed = b"".join(values.get(part, part.encode()) for part in scheme.signs)
    given = [
        part.strip().removeprefix(scheme.prefix).encode("utf-8", "replace")
        for part in parts
        if part.strip().startswith(scheme.prefix)
    ]
    is_signed = False
    for secret in secrets:
        expected = sign(scheme, secret, signed)
        for one in given[:SIGNATURES_MAX]:
            is_signed |= hmac.compare_digest(expected, one)
    if not is_signed:
        raise Unsigned("the signature is not that of this body")
    if scheme.timestamp_header and abs(now_s - int(values["timestamp"])) > window_s:
        raise Unsigned("it was signed too long ago, or the clocks differ")
    return values["event"].decode()


def sign(scheme: Scheme, secret: bytes, signed: bytes) -> bytes:
    """The signature as it is written, without its prefix."""
    digest = hmac.new(secret, signed, hashlib.sha256)
    return digest.hexdigest().encode() if scheme.encoding == "hex" else base64.b64encode(digest.digest())


def _timestamp(scheme: Scheme, header: Callable[[str], Sequence[str]], parts: Sequence[str]) -> str:
    if scheme.timestamp_header == scheme.signature_header:
        found = [part.strip()[2:] for part in parts if part.strip().startswith("t=")]
    else:
        found = list(header(scheme.timestamp_header))
    text = _one(found, scheme.timestamp_header)
    if not _SECONDS.fullmatch(text):
        raise Unsigned(f"`{scheme.timestamp_header}` holds no time in seconds")
    return text


def _one(values: Sequence[str], name: str) -> str:
    """A header that is there once: of two, who knows which one another program would read."""
    if len(values) != 1:
        raise Unsigned(f"`{name}` is {'missing' if not values else 'there more than once'}")
    return values[0]
