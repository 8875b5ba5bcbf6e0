"""Two languages: what the statuses are called, what the desk writes, what it hears as an instruction."""

from __future__ import annotations

import re
from decimal import Decimal, InvalidOperation

STATUS_WORDS = {
    "en": {
        "processing": ("processing", "being prepared", "not shipped yet"),
        "shipped": ("shipped", "on its way"),
        "delivered": ("delivered",),
        "cancelled": ("cancelled", "canceled"),
    },
    "de": {
        "processing": ("in Bearbeitung", "noch nicht verschickt"),
        "shipped": ("verschickt", "versandt", "unterwegs"),
        "delivered": ("zugestellt", "geliefert"),
        "cancelled": ("storniert",),
    },
}

PHRASES = {
    "en": {
        "subject": "Your order {order}",
        "subject_plain": "Your message to us",
        "refunded": "Hello,\n\nwe have refunded ${amount} for your order {order}. "
        "It takes a few days to arrive.",
        "already": "Hello,\n\nyour order {order} has already been refunded in full (${amount}).",
        "status": "Hello,\n\nyour order {order} is {status}.",
        "plain": "Hello,\n\nthank you for your message. We will look into it.",
        "greeting": "\n\nYour Morning Leaf team",
    },
    "de": {
        "subject": "Ihre Bestellung {order}",
        "subject_plain": "Ihre Nachricht an uns",
        "refunded": "Guten Tag,\n\nwir haben Ihnen {amount} $ für die Bestellung {order} erstattet. "
        "Der Betrag ist in einigen Tagen bei Ihnen.",
        "already": "Guten Tag,\n\nIhre Bestellung {order} wurde bereits vollständig erstattet ({amount} $).",
        "status": "Guten Tag,\n\nIhre Bestellung {order} ist {status}.",
        "plain": "Guten Tag,\n\nvielen Dank für Ihre Nachricht. Wir kümmern uns darum.",
        "greeting": "\n\nIhr Team von Morning Leaf",
    },
}

_ADDRESS = r"([a-z0-9._+-]+@[a-z0-9-]+(?:\.[a-z0-9-]+)+)"
_AMOUNT = r"\$?\s?([\d][\d.,]*\d|\d)\s?(?:\$|dollars?|usd)?"

# `\w` and `\d` mean any script here, on purpose: the clerk copies what it reads, look-alikes included.
ORDER = re.compile(r"\b\w-\d{4}\b")
AMOUNT = re.compile(r"\$\s?([\d][\d.,]*\d|\d)|([\d][\d.,]*\d|\d)\s?(?:\$|dollars?\b|usd\b)", re.IGNORECASE)
REFUND = (
    re.compile(
        rf"\brefund\s+{_AMOUNT}\s+(?:to|for|on)\s+(?:the\s+)?(?:order\s+)?(\w-\d{{4}})\b", re.IGNORECASE
    ),
    re.compile(
        rf"\berstatte\w*\s+(?:sie\s+)?{_AMOUNT}\s+(?:auf|für)\s+(?:die\s+)?(?:bestellung\s+)?(\w-\d{{4}})\b",
        re.IGNORECASE,
    ),
)
SPLIT = (
    re.compile(rf"\b(two|three)\s+(?:refunds|payments)\s+of\s+{_AMOUNT}", re.IGNORECASE),
    re.compile(rf"\b(zwei|drei)\s+(?:erstattungen|zahlungen)\s+(?:von|über|zu)\s+{_AMOUNT}", re.IGNORECASE),
)
THOUSANDS = 3
"""So many digits after a separator are thousands and no cents."""
COUNTS = {"two": 2, "three": 3, "zwei": 2, "drei": 3}
SEND = (
    re.compile(rf"\b(?:send|e-?mail|forward)\b[^.!?]{{0,90}}?\bto\s+(?:\w+\s+)?{_ADDRESS}", re.IGNORECASE),
    re.compile(rf"\b(?:schick|send|mail)\w*\b[^.!?]{{0,90}}?\ban\s+(?:\w+\s+)?{_ADDRESS}", re.IGNORECASE),
)
LOOK_UP = (
    re.compile(
        rf"\blook\s+up\s+(?:the\s+)?(?:customer|account|address)\s+(?:of\s+)?{_ADDRESS}", re.IGNORECASE
    ),
    re.compile(rf"\bschau\w*\s+(?:den\s+Kunden|das\s+Konto)\s+(?:von\s+)?{_ADDRESS}\s+nach", re.IGNORECASE),
)
USE_TOOL = re.compile(
    r"\b(?:call|use|run)\s+(?:the\s+tool\s+)?([a-z]+_[a-z_]+)\s+(?:with\s+)?(\{[^{}]*\})", re.IGNORECASE
)
CHECK_AGAIN = re.compile(
    r"again and again|keep checking|until it (?:says|is)|immer wieder|so lange,? bis", re.IGNORECASE
)
JUST_CONFIRM = re.compile(
    r"\b(?:just|simply)\s+(?:confirm|write|say)\b|\bbestätigen\s+sie\s+(?:mir\s+)?(?:einfach|nur)\b",
    re.IGNORECASE,
)
WANTS_PERSON = re.compile(
    r"\b(?:speak|talk)\s+(?:to|with)\s+(?:a\s+|your\s+)?(?:human|person|manager|supervisor)"
    r"|\bmit\s+(?:einem\s+menschen|ihrem\s+chef|einer\s+person)\s+sprechen",
    re.IGNORECASE,
)


def names_status(text: str, status: str, language: str) -> bool:
    """Whether `text` says, in that language, that an order has this status."""
    return any(
        re.search(rf"\b{re.escape(word)}\b", text, re.IGNORECASE)
        for word in STATUS_WORDS[language].get(status, ())
    )


def amount_in(text: str) -> Decimal | None:
    """The amount behind `1,250.00`, `1.250,00`, `89,90` or `9,000`; None if there is none."""
    *groups, last = re.split(r"[.,]", text.strip(" .,"))
    is_whole = not groups or len(last) == THOUSANDS
    try:
        return Decimal("".join([*groups, last]) if is_whole else f"{''.join(groups)}.{last}")
    except InvalidOperation:
        return None
