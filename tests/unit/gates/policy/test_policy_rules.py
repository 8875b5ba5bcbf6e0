"""Reading rules: what a file may say, and what is refused with its place and a way out."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from answerable.errors import PolicyError
from answerable.gates.policy import cedar
from answerable.gates.policy.rules import split

if TYPE_CHECKING:
    from conftest import Desk

HEAD = "(principal, action, resource)"


def refusal(desk: Desk, text: str) -> str:
    """What loading just these rules is refused with."""
    with pytest.raises(PolicyError) as caught:
        desk.load(only=text)
    return str(caught.value)


def test_a_rule_can_be_quoted(desk: Desk) -> None:
    """`show`, packets and `policy check` quote a rule as it was written, with its place."""
    rules = {rule.id: rule for rule in desk.load().rules}
    cap = rules["refund-cap"]

    assert (cap.effect, cap.decision, cap.approvers, cap.count) == (
        "forbid",
        "require_approval",
        ("finance", "lead"),
        2,
    )
    assert (cap.text, cap.owner, cap.file, cap.line) == (
        "Refunds over 500 need a person",
        "",
        "desk.cedar",
        13,
    )
    assert cap.actions == ("create_refund",)
    assert cap.source.startswith('@id("refund-cap")')
    assert cap.source.endswith("};")
    assert (rules["refunds"].decision, rules["refunds"].owner) == ("allow", "support-platform")
    assert rules["over-order"].decision == "deny"
    assert rules["reads"].actions == ("find_customer", "get_order")


def test_rules_keep_the_order_of_files_and_lines(desk: Desk) -> None:
    """Files by name, whatever order they are handed over in."""
    bundle = desk.load('@id("last") @text("x") permit (principal, action == Action::"get_order", resource);')

    assert bundle.rules[0].id == "reads"
    assert bundle.rules[-1].id == "last"


def test_rules_are_told_apart_by_their_semicolons() -> None:
    """Semicolons in text and comments end nothing; comments between rules belong to none."""
    text = 'permit (a) when { x == "a;\\"b;" };\n// no; rule\n\n  forbid (b) // still; it\n;\r\nrest'

    assert list(split(text)) == [
        (1, 'permit (a) when { x == "a;\\"b;" };'),
        (4, "forbid (b) // still; it\n;"),
        (6, "rest"),
    ]


@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [
        ("", "the policy has no rules", "write a `permit`"),
        ("// nothing here\n", "the policy has no rules", "write a `permit`"),
        (
            f"\n\npermit {HEAD} when {{ context.x >< 1 }};",
            "only.cedar:3: this cannot be read: unexpected token",
            "a rule is",
        ),
        (
            f'@id("a") @text("x") permit {HEAD}',
            "only.cedar:1: this cannot be read: unexpected end",
            "a rule is",
        ),
        (f'@id("a") @text("x permit {HEAD};', "only.cedar:1: this cannot be read", "a rule is"),
        (
            f'@id("a") @id("b") permit {HEAD};',
            "only.cedar:1: this cannot be read: duplicate annotation",
            "a rule is",
        ),
        (f'@text("x") permit {HEAD};', "only.cedar:1: a rule: needs an `@id`", "letters, digits"),
        (f'@id @text("x") permit {HEAD};', "only.cedar:1: a rule: needs an `@id`", "letters, digits"),
        (f'@id("a b") @text("x") permit {HEAD};', "rule `a b`: this is not a usable id", "letters, digits"),
        (f'@id("a") permit {HEAD};', "rule `a`: needs a `@text`", "in plain words"),
        (f'@id("a") @text("  ") permit {HEAD};', "rule `a`: needs a `@text`", "in plain words"),
        (f'@id("a") @text("x\\ny") permit {HEAD};', "its `@text` is not plain", "one line"),
        (f'@id("a") @text("{"x" * 301}") permit {HEAD};', "its `@text` is not plain", "300"),
        (
            f'@id("a") @text("x") @aprove("true") permit {HEAD};',
            "unknown annotation `@aprove`",
            "did you mean `approvers`",
        ),
        (f'@id("a") @text("x") @zzz permit {HEAD};', "unknown annotation `@zzz`", "known here: `approvers`"),
        (
            f'@id("a") @text("x") @decision("deny") permit {HEAD};',
            "a permit has no `@decision`",
            "put it on the `forbid`",
        ),
        (
            f'@id("a") @text("x") @decision("allow") forbid {HEAD};',
            '`@decision("allow")` is unknown',
            "known here",
        ),
        (
            f'@id("a") @text("x") @decision("require_aproval") forbid {HEAD};',
            "is unknown",
            "did you mean `require_approval`?",
        ),
        (
            f'@id("a") @text("x") @approvers("b") forbid {HEAD};',
            "`@approvers` says nothing here",
            "goes with",
        ),
        (f'@id("a") @text("x") @count("2") permit {HEAD};', "`@count` says nothing here", "goes with"),
        (
            f'@id("a") @text("x") @decision("require_approval") forbid {HEAD};',
            "who may say yes",
            "list roles once",
        ),
        (
            f'@id("a") @text("x") @decision("require_approval") @approvers("b,,c") forbid {HEAD};',
            "who may say yes",
            "list roles once",
        ),
        (
            f'@id("a") @text("x") @decision("require_approval") @approvers("b, b") forbid {HEAD};',
            "who may say yes",
            "list roles once",
        ),
        *(
            (
                f'@id("a") @text("x") @decision("require_approval") @approvers("b") @count("{count}") forbid {HEAD};',
                "is not a number of people",
                "1 to 9",
            )
            for count in ("0", "10", "-1", "two", "", "²")
        ),
        (
            '@id("a") @text("x") permit (principal == ?principal, action, resource);',
            "belong to a template",
            "name the agent",
        ),
        (
            f'@id("a") @text("x") permit {HEAD};\n@id("a") @text("y") permit {HEAD};',
            "only.cedar:2: rule `a`: this id is taken by only.cedar:1",
            "an id of its own",
        ),
    ],
)
def test_a_fault_is_refused_with_its_place_and_a_way_out(
    desk: Desk, text: str, message: str, hint: str
) -> None:
    """P9, P13: a syntax error, a typo or half an annotation never loads as something weaker."""
    found = refusal(desk, text)

    assert message in found
    assert hint in found.split("hint: ")[1]


def test_an_id_is_taken_across_files(desk: Desk) -> None:
    """A second file cannot quietly redefine a rule."""
    with pytest.raises(PolicyError, match=r"more\.cedar:1: rule `reads`: this id is taken by desk\.cedar:3"):
        desk.load('@id("reads") @text("x") permit (principal, action, resource);')


def test_rules_that_cedar_reads_otherwise_than_we_do_are_refused(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The whole file is read once more in one piece: no rule may be lost between the two readings."""
    really_read = cedar.read_policies

    def read(text: str) -> object:
        return really_read(text.replace('@id("reads")', '@id("read")') if text.count("permit") > 1 else text)

    monkeypatch.setattr(cedar, "read_policies", read)

    with pytest.raises(PolicyError, match="the rules cannot be told apart"):
        desk.load()
