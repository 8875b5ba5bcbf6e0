"""Probes on how a rule is written: another field's name, brackets, negation, below zero, unreadable, a typo, none at all.

A rule that does not mean what its author meant is refused when the bundle is read, with the place and a way out; one
that loads holds in every spelling.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from tests.probes.probe_till import (
    CAPS,
    OPEN,
    TOOLS,
    forbid,
    pay_cents,
    refund,
    refused_when_read,
    slipped,
    taken,
    through,
)

from answerable.errors import PolicyError
from answerable.gates.policy import load_bundle
from answerable.project import load_project

if TYPE_CHECKING:
    from pathlib import Path

SPELLINGS = {
    "as written": 'when { context.args.amount.greaterThan(decimal("500.00")) }',
    "in brackets": 'when { (context.args.amount.greaterThan(decimal("500.00"))) }',
    "in many brackets": 'when { (((context.args.amount).greaterThan((decimal("500.00"))))) }',
    "not at most": 'when { !context.args.amount.lessThanOrEqual(decimal("500.00")) }',
    "not in brackets": 'when { !(context.args.amount.lessThanOrEqual(decimal("500.00"))) }',
    "not not": 'when { !!context.args.amount.greaterThan(decimal("500.00")) }',
    "unless": 'unless { context.args.amount.lessThanOrEqual(decimal("500.00")) }',
    "unless not": 'unless { !context.args.amount.greaterThan(decimal("500.00")) }',
    "the other way round": 'when { decimal("500.00").lessThan(context.args.amount) }',
    "by index": 'when { context["args"]["amount"].greaterThan(decimal("500.00")) }',
    "if then else": 'when { if context.args.amount.greaterThan(decimal("500.00")) then true else false }',
    "and true": 'when { true && context.args.amount.greaterThan(decimal("500.00")) }',
    "or false": 'when { false || context.args.amount.greaterThan(decimal("500.00")) }',
    "with a comment": 'when { // amount > 500\n context.args.amount.greaterThan(decimal("500.00")) }',
    "has first": 'when { context.args has amount && context.args.amount.greaterThan(decimal("500.00")) }',
    "three decimals": 'when { context.args.amount.greaterThan(decimal("500.000")) }',
}


def faults(conditions: dict[str, str], action: str = "refund") -> dict[str, str]:
    """What a bundle with each of these conditions is refused with; a case that loads is a test that fails."""
    return {
        name: refused_when_read(OPEN + forbid("mine", action, condition))
        for name, condition in conditions.items()
    }


def test_p05_a_field_by_a_name_that_its_author_made_up_is_refused() -> None:
    """Each way in which other products, or a hurried author, would name the amount: none loads as a dead rule."""
    found = faults(
        {
            "bare": "when { amount > 500 }",
            "bare value": "when { amount.value > 500 }",
            "context": 'when { context.amount.greaterThan(decimal("500.00")) }',
            "has context": 'when { context has amount && context.amount.greaterThan(decimal("500.00")) }',
            "value": 'when { context.args.amount.value.greaterThan(decimal("500.00")) }',
            "has value": "when { context.args.amount has value }",
            "arguments": 'when { context.arguments.amount.greaterThan(decimal("500.00")) }',
            "input": 'when { context.input.amount.greaterThan(decimal("500.00")) }',
            "resource": 'when { resource.amount.greaterThan(decimal("500.00")) }',
            "has resource": "when { resource has amount }",
            "action": 'when { action.type == "refund" }',
            "has action": "when { action has type }",
            "principal": 'when { principal.role == "support" }',
            "capital": 'when { context.args.Amount.greaterThan(decimal("500.00")) }',
            "has capital": "when { context.args has Amount }",
            "camel case": 'when { context.args.orderId == "o" }',
            "cyrillic": 'when { context.args["аmount"].greaterThan(decimal("500.00")) }',
            "space": 'when { context.args["amount "].greaterThan(decimal("500.00")) }',
            "another tool's": "when { context.args has cents }",
            "a fact that is none": "when { context.facts has order }",
            "a total that is none": "when { context.totals has refunded }",
        }
    )

    assert {
        name: text for name, text in found.items() if "mine" not in text and "cannot be read" not in text
    } == {}


async def test_p06_p07_brackets_and_negation_mean_what_they_say(tmp_path: Path) -> None:
    """The same cap in every spelling: at the cap it pays, just over it does not."""
    for name, condition in SPELLINGS.items():
        came = await through(
            tmp_path,
            "model",
            {
                "at the cap": (refund, '{"order_id": "a", "amount": "500.00"}'),
                "just over": (refund, '{"order_id": "b", "amount": "500.0001"}'),
                "far over": (refund, '{"order_id": "c", "amount": 9999}'),
            },
            policy=OPEN + forbid("cap", "refund", condition),
        )

        assert len(came.pop("at the cap").sent) == 1, name
        assert slipped(came) == {}, name
        assert {each.rules for each in came.values()} == {("cap",)}, name


async def test_p08_below_zero_is_below_zero_in_rule_and_call(tmp_path: Path) -> None:
    """A negative bound is read as one, and a negative amount is compared as one."""
    rules = (
        OPEN
        + forbid("debt", "pay_cents", "when { context.args.cents < -100 }")
        + forbid("no-refund-of-a-refund", "refund", 'when { context.args.amount.lessThan(decimal("-0.01")) }')
    )
    came = await through(
        tmp_path,
        "model",
        {
            "cents at the bound": (pay_cents, '{"order_id": "a", "cents": -100}'),
            "cents below": (pay_cents, '{"order_id": "a", "cents": -101}'),
            "amount at the bound": (refund, '{"order_id": "a", "amount": "-0.01"}'),
            "amount below": (refund, '{"order_id": "a", "amount": "-5"}'),
            "amount just below": (refund, '{"order_id": "a", "amount": "-0.0101"}'),
        },
        policy=rules,
    )

    assert [len(each.sent) for each in came.values()] == [1, 0, 1, 0, 0]
    assert slipped({name: each for name, each in came.items() if "below" in name}) == {}


def test_p09_a_rule_that_cannot_be_read_is_refused() -> None:
    """Any syntax error, anywhere in the bundle: nothing of it is taken into service."""
    cap = forbid("cap", "refund", 'when { context.args.amount.greaterThan(decimal("500.00")) }')
    damaged = {
        "two operators": OPEN + cap.replace(".greaterThan", " >< "),
        "no closing brace": OPEN + cap.replace(" }", ""),
        "no closing bracket": OPEN + cap.replace("resource)", "resource"),
        "no semicolon": OPEN + cap.rstrip().rstrip(";"),
        "no quote": OPEN + cap.replace('"500.00"', '"500.00'),
        "python": OPEN + cap.replace("when {", "when { not"),
        "and": OPEN + cap.replace("when {", "when { true and"),
        "single quotes": OPEN + cap.replace('"500.00"', "'500.00'"),
        "equals": OPEN + forbid("cap", "pay_cents", "when { context.args.cents = 5 }"),
        "else missing": OPEN + forbid("cap", "pay_cents", "when { if context.args.cents > 5 then true }"),
        "unknown function": OPEN + cap.replace("greaterThan", "moreThan"),
        "unknown keyword": OPEN + cap.replace("forbid (", "deny ("),
        "capital keyword": OPEN + cap.replace("forbid (", "FORBID ("),
        "where": OPEN + cap.replace("when {", "where {"),
        "full-width semicolon": OPEN + cap.replace(";", "；"),
        "smart quotes": OPEN + cap.replace('"500.00"', "“500.00”"),
        "zero width": OPEN + cap.replace("forbid", "for\u200bbid"),
        "null": OPEN + cap.replace("forbid", "\x00forbid"),
        "byte order mark in the middle": OPEN + "\ufeff" + cap,
        "yaml": "rules:\n  - name: cap\n    condition: amount > 500\n    action: deny\n",
        "json": json.dumps({"rules": [{"effect": "forbid"}]}),
        "markdown": "```cedar\n" + OPEN + "```\n",
        "an open comment": OPEN + "/* " + cap + " */",
        "three parts": OPEN + cap.replace("principal, action", "principal, extra, action"),
        "an amount of five decimals": OPEN + cap.replace("500.00", "500.00001"),
        "an amount in words": OPEN + cap.replace("500.00", "five hundred"),
        "an amount with a comma": OPEN + cap.replace("500.00", "1,000.00"),
        "a number where text is": OPEN + cap.replace('"500.00"', "500"),
        "a decimal as a number": OPEN + forbid("cap", "refund", "when { context.args.amount > 500 }"),
        "beyond 64 bits": OPEN + forbid("cap", "pay_cents", f"when {{ context.args.cents > {2**63} }}"),
        "a double minus": OPEN + forbid("cap", "pay_cents", "when { context.args.cents > - - }"),
    }

    assert taken(damaged) == []


def test_p09_one_unreadable_file_refuses_the_bundle() -> None:
    """A good file does not carry a bad one, whichever comes first."""
    specs = [each.spec for each in TOOLS]
    for sources in ({"a.cedar": CAPS, "b.cedar": "forbid ("}, {"a.cedar": "forbid (", "b.cedar": CAPS}):
        with pytest.raises(PolicyError, match=r"[ab]\.cedar:1: this cannot be read"):
            load_bundle(sources, specs, ["clerk"])


async def test_p12_where_no_rule_permits_nothing_is_done(tmp_path: Path) -> None:
    """Default is no: with a permit for another tool, another agent's role, or one whose condition does not hold."""
    policies = {
        "for another tool": '@id("p") @text("P.")\npermit (principal, action == Action::"query", resource);',
        "forbids only": forbid("f", "query", 'when { context.args.table == "x" }'),
        "for another class": '@id("p") @text("P.")\npermit (principal, action in Action::"irreversible", resource);',
        "under a condition": '@id("p") @text("P.")\npermit (principal, action == Action::"refund", resource)\n'
        'when { context.args.amount.lessThan(decimal("1.00")) };',
        "for what is on behalf of somebody": '@id("p") @text("P.")\npermit (principal, action, resource)\n'
        'when { context.run.on_behalf_of == "ana" };',
    }
    for name, policy in policies.items():
        came = await through(
            tmp_path, "model", {"refund": (refund, '{"order_id": "a", "amount": 5}')}, policy=policy
        )

        assert slipped(came) == {}, name
        assert came["refund"].code == "policy_denied", name


@pytest.mark.parametrize(
    ("policy", "message"),
    [
        ("", "the policy has no rules"),
        (" \n\t\n", "the policy has no rules"),
        ("// permit (principal, action, resource);\n", "the policy has no rules"),
        ("\ufeff", "cannot be read"),
        ("default: allow", "cannot be read"),
        ("{}", "cannot be read"),
    ],
)
def test_p12_an_empty_policy_is_refused(policy: str, message: str) -> None:
    """Empty, blank, all commented out, a default from elsewhere: an agent without rules does not start."""
    assert message in refused_when_read(policy)


def test_p12_a_policy_that_is_not_there_is_refused(tmp_path: Path) -> None:
    """No folder, an empty folder, files of another name: no rules is never taken for permission."""
    folder = tmp_path / "policy"
    found: dict[str, str] = {}
    for name in ("missing", "empty", "only other files", "a file in the folder's place"):
        if name == "empty":
            folder.mkdir()
        elif name == "only other files":
            for file in ("rules.cedar.bak", "rules.txt", "RULES.CEDAR"):
                (folder / file).write_text(CAPS, "utf-8")
        elif name == "a file in the folder's place":
            folder = tmp_path / "rules.cedar"
            folder.write_text(CAPS, "utf-8")
        found[name] = refused_when_read(folder)
    found["no file at all"] = refused_when_read({})

    assert set(found) == {
        "missing",
        "empty",
        "only other files",
        "a file in the folder's place",
        "no file at all",
    }


def test_p13_a_typo_in_a_rule_is_refused() -> None:
    """Names, annotations, values and scopes that nearly are what they should be."""
    cap = forbid(
        "cap",
        "refund",
        'when { context.args.amount.greaterThan(decimal("500.00")) }',
        '@decision("require_approval") @approvers("lead")',
    )
    typos = {
        "attribute": cap.replace(".amount", ".amonut"),
        "attribute after has": forbid("cap", "refund", "when { context.args has amonut }"),
        "args": cap.replace("context.args", "context.arg"),
        "context": cap.replace("context.", "contxt."),
        "tool": cap.replace('Action::"refund"', 'Action::"refnud"'),
        "tool in another case": cap.replace('Action::"refund"', 'Action::"Refund"'),
        "tool with a space": cap.replace('Action::"refund"', 'Action::"refund "'),
        "tool in cyrillic": cap.replace('Action::"refund"', 'Action::"rеfund"'),
        "action type": cap.replace('Action::"refund"', 'Actoin::"refund"'),
        "group with ==": cap.replace('Action::"refund"', 'Action::"write"'),
        "unknown group": cap.replace('== Action::"refund"', 'in Action::"writes"'),
        "agent": cap.replace("principal,", 'principal == Agent::"clrek",'),
        "role": cap.replace("principal,", 'principal in Role::"suport",'),
        "decision": cap.replace("require_approval", "require_aproval"),
        "decision of another product": cap.replace("require_approval", "ask"),
        "decision that allows": cap.replace("require_approval", "allow"),
        "decision that only logs": cap.replace("require_approval", "log"),
        "decision in capitals": cap.replace("require_approval", "REQUIRE_APPROVAL"),
        "decision with a space": cap.replace("require_approval", "require_approval "),
        "annotation": cap.replace("@approvers", "@aprovers"),
        "annotation in capitals": cap.replace("@approvers", "@Approvers"),
        "unknown annotation": cap.replace('@id("cap")', '@id("cap") @enabled("false")'),
        "log only": cap.replace('@id("cap")', '@id("cap") @mode("log_only")'),
        "approvers without a name": cap.replace('@approvers("lead")', '@approvers("")'),
        "approvers left out": cap.replace(' @approvers("lead")', ""),
        "approvers of a plain forbid": cap.replace('@decision("require_approval") ', ""),
        "count of none": cap.replace('@approvers("lead")', '@approvers("lead") @count("0")'),
        "count in words": cap.replace('@approvers("lead")', '@approvers("lead") @count("two")'),
        "count in other digits": cap.replace('@approvers("lead")', '@approvers("lead") @count("２")'),
        "id twice": cap + cap,
        "id left out": cap.replace('@id("cap") ', ""),
        "text left out": cap.replace('@text("Cap.") ', ""),
        "off a closed list": forbid("cap", "change_plan", 'when { context.args.plan == "payed" }'),
        "off a closed list by case": forbid("cap", "change_plan", 'when { context.args.plan == "Paid" }'),
        "autonomy": forbid("cap", "refund", 'when { context.run.autonomy == "cappd" }'),
        "conditions that exclude each other": forbid(
            "cap", "pay_cents", "when { context.args.cents > 5 && context.args.cents < 3 }"
        ),
        "never true": forbid("cap", "pay_cents", "when { false }"),
        "an optional part not asked for": forbid("cap", "change_plan", 'when { context.args.note == "x" }'),
        "permit for what does not exist": '@id("p") @text("P.") permit (principal, action == Action::"reed", resource);',
        "decision on a permit": OPEN.replace('@text("', '@decision("require_approval") @text("'),
    }
    decided = typos.pop("decision on a permit")

    assert taken({name: OPEN + rule for name, rule in typos.items()}) == []
    assert "a permit has no `@decision`" in refused_when_read(decided)


def test_p13_an_order_of_rules_changes_nothing() -> None:
    """There is no first match: a permit below a forbid, or in a later file, lifts nothing."""
    cap = forbid("cap", "refund", 'when { context.args.amount.greaterThan(decimal("500.00")) }')
    specs = [each.spec for each in TOOLS]
    for sources in ({"a": cap, "b": OPEN}, {"a": OPEN, "b": cap}, {"a": cap + OPEN}):
        bundle = load_bundle(sources, specs, ["clerk"])

        assert {rule.id: rule.decision for rule in bundle.rules} == {"all": "allow", "cap": "deny"}


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('tenant = "default"', 'tennant = "default"'),
        ('tenant = "default"', 'tenant = "default"\nenforce = false'),
        ('tenant = "default"', 'tenant = "default"\ndefault_action = "allow"'),
        ("[retention]", '[policy]\nmode = "log_only"\n[retention]'),
        (
            "[retention]",
            '[[approvers]]\nname = "dana"\naprove = true\nroles = ["x"]\npublic_key = "k"\n[retention]',
        ),
        ("[retention]", '[[approvers]]\nname = "dana"\nroles = []\npublic_key = "k"\n[retention]'),
        ("[retention]", '[[aprovers]]\nname = "dana"\nroles = ["x"]\npublic_key = "k"\n[retention]'),
    ],
)
def test_p13_a_typo_in_a_project_is_refused(old: str, new: str, tmp_path: Path) -> None:
    """An unknown key is an error and never a default."""
    import shutil

    from answerable.errors import ConfigError
    from answerable.project import example_dir

    desk = tmp_path / "desk"
    shutil.copytree(example_dir(), desk, ignore=shutil.ignore_patterns("__pycache__", "*.db*"))
    path = desk / "answerable.toml"
    text = path.read_text("utf-8")
    assert old in text
    path.write_text(text.replace(old, new, 1), "utf-8")

    with pytest.raises(ConfigError):
        load_project(desk)
