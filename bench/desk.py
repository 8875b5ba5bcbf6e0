"""The agent that our own subjects drive: three tools that are measured, and as many rules as are asked for.

The tools take the same arguments and return the same kilobyte; they differ only in what a lost reply would
mean, and with that in how often a call has to wait for the disk.
"""

from collections.abc import Iterator
from decimal import Decimal
from itertools import count, islice
from typing import Annotated, Literal

from pydantic import BaseModel, Field

from answerable import Agent, Arguments, Budget, EffectKey, Impact, Text, Tool, tool
from bench.payload import one_kilobyte

AGENT = "bench-desk"
CUSTOMER = "ada@example.com"
RULES_A_TOOL = 6
"""Rules that a tool has in the end; a larger company has more tools, rather than more rules for one tool."""

Mode = Literal["read", "keyed", "two_commits"]
Scope = Literal["action", "any"]
Currency = Literal["USD", "EUR"]
Order = Annotated[int, Field(gt=0)]
Amount = Annotated[Decimal, Field(gt=0, le=20_000, decimal_places=2)]
BUSINESS_KEY = "refund:{order}"
IMPACT = Impact(money="amount_usd")


class Case(Arguments):
    """What a run is given: the customer for whom it acts."""

    customer: str


class Stored(BaseModel):
    """What every measured tool returns: the common kilobyte."""

    step: int
    note: str


@tool(effect="read")
async def quote_refund(
    order: Order, customer: str, amount_usd: Amount, currency: Currency, reason: Text
) -> Stored:
    """Say what a refund would do."""
    del customer, amount_usd, currency, reason
    return Stored.model_validate(one_kilobyte(order))


@tool(mode="native_key", business_key=BUSINESS_KEY, impact=IMPACT)
async def create_refund(
    order: Order, customer: str, amount_usd: Amount, currency: Currency, reason: Text, *, key: EffectKey
) -> Stored:
    """Refund an order; the vendor takes our key."""
    del customer, amount_usd, currency, reason, key
    return Stored.model_validate(one_kilobyte(order))


@tool(mode="at_most_once", business_key=BUSINESS_KEY, impact=IMPACT)
async def wire_refund(
    order: Order, customer: str, amount_usd: Amount, currency: Currency, reason: Text
) -> Stored:
    """Refund an order by wire, which can neither be sent again nor asked for."""
    del customer, amount_usd, currency, reason
    return Stored.model_validate(one_kilobyte(order))


MEASURED: dict[Mode, Tool] = {"read": quote_refund, "keyed": create_refund, "two_commits": wire_refund}


def proposal(number: int) -> dict[str, object]:
    """The arguments of call `number`; no two are alike, for the same again is refused as a loop."""
    return {
        "order": number + 1,
        "customer": CUSTOMER,
        "amount_usd": Decimal(1 + number % 400) / 4,
        "currency": "USD",
        "reason": "The parcel arrived damaged, as the photographs in the ticket show.",
    }


def make_agent(mode: Mode, policies: int, scope: Scope) -> Agent:
    """An agent whose budgets no benchmark exhausts, under so many rules."""
    measured = MEASURED[mode]
    others = -(-max(0, policies - RULES_A_TOOL) // RULES_A_TOOL) if scope == "action" else 0
    tools = [measured, *(_other_tool(number) for number in range(others))]
    limit = 10**9
    return Agent(
        name=AGENT,
        owner="bench",
        prompt="Refund what may be refunded.",
        tools=tools,
        models=["scripted:bench"],
        policy={"bench.cedar": many_policies([each.name for each in tools], policies, scope)},
        task=Case,
        on_behalf_of="{customer}",
        budget=Budget(tool_calls=limit, model_calls=limit, tokens=limit, money="1000000", wall_clock="24h"),
    )


def many_policies(tools: list[str], policies: int, scope: Scope) -> str:
    """Exactly so many rules. The first tool has `RULES_A_TOOL` of its own, or all where there are fewer.

    Under the scope `action` the others belong to the other tools, so a call of the first is not concerned.
    Under `any` they have no tool in their head, and every one has to be evaluated at every call.
    """
    own = _rules_of(tools[0])
    rest = _company_rules() if scope == "any" else (rule for name in tools[1:] for rule in _rules_of(name))
    rules = [*own, *islice(rest, max(0, policies - len(own)))][:policies]
    if len(rules) != policies:
        message = f"{policies} rules were asked for, {len(rules)} made"
        raise ValueError(message)
    return "\n".join(rules)


def _other_tool(number: int) -> Tool:
    async def other(
        order: Order, customer: str, amount_usd: Amount, currency: Currency, reason: Text
    ) -> Stored:
        """Do something that is not measured."""
        raise NotImplementedError(order, customer, amount_usd, currency, reason)

    return tool(name=f"other_{number}", effect="read")(other)


def _rules_of(name: str) -> list[str]:
    """A permit and five guards that read arguments and the run, none of which holds a measured call back."""
    return [
        _rule(f"{name}-may", "permit", name, "", 'principal == Agent::"bench-desk"'),
        _rule(
            f"{name}-own-customer",
            "forbid",
            name,
            "unless { context.args.customer == context.run.on_behalf_of }",
        ),
        _rule(f"{name}-dollars", "forbid", name, 'when { context.args.currency != "USD" }'),
        _rule(
            f"{name}-cap",
            "forbid",
            name,
            'when { context.args.amount_usd.greaterThan(decimal("500.00")) }',
            asks='@decision("require_approval")\n@approvers("support-lead")\n',
        ),
        _rule(
            f"{name}-much", "forbid", name, 'when { context.args.amount_usd.greaterThan(decimal("5000.00")) }'
        ),
        _rule(f"{name}-known-order", "forbid", name, "when { context.args.order > 900000000 }"),
    ]


def _company_rules() -> Iterator[str]:
    for number in count():
        condition = f"when {{ context.run.calls_before > {10**7 + number} }}"
        yield _rule(f"company-{number}", "forbid", None, condition)


def _rule(
    name: str,
    effect: str,
    action: str | None,
    condition: str,
    principal: str = "principal",
    *,
    asks: str = "",
) -> str:
    head = "action" if action is None else f'action == Action::"{action}"'
    return (
        f'@id("{name.replace("_", "-")}")\n@owner("bench")\n@text("A rule of the benchmark.")\n{asks}'
        f"{effect} ({principal}, {head}, resource) {condition};\n"
    )
