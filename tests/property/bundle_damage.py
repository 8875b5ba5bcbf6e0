"""Damage and edits, in a seeded way, to a bundle as its authors keep it: the text of the rules, and the tools."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from pydantic import create_model
from tests.property.call_damage import full_width, invisible, look_alike

from answerable.kernel.tool import EffectClass
from answerable.tools.argument_types import Arguments

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from random import Random

    from answerable.kernel.tool import ToolSpec


@dataclass(frozen=True, slots=True)
class Mutant:
    """A damaged or edited bundle. `is_damage`: no author could have meant it, so it may not loosen anything."""

    kind: str
    sources: dict[str, str]
    specs: tuple[ToolSpec, ...]
    is_damage: bool = False


_NAME = re.compile(r"[A-Za-z_][A-Za-z_0-9]*")
_ATTRIBUTE = re.compile(r"(?<=\.)[A-Za-z_]+")
_ASKED_FOR = re.compile(r"(?<= has )[A-Za-z_]+")
_QUOTED = re.compile(r'"(?:\\.|[^"\\])*"')
_OPAQUE = re.compile(r'(?P<before>@\w+\(|::)?"(?:\\.|[^"\\])*"|//[^\n]*')
_TO_PEOPLE = ("@text(", "@id(", "@owner(")
_MEANT = ("::", "@decision(", "@approvers(")


def _parts(text: str, *, with_values: bool) -> list[tuple[int, int]]:
    """The parts of a file that are neither comments nor words to people; values too only where they are asked for.

    Another value is another rule, and not a slip: but the name of a tool or of a decision is a name.
    """
    found, start = list[tuple[int, int]](), 0
    for match in _OPAQUE.finditer(text):
        before = match["before"] or ""
        is_value = match[0].endswith('"') and before not in _TO_PEOPLE
        if before in _MEANT or (with_values and is_value):
            continue
        found.append((start, match.start()))
        start = match.end()
    return [*found, (start, len(text))]


def _places(text: str, wanted: re.Pattern[str], *, with_values: bool = False) -> list[re.Match[str]]:
    parts = _parts(text, with_values=with_values)
    return [
        match
        for match in wanted.finditer(text)
        if any(start <= match.start() and match.end() <= end for start, end in parts)
    ]


def _edit(rng: Random, word: str) -> str:
    """A slip of the fingers: never the same word, and never another one of this file's."""
    at = rng.randrange(len(word))
    ways = [
        word[:at] + word[at + 1 :],
        word[:at] + word[at] + word[at:],
        word[:at] + rng.choice("abcdefghijklmnopqrstuvwxyz_") + word[at + 1 :],
        word[:at] + word[at : at + 2][::-1] + word[at + 2 :],
        word[:at] + word[at].swapcase() + word[at + 1 :],
        word + rng.choice("s_x"),
    ]
    return rng.choice(ways)


def _typo(rng: Random, text: str) -> str:
    """In an attribute's name every other time, and there behind `has` every other time: Cedar lets that ask for anything."""
    known = set(_NAME.findall(text))
    for _ in range(20):
        wanted = rng.choice((_NAME, _NAME, _ATTRIBUTE, _ASKED_FOR))
        at = _places(text, wanted)
        if not at:
            continue
        match = rng.choice(at)
        made = _edit(rng, match[0])
        if made and made not in known:
            return text[: match.start()] + made + text[match.end() :]
    return text


def _alike(rng: Random, text: str) -> str:
    match = rng.choice(_places(text, _NAME))
    made = rng.choice([look_alike, full_width, invisible])(rng, match[0])
    return text[: match.start()] + made + text[match.end() :]


def _dropped(rng: Random, text: str) -> str:
    match = rng.choice(_places(text, re.compile(r"[\"(){};,@.&|\[\]]")))
    return text[: match.start()] + text[match.end() :]


def _rules(text: str) -> list[str]:
    return [rule for rule in re.findall(r"[^;]*;", text) if rule.strip()]


def _swap(rng: Random, text: str, pairs: Sequence[tuple[str, str]]) -> str:
    """One occurrence of one word of a pair becomes the other."""
    both = [*pairs, *((new, old) for old, new in pairs)]
    at = [(match.start(), old, new) for old, new in both for match in re.finditer(re.escape(old), text)]
    if not at:
        return text
    start, old, new = rng.choice(at)
    return text[:start] + new + text[start + len(old) :]


_OPERATORS = (
    ("greaterThan", "lessThan"),
    ("greaterThan", "greaterThanOrEqual"),
    ("lessThanOrEqual", "lessThan"),
    ("containsAll", "containsAny"),
    (" > ", " < "),
    (" > ", " >= "),
    (" == ", " != "),
    (" && ", " || "),
    ("when", "unless"),
    ("when { ", "when { !"),
    ("forbid", "permit"),
    (" == Action", " in Action"),
)
_GARBAGE = (";", "//", "}", "forbid", "permit (principal, action, resource);", "@id", "@x(1)", '"', "{", "&& true", "|| true", "|| false",
            "\n\n", "unless { true }", "when { false }", "\\", "\x00", "/* */", "?principal", "0", "[]", "é", "\u202e")  # fmt: skip


def _insert(rng: Random, text: str, what: str) -> str:
    at = rng.randint(0, len(text))
    return text[:at] + what + text[at:]


def mutated_bundle(rng: Random, sources: dict[str, str], specs: tuple[ToolSpec, ...]) -> Mutant:
    """One bundle with one thing wrong with it, or changed."""
    kind = rng.choice((*_FILE_KINDS, *_TOOL_KINDS))
    if kind in _TOOL_KINDS:
        return Mutant(kind, sources, _TOOL_KINDS[kind](rng, specs))
    change, is_damage = _FILE_KINDS[kind]
    file = rng.choice(sorted(sources))
    return Mutant(kind, sources | {file: change(rng, sources[file])}, specs, is_damage)


_FILE_KINDS: dict[str, tuple[Callable[[Random, str], str], bool]] = {
    "a typo in a name": (_typo, True),
    "two typos": (lambda rng, text: _typo(rng, _typo(rng, text)), True),
    "a look-alike in a name": (_alike, True),
    "a dropped quote, bracket or dot": (_dropped, True),
    "an effect or operator swapped": (lambda rng, text: _swap(rng, text, _OPERATORS), False),
    "a value changed": (
        lambda rng, text: _at_place(rng, text, re.compile(r"-?[0-9]+(?:\.[0-9]+)?"), lambda found: str(Decimal(found) * rng.choice([-1, 0, 2, 10]))),
        False,
    ),
    "a word changed": (lambda rng, text: _at_place(rng, text, _QUOTED, lambda found: f'"{_edit(rng, found[1:-1] or "x")}"'), False),
    "a quote around a value dropped or added": (
        lambda rng, text: _at_place(rng, text, re.compile(r'"[^"]*"|\b[0-9]+\b'), lambda found: found.strip('"') if found[0] == '"' else f'"{found}"'),
        False,
    ),
    "an annotation removed": (lambda rng, text: _at_place(rng, text, re.compile(r'@\w+\("[^"]*"\)'), lambda _: "", anywhere=True), False),
    "an annotation's value changed": (
        lambda rng, text: _at_place(rng, text, re.compile(r'@\w+\("[^"]*"\)'), lambda found: found.split("(")[0] + rng.choice(['("x")', '("")', "", '("deny")', '("require_approval")', '("2")', '("allow")']), anywhere=True),
        False,
    ),
    "an id given twice": (lambda rng, text: text + rng.choice(_rules(text)), False),
    "a rule removed": (lambda rng, text: text.replace(rng.choice(_rules(text)), "", 1), False),
    "rules in another order": (lambda rng, text: "".join(rng.sample(_rules(text), len(_rules(text)))), False),
    "a line commented out": (lambda rng, text: _at_place(rng, text, re.compile(r"^.", re.MULTILINE), lambda found: f"// {found}", anywhere=True), False),
    "cut short": (lambda rng, text: text[: rng.randrange(len(text))], False),
    "cut after a rule": (lambda rng, text: "".join(_rules(text)[: rng.randrange(1, len(_rules(text)))]), False),
    "cut at the beginning": (lambda rng, text: text[rng.randrange(len(text)) :], False),
    "garbage put in": (lambda rng, text: _insert(rng, text, rng.choice(_GARBAGE)), False),
    "emptied": (lambda rng, _: rng.choice(["", " \n", "// nothing\n"]), False),
}  # fmt: skip


def _at_place(
    rng: Random, text: str, wanted: re.Pattern[str], change: Callable[[str], str], *, anywhere: bool = False
) -> str:
    at = list(wanted.finditer(text)) if anywhere else _places(text, wanted, with_values=True)
    if not at:
        return text
    match = rng.choice(at)
    return text[: match.start()] + change(match[0]) + text[match.end() :]


def _one(
    rng: Random, specs: tuple[ToolSpec, ...], change: Callable[[ToolSpec], ToolSpec]
) -> tuple[ToolSpec, ...]:
    at = rng.randrange(len(specs))
    return tuple(change(each) if index == at else each for index, each in enumerate(specs))


def _less_one(rng: Random, specs: tuple[ToolSpec, ...]) -> tuple[ToolSpec, ...]:
    gone = rng.randrange(len(specs))
    return tuple(each for index, each in enumerate(specs) if index != gone)


def _with_field(rng: Random, spec: ToolSpec) -> ToolSpec:
    """Its model with one field renamed, dropped or of another type."""
    fields: dict[str, Any] = {
        name: (info.annotation, ... if info.is_required() else info.default)
        for name, info in spec.arguments.model_fields.items()
    }
    name = rng.choice(sorted(fields))
    kept = fields.pop(name)
    match rng.randrange(3):
        case 0:
            fields[_edit(rng, name).strip("_") or "other"] = kept
        case 1:
            fields[name] = (rng.choice([str, int, bool, Decimal, list[str], str | None]), ...)
        case _:
            fields["extra"] = (str, "")
            fields[name] = kept
    return replace(spec, arguments=create_model(f"{spec.name}_other", __base__=Arguments, **fields))


_TOOL_KINDS: dict[str, Callable[[Random, tuple[ToolSpec, ...]], tuple[ToolSpec, ...]]] = {
    "a tool renamed": lambda rng, specs: _one(rng, specs, lambda spec: replace(spec, name=_edit(rng, spec.name))),
    "a tool of another effect class": lambda rng, specs: _one(rng, specs, lambda spec: replace(spec, effect_class=rng.choice(list(EffectClass)))),
    "a tool of another data class": lambda rng, specs: _one(rng, specs, lambda spec: replace(spec, data_class=rng.choice(["internal", "personal", "public"]))),
    "a parameter renamed, retyped or added": lambda rng, specs: _one(rng, specs, lambda spec: _with_field(rng, spec)),
    "a tool removed": _less_one,
    "a tool twice": lambda rng, specs: (*specs, specs[rng.randrange(len(specs))]),
}  # fmt: skip
