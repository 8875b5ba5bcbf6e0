"""An escalation packet as Markdown, for a ticket or a mail. What comes from outside stays text.

What the company did not write is in a fenced block, or escaped, and marked: no link in it can be clicked, no
heading in it looks like ours.
"""

from __future__ import annotations

import re
from typing import Any, cast

import orjson

from answerable.evidence.words import in_line, visible

Json = dict[str, Any]

_SPECIAL = re.compile(r"([\\`*_\[\]<>#|~&:@]|^[-+=]|(?<=^www)\.|(?<=\Wwww)\.)", re.IGNORECASE)
"""What would be markup: also what some renderers make a link of, such as an address or a `www.`."""
_FENCES = re.compile(r"`{3,}")


def packet_markdown(packet: dict[str, object]) -> str:
    """The packet as a page. Nothing is left out that the packet holds, except digests."""
    held = cast("Json", packet)
    sections = (_top, _ask, _facts, _effects, _attempts, _guesses, _safe, _spend, _about)
    return "\n\n".join(section(held) for section in sections) + "\n"


def _text(value: object) -> str:
    """Any text as one line of Markdown that renders as itself."""
    return _SPECIAL.sub(r"\\\1", in_line(str(value)))


def _code(value: object) -> str:
    return f"`{in_line(str(value)).replace('`', chr(0x2CB))}`"


def _block(value: object, *, label: str = "") -> str:
    """Content in a fence that nothing inside it can close."""
    text = value if isinstance(value, str) else orjson.dumps(value, option=orjson.OPT_INDENT_2).decode()
    shown = visible(text)
    longest = max((len(fence) for fence in _FENCES.findall(shown)), default=2)
    fence = "`" * max(3, longest + 1)
    head = f"{label}\n\n" if label else ""
    return f"{head}{fence}text\n{shown}\n{fence}"


def _content(item: Json, name: str, *, label: str = "") -> str:
    return _block(item[name], label=label) if name in item else "*Gone: see what is left out.*"


def _top(packet: Json) -> str:
    reason, question = packet["reason"], packet["question"]
    lines = [
        f"# {_text(question['text'])}",
        "",
        f"{_text(reason['text'])} ({_code(reason['code'])})",
        "",
        *(
            ["*In the words of the agent, which may be a model's.*", ""]
            if reason["said_by"] == "agent"
            else []
        ),
        f"**Answer until:** {_text(packet['deadline'] or 'any time')}.",
        f"**Without an answer:** {_text(packet['default'])}.",
        "",
        "| answer | what it means | how |",
        "|---|---|---|",
    ]
    for answer in question["answers"]:
        how = _code(answer["command"]) if answer["command"] else "by hand"
        lines.append(f"| {_code(answer['answer'])} | {_text(answer['means'])} | {how} |")
    if reason["rules"]:
        lines += ["", "**Rules that decided**", ""]
        lines += [
            f"- {_code(rule['id'])}: {_text(rule['text'] or 'its text is gone')}" for rule in reason["rules"]
        ]
    return "\n".join(lines)


def _ask(packet: Json) -> str:
    label = "Untrusted: whoever wrote this may want to deceive."
    return f"## What was asked\n\n{_content(packet['ask'], 'task', label=label)}"


def _facts(packet: Json) -> str:
    parts = ["## What was looked up"]
    for fact in packet["facts"]:
        source = fact["source"]
        trust = "written by the company" if fact.get("is_trusted") else "untrusted"
        parts.append(f"{_code(fact['name'])} from step {source['path']} ({trust}, for {source['for']})")
        parts.append(_content(fact, "value"))
    return "\n\n".join([*parts, "Nothing."] if len(parts) == 1 else parts)


def _effects(packet: Json) -> str:
    titles = {"done": "Done", "unknown": "UNKNOWN: it may have happened", "not_done": "Not done"}
    parts = ["## What changed outside"]
    for group, title in titles.items():
        effects = packet["effects"][group]
        if not effects:
            continue
        parts.append(f"### {title}")
        for effect in effects:
            line = f"{_code(effect['tool'])} at step {effect['path']} ({_text(effect['state'])})"
            if "compensation" in effect:
                line += f". {_text(effect['compensation']['how'])}"
            if "undone_by" in effect:
                line += f". Taken back at step {effect['undone_by']}"
            parts += [line, _content(effect, "arguments")]
    return "\n\n".join([*parts, "Nothing."] if len(parts) == 1 else parts)


def _attempts(packet: Json) -> str:
    lines = ["## What was tried", "", "| step | tool | decision | state | tries |", "|---|---|---|---|---|"]
    for tried in packet["attempts"]:
        decision = tried["decision"]
        verdict = " ".join(
            [decision["verdict"].replace("_", " "), *(_code(rule) for rule in decision["rules"])]
        )
        state = f"{_text(tried['state'])} {_text(tried.get('failure', ''))}".strip()
        lines.append(
            f"| {tried['path']} | {_code(tried['tool'])} | {verdict} | {state} | {tried['attempts']} |"
        )
        if "reason" in decision and decision["verdict"] != "allow":
            lines.append(f"| | | {_text(decision['reason'])} | | |")
    return "\n".join(lines if packet["attempts"] else [lines[0], "", "Nothing."])


def _guesses(packet: Json) -> str:
    parts = ["## What a model said", "Guesses. Nothing here was looked up."]
    for guess in packet["guesses"]:
        scripted = ", a scripted program and not a model" if guess["is_scripted"] else ""
        parts.append(f"Step {guess['path']}, {_code(guess['model'])}{scripted}")
        parts.append(_content(guess, "text"))
    return "\n\n".join(parts)


def _safe(packet: Json) -> str:
    lines = ["## What is still safe", ""]
    lines += [f"- Safe: {_text(text)}" for text in packet["safe"]["is_safe"]]
    lines += [f"- Not safe: {_text(text)}" for text in packet["safe"]["is_not_safe"]]
    return "\n".join(lines)


def _spend(packet: Json) -> str:
    spend = packet["spend"]
    lines = ["## What it cost", "", "| | spent | limit |", "|---|---|---|"]
    for unit in ("tool_calls", "model_calls", "tokens"):
        limit = spend[unit]["limit"]
        lines.append(
            f"| {unit.replace('_', ' ')} | {spend[unit]['spent']} | {'none' if limit is None else limit} |"
        )
    money = spend["money_usd"]
    spent = money["spent"] if money["is_known"] else f"at least {money['spent']}"
    lines.append(f"| US dollars | {spent} | {money['limit'] or 'none'} |")
    return "\n".join(lines)


def _about(packet: Json) -> str:
    ids, score = packet["ids"], packet["completeness"]
    lines = ["## About this packet", "", f"Complete to {score['score']} %.", ""]
    lines += [
        f"- Missing in {_code(section['section'])}: {_text(', '.join(section['lacks']))}"
        for section in score["sections"]
        if section["lacks"]
    ]
    lines += [f"- Left out at {_code(item['place'])}: {_text(item['kind'])}" for item in packet["redactions"]]
    lines += [
        f"- Run {_code(ids['run'])} of agent {_code(ids['agent'])}, owned by {_code(ids['owner'])}",
        f"- Packet {_code(ids['packet'])}, made {packet['created']}, from journal {_code(ids['journal'])}",
    ]
    if packet["resume"]:
        lines.append(f"- Bound to the run's head {_code(packet['resume']['head'][:16])}")
    return "\n".join(lines)
