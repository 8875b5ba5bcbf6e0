"""Where a value comes from: the label of each argument, from what the run has read so far.

Untrusted text is data. An argument is trusted only by a positive origin: it came by a handle, it equals a trusted field
of its kind, it stands in trusted text, or the agent's own code endorsed it. No match means untrusted. This is a
comparison of values, not a tracking of flows: an outsider who can make the company itself write his value into a
trusted record is believed (`docs/threat-model.md`).
"""

from __future__ import annotations

import re
import unicodedata
from bisect import bisect_right
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from answerable.gates.request import Label
from answerable.kernel.marks import Marks, leaves

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from answerable.gates.request import Origin
    from answerable.kernel.marks import Leaf

LENGTH_MIN = 3
"""Shorter text is found everywhere, and so proves nothing."""
DIGITS_MIN = 4
"""The same of numbers, which are found by chance sooner."""
RESERVED = frozenset({"prompt", "task", "endorsed"})
"""Sources that every run has; neither a tool nor anything taken in may be called so."""
SOURCES_MAX = 24
"""So many names of sources stand in a label: an entry is small."""

_QUOTES = "\"'`\u201c\u201d\u2018\u2019\u00ab\u00bb"
_LEFT = frozenset(" \t\r\n\u00a0([{<>,;:=*|" + _QUOTES)
_RIGHT = frozenset(" \t\r\n\u00a0)]}<>,;!?*|" + _QUOTES)
_STOP = frozenset(".:")
_NUMBER = re.compile(r"[0-9.,\-+ ]+")
_CURRENCY = "$€£¥"
_NUMERAL = re.compile(rf"[{_CURRENCY}]?((?:[0-9]{{1,3}}(?:,[0-9]{{3}})+|[0-9]+)(?:\.[0-9]+)?)[{_CURRENCY}]?")
"""A number as people write it: `$1,200.50`, `1700€`."""
_ADDRESS = re.compile(
    r"(?:[a-z][a-z0-9+.-]*://|www\.)\S+|[\w.+-]+@[\w-]+(?:\.[\w-]+)+"
    r"|(?<![\w.@-])(?:[a-z0-9](?:[a-z0-9-]*[a-z0-9])?\.)+[a-z]{2,24}(?:/\S*)?",
    re.IGNORECASE,
)
"""What a reader, or his program, would take for an address: rather one too many."""
_AFTER_ADDRESS = ".,;:!?)]}>'\"*|"


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """Something that the run has read: a tool's result, its task, its prompt, what its code took in or endorsed.

    `values` are its trusted plain values, each with its kind; `classes` the data classes that may be in it.
    """

    name: str
    values: tuple[tuple[str, str], ...] = ()
    classes: frozenset[str] = frozenset()
    is_trusted: bool = False
    """Whether nothing in it can have been written by an outsider."""
    is_endorsed: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Handed:
    """A value that came by a handle: which source it is from, and what is known of it."""

    source: str
    is_trusted: bool
    classes: frozenset[str]


@dataclass(slots=True)
class Origins:
    """What a run has read and written so far, in order; made to be asked quickly. Extended, never rewritten."""

    sources: list[Source] = field(default_factory=list[Source])
    read: dict[str, None] = field(default_factory=dict[str, None])
    """Names of everything that was read, in order of first use."""
    classes: set[str] = field(default_factory=set[str])
    """The join of the data classes of everything that was read, less what was declassified."""
    is_clean: bool = True
    """Whether nothing untrusted has been read yet."""
    _by_value: dict[tuple[str, str], list[int]] = field(default_factory=dict[tuple[str, str], list[int]])
    _by_number: dict[str, list[int]] = field(default_factory=dict[str, list[int]])
    _texts: list[str] = field(default_factory=list[str])
    _starts: list[int] = field(default_factory=list[int])
    _owners: list[int] = field(default_factory=list[int])
    _joined: str | None = None
    _written: list[tuple[int, str]] = field(default_factory=list[tuple[int, str]])
    """What this run wrote by untrusted arguments: how many sources there were before, and the value."""

    def add(self, source: Source) -> None:
        """Take in something that was read."""
        number = len(self.sources)
        self.sources.append(source)
        self.read.setdefault(source.name)
        self.classes |= source.classes
        self.is_clean = self.is_clean and source.is_trusted
        for kind, text in source.values:
            value = _plain(text)
            for each in {kind, ""}:  # where no kind is asked for, a value of any kind will do, as a whole
                self._by_value.setdefault((each, value), []).append(number)
            if not kind:
                self._texts.append(value)
                self._owners.append(number)
                for numeral in _numbers_in(value):
                    self._by_number.setdefault(numeral, []).append(number)
        self._joined = None

    def wrote(self, texts: Iterable[str]) -> None:
        """Remember values that the run wrote itself without knowing where they came from."""
        self._written += [(len(self.sources), _plain(text)) for text in texts]

    def declassify(self, classes: Iterable[str]) -> None:
        """From here on these classes count as not read."""
        self.classes -= set(classes)

    def find(self, kind: str, text: str, *, is_number: bool) -> tuple[Origin, tuple[str, ...]]:
        """How a value is trusted, and by which sources; `none` where it is not.

        All that vouch for it are named: a rule may ask whether the user's own words are among them. A value with a kind
        vouches for nothing but itself, and for no other kind: what stands inside a name is no message from whoever keeps
        the list of names.
        """
        value = _shortest(text) if is_number else _plain(text)
        is_short = _is_short(value, is_number=is_number)
        same = self._by_value.get((kind, value), ())
        exact = [] if is_short and not kind else self._believed(same, value)
        standing: list[int] = []
        if not is_short:
            found = self._by_number.get(value, ()) if is_number else self._standing(value)
            standing = self._believed(found, value)
        vouching = sorted({*exact, *standing})
        if not vouching:
            return "none", ()
        if any(self.sources[number].is_endorsed for number in vouching):
            return "endorsed", self._names(vouching)
        return ("field" if kind and exact else "text"), self._names(vouching)

    def _standing(self, value: str) -> list[int]:
        """The sources in whose trusted text the value stands by itself."""
        joined = self._text()
        found: list[int] = []
        at = joined.find(value)
        while at >= 0:
            if _is_whole(joined, at, at + len(value)):
                found.append(self._owners[bisect_right(self._starts, at) - 1])
            at = joined.find(value, at + 1)
        return found

    def _text(self) -> str:
        if self._joined is None:
            self._starts, length = [], 0
            for text in self._texts:
                self._starts.append(length)
                length += len(text) + 1
            self._joined = "\n".join(self._texts)
        return self._joined

    def _believed(self, numbers: Iterable[int], value: str) -> list[int]:
        """Without sources that were read after this run had written the value there, or elsewhere, itself."""
        return [
            number
            for number in dict.fromkeys(numbers)
            if not any(before <= number and value in text for before, text in self._written)
        ]

    def _names(self, numbers: Iterable[int]) -> tuple[str, ...]:
        return tuple(dict.fromkeys(self.sources[number].name for number in numbers))[:SOURCES_MAX]


def source_of(
    name: str,
    marks: Marks,
    value: object,
    *,
    classes: Iterable[str],
    is_trusted: bool = False,
    is_endorsed: bool = False,
) -> Source:
    """A source as it is taken in: its trusted values, found by the marks of its type.

    `is_trusted` is of the whole: then every value in it is.
    """
    trusted = tuple(
        (leaf.marks.kind, _shortest(leaf.text) if leaf.marks.sort == "number" else leaf.text)
        for leaf in leaves(marks, value)
        if (is_trusted or leaf.marks.is_trusted) and leaf.marks.sort != "closed" and leaf.text
    )
    return Source(
        name=name, values=trusted, classes=frozenset(classes), is_trusted=is_trusted, is_endorsed=is_endorsed
    )


def label_all(
    takes: Marks, arguments: Mapping[str, object], origins: Origins, handed: Mapping[str, Handed]
) -> dict[str, Label]:
    """The label of each argument in its canonical form. `handed` are values that came by handles, by path."""
    everything = tuple(origins.read)[:SOURCES_MAX]
    joined = frozenset(origins.classes)
    found: dict[str, Label] = {}
    for name, value in arguments.items():
        marks = takes.inside.get(name, Marks())
        plain = list(leaves(marks, value, name))
        parts = [_leaf(leaf, origins, handed) for leaf in plain]
        by_handle = [handed[leaf.path] for leaf in plain if leaf.path in handed]
        origin = _together([each[0] for each in parts]) if parts else "absent"
        sources = everything
        if origin not in ("none", "absent"):
            sources = tuple(dict.fromkeys(source for each in parts for source in each[1]))[:SOURCES_MAX]
        is_only_handles = bool(parts) and len(by_handle) == len(parts)
        found[name] = Label(
            origin=origin,
            sources=sources if parts else (),
            classes=frozenset(name for each in by_handle for name in each.classes)
            if is_only_handles
            else (joined if parts else frozenset()),
            has_unknown_address=any(
                part[0] == "none" and _has_unknown_address(leaf.text, origins)
                for leaf, part in zip(plain, parts, strict=True)
            ),
        )
    return found


def _has_unknown_address(text: str, origins: Origins) -> bool:
    """Whether an address stands in the text that nobody trusted has named."""
    found = (each.group().rstrip(_AFTER_ADDRESS) for each in _ADDRESS.finditer(_plain(text)))
    return any(origins.find("", each, is_number=False)[0] == "none" for each in found)


def untrusted_texts(takes: Marks, arguments: Mapping[str, object], labels: Mapping[str, Label]) -> list[str]:
    """What a write carries of unknown origin: read back later, it does not vouch for itself."""
    return [
        leaf.text
        for name, value in arguments.items()
        if not labels[name].is_trusted
        for leaf in leaves(takes.inside.get(name, Marks()), value, name)
        if len(leaf.text) >= LENGTH_MIN
    ]


def _leaf(leaf: Leaf, origins: Origins, handed: Mapping[str, Handed]) -> tuple[Origin, tuple[str, ...]]:
    given = handed.get(leaf.path)
    if given is not None:
        return ("handle" if given.is_trusted else "none"), (given.source,)
    if leaf.marks.sort == "closed" or not leaf.text:
        return "none", ()
    return origins.find(leaf.marks.kind, leaf.text, is_number=leaf.marks.sort == "number")


_STRENGTH: dict[Origin, int] = {"none": 0, "text": 1, "field": 2, "handle": 3, "endorsed": 4, "absent": 5}


def _together(origins: list[Origin]) -> Origin:
    """A value of several parts is worth what its weakest part is worth."""
    return min(origins, key=_STRENGTH.__getitem__)


def _numbers_in(text: str) -> Iterator[str]:
    """The numbers that stand by themselves in a text, each in its shortest form."""
    for found in _NUMERAL.finditer(text):
        if _is_whole(text, *found.span()):
            yield _shortest(found[1].replace(",", ""))


def _shortest(number: str) -> str:
    """`1,200.50` and `1200.5` are one number: without needless zeros."""
    return number.rstrip("0").rstrip(".") if "." in number else number


def _plain(text: str) -> str:
    return unicodedata.normalize("NFC", text)


def _is_short(value: str, *, is_number: bool) -> bool:
    if is_number or _NUMBER.fullmatch(value):
        return sum(each.isdigit() for each in value) < DIGITS_MIN
    return len(value) < LENGTH_MIN


def _is_whole(text: str, start: int, end: int) -> bool:
    """Whether what stands there is not a part of something longer: `corp.com` is not in `evil-corp.com`."""
    return _ends_well(text, end) and _begins_well(text, start)


def _begins_well(text: str, start: int) -> bool:
    if start and text[start - 1] in "#@":  # `#channel`, `@somebody`
        start -= 1
    return start == 0 or text[start - 1] in _LEFT


def _ends_well(text: str, end: int) -> bool:
    if end == len(text) or text[end] in _RIGHT:
        return True
    if text[end] in _STOP:  # the end of a sentence, and not the middle of `example.com`
        return end + 1 == len(text) or text[end + 1] in _RIGHT
    return False
