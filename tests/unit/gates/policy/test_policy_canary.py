"""Every rule is shown to apply before it is believed; one for which nothing is found is refused."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from answerable.errors import PolicyError

if TYPE_CHECKING:
    from conftest import Desk

CAN_FIRE = [
    "",
    "when { true }",
    "unless { false }",
    'when { context.args.amount_usd.greaterThan(decimal("5.0")) && context.args.amount_usd.lessThan(decimal("5.0002")) }',
    'when { context.args.amount_usd == decimal("922337203685477.5807") }',
    "when { context.args.amount_usd.greaterThan(context.facts.order.total_usd) }",
    "when { context.args.amount_usd.greaterThan(context.totals.refunded.amount) }",
    "when { !(context.args has note) }",
    'when { context.args has note && context.args.note like "*refund*now*" }',
    'when { context.args.order_id like "A-*" && context.args.order_id like "*-Z" && context.args.order_id != "A--Z" }',
    'when { context has facts.customer && context.facts.customer.tier == "gold" }',
    "unless { context.facts has customer }",
    'when { context.args.tags.contains("vip") }',
    'when { context.args.tags.containsAll(["a", "b"]) && !context.args.tags.contains("c") }',
    "when { context.args.tags.isEmpty() }",
    "unless { context.args.items.isEmpty() }",
    'when { context.labels.order_id.sources.containsAny(["web", "email"]) && !context.labels.order_id.trusted }',
    "when { context.labels.order_id == context.labels.reason }",
    'when { context.run == {autonomy: "full", on_behalf_of: "u", calls_before: 3, classes_read: ["internal"], read_untrusted: true} }',
    "when { context == context }",
    'when { context.now > datetime("2026-12-24") && context.now < datetime("2026-12-26T12:00:00+0100") }',
    'when { context.now.toTime() >= duration("18h30m") || context.now.toTime() < duration("8h") }',
    'when { context.now.durationSince(context.facts.order.placed) > duration("30d") }',
    'when { context.facts.order.placed.durationSince(context.now) == duration("-1d1ms") }',
    "when { context.now.durationSince(context.facts.order.placed).toDays() > 30 }",
    'when { context.now > datetime("9999-12-31") }',
    'when { context.now.durationSince(context.facts.order.placed) < duration("9999999999d") }',
    "when { context.now.toTime().toHours() < 999999999999999 }",
    "when { context.totals.refunded.count * 2 + context.run.calls_before > 50 }",
    "when { context.run.calls_before == 9223372036854775807 }",
    "when { context.run.calls_before == -9223372036854775808 }",
    'when { principal.tenant != "acme" && principal.tenant != "" }',
    "when { principal has tenant && resource has data_class }",
    'when { principal.tenant == "acme" && principal in Role::"support" }',
    'when { principal == Agent::"intern" } unless { resource in ToolSet::"other" }',
    'when { action in Action::"write" && action != Action::"send_reply" }',
    'when { if context.args has note then context.args.note == "q" else context.run.calls_before == 17 }',
    "unless { if context.args has note then true else context.run.calls_before != 17 }",
    'when { (context.args.order_id == "a" || context.args.order_id == "b") && context.args.reason == "b" }',
    "unless { context.labels.order_id.trusted && context.labels.reason.trusted }",
    "unless { context.labels.order_id.trusted || context.labels.reason.trusted }",
    "when { context.facts has customer && context.facts.customer.tier == context.args.reason }",
]

CANNOT_FIRE = [
    "when { false }",
    "unless { true }",
    'when { context.args.amount_usd.greaterThan(decimal("5.0")) && context.args.amount_usd.lessThan(decimal("5.0001")) }',
    'when { context.args.order_id == "a" } unless { context.args.order_id == "a" }',
    'when { action in Action::"read" }',
    'when { context.run.calls_before > 3 && context.run.calls_before < 2 && context.args.reason == "x" }',
    "when { context.run.calls_before + 9223372036854775807 + 9223372036854775807 > 0 && context.run.calls_before > 0 }",
    # Each half holds by itself, but the first one fails with an overflow wherever the second one holds.
    (
        "when { context.run.calls_before > 0 && (context.run.calls_before + 9223372036854775807 < 0"
        ' || context.args.order_id == "a") }'
    ),
    'when { ip("10.0.0.1").isLoopback() }',
]


@pytest.mark.parametrize("condition", CAN_FIRE)
def test_a_rule_that_can_fire_is_accepted(desk: Desk, condition: str) -> None:
    """P6, P7, P8: with brackets, negation, boundaries, absent parts, sets, times: a case is found for each."""
    scope = 'principal, action == Action::"create_refund", resource'

    bundle = desk.load(
        f'@id("mine") @text("x") forbid ({scope}) {condition};', tool_sets={"other": ["send_reply"]}
    )

    assert bundle.rules[-1].id == "mine"


@pytest.mark.parametrize("condition", CANNOT_FIRE)
def test_a_rule_that_cannot_fire_is_refused(desk: Desk, condition: str) -> None:
    """It looks like a guard and is none."""
    scope = 'principal, action == Action::"create_refund", resource'

    with pytest.raises(
        PolicyError, match=r"more\.cedar:1: rule `mine`: it could not be shown to fire for `create_refund`"
    ):
        desk.load(f'@id("mine") @text("x") forbid ({scope}) {condition};')


def test_a_permit_that_permits_nothing_is_refused(desk: Desk) -> None:
    """It would only deny, but nobody writes a permit for that."""
    with pytest.raises(
        PolicyError, match="rule `mine`: it could not be shown to permit anything for `get_order`"
    ):
        desk.load(
            '@id("mine") @text("x") permit (principal, action == Action::"get_order", resource) when { false };'
        )


def test_every_tool_that_a_rule_names_has_to_be_reached(desk: Desk) -> None:
    """An author who lists two tools means both; over a group one is enough."""
    condition = 'when { context.args has body && context.args.body like "*x*" }'
    both = '[Action::"send_reply", Action::"create_refund"]'

    with pytest.raises(PolicyError, match="could not be shown to fire for `create_refund`"):
        desk.load(f'@id("mine") @text("x") forbid (principal, action in {both}, resource) {condition};')
    desk.load(f'@id("mine") @text("x") forbid (principal, action in Action::"write", resource) {condition};')
    desk.load(f'@id("mine") @text("x") forbid (principal, action, resource) {condition};')
