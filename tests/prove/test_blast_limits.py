"""Bounds that can be worked out by hand, and that the gates let a witness reach."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from typing import Annotated, Any

import pytest
from blast_desks import (
    Account,
    Amount,
    Customer,
    Errand,
    clean,
    desk,
    fetch,
    figure,
    forbid,
    get_account,
    identify,
    interval,
    pay,
    pay_freely,
    pay_owner,
    radius,
    read_people,
    read_prices,
    send,
    send_many,
    send_one,
    undeclared,
)
from pydantic import BaseModel, Field

from answerable import Agent, Budget, Impact, Kind, Text, Total, Trusted, UpTo, fact, session, tool

OVER = 'context.totals.{}.amount.greaterThan(decimal("{}"))'


def cap(total: str, amount: str, *, tool_name: str = "pay", asks: bool = False) -> str:
    """A rule on a total."""
    return forbid(f"cap-{total}", tool_name, OVER.format(total.replace("-", "_"), amount), asks=asks)


def test_a_schema_bounds_a_call_and_the_budget_the_calls() -> None:
    found = figure(desk([pay_freely]), "money", "run", "USD")

    assert found.bound == 5_000
    assert found.witness is not None
    assert found.witness.amount == 5_000
    assert [limit.name for limit in found.binding] == ["budget `tool_calls`"]
    assert "1,000.00 at most (the schema of `pay_freely`)" in found.binding[0].why


@pytest.mark.parametrize(
    ("rules", "run", "day"),
    [
        ((), "5000", None),
        ((cap("day", "700.00"),), "1400", "700"),
        ((cap("day", "700.00", asks=True),), "1400", "700"),
        ((cap("ever", "700.00"),), "700", "700"),
        ((cap("day", "700.00"), cap("ever", "900.00")), "900", "700"),
        ((cap("account_day", "700.00"),), "3500", None),
        ((forbid("small", "pay", 'context.args.amount.greaterThan(decimal("20.50"))'),), "102.5", None),
        ((forbid("twice", "pay", "context.totals.ever.count > 1"),), "2000", "2000"),
        ((forbid("thrice", "pay", "context.history.pay.done >= 3"),), "3000", None),
        ((forbid("early", "pay", "context.run.calls_before > 1"),), "2000", None),
    ],
)
def test_each_kind_of_rule_bounds_what_it_counts(rules: tuple[str, ...], run: str, day: str | None) -> None:
    agent = desk([pay], *rules)

    assert interval(agent, "money", "run", "USD") == (run, run)
    bound, witness = interval(agent, "money", "day", "USD")
    assert bound == day
    assert day is None or witness == day


def test_what_binds_is_named_and_so_is_what_would_bind_then() -> None:
    agent = desk([pay], cap("day", "700.00"), cap("ever", "900.00"))

    found = figure(agent, "money", "run", "USD")

    assert [limit.name for limit in found.binding] == ["`cap-ever`"]
    assert [(limit.name, limit.amount) for limit in found.next] == [
        ("`cap-day`", Decimal(1_400)),
        ("budget `tool_calls`", Decimal(5_000)),
    ]
    assert found.is_open_then


def test_two_rules_that_only_bind_together_are_named_together() -> None:
    """For one account there is one cap, for every other another: together they bind."""
    rules = (
        forbid(
            "ours",
            "pay",
            'context.args.account == "ours" && context.args.amount.greaterThan(decimal("50.00"))',
        ),
        forbid(
            "theirs",
            "pay",
            'context.args.account != "ours" && context.args.amount.greaterThan(decimal("40.00"))',
        ),
    )

    found = figure(
        desk([pay_freely], *(rule.replace('Action::"pay"', 'Action::"pay_freely"') for rule in rules)),
        "money",
        "run",
        "USD",
    )

    assert found.bound == 250
    assert "(`ours` and `theirs`)" in found.binding[0].why, "more than 50 needs either of them gone"


def test_nothing_limits_the_amount() -> None:
    @tool(mode="upsert", impact=Impact(money="amount", currency="EUR"))
    def give(amount: Annotated[Decimal, Field(gt=0)]) -> None:
        """Give any amount away."""
        del amount

    found = figure(desk([give]), "money", "run", "EUR")

    assert found.bound is None
    assert found.missing[0].startswith("limit `amount` of `give`: `Field(le=...)`")
    assert found.witness is not None
    assert found.witness.amount >= 1_000_000


def test_a_write_without_an_impact_bounds_nothing() -> None:
    found = radius(desk([undeclared, pay], cap("day", "700.00")), "run")

    for measure, unit in (
        ("money", "USD"),
        ("records", ""),
        ("deletes", ""),
        ("recipients", ""),
        ("classes", ""),
    ):
        each = found.figure(measure, "run", unit)  # pyright: ignore[reportArgumentType]
        assert each.bound is None, measure
        assert "declare `impact=Impact(...)` on `undeclared`" in each.missing[0]


def test_a_write_without_an_impact_that_is_never_sent_takes_nothing_away() -> None:
    never = forbid("never", "undeclared", "true")

    assert interval(desk([undeclared, pay], never), "money", "run", "USD") == ("5000", "5000")


def test_records_and_deletions_are_what_is_declared_for_each_call() -> None:
    assert interval(desk([clean]), "records", "run") == ("15", "15")
    assert interval(desk([clean]), "deletes", "run") == ("10", "10")
    assert interval(desk([clean], budget_per_day=Budget(tool_calls=12)), "records", "day") == ("36", "36")


@pytest.mark.parametrize(
    ("tools", "bound", "witness"),
    [
        ([send], "20", "20"),
        ([send_one], "5", "5"),
        ([fetch], "5", "5"),
        ([send_many], None, "50"),
        ([send, send_one], "20", "20"),
        ([read_people], "0", "0"),
    ],
)
def test_recipients_are_counted_by_the_parameter(tools: list[Any], bound: str | None, witness: str) -> None:
    assert interval(desk(tools), "recipients", "run") == (bound, witness)


def test_the_worst_mix_of_tools_is_taken() -> None:
    """Two large payments a run, and small ones with the calls that are left."""

    @tool(mode="upsert", impact=Impact(money="amount"), totals=(Total(name="big", of="amount"),))
    def pay_big(amount: Annotated[Decimal, Field(gt=0, le=400)], note: str) -> None:
        """Pay much."""
        del amount, note

    @tool(mode="upsert", impact=Impact(money="amount"))
    def pay_small(amount: Annotated[Decimal, Field(gt=0, le=10)], note: str) -> None:
        """Pay little."""
        del amount, note

    agent = desk([pay_big, pay_small], cap("big", "800.00", tool_name="pay_big"))

    assert interval(agent, "money", "run", "USD") == ("830", "830")


def test_currencies_are_kept_apart() -> None:
    @tool(mode="upsert", impact=Impact(money="amount", currency="EUR"))
    def pay_euros(amount: Annotated[Decimal, Field(gt=0, le=7)], note: str) -> None:
        """Pay in euros."""
        del amount, note

    found = radius(desk([pay_freely, pay_euros]), "run")

    assert found.figure("money", "run", "EUR").bound == 35
    assert found.figure("money", "run", "USD").bound == 5_000


@pytest.mark.parametrize("level", ["shadow", "propose"])
def test_an_agent_that_is_not_let_do_anything_does_nothing(level: Any) -> None:
    found = radius(desk([pay, clean, send_one, undeclared, read_people], autonomy=level))

    assert {each.bound for each in found.figures if each.measure != "spend"} == {Decimal(0)}
    assert {each.tool for each in found.held} == {"pay", "clean", "send_one", "undeclared"}


def test_autonomy_of_one_tool_counts_for_that_tool() -> None:
    agent = desk([pay, clean], autonomy="shadow", autonomy_by_tool={"clean": "full"})

    assert interval(agent, "money", "run", "USD") == ("0", "0")
    assert interval(agent, "records", "run") == ("15", "15")


def test_capped_refuses_money_that_nothing_counts() -> None:
    agent = desk([pay_freely], autonomy="capped")

    assert interval(agent, "money", "run", "USD") == ("0", "0")
    assert "no total or business key caps it" in radius(agent, "run").held[0].why


def test_a_rule_that_asks_a_person_leaves_nothing_to_be_done_without_one() -> None:
    found = radius(desk([pay], forbid("ask", "pay", "true", asks=True)), "run")

    assert found.figure("money", "run", "USD").bound == 0
    assert [(each.tool, each.why, each.rules) for each in found.held] == [
        ("pay", "a person is asked first", ("ask",))
    ]


def test_a_tool_that_no_rule_permits_does_nothing() -> None:
    agent = desk([pay, clean])
    only = '@id("clean")\n@text("Only that.")\npermit (principal, action == Action::"clean", resource);'

    found = radius(replace(agent, policy={"rules.cedar": only}), "run")

    assert [(each.tool, each.why) for each in found.held] == [("pay", "no rule permits it")]


# --- Keys: what the calls of one run share ---------------------------------------------------------------------


OWNER_CAP = cap("owner_day", "500.00", tool_name="pay_owner")
OWN_ACCOUNT = forbid(
    "own", "pay_owner", "context.facts.account_.owner == context.run.on_behalf_of", unless=True
)
THEIR_ACCOUNT = forbid("own", "pay_owner", "context.args.account == context.run.on_behalf_of", unless=True)


def test_a_cap_for_each_key_caps_no_run_that_can_change_the_key() -> None:
    assert interval(desk([pay_owner], OWNER_CAP), "money", "run", "USD") == ("2500", "2500")


def test_a_cap_for_a_key_caps_a_run_that_is_tied_to_it() -> None:
    found = radius(desk([pay_owner], OWNER_CAP, OWN_ACCOUNT), "run")

    assert found.figure("money", "run", "USD").bound == 1_000
    assert found.figure("money", "run", "USD").is_confirmed
    assert not any("stays the same" in text for text in found.assumptions)


def test_what_is_assumed_of_facts_is_said_where_it_is_needed() -> None:
    found = radius(desk([pay_owner], OWNER_CAP, THEIR_ACCOUNT), "run")

    assert found.figure("money", "run", "USD").bound == 1_000
    kept = [text for text in found.assumptions if "stays the same" in text]
    assert len(kept) == 1
    assert "`account_.owner` stays the same within a run while it is read for the same `account`" in kept[0]


def test_an_agent_that_acts_for_nobody_has_one_key_where_that_is_the_key() -> None:
    agent = desk([pay_owner], OWNER_CAP, OWN_ACCOUNT, on_behalf_of="")

    assert figure(agent, "money", "run", "USD").bound == 1_000


def test_what_was_established_once_ties_a_run_to_a_key() -> None:
    rules = (
        cap("account_day", "500.00"),
        forbid("first", "pay", "context.session has customer", unless=True),
        forbid(
            "own",
            "pay",
            "context.session has customer && context.args.account == context.session.customer.value",
            unless=True,
        ),
    )
    agent = desk([pay, identify], *rules, session={"customer": session(identify, value="account")})

    found = figure(agent, "money", "run", "USD")

    assert found.bound == 1_000
    assert found.witness is not None
    assert found.witness.amount == 1_000
    assert [call.tool for call in found.witness.calls] == ["identify", "pay", "pay"]


def test_a_business_key_is_used_once_and_others_are_there_to_be_used() -> None:
    @tool(mode="upsert", impact=Impact(records=1), business_key="open:{who}")
    def open_account(who: str) -> None:
        """Open an account."""
        del who

    own = forbid("own", "open_account", "context.args.who == context.run.on_behalf_of", unless=True)

    assert interval(desk([open_account]), "records", "run") == ("5", "5")
    assert interval(desk([open_account], own), "records", "run") == ("1", "1")


def test_a_business_key_for_all_calls_is_used_once_for_ever() -> None:
    @tool(mode="upsert", impact=Impact(records=1), business_key="the-migration")
    def migrate(note: str) -> None:
        """Do it once."""
        del note

    assert interval(desk([migrate]), "records", "run") == ("1", "1")
    assert interval(desk([migrate]), "records", "day") == ("1", "1")


def test_amounts_up_to_a_fact_are_bounded_where_the_fact_is() -> None:
    @tool(
        mode="upsert",
        impact=Impact(money="amount"),
        business_key="account:{account}",
        cardinality=UpTo(amount="amount", total="held.limit"),
        facts={"held": fact(get_account, account="{account}")},
    )
    def pay_up_to(account: str, amount: Amount, note: str) -> None:
        """Pay up to what the account may be paid."""
        del account, amount, note

    small = forbid("small", "pay_up_to", 'context.facts.held.limit.greaterThan(decimal("300.00"))')
    own = forbid("own", "pay_up_to", "context.args.account == context.run.on_behalf_of", unless=True)

    assert interval(desk([pay_up_to], small), "money", "run", "USD") == ("1500", "1500")
    assert interval(desk([pay_up_to], small, own), "money", "run", "USD") == ("300", "300")


def test_a_closed_list_of_customers_is_not_one_customer() -> None:
    @tool(
        mode="upsert",
        impact=Impact(money="amount"),
        totals=(Total(name="customer", of="amount", by="{customer}"),),
    )
    def pay_known(customer: Customer, amount: Amount, note: str) -> None:
        """Pay one of two."""
        del customer, amount, note

    found = figure(desk([pay_known], cap("customer", "500.00", tool_name="pay_known")), "money", "run", "USD")

    assert found.bound == 2_500
    assert found.witness is not None
    assert found.witness.amount == 1_000
    assert found.is_confirmed is False, "the bound knows no list of keys, and says so"


# --- Time ------------------------------------------------------------------------------------------------------

HOURS = forbid(
    "hours",
    "pay",
    'context.now.toTime() >= duration("9h") && context.now.toTime() < duration("17h")',
    unless=True,
)
LATE = forbid("late", "pay", 'context.now.toTime() >= duration("23h")', unless=True)


def test_a_run_within_office_hours_sees_one_day() -> None:
    assert interval(desk([pay], cap("day", "700.00"), HOURS), "money", "run", "USD") == ("700", "700")
    assert interval(desk([pay], cap("day", "700.00"), LATE), "money", "run", "USD") == ("700", "700")


def test_a_long_run_sees_a_day_more_for_each_day_at_work() -> None:
    agent = desk([pay], cap("day", "700.00"), budget=Budget(tool_calls=5, wall_clock="30h"))

    assert interval(agent, "money", "run", "USD") == ("2100", "2100")


def test_a_run_without_a_wall_clock_may_see_any_number_of_days() -> None:
    agent = desk([pay], cap("day", "700.00"), budget=Budget(tool_calls=5))

    assert interval(agent, "money", "run", "USD") == ("3500", "3500")


def test_a_rule_that_has_ended_lets_nothing_through() -> None:
    over = forbid("over", "pay", 'context.now < datetime("2001-01-01")', unless=True)

    found = figure(desk([pay], cap("day", "700.00"), over), "money", "day", "USD")

    assert found.bound == 700
    assert found.witness is not None
    assert found.witness.calls[0].at < "2001"


# --- What has to be done before ----------------------------------------------------------------------------------


def test_a_call_that_needs_another_before_it_is_prepared() -> None:
    first = forbid(
        "look-first", "pay", "context.history.read_people.last > context.history.pay.last", unless=True
    )

    found = figure(desk([pay, read_people], first, budget=Budget(tool_calls=6)), "money", "run", "USD")

    assert found.witness is not None
    assert found.witness.amount == 3_000, "every second call looks"
    assert found.bound == 6_000
    assert found.is_confirmed is False


class Letter(BaseModel):
    """What was written, and by whom."""

    reply_to: Annotated[str, Kind("email"), Trusted()]


@tool(effect="read", data_class="mail")
def read_letter(number: str) -> Letter:
    """Read a letter."""
    return Letter(reply_to=number)


def test_a_trusted_address_is_read_before_it_is_written_to() -> None:
    known = forbid("known", "send_one", "context.labels.to.trusted", unless=True)

    found = figure(desk([send_one, read_letter], known, task=Errand), "recipients", "run")

    assert found.witness is not None
    assert {call.tool for call in found.witness.calls} == {"send_one", "read_letter"}
    assert found.bound == 5
    assert found.witness.amount == 4


def test_an_address_in_the_words_of_the_user_is_trusted() -> None:
    known = forbid("known", "send_one", "context.labels.to.trusted", unless=True)

    assert interval(desk([send_one], known), "recipients", "run") == ("5", "5")


# --- Data that leaves --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("condition", "classes"),
    [
        ("false", ["internal", "personal", "prices"]),
        ('context.run.classes_read.contains("personal")', ["internal", "prices"]),
        ('context.labels.body.classes.contains("personal")', ["internal", "prices"]),
        ('context.run.classes_read.containsAny(["personal", "prices"])', ["internal"]),
        ("true", []),
    ],
)
def test_classes_leave_unless_a_rule_keeps_them_in(condition: str, classes: list[str]) -> None:
    rules = () if condition == "false" else (forbid("keep-in", "send_one", condition),)

    found = figure(desk([send_one, read_people, read_prices], *rules), "classes", "run")

    assert list(found.classes) == classes
    assert found.witness is not None
    assert list(found.witness.classes) == classes
    assert found.is_confirmed
    assert {limit.name for limit in found.binding} == ({"`keep-in`"} if rules else set())


def test_data_that_cannot_be_read_cannot_leave() -> None:
    private = forbid("private", "read_people", "true")

    found = figure(desk([send_one, read_people], private), "classes", "run")

    assert found.classes == ("internal",)


def test_what_only_tells_nobody_lets_nothing_leave() -> None:
    assert figure(desk([clean, read_people]), "classes", "run").classes == ()


# --- Budgets -----------------------------------------------------------------------------------------------------


def test_the_budget_of_a_day_bounds_a_day() -> None:
    agent = desk([pay], budget_per_day=Budget(tool_calls=13))

    found = figure(agent, "money", "day", "USD")

    assert found.bound == 13_000
    assert found.witness is not None
    assert found.witness.amount == 13_000
    assert found.witness.runs == 3


def test_a_day_without_a_limit_says_what_would_bound_it() -> None:
    found = figure(desk([pay]), "money", "day", "USD")

    assert found.bound is None
    assert "`budget_per_day=Budget(tool_calls=...)`" in found.missing[0]


def spend(agent: Agent) -> tuple[Decimal | None, Decimal | None]:
    """What may be spent in a run, and in a day."""
    found = radius(agent)
    return found.figure("spend", "run", "USD").bound, found.figure("spend", "day", "USD").bound


def test_spend_is_what_the_budgets_say() -> None:
    assert spend(desk([pay])) == (None, None)
    assert spend(desk([pay], budget=Budget(money="0.40"))) == (Decimal("0.4"), None)
    assert spend(desk([pay], budget=Budget(money="0.40"), budget_per_day=Budget(money="9"))) == (
        Decimal("0.4"),
        Decimal(9),
    )


def test_facts_that_cost_are_spent_beside_the_budget() -> None:
    @tool(effect="read", price_usd="0.01")
    def look_up(account: str) -> Account:
        """Look an account up, for money."""
        return Account(owner=account)

    @tool(mode="upsert", impact=Impact(), facts={"held": fact(look_up, account="{account}")})
    def touch(account: str, note: Text) -> None:
        """Change an account."""
        del account, note

    bound, _ = spend(desk([touch], budget=Budget(tool_calls=5, money="0.40")))

    assert bound == Decimal("0.40") + 5 * 16 * Decimal("0.01")
