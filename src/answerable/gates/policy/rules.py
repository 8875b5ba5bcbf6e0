"""Rules as written: where each one starts, what it is annotated with, and what is wrong with it."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Literal, NoReturn

from answerable.gates.policy import cedar
from answerable.gates.policy.refusal import did_you_mean, refuse

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from cedarpy import pst

    _Refuse = Callable[[str, str], NoReturn]

_TOKEN = re.compile(r'//[^\n\r]*|"(?:\\.|[^"\\])*"|;|\s+|[^\s";/]+|.', re.DOTALL)
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_ANNOTATIONS = ("id", "text", "owner", "decision", "approvers", "count")
_TEXT_MAX = 300
_COUNT_MAX = 9


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """One rule of a bundle, as people quote it.

    `decision` is what the rule leads to where it fires: `allow` for a permit; for a forbid `deny`, or
    `require_approval` from any of the roles in `approvers`, `count` different people. `actions` are the
    tools it can apply to; empty where it guards a group that has no tool yet.
    """

    id: str
    effect: Literal["permit", "forbid"]
    decision: Literal["allow", "deny", "require_approval"]
    text: str
    approvers: tuple[str, ...] = ()
    count: int = 1
    owner: str = ""
    file: str
    line: int
    source: str
    """The Cedar text of the rule."""
    actions: tuple[str, ...] = ()
    body: pst.Template = field(repr=False, compare=False)

    def refuse(self, message: str, hint: str) -> NoReturn:
        """Refuse the bundle for this rule: where the rule is, what is wrong with it and what to do."""
        refuse(f"{self.file}:{self.line}: rule `{self.id}`: {message}", hint)


def read_rules(sources: Mapping[str, str]) -> tuple[Rule, ...]:
    """Every rule of the files, in order of file name and place. Raises `PolicyError` at the first fault."""
    rules: list[Rule] = []
    for file in sorted(sources):
        templates: list[pst.Template] = []
        for line, text in split(sources[file]):
            body = _parse(file, line, text)
            templates.append(body)
            rules.append(_rule(file, line, text, body))
        _check_split(file, sources[file], templates)
    _check_unique(rules)
    if not rules:
        refuse("the policy has no rules", "write a `permit`: without one every call is denied")
    return tuple(rules)


def split(text: str) -> Iterator[tuple[int, str]]:
    """Each rule's first line number and text. Comments between rules belong to none."""
    line, start, start_line = 1, None, 1
    for token in _TOKEN.finditer(text):
        found = token.group()
        if start is None and not found.isspace() and not found.startswith("//"):
            start, start_line = token.start(), line
        if start is not None and found == ";":
            yield start_line, text[start : token.end()]
            start = None
        line += found.count("\n")
    if start is not None:
        yield start_line, text[start:]


def _read(text: str, place: str) -> pst.PolicySet:
    try:
        return cedar.read_policies(text)
    except ValueError as error:
        hint = "a rule is `@id(…) @text(…) permit|forbid (principal, action, resource) when { … };`"
        refuse(f"{place}: this cannot be read: {error}", hint)


def _parse(file: str, line: int, text: str) -> pst.Template:
    parsed = _read(text, f"{file}:{line}")
    if parsed.templates:
        refuse(
            f"{file}:{line}: `?principal` and `?resource` belong to a template, and templates are not used",
            "name the agent, role or tool, or write one rule for each",
        )
    (body,) = parsed.static_policies.values()
    return body


def _check_split(file: str, text: str, found: list[pst.Template]) -> None:
    """What Cedar reads in the whole file must be what was read rule by rule: none dropped, none joined."""
    whole = _read(text, file).static_policies.values()
    if Counter(replace(each, id="") for each in whole) != Counter(replace(each, id="") for each in found):
        refuse(
            f"{file}: the rules cannot be told apart",
            "end each rule with `;` and start the next one on a new line",
        )


def _rule(file: str, line: int, source: str, body: pst.Template) -> Rule:
    notes = dict(body.annotations)
    name = notes.get("id", "")
    place = f"{file}:{line}: rule `{name}`" if name else f"{file}:{line}: a rule"

    def refuse_it(message: str, hint: str) -> NoReturn:
        refuse(f"{place}: {message}", hint)

    if not _ID.fullmatch(name):
        refuse_it(
            "needs an `@id`" if not name else "this is not a usable id",
            'write `@id("refund-cap")`: letters, digits, dot, dash and underscore, at most 64',
        )
    for unknown in sorted(set(notes) - set(_ANNOTATIONS)):
        refuse_it(f"unknown annotation `@{unknown}`", did_you_mean(unknown, _ANNOTATIONS))
    text = notes.get("text", "").strip()
    if not text:
        refuse_it(
            "needs a `@text`", 'say in plain words what it is for: `@text("Refunds over 500 need a person")`'
        )
    if not text.isprintable() or len(text) > _TEXT_MAX:
        refuse_it("its `@text` is not plain", f"write one line of at most {_TEXT_MAX} characters")
    decision = _decision(notes, body.effect, refuse_it)
    approvers, count = _approvers(notes, decision, refuse_it)
    return Rule(
        id=name,
        effect=body.effect,
        decision=decision,
        text=text,
        approvers=approvers,
        count=count,
        owner=notes.get("owner", "").strip(),
        file=file,
        line=line,
        source=source,
        body=body,
    )


def _decision(
    notes: Mapping[str, str], effect: str, refuse_it: _Refuse
) -> Literal["allow", "deny", "require_approval"]:
    written = notes.get("decision")
    if effect == "permit":
        if written is not None:
            refuse_it("a permit has no `@decision`", "put it on the `forbid` that a person may lift")
        return "allow"
    if written is None or written == "deny":
        return "deny"
    if written != "require_approval":
        known = ("deny", "require_approval")
        refuse_it(f'`@decision("{written}")` is unknown', did_you_mean(written, known))
    return "require_approval"


def _approvers(notes: Mapping[str, str], decision: str, refuse_it: _Refuse) -> tuple[tuple[str, ...], int]:
    if decision != "require_approval":
        for name in ("approvers", "count"):
            if name in notes:
                refuse_it(
                    f"`@{name}` says nothing here",
                    'it goes with `@decision("require_approval")` on a `forbid`',
                )
        return (), 1
    roles = tuple(role.strip() for role in notes.get("approvers", "").split(","))
    if not all(map(_ID.fullmatch, roles)) or len(set(roles)) != len(roles):
        refuse_it(
            "needs `@approvers`: who may say yes", 'list roles once each: `@approvers("finance, lead")`'
        )
    count = notes.get("count", "1")
    if not (count.isascii() and count.isdigit() and 1 <= int(count) <= _COUNT_MAX):
        refuse_it(f'`@count("{count}")` is not a number of people', f"write 1 to {_COUNT_MAX}")
    return roles, int(count)


def _check_unique(rules: list[Rule]) -> None:
    first: dict[str, Rule] = {}
    for rule in rules:
        other = first.setdefault(rule.id, rule)
        if other is not rule:
            rule.refuse(f"this id is taken by {other.file}:{other.line}", "give each rule an id of its own")
