"""The escalation packet: what a person needs to take over a run, as a value (`spec/packet.md`).

Pure: the packet follows from the run's state, the contents of its payloads and what the caller says about the
escalation. Content that is gone is left out and listed under `redactions`, never shown as empty.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import TYPE_CHECKING, cast

from answerable.engine.packet_question import ASKED_BY_AGENT, answers, question_for
from answerable.engine.packet_rules import built_in_text
from answerable.engine.packet_score import completeness
from answerable.kernel.ids import StepPath, named
from answerable.kernel.money import from_micros, plain
from answerable.kernel.tool import PROBEABLE, RESENDABLE, WriteMode

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from answerable.kernel.state import CallStep, RunState
    from answerable.kernel.tool import ToolSpec

VERSION = 1
TEXT_MAX = 4_000
"""Longer texts are shortened, and that is said."""
STEPS_MAX = 80
"""Of longer runs every write is kept, and the last reads."""
Json = dict[str, object]

_SECRET = re.compile(
    r"(?i)(^|[_-])(password|passwd|secret|token|api_?key|private_?key|authorization|credentials?|cvv|cvc)($|[_-])"
)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_GONE = object()


@dataclass(slots=True)
class _Contents:
    """Contents as they may be shown, and a record of what was not."""

    values: Mapping[str, object]
    redactions: list[Json] = field(default_factory=list[Json])

    def put(self, into: Json, name: str, ref: str | None, place: str) -> None:
        """Set `name` to the content behind `ref`; leave it out where the content is gone."""
        if ref is None:
            return
        value = self.values.get(ref, _GONE)
        if value is _GONE:
            self.redactions.append({"place": place, "kind": "erased"})
        else:
            into[name] = self.clean(value, place)

    def clean(self, value: object, place: str) -> object:
        """`value` without what looks like a credential, and with long texts shortened."""
        if isinstance(value, dict):
            members = cast("dict[str, object]", value)
            return {name: self._member(name, item, f"{place}.{name}") for name, item in members.items()}
        if isinstance(value, list):
            items = cast("list[object]", value)
            return [self.clean(item, f"{place}[{index}]") for index, item in enumerate(items)]
        if isinstance(value, str) and len(value) > TEXT_MAX:
            self.redactions.append({"place": place, "kind": "shortened", "characters": len(value)})
            return f"{value[:TEXT_MAX]}…"
        return value

    def _member(self, name: str, item: object, place: str) -> object:
        if _SECRET.search(name) and isinstance(item, (str, int)) and not isinstance(item, bool):
            self.redactions.append({"place": place, "kind": "credential"})
            return "[redacted]"
        return self.clean(item, place)


def build_packet(
    *,
    run: str,
    agent: str,
    owner: str,
    state: RunState,
    contents: Mapping[str, object],
    tools: Mapping[str, ToolSpec],
    code: str,
    reason: str,
    rules: Sequence[str],
    rule_texts: Mapping[str, str],
    question: str,
    now: int,
    deadline: int | None,
    default: str,
    journal: str,
    head: str = "",
) -> Json:
    """The packet for an escalation of `run`, as `spec/packet.schema.json` describes it.

    `contents` holds decoded payloads by ref; what is not in it is treated as erased. An empty `question` is
    asked in our own words. `default` says what happens if nobody answers by `deadline`; for a run that has
    ended there is none. `head` is the hash of the run's last entry: the resume token is bound to it. Times
    are in microseconds of UTC.
    """
    shown = _Contents(contents)
    kept, omitted = _kept_steps(state)
    if omitted:
        shown.redactions.append({"place": "attempts", "kind": "omitted", "count": omitted})
    effects = _effects(kept, state, tools, shown)
    said_by = "agent" if code in ASKED_BY_AGENT else "runtime"
    packet: Json = {
        "packet": VERSION,
        "ids": {
            "packet": named("pkt", _hash("answerable/packet/v1", journal, run, head, str(now))),
            "run": run,
            "journal": journal,
            "agent": agent,
            "owner": owner,
            "release": state.release,
            "subject": state.created.subject if state.created else "",
        },
        "dedup_key": _hash("answerable/dedup/v1", journal, run, code).hex()[:32],
        "created": _text_time(now),
        "deadline": None if deadline is None else _text_time(deadline),
        "default": default,
        "reason": {
            "code": code,
            "text": shown.clean(reason, "reason.text"),
            "said_by": said_by,
            "rules": [{"id": rule, "text": rule_texts.get(rule) or built_in_text(rule)} for rule in rules],
        },
        "question": {
            "text": shown.clean(question or question_for(code, state), "question.text"),
            "asked_by": said_by if question else "runtime",
            "answers": answers(run, state),
        },
        "ask": _ask(state, shown),
        "facts": _facts(kept, tools, shown),
        "guesses": _guesses(state, shown),
        "attempts": _attempts(kept, shown),
        "effects": effects,
        "safe": _safe(effects, state, tools),
        "spend": _spend(state),
        "resume": _resume(run, journal, head, deadline),
        "redactions": shown.redactions,
    }
    packet["completeness"] = completeness(packet)
    return packet


def _hash(domain: str, *parts: str) -> bytes:
    return sha256("\x1f".join((domain, *parts)).encode()).digest()


def _text_time(us: int) -> str:
    return (_EPOCH + timedelta(microseconds=us)).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _kept_steps(state: RunState) -> tuple[list[tuple[str, CallStep]], int]:
    """The steps to show in order, and how many are left out."""
    steps = sorted(state.calls.items(), key=lambda item: StepPath.parse(item[0]))
    room = STEPS_MAX - sum(step.decided.cls in _WRITES for _, step in steps)
    reads = [path for path, step in steps if step.decided.cls not in _WRITES]
    dropped = set(reads[: max(0, len(reads) - max(room, 10))])
    return [item for item in steps if item[0] not in dropped], len(dropped)


_WRITES = frozenset({"write", "irreversible"})


def _ask(state: RunState, shown: _Contents) -> Json:
    """What was asked, in the words it was asked in. Whoever wrote it may want to deceive."""
    ask: Json = {"is_trusted": False}
    ref = state.created.task if state.created else ""
    given = shown.values.get(ref, _GONE)
    if not isinstance(given, dict) or "task" not in given:
        shown.put(ask, "task", ref, "ask.task")
        return ask
    # The payload of a run holds the task, and for whom and on whose request it came.
    members = cast("Json", given)
    ask["task"] = shown.clean(members["task"], "ask.task")
    ask.update({name: members[name] for name in ("on_behalf_of", "requested_by") if members.get(name)})
    return ask


def _facts(kept: list[tuple[str, CallStep]], tools: Mapping[str, ToolSpec], shown: _Contents) -> list[Json]:
    """What was read, each with the step that read it; apart from anything a model said."""
    facts: list[Json] = []
    for path, step in kept:
        for name, ref in sorted(step.decided.facts.items()):
            fact: Json = {
                "name": name,
                "source": {"path": path, "tool": step.decided.tool, "for": "deciding"},
            }
            shown.put(fact, "value", ref, f"facts[{len(facts)}].value")
            facts.append(fact)
        ended = step.ended
        if ended is not None and ended.state == "done" and step.decided.cls == "read":
            spec = tools.get(step.decided.tool)
            fact = {
                "name": step.decided.tool,
                "source": {"path": path, "tool": step.decided.tool, "for": "the agent"},
                "is_trusted": bool(spec and spec.is_result_trusted),
            }
            shown.put(fact, "value", ended.result, f"facts[{len(facts)}].value")
            facts.append(fact)
    return facts


def _guesses(state: RunState, shown: _Contents) -> list[Json]:
    """What models said. Nothing here was looked up."""
    guesses: list[Json] = []
    for path, step in sorted(state.models.items(), key=lambda item: StepPath.parse(item[0])):
        ended = step.ended
        if ended is None or ended.reply is None:
            continue
        reply = shown.values.get(ended.reply, _GONE)
        place = f"guesses[{len(guesses)}].text"
        guess: Json = {"path": path, "model": step.intent.model, "is_scripted": ended.scripted}
        if reply is _GONE:
            shown.redactions.append({"place": place, "kind": "erased"})
        else:
            text = cast("Json", reply).get("text") if isinstance(reply, dict) else reply
            if not text:
                continue
            guess["text"] = shown.clean(text, place)
        guesses.append(guess)
    return guesses


def _attempts(kept: list[tuple[str, CallStep]], shown: _Contents) -> list[Json]:
    """Every step that was tried: its arguments, how it was decided, what came of it."""
    attempts: list[Json] = []
    for path, step in kept:
        place = f"attempts[{len(attempts)}]"
        decided, ended = step.decided, step.ended
        tried: Json = {
            "path": path,
            "tool": decided.tool,
            "class": decided.cls,
            "decision": _decision(step, shown),
            "attempts": step.intent.attempt if step.intent else (ended.attempt if ended else 0),
            "state": _state_of(step),
        }
        shown.put(tried, "arguments", decided.args, f"{place}.arguments")
        if ended is not None:
            tried["via"] = ended.via
            if ended.failure is not None:
                tried["failure"] = ended.failure
            shown.put(tried, "result", ended.result, f"{place}.result")
        attempts.append(tried)
    return attempts


def _decision(step: CallStep, shown: _Contents) -> Json:
    decided = step.decided
    decision: Json = {"verdict": decided.verdict, "gate": decided.gate, "rules": list(decided.rules)}
    if decided.code is not None:
        decision["code"] = decided.code
    why = shown.values.get(decided.why) if decided.why else None
    if isinstance(why, dict):
        decision["reason"] = str(cast("Json", why).get("reason", ""))
    return decision


def _state_of(step: CallStep) -> str:
    """`done`, `failed`, `unknown`, `shadowed`, `denied`, `waiting`, or `not_sent`."""
    if step.ended is not None:
        return step.ended.state
    if step.intent is not None:
        return "unknown"
    if step.decided.verdict == "deny":
        return "denied"
    if any(request.request not in step.settled for request in step.requests):
        return "waiting"
    return "not_sent"


def _effects(
    kept: list[tuple[str, CallStep]], state: RunState, tools: Mapping[str, ToolSpec], shown: _Contents
) -> Json:
    """Writes: done, not done, unknown. Where it is not certain, it is unknown."""
    undone = {
        step.intent.undoes: path
        for path, step in kept
        if step.intent and step.intent.undoes and step.ended and step.ended.state == "done"
    }
    effects: dict[str, list[Json]] = {"done": [], "not_done": [], "unknown": []}
    for path, step in kept:
        if step.decided.cls not in _WRITES:
            continue
        said = _state_of(step)
        key = step.intent.effect if step.intent else None
        group = "unknown" if said == "unknown" or key in state.unknown else said
        group = group if group in effects else "not_done"
        effect: Json = {"path": path, "tool": step.decided.tool, "class": step.decided.cls, "state": said}
        if key is not None:
            effect["effect"] = key
        place = f"effects.{group}[{len(effects[group])}]"
        shown.put(effect, "arguments", step.decided.args, f"{place}.arguments")
        if group != "not_done":
            effect["compensation"] = _compensation(tools.get(step.decided.tool))
        if key in undone:
            effect["undone_by"] = undone[key]
        effects[group].append(effect)
    return dict(effects)


def _compensation(spec: ToolSpec | None) -> Json:
    if spec is None:
        return {
            "tool": None,
            "how": "the tool is not part of this release any more: look in the system of record",
        }
    if spec.undo is None:
        return {"tool": None, "how": f"`{spec.name}` declares no undo: it has to be put right by hand"}
    return {"tool": spec.undo, "how": f"`{spec.undo}` takes it back, through the same gates"}


def _safe(effects: Json, state: RunState, tools: Mapping[str, ToolSpec]) -> Json:
    """What may be done now without risk, and what may not."""
    groups = cast("dict[str, list[Json]]", effects)
    safe = ["reading again: a read changes nothing"]
    unsafe: list[str] = []
    if not groups["unknown"]:
        safe.append("going on from here: no effect of this run is in doubt")
    for effect in groups["unknown"]:
        tool, path = str(effect["tool"]), effect["path"]
        spec = tools.get(tool)
        mode = spec.mode if spec else None
        if mode is WriteMode.NATIVE_KEY:
            safe.append(
                f"sending `{tool}` at {path} again with its own key, while the vendor still honours it"
            )
            unsafe.append(f"sending `{tool}` at {path} again in any other way: it may already have happened")
        elif mode in RESENDABLE:
            safe.append(f"sending `{tool}` at {path} again exactly as it was")
        elif mode in PROBEABLE:
            safe.append(f"asking the system of record whether `{tool}` at {path} happened")
            unsafe.append(f"sending `{tool}` at {path} again before that is known")
        else:
            unsafe.append(f"sending `{tool}` at {path} again: it may already have happened")
    unsafe += [
        f"doing `{effect['tool']}` at {effect['path']} again by hand: it is done"
        for effect in groups["done"]
        if "undone_by" not in effect
    ]
    if state.ended is None and state.parked is not None:
        safe.append("waiting: the run holds no money, claim or process while it waits")
    return {"is_safe": safe, "is_not_safe": unsafe}


def _spend(state: RunState) -> Json:
    limits = {unit: limit for budget, unit, limit in state.limits if budget.startswith("run:")}
    spent = state.spent
    money = limits.get("money")
    return {
        "tool_calls": {"spent": spent.tool_calls, "limit": limits.get("tool_calls")},
        "model_calls": {"spent": spent.model_calls, "limit": limits.get("model_calls")},
        "tokens": {"spent": spent.tokens, "limit": limits.get("tokens")},
        "money_usd": {
            "spent": plain(from_micros(spent.money)),
            "limit": None if money is None else plain(from_micros(money)),
            "is_known": spent.is_cost_known,
        },
        "seconds_at_work": spent.active_us // 1_000_000,
    }


def _resume(run: str, journal: str, head: str, deadline: int | None) -> Json | None:
    if not head:
        return None
    expires = None if deadline is None else _text_time(deadline)
    token = _hash("answerable/resume/v1", journal, run, head, expires or "").hex()
    return {"token": token, "head": head, "expires": expires}
