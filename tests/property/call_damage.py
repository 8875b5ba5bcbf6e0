"""Damage, in a seeded way, to a call as a model writes it.

What is drawn is drawn from a `random.Random`, so that hypothesis can drive it and a plain loop can repeat it.
"""

from __future__ import annotations

import json
import re
import unicodedata
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable
    from random import Random

INVISIBLE = "\u200b\u200d\u2060\ufeff\u00ad\u200f\u202e\u2066\u034f\ufe0f\u3164\U000e0041\u00a0\u2028\x00\x1b"
LOOK_ALIKE = dict(zip("aceiopsuxyACEHKMOPTX", "асеіорѕuхуАСЕНКМОРТХ", strict=True))
FULL_WIDTH = {chr(code): chr(code + 0xFEE0) for code in range(0x21, 0x7F)}


class Spelt(str):
    """JSON text that stands as it is: a number in an odd spelling."""

    __slots__ = ()


@dataclass
class Pairs:
    """A JSON object as it is written: a name may come twice."""

    items: list[tuple[str, Any]]


def write(value: object) -> str:
    """JSON text of what the mutations make."""
    match value:
        case Spelt():
            return str(value)
        case Pairs(items):
            return "{" + ", ".join(f"{json.dumps(name)}: {write(inner)}" for name, inner in items) + "}"
        case list():
            return "[" + ", ".join(map(write, value)) + "]"
        case Decimal():
            return str(value)
        case _:
            return json.dumps(value)


def as_pairs(value: object) -> Any:
    """The same with every object as `Pairs`."""
    match value:
        case dict():
            return Pairs([(name, as_pairs(inner)) for name, inner in value.items()])
        case list():
            return [as_pairs(each) for each in value]
        case _:
            return value


def mutated_call(rng: Random, call: dict[str, Any]) -> str:
    """The JSON text of a call after one to three changes, some of them to the text itself."""
    value: Any = as_pairs(call)
    changes = rng.choice((1, 1, 1, 2, 3))
    on_text = rng.randint(0, changes) if rng.random() < 0.5 else 0
    for _ in range(changes - on_text):
        value = _change(rng, value)
    text = write(value)
    for _ in range(on_text):
        text = rng.choice(_TEXT_CHANGES)(rng, text)
    return text


def _change(rng: Random, value: Any) -> Any:
    """One change, somewhere inside."""
    match value:
        case Pairs(items) if items and rng.random() < 0.7:
            at = rng.randrange(len(items))
            return Pairs(
                [(n, _change(rng, v)) if each == at else (n, v) for each, (n, v) in enumerate(items)]
            )
        case list() if value and rng.random() < 0.5:
            at = rng.randrange(len(value))
            return [_change(rng, each) if index == at else each for index, each in enumerate(value)]
        case Pairs():
            return rng.choice(_PAIR_CHANGES)(rng, value)
        case list():
            return rng.choice(_LIST_CHANGES)(rng, value)
        case str() if not isinstance(value, Spelt) and not _is_number(value):
            return rng.choice((*_STRING_CHANGES, _other_container))(rng, value)
        case bool() | None:
            return _other_container(rng, value)
        case _:
            return rng.choice((_number, _number, _number, _other_container))(rng, value)


def _is_number(text: str) -> bool:
    return re.fullmatch(r"-?[0-9]+(\.[0-9]+)?", text) is not None


def _other_container(rng: Random, value: Any) -> Any:
    made: list[Callable[[], Any]] = [
        lambda: [value],
        lambda: [value, value],
        lambda: Pairs([("value", value)]),
        lambda: write(value),
        lambda: None,
        lambda: True,
        lambda: False,
        list,
        lambda: Pairs([]),
        lambda: "",
        lambda: 0,
        lambda: 1,
    ]
    return rng.choice(made)()


def _number(rng: Random, value: Any) -> Any:
    """Another number, or the same in another spelling."""
    text = str(value)
    number = Decimal(text) if _is_number(text) else Decimal(1)
    near = rng.choice([number, *(Decimal(each) for each in ("500", "50000", "0.01", "0", "-1"))])
    other = near + Decimal(rng.choice(["0", "1", "-1", "0.0001", "-0.0001", "0.00001", "1000000", "0.01"]))
    plain = f"{other:f}"
    spellings = [
        Spelt(plain),
        plain,
        Spelt(plain.split(".", maxsplit=1)[0]),
        Spelt(f"{other:E}"),
        f"{other:E}",
        Spelt(plain + "0" if "." in plain else plain + ".0"),
        plain + "0" if "." in plain else plain + ".0",
        Spelt("-" + plain),
        Spelt("+" + plain),
        Spelt("0" + plain),
        f"{other:,f}",
        f"{plain[:1]}_{plain[1:]}",
        plain.replace(".", ","),
        f" {plain}",
        f"{plain}\n",
        "".join(FULL_WIDTH.get(each, each) for each in plain),
        plain[:1] + rng.choice(INVISIBLE) + plain[1:],
        Spelt(
            rng.choice(
                ["NaN", "Infinity", "-Infinity", "1e400", "-0", "-0.0", "1e-7", "0x1F4", "1_0", ".5", "5."]
            )
        ),
        rng.choice(["NaN", "Infinity", "-0", "1e3", "0x1F4", "½", "٥", "", "five", "true"]),
        Spelt("9" * rng.choice([15, 16, 18, 19, 20, 21, 40])),
        "9" * rng.choice([15, 18, 19, 27, 28, 40]),
        Spelt(str(rng.choice([2**53, 2**53 + 1, 2**63 - 1, 2**63, 2**64 + 1, -(2**63) - 1]))),
        rng.random() < 0.5,
    ]
    return rng.choice(spellings)


def look_alike(rng: Random, text: str) -> str:
    at = [index for index, each in enumerate(text) if each in LOOK_ALIKE]
    if not at:
        return text + "а"
    index = rng.choice(at)
    return text[:index] + LOOK_ALIKE[text[index]] + text[index + 1 :]


def full_width(rng: Random, text: str) -> str:
    if not text:
        return "Ａ"
    index = rng.randrange(len(text))
    return text[:index] + FULL_WIDTH.get(text[index], text[index]) + text[index + 1 :]


def invisible(rng: Random, text: str) -> str:
    index = rng.randint(0, len(text))
    return text[:index] + rng.choice(INVISIBLE) + text[index:]


_STRING_CHANGES: tuple[Callable[[Random, str], Any], ...] = (
    look_alike,
    full_width,
    invisible,
    lambda rng, text: rng.choice([text.upper(), text.lower(), text.title(), text.swapcase()]),
    lambda rng, text: rng.choice([f" {text}", f"{text} ", f"{text}\n", f"\t{text}", f"{text}\r"]),
    lambda rng, text: unicodedata.normalize(rng.choice(["NFD", "NFKD", "NFC"]), text.replace("e", "é")),
    lambda rng, text: rng.choice([f"{text},EVIL", f"EVIL {text}", f"{text};EVIL", f"{text}\x00EVIL", "EVIL"]),
    lambda _, text: text[:-1],
    lambda _, text: text + "\ud800",
    lambda _, text: json.dumps({"value": text}),
    lambda rng, _: rng.choice(["DE1", "DE2", "USD", "EUR", "read", "ana@corp.example", "free", "paid"]),
)


def _renamed(rng: Random, name: str) -> str:
    ways = [
        name.upper(),
        name.title(),
        name.replace("_", ""),
        name.replace("_", "-"),
        f"{name} ",
        f" {name}",
        f"args.{name}",
        name[:-1],
        f"{name}s",
        look_alike(rng, name),
        full_width(rng, name),
        invisible(rng, name),
        "amount" if name != "amount" else "amt",
    ]
    return rng.choice(ways)


_EXTRA = (
    "amount",
    "Amount",
    "amt",
    "key",
    "till",
    "args",
    "kwargs",
    "approved",
    "__proto__",
    "order",
    "to",
    "note",
    "",
)
_PAIR_CHANGES: tuple[Callable[[Random, Pairs], Any], ...] = (
    lambda rng, pairs: Pairs([*pairs.items, (rng.choice(_EXTRA), rng.choice([1, 9999, "9999", None, True]))]),
    lambda rng, pairs: Pairs([*pairs.items, *rng.choices(pairs.items or [("a", 1)], k=1)]),
    lambda rng, pairs: Pairs(_twice(rng, pairs.items)),
    lambda rng, pairs: Pairs(_with_renamed(rng, pairs.items)),
    lambda rng, pairs: Pairs(_less_one(rng, pairs.items)),
    lambda rng, pairs: Pairs(rng.sample(pairs.items, len(pairs.items))),
    lambda rng, pairs: Pairs([(rng.choice(["arguments", "args", "order", "value", "0"]), pairs)]),
    lambda _, pairs: [value for _, value in pairs.items],
    lambda _, pairs: [pairs],
    lambda _, pairs: write(pairs),
    lambda rng, pairs: rng.choice([value for _, value in pairs.items] or [None]),
    lambda rng, _: rng.choice([None, True, 0, "", Pairs([]), []]),
)


def _twice(rng: Random, items: list[tuple[str, Any]]) -> list[tuple[str, Any]]:
    if not items:
        return items
    name, value = rng.choice(items)
    again = (name, _change(rng, value))
    return [again, *items] if rng.random() < 0.5 else [*items, again]


def _less_one(rng: Random, items: list[Any]) -> list[Any]:
    gone = rng.randrange(len(items)) if items else 0
    return [each for index, each in enumerate(items) if index != gone]


def _with_renamed(rng: Random, items: list[tuple[str, Any]]) -> list[tuple[str, Any]]:
    if not items:
        return [("amount", 1)]
    at = rng.randrange(len(items))
    return [(_renamed(rng, n), v) if each == at else (n, v) for each, (n, v) in enumerate(items)]


_LIST_CHANGES: tuple[Callable[[Random, list[Any]], Any], ...] = (
    lambda rng, found: [*found, rng.choice(["EVIL", "DE2", "eve@evil.example", "", None, 5, ["DE1"], True])],
    lambda rng, found: [rng.choice(["EVIL", "DE1", "eve@evil.example"]), *found],
    lambda _, found: found + found,
    lambda _, found: found[1:],
    lambda _, found: [found],
    lambda _, found: Pairs([(str(index), each) for index, each in enumerate(found)]),
    lambda _, found: ",".join(map(str, found)),
    lambda _, found: write(found),
    lambda rng, found: rng.choice([None, "", True, found[0] if found else 0, Pairs([])]),
)


def _at(rng: Random, text: str) -> int:
    return rng.randint(0, len(text))


def _insert(rng: Random, text: str, what: str) -> str:
    at = _at(rng, text)
    return text[:at] + what + text[at:]


def _delete(rng: Random, text: str) -> str:
    at = _at(rng, text)
    return text[:at] + text[at + 1 :]


def _escaped(rng: Random, text: str) -> str:
    """A letter of a name or value as its escape: the same JSON."""
    at = [match.start() for match in re.finditer(r"(?<!\\)[a-zA-Z]", text)]
    if not at:
        return text
    index = rng.choice(at)
    return text[:index] + f"\\u{ord(text[index]):04x}" + text[index + 1 :]


_TEXT_CHANGES: tuple[Callable[[Random, str], str], ...] = (
    lambda rng, text: _insert(rng, text, rng.choice('{}[]",:0123456789.eE-+ \n\\tfn')),
    lambda rng, text: _insert(rng, text, rng.choice(INVISIBLE)),
    _delete,
    _escaped,
    lambda rng, text: text.replace(" ", rng.choice(["", "  ", "\n", "\t", "\u00a0", "\x0b"])),
    lambda rng, text: text[: _at(rng, text)],
    lambda rng, text: text + rng.choice([text, "}", " x", "\n", "\x00", "// ok", "null"]),
    lambda rng, text: rng.choice(["\ufeff", " ", "[", "(", "json", "```"]) + text,
    lambda _, text: text.replace('"', "'"),
    lambda rng, text: re.sub(
        r"[0-9]+", lambda m: m[0] + rng.choice(["0", "00", ".0", "e1", "E0", "_0"]), text, count=1
    ),
)
