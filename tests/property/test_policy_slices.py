"""A slice decides like the whole: dropping rules by scope heads and context by reads changes no answer.

The reference below is slow and obvious: every rule, the whole schema, the whole context, both sets, no cache.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Literal

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from answerable.gates.policy import Bundle, cedar
from answerable.gates.policy.context import build_context, context_text
from answerable.gates.policy.places import Places
from answerable.gates.policy.rules import read_rules
from answerable.gates.policy.schema import full_schema, tool_shapes
from answerable.gates.policy.slices import Asked, entities_text, policy_set
from answerable.gates.request import ORIGINS, Label, PolicyRequest, TotalValue
from answerable.kernel.decision import Verdict
from answerable.kernel.tool import EffectClass, FactSpec, ToolSpec, Total

if TYPE_CHECKING:
    from collections.abc import Sequence


class Order(BaseModel):
    model_config = ConfigDict(strict=True, frozen=True)

    id: str
    total: Decimal
    status: Literal["open", "paid"]


class Look(BaseModel):
    model_config = ConfigDict(strict=True, frozen=True)

    order_id: str


class Pay(BaseModel):
    model_config = ConfigDict(strict=True, frozen=True)

    order_id: str
    amount: Decimal
    note: str | None = None
    tags: list[str] = Field(default_factory=list)


def make_tool(name: str, arguments: type[BaseModel], effect_class: EffectClass, **more: Any) -> ToolSpec:
    """A tool value with as little said as possible."""
    return ToolSpec(
        name=name,
        description=name,
        effect_class=effect_class,
        arguments=arguments,
        result=TypeAdapter[Any](Order | None),
        result_annotation=Order | None,
        **more,
    )


LOOK = make_tool("look", Look, EffectClass.READ)
PAY = make_tool(
    "pay",
    Pay,
    EffectClass.WRITE,
    facts=(FactSpec(name="order", tool="look", arguments={}),),
    totals=(Total(name="paid", of="amount"),),
)
SEND = make_tool("send", Look, EffectClass.IRREVERSIBLE, data_class="personal")
TOOLS = (LOOK, PAY, SEND)
SHAPES = tool_shapes(TOOLS)
ROLES = {"desk": ("lead", "support"), "night": ("support",), "guest": ()}
SETS = {"money": ("pay",), "all": ("look", "pay", "send")}
SCHEMA_TEXT = full_schema(SHAPES, tuple(ROLES), ROLES, SETS)
SCHEMA = cedar.Schema.from_str(SCHEMA_TEXT)

PRINCIPALS = (
    "principal",
    'principal == Agent::"desk"',
    'principal in Agent::"night"',
    'principal in Role::"support"',
    'principal in Role::"lead"',
    "principal is Agent",
    'principal is Agent in Role::"support"',
)
ACTIONS = (
    "action",
    'action == Action::"pay"',
    'action == Action::"look"',
    'action in Action::"read"',
    'action in Action::"write"',
    'action in Action::"irreversible"',
    'action in [Action::"look", Action::"send"]',
    'action in [Action::"read", Action::"pay"]',
)
RESOURCES = (
    "resource",
    'resource == Tool::"pay"',
    'resource in ToolSet::"money"',
    'resource in ToolSet::"all"',
    "resource is Tool",
    'resource is Tool in ToolSet::"money"',
)
CONDITIONS = (
    "",
    'when { context.args.order_id == "A" }',
    'when { context.args has amount && context.args.amount.greaterThan(decimal("10.0")) }',
    'unless { context.args has note && context.args.note like "*ok*" }',
    'when { context.args has tags && context.args.tags.contains("vip") }',
    "unless { context.labels.order_id.trusted }",
    (
        'when { context.labels.order_id == {trusted: true, origin: "field", sources: ["web"], '
        'classes: ["internal"], unknown_address: false} }'
    ),
    'when { context.facts has order && context.facts.order.status == "open" }',
    (
        "when { context has facts.order && context.args has amount"
        " && context.args.amount.greaterThan(context.facts.order.total) }"
    ),
    "unless { context.facts has order }",
    "when { context.totals has paid && context.totals.paid.count > 1 }",
    'when { context.run.autonomy == "full" } unless { context.run.calls_before > 2 }',
    "when { context.run.calls_before + 9223372036854775805 > 0 }",
    'when { context.now.toTime() < duration("8h") || context.run.on_behalf_of == "" }',
    (
        "when { (if context.args has note then context.run"
        ' else {autonomy: "full", on_behalf_of: "", calls_before: 1}).calls_before > 1 }'
    ),
    'when { principal.tenant == "t1" && resource.data_class == "internal" }',
    'when { action in Action::"write" && Action::"send" in Action::"write" }',
    'when { principal in Role::"lead" || action == Action::"look" }',
)
DECISIONS = (
    "",
    "",
    '@decision("require_approval") @approvers("a")',
    '@decision("require_approval") @approvers("b")',
)

rule_parts = st.tuples(
    st.sampled_from(("permit", "permit", "forbid")),
    st.sampled_from(DECISIONS),
    st.sampled_from(PRINCIPALS),
    st.sampled_from(ACTIONS),
    st.sampled_from(RESOURCES),
    st.sampled_from(CONDITIONS),
)


def assemble(parts: Sequence[tuple[str, ...]]) -> Bundle:
    """A bundle of these rules as they are: no check or canary may drop the rule that shows a mistake."""
    rules = read_rules(
        {
            "a": "\n".join(
                f'@id("r{n}") @text("rule {n}") {decision if effect == "forbid" else ""}\n'
                f"{effect} ({principal}, {action}, {resource}) {condition};"
                for n, (effect, decision, principal, action, resource, condition) in enumerate(parts)
            )
        }
    )
    sets = {tool.name: tuple(name for name, inside in SETS.items() if tool.name in inside) for tool in TOOLS}
    return Bundle(
        rules=rules,
        digest="",
        schema_text=SCHEMA_TEXT,
        undecidable={},
        unreachable=(),
        idle=(),
        _places=Places(rules=rules, tools=SHAPES, agents=frozenset(ROLES), roles=ROLES, sets=sets),
        _by_id={rule.id: rule for rule in rules},
    )


def decide_slowly(
    bundle: Bundle, request: PolicyRequest, discharged: frozenset[str]
) -> tuple[Verdict, frozenset[str]]:
    """What `spec/policy.md` says, word by word. The rules are given where they are decisive."""
    shape = SHAPES[request.tool.name]
    sets = tuple(name for name, inside in SETS.items() if request.tool.name in inside)
    asked = Asked(request.agent, request.tenant, ROLES[request.agent], sets)
    question: Any = {
        "principal": {"type": "Agent", "id": request.agent},
        "action": {"type": "Action", "id": request.tool.name},
        "resource": {"type": "Tool", "id": request.tool.name},
        "context": context_text(build_context(request, shape)),
    }
    entities = cedar.read_entities(entities_text(shape, asked), SCHEMA)
    asking = {rule.id for rule in bundle.rules if rule.decision == "require_approval"}
    hard_rules = [rule for rule in bundle.rules if rule.id not in asking]
    full = cedar.ask(question, policy_set(bundle.rules), entities, SCHEMA)
    hard = cedar.ask(question, policy_set(hard_rules), entities, SCHEMA)
    if full.errors:
        return Verdict.DENY, frozenset()
    if full.verdict == "allow":
        return Verdict.ALLOW, frozenset(full.rules)
    if hard.verdict == "deny":
        return Verdict.DENY, frozenset(hard.rules)
    still_open = frozenset(full.rules) - discharged
    return (Verdict.REQUIRE_APPROVAL, still_open) if still_open else (Verdict.ALLOW, frozenset(hard.rules))


amounts = st.sampled_from(
    [Decimal(each) for each in ("-1", "0", "10", "10.0001", "500", "922337203685477.5807")]
)
orders = st.none() | st.builds(
    Order, id=st.just("A"), total=amounts, status=st.sampled_from(["open", "paid"])
)
labels = st.builds(Label, origin=st.sampled_from(ORIGINS), sources=st.sampled_from([(), ("web",)]))
moments = st.integers(0, 48).map(lambda hours: datetime(2026, 1, 1, tzinfo=UTC) + timedelta(hours=hours))


@st.composite
def requests(draw: st.DrawFn) -> PolicyRequest:
    """Any call of any tool by any agent."""
    tool = draw(st.sampled_from(TOOLS))
    given_order = draw(st.sampled_from("AB"))
    arguments: BaseModel = Look(order_id=given_order)
    facts: dict[str, object] = {}
    totals: dict[str, TotalValue] = {}
    if tool is PAY:
        arguments = Pay(
            order_id=given_order,
            amount=draw(amounts),
            note=draw(st.sampled_from([None, "", "it is ok now"])),
            tags=draw(st.lists(st.sampled_from(["vip", "x"]), max_size=2)),
        )
        facts = {"order": draw(orders)}
        totals = {"paid": TotalValue(amount=draw(amounts), count=draw(st.integers(0, 3)))}
    return PolicyRequest(
        agent=draw(st.sampled_from(sorted(ROLES))),
        tenant=draw(st.sampled_from(["t1", "t2"])),
        on_behalf_of=draw(st.sampled_from(["", "user"])),
        tool=tool,
        arguments=arguments,
        labels={"order_id": draw(labels)},
        facts=facts,
        totals=totals,
        autonomy=draw(st.sampled_from(["shadow", "propose", "capped", "full"])),
        calls_before=draw(st.integers(0, 4)),
        now_us=int(draw(moments).timestamp()) * 1_000_000,
    )


def check(parts: list[tuple[str, ...]], asked: list[PolicyRequest], discharged: frozenset[str]) -> None:
    """The same verdict by the same rules, with and without approvals, asked once and again."""
    bundle = assemble(parts)
    for request in asked:
        for granted in (frozenset[str](), discharged):
            expected = decide_slowly(bundle, request, granted)
            for _ in range(2):
                decision = bundle.decide(request, granted)
                assert (decision.verdict, frozenset(decision.rules)) == expected


OPEN = ("permit", "", "principal", "action", "resource", "")
ASKING = '@decision("require_approval") @approvers("a")'
QUIET = [HealthCheck.too_slow, HealthCheck.data_too_large]


@settings(max_examples=80, deadline=None, suppress_health_check=QUIET)
@given(
    parts=st.lists(rule_parts, min_size=1, max_size=6),
    is_open=st.booleans(),
    asked=st.lists(requests(), min_size=1, max_size=6),
    discharged=st.frozensets(st.sampled_from([f"r{n}" for n in range(6)])),
)
def test_a_slice_decides_like_the_whole(
    *, parts: list[tuple[str, ...]], is_open: bool, asked: list[PolicyRequest], discharged: frozenset[str]
) -> None:
    """For any rules, any call and any approvals."""
    check([*parts, OPEN] if is_open else parts, asked, discharged)


@pytest.mark.parametrize("condition", CONDITIONS)
@settings(max_examples=8, deadline=None, suppress_health_check=QUIET)
@given(asked=st.lists(requests(), min_size=6, max_size=12), decision=st.sampled_from(["", ASKING]))
def test_a_condition_alone_decides_like_in_the_whole(
    condition: str, asked: list[PolicyRequest], decision: str
) -> None:
    """With nothing beside it that reads the same part of the context and so would keep it there."""
    rule = ("forbid", decision, "principal", "action", "resource", condition)

    check([OPEN, rule], asked, frozenset({"r1"}))
