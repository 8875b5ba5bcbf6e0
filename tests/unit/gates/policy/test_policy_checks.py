"""What is refused at load time because it could not mean what its author meant."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from answerable.errors import PolicyError
from answerable.gates.policy import canary, cedar_schema_text
from answerable.kernel.tool import EffectClass, FactSpec

if TYPE_CHECKING:
    from conftest import Desk

REFUND = 'principal, action == Action::"create_refund", resource'


def forbid(condition: str, scope: str = REFUND) -> str:
    """A forbid in a file of its own, on line 2."""
    return f'\n@id("mine") @text("x") forbid ({scope}) {condition};'


def check(desk: Desk, text: str, message: str, hint: str, **options: Any) -> None:
    """Loading is refused in these words, with the place and the rule."""
    with pytest.raises(PolicyError) as caught:
        desk.load(text, **options)
    found, found_hint = str(caught.value).split("\n  hint: ")
    assert found.startswith("more.cedar:2: rule `mine`: ")
    assert message in found
    assert hint in found_hint


@pytest.mark.parametrize(
    ("condition", "message", "hint"),
    [
        (
            'when { context.args.amonut_usd.greaterThan(decimal("5.0")) }',
            "`context.args.amonut_usd` does not exist for `create_refund`",
            "did you mean `amount_usd`?",
        ),
        ("when { context.args has nte }", "`context.args.nte` does not exist", "did you mean `note`?"),
        ("when { context has facts.ordr }", "`context.facts.ordr` does not exist", "did you mean `order`?"),
        ("when { context.fact has order }", "`context.fact` does not exist", "did you mean `facts`?"),
        ("when { context.now.hour == 5 }", "`context.now.hour` does not exist", "there is none here"),
        ('when { principal.tennant == "a" }', "`principal.tennant` does not exist", "did you mean `tenant`?"),
        ('when { action.kind == "a" }', "`action.kind` does not exist", "there is none here"),
        (
            "when { resource has risk }",
            "`resource.risk` does not exist",
            "known here: `data_class`, `effect_class`",
        ),
        (
            'when { context.args.extra.x == "1" }',
            "`context.args.extra` cannot be read by a rule",
            "change its type",
        ),
        (
            "when { context.facts.order.weight > 1 }",
            "a float has no exact form; use Decimal",
            "change its type",
        ),
        (
            'when { context.args.amount_usd.value > "5" }',
            "`context.args.amount_usd.value` does not exist",
            "none",
        ),
    ],
)
def test_a_field_that_does_not_exist_is_refused(desk: Desk, condition: str, message: str, hint: str) -> None:
    """P5, P11, P13, P15: Cedar's validator lets `has` ask for what can never be there; we do not."""
    check(desk, forbid(condition), message, hint)


@pytest.mark.parametrize(
    ("condition", "message", "hint"),
    [
        ("when { context.args.amount_usd > 500 }", "expected Long but saw decimal", ".greaterThan(decimal("),
        ('when { context.args.amount_usd == "500" }', "not compatible", "answerable policy schema"),
        ("when { context.args.order_id == 5 }", "not compatible", "answerable policy schema"),
        ('when { context.args.note == "x" }', "optional attribute `args.note`", "ask first"),
        ('when { context.facts.customer.tier == "x" }', "optional attribute", "ask first"),
        (
            'when { context.args.amount_usd.greaterThan(decimal("1.23456")) }',
            "1.23456",
            "answerable policy schema",
        ),
        (
            "when { context.args.reason.greaterThan(context.args.reason) }",
            "String",
            "answerable policy schema",
        ),
        ('when { context.now < datetime("2026-13-01") }', "2026-13-01", "answerable policy schema"),
    ],
)
def test_a_type_that_cannot_match_is_refused(desk: Desk, condition: str, message: str, hint: str) -> None:
    """P2, P3: a rule over the wrong type is refused when it is read, not skipped when it matters."""
    check(desk, forbid(condition), message, hint)


def test_a_field_that_only_one_tool_has_must_be_asked_for_first(desk: Desk) -> None:
    """A rule over several tools: unguarded it is refused, guarded with `has` it loads."""
    scope = 'principal, action in Action::"write", resource'
    check(desk, forbid('when { context.args.body like "*x*" }', scope), "not found", "ask first with `has`")

    desk.load(forbid('when { context.args has body && context.args.body like "*x*" }', scope))


@pytest.mark.parametrize(
    ("scope", "message", "hint"),
    [
        (
            'principal, action == Action::"create_refnd", resource',
            '`Action::"create_refnd"`',
            "`create_refund`",
        ),
        ('principal, action == Action::"Create_Refund", resource', "does not exist", "`create_refund`"),
        ('principal, action in [Action::"reed"], resource', '`Action::"reed"` does not exist', "`read`"),
        ('principal == Agent::"dsk", action, resource', '`Agent::"dsk"` does not exist', "`desk`"),
        ('principal in Role::"suport", action, resource', '`Role::"suport"` does not exist', "`support`"),
        ('principal, action, resource in ToolSet::"mony"', '`ToolSet::"mony"` does not exist', "`money`"),
        (
            'principal, action, resource == Tool::"zzz"',
            '`Tool::"zzz"` does not exist',
            "known here: `create_refund`",
        ),
        (
            'principal == User::"me", action, resource',
            "there is no entity type `User`",
            "known here: `Action`",
        ),
        ("principal is Agnt, action, resource", "there is no entity type `Agnt`", "did you mean `Agent`?"),
        (
            'principal is Agent in Role::"x", action, resource',
            '`Role::"x"` does not exist',
            "known here: `support`",
        ),
    ],
)
def test_a_name_that_does_not_exist_is_refused(desk: Desk, scope: str, message: str, hint: str) -> None:
    """P13, P16: an unknown tool, agent, role or set is a mistake, never an empty scope."""
    check(desk, forbid("", scope), message, hint)


def test_a_name_in_a_condition_is_checked_too(desk: Desk) -> None:
    """Also after `is`."""
    check(desk, forbid('unless { principal in Role::"suport" }'), "does not exist", "`support`")
    check(desk, forbid("when { principal is Usr }"), "no entity type `Usr`", "known here")


@pytest.mark.parametrize(
    "scope",
    [
        "principal is Tool, action, resource",
        'principal, action == Action::"create_refund", resource == Tool::"get_order"',
        'principal in Agent::"intern", action == Action::"get_order", resource in ToolSet::"money"',
        'principal, action in Action::"read", resource in Tool::"create_refund"',
        'principal is Agent in Agent::"desk", action, resource is Tool in Agent::"desk"',
    ],
)
def test_a_scope_that_fits_nothing_is_refused(desk: Desk, scope: str) -> None:
    """Whatever the rule says, it would say it of no call."""
    check(desk, forbid("", scope), "its scope fits no agent and tool together", "widen the scope")


def test_a_group_is_reached_with_in(desk: Desk) -> None:
    """`action == Action::"write"` reads like a guard over every write and would match none."""
    scope = 'principal, action == Action::"write", resource'

    check(desk, forbid("", scope), "its scope fits no agent and tool together", "`action in Action::…`")


@pytest.mark.parametrize(
    ("condition", "message", "hint"),
    [
        (
            'when { context.facts.order.status == "opne" }',
            '`context.facts.order.status` is never "opne"',
            "`open`",
        ),
        ('when { context.facts.order.status != "PAID" }', "is never", "`paid`"),
        (
            'when { ["paid", "cancelled"].contains(context.facts.order.status) }',
            'never "cancelled"',
            "known here",
        ),
        ('when { "ful" == context.run.autonomy }', 'is never "ful"', "did you mean `full`?"),
        (
            'when { resource.data_class == "pii" }',
            '`resource.data_class` is never "pii"',
            "known here: `internal`",
        ),
        ('when { resource.effect_class == "read" }', 'is never "read"', "known here: `write`"),
    ],
)
def test_a_value_that_is_not_on_a_closed_list_is_refused(
    desk: Desk, condition: str, message: str, hint: str
) -> None:
    """P10: `'drop'` against `DROP`: where the type closes the list, a value off it can never match."""
    check(desk, forbid(condition), message, hint)


def test_a_rule_may_wait_for_the_first_tool_of_its_group(desk: Desk) -> None:
    """A standing guard over irreversible tools is kept while there is none; it is listed as idle."""
    tools = [tool for tool in desk.tools if tool is not desk.send_reply]
    text = """
    @id("r") @text("x") permit (principal, action in Action::"read", resource);
    @id("later") @text("x") forbid (principal, action in [Action::"irreversible"], resource)
    when { context.args has body };
    """

    bundle = desk.load(only=text, tools=tools)

    assert bundle.idle == ("later",)
    assert bundle.unreachable == ("create_refund",)


def test_tools_that_no_permit_covers_are_listed(desk: Desk) -> None:
    """They are denied; that is fine, and worth knowing."""
    text = (
        '@id("r") @text("x") permit (principal == Agent::"intern", action == Action::"get_order", resource);'
    )

    assert desk.load(only=text).unreachable == ("create_refund", "find_customer", "send_reply")
    assert desk.load().unreachable == ()


def test_what_rules_cannot_read_is_listed(desk: Desk) -> None:
    """By tool, with the reason."""
    found = desk.load().undecidable

    assert [str(each) for each in found["create_refund"]] == [
        "args.extra: dict has no Cedar type",
        "facts.order.weight: a float has no exact form; use Decimal",
    ]
    assert set(found) == {"create_refund"}


def test_the_digest_changes_with_rules_tools_and_roles(desk: Desk) -> None:
    """Whatever could change an answer changes the digest; what could not does not."""
    base = desk.load().digest
    others = [
        desk.load("// a comment").digest,
        desk.load(roles={"desk": ["support", "night"]}).digest,
        desk.load(tool_sets={"money": ["create_refund", "send_reply"]}).digest,
        desk.load(tools=[*desk.tools[:3], replace(desk.send_reply, effect_class=EffectClass.WRITE)]).digest,
    ]

    assert len({base, *others}) == 5
    assert desk.load(tools=desk.tools[::-1], agents=["intern", "desk"]).digest == base
    assert len(base) == 64


def test_tools_that_cannot_be_told_apart_are_refused(desk: Desk) -> None:
    """Two of one name, one named like a group, a fact from nowhere, a name that Cedar cannot hold."""
    with pytest.raises(PolicyError, match="two tools are called `get_order`"):
        desk.load(tools=[*desk.tools, desk.get_order])
    with pytest.raises(PolicyError, match="a tool cannot be called `write`"):
        desk.load(tools=[replace(desk.get_order, name="write")])
    with pytest.raises(PolicyError, match="fact `order` is read with `nothing`, which is no tool here"):
        desk.load(
            tools=[replace(desk.get_order, facts=(FactSpec(name="order", tool="nothing", arguments={}),))]
        )
    with pytest.raises(PolicyError, match="the tools cannot be described to Cedar"):
        desk.load(tools=[*desk.tools, replace(desk.get_order, name="a\x01b")])


def test_roles_and_sets_must_name_what_exists(desk: Desk) -> None:
    """A role for a misspelt agent would silently give nobody anything."""
    with pytest.raises(PolicyError, match="roles are given to an agent `dsk` that does not exist"):
        desk.load(roles={"dsk": ["support"]})
    with pytest.raises(PolicyError, match="tool set `money` has a tool `refund` that does not exist"):
        desk.load(tool_sets={"money": ["refund"]})


def test_the_validator_is_tried_at_load(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """A validator that lets everything through, or nothing, does not get into service."""

    class Validator:
        def __init__(self, answer: bool) -> None:
            self.answer = answer

        def is_valid(self, _context: object) -> bool:
            return self.answer

    for answer, message in (
        (True, r"a wrong `context\.no_such_name` is accepted"),
        (False, "a sound context is refused"),
    ):
        monkeypatch.setattr(
            "answerable.gates.policy.schema.ContextValidator", lambda _shape, answer=answer: Validator(answer)
        )
        with pytest.raises(PolicyError, match=message):
            desk.load()


def test_the_schema_is_the_same_text_each_time(desk: Desk) -> None:
    """Reviewers diff it: the order in which tools are handed over changes nothing."""
    roles = {"desk": ["support"]}

    text = cedar_schema_text(desk.tools, ["desk"], roles=roles)

    assert text == cedar_schema_text(desk.tools[::-1], ["desk"], roles=roles)
    assert "// Agents: desk\n// Agent desk has the roles: support\n" in text
    assert "// No rule can read args.extra: dict has no Cedar type" in text
    assert 'action "irreversible" in ["write"];' in text
    assert (
        """
    order: {
      id: String,
      total_usd: decimal,
      status: String,  // "open" | "paid"
      placed: datetime,
    },
    customer?: {
      tier: String,
    },
"""
        in text
    )
    assert "// Agents: none" in cedar_schema_text(desk.tools, [])


@pytest.mark.parametrize("tries", [1, 5, 40])
def test_a_search_without_an_answer_ends(desk: Desk, monkeypatch: pytest.MonkeyPatch, tries: int) -> None:
    """However many ways there are to try, a rule is given a bounded number of tries."""
    monkeypatch.setattr(canary, "TRIES_MAX", tries)
    ways = " && ".join(f'(context.args.order_id == "{n}" || context.args.reason == "{n}")' for n in range(12))

    rule = f'@id("mine") @text("x") forbid ({REFUND}) when {{ {ways} }};'

    with pytest.raises(PolicyError, match="rule `mine`: it could not be shown to fire for `create_refund`"):
        desk.load(only=rule)


def test_a_fact_that_no_rule_can_read_is_left_out(desk: Desk) -> None:
    """A read that answers free-form JSON can be made; rules cannot speak of it, and that is listed."""
    free = replace(desk.get_order, name="get_raw", result_annotation=dict[str, Any])
    refund = replace(desk.create_refund, facts=(FactSpec(name="raw", tool="get_raw", arguments={}),))
    text = '@id("all") @text("x") permit (principal, action, resource);'

    bundle = desk.load(only=text, tools=[free, refund])

    assert [str(each) for each in bundle.undecidable["create_refund"]] == [
        "args.extra: dict has no Cedar type",
        "facts.raw: dict has no Cedar type",
    ]
    assert "facts: {}," in bundle.schema_text
    assert bundle.decide(desk.refund(tool=refund, facts={"raw": {"a": 1.5}})).rules == ("all",)
