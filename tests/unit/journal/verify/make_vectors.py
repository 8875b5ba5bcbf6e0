"""Writes `spec/vectors/`: run it (`python -m`) after the specification, a story or an exhibit has changed."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from pathlib import Path
from typing import Any, Final

from tests.unit.journal.verify.verify_builder import Journal, encoded
from tests.unit.journal.verify.verify_museum import MUSEUM
from tests.unit.journal.verify.verify_stories import GOOD, told

Json = dict[str, Any]

VECTORS: Final = Path(__file__).parents[4] / "spec" / "vectors"
_HEAD_COLUMNS: Final = ("stream", "seq", "hash", "epoch", "time")
_PAYLOAD_COLUMNS: Final = ("ref", "subject", "retention", "created", "size", "body", "erased")


def stored(value: object) -> object:
    """A stored value in JSON: text, integer and null as themselves, what JSON cannot say as hexadecimal."""
    if isinstance(value, memoryview):
        return {"blob": value.hex()}
    if not isinstance(value, bytes):
        return value
    try:
        return value.decode()
    except UnicodeDecodeError:
        return {"text": value.hex()}


def vector(name: str, shows: str, journal: Journal, head: Json | None, expect: list[str]) -> Json:
    """One journal and what a reader must find in it."""
    entries = ("stream", "seq", "time", "prev", "hash", "body")
    made: Json = {"name": name, "shows": shows, "findings": expect}
    made["rows"] = [{column: stored(row[column]) for column in entries} for row in journal.rows]
    made["head_rows"] = [{column: row[column] for column in _HEAD_COLUMNS} for row in journal.head_rows()]
    made["payloads"] = [{name: stored(row[name]) for name in _PAYLOAD_COLUMNS} for row in journal.payloads]
    keys = ((row["ref"], row["key"]) for row in journal.subjects)
    made["subjects"] = [{"ref": ref, "key": key.hex() if key is not None else None} for ref, key in keys]
    if head is not None:
        made["head"] = head
    return made


def journal_vectors() -> dict[str, Json]:
    """File name to content."""
    made: dict[str, Json] = {}
    for name, story in GOOD.items():
        journal = told(story)
        shows = (story.__doc__ or "").strip()
        made[f"good_{name}.json"] = vector(name, shows, journal, journal.head(), [])
    for name, build in MUSEUM.items():
        bad = build()
        made[f"bad_{name}.json"] = vector(name, bad.shows, bad.journal, bad.head, sorted(bad.expect))
    return made


# -------------------------------------------------------------------- effects

_KEY: Final = bytes(range(32))
_RUN: Final = "run_aaaaaaaaaaaaaaaaaaaaaaaaaa"

_ARGUMENTS: Final[list[Json]] = [
    {},
    {"order_id": "A-1001"},
    {"order_id": "A-1001", "amount_usd": "120", "reason": "late"},
    {"order_id": "A-1001", "amount_usd": "0.5", "reason": None, "notify": True},
    {"text": 'quotes " and \\ and \n and \u0001 and \u007f and é and 😀'},
    {"b": [1, 2, {"d": [], "c": {}}], "a": -9007199254740991},
]


def joined(*parts: str) -> bytes:
    """Strings joined with U+001F, as UTF-8."""
    return "\x1f".join(parts).encode()


def h(*parts: str) -> bytes:
    """H of the specification."""
    return hashlib.sha256(joined(*parts)).digest()


def run_id(*parts: str) -> str:
    """A run id that follows from what caused the run."""
    return "run_" + base64.b32encode(h(*parts)[:16]).decode().lower().rstrip("=")


def mac(context: str, raw: bytes) -> str:
    """HMAC of a context, a line feed and content, under the vectors' key."""
    return hmac.new(_KEY, context.encode() + b"\n" + raw, "sha256").hexdigest()


def effect_key(path: str, tool: str, arguments: Json) -> Json:
    """The key of one call."""
    canonical = encoded(arguments)
    args_ref = mac("answerable/payload/v1", canonical)
    key = h("answerable/effect/v1", _RUN, path, tool, args_ref).hex()
    made = {"run": _RUN, "path": path, "tool": tool, "arguments": arguments, "canonical": canonical.decode()}
    return {**made, "args_ref": args_ref, "effect": key}


def claim(tool: str, rule: str, target: str) -> Json:
    """The key of one claim."""
    key = mac("answerable/claim/v1", joined("default", tool, target))
    return {"tenant": "default", "tool": tool, "rule": rule, "target": target, "claim": key}


def total(name: str, target: str, period: str) -> Json:
    """The key of one total."""
    key = mac("answerable/total/v1", joined(name, target, period))
    return {"name": name, "target": target, "period": period, "total": key}


def child(path: str, index: int) -> Json:
    """One child run."""
    run = run_id("answerable/child/v1", _RUN, path, str(index))
    return {"parent": _RUN, "path": path, "index": index, "run": run}


def source(agent: str, event: str) -> Json:
    """One run that an event from outside caused."""
    run = run_id("answerable/run/v1", "default", agent, event)
    return {"tenant": "default", "agent": agent, "event": event, "run": run}


def effect_vectors() -> Json:
    """All of `effects.json`."""
    calls = [("0.0", "get_order"), ("3.12", "create_refund")]
    return {
        "subject_key": _KEY.hex(),
        "tenant_key": _KEY.hex(),
        "effects": [effect_key(path, tool, arguments) for path, tool in calls for arguments in _ARGUMENTS],
        "children": [child("0.0", 0), child("0.0", 1), child("12.3", 40)],
        "sources": [
            source("refund-desk", "ticket-1"),
            source("refund-desk", "ticket-2"),
            source("b", "é 😀"),
        ],
        "claims": [
            claim("create_refund", "default", encoded(_ARGUMENTS[2]).decode()),
            claim("create_refund", "once", "refund:A-1001"),
            claim("create_refund", "up_to", "refund:A-1001"),
            claim("send_reply", "until_compensated", "reply:ü"),
        ],
        "totals": [
            total("refunds", "A-1001", ""),
            total("refunds", "A-1001", "2026-01-01"),
            total("refunds_per_day", "", "2026-01-01"),
        ],
    }


def rendered(value: Json) -> str:
    """A vector file as it is committed."""
    return json.dumps(value, indent=1, ensure_ascii=True) + "\n"


def vector_files() -> dict[str, str]:
    """Every file below `spec/vectors/` that is generated, with its content."""
    files = {f"journal/{name}": rendered(value) for name, value in journal_vectors().items()}
    return {**files, "effects.json": rendered(effect_vectors())}


def main() -> None:
    """Write them all, and remove the ones of stories that are gone."""
    files = vector_files()
    (VECTORS / "journal").mkdir(parents=True, exist_ok=True)
    for old in (VECTORS / "journal").glob("*.json"):
        if f"journal/{old.name}" not in files:
            old.unlink()
    for name, content in files.items():
        (VECTORS / name).write_text(content)


if __name__ == "__main__":
    main()
