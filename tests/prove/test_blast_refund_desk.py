"""The refund desk: its figures worked out by hand, and how each change of its rules moves them.

$500 for one customer in a day, $5,000 for the desk in a day, 20 calls in a run, and a run that is for one customer.
"""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from blast_desks import again, radius

import refund_desk
from answerable import Budget, Impact
from refund_desk.desk import make_desk

if TYPE_CHECKING:
    from answerable import Agent
    from answerable.prove.blast_figures import Figure, Radius

RULES = (Path(refund_desk.__file__).parent / "policy" / "refund_desk.cedar").read_text("utf-8")
SECONDS_MAX = 10.0


def changed(*edits: tuple[str, str], without: tuple[str, ...] = (), **more: Any) -> Agent:
    """The desk with edited rules. Each edit has to change something."""
    text = RULES
    for before, after in edits:
        assert before in text, before
        text = text.replace(before, after)
    for name in without:
        text, count = re.subn(rf'@id\("{name}"\).*?\n(\}}|\));\n', "", text, flags=re.DOTALL)
        assert count == 1, name
    return replace(make_desk(), policy={"rules.cedar": text}, **more)


def money(agent: Agent, period: Any) -> tuple[str | None, str]:
    """Bound and witness of the money that is moved."""
    found = radius(agent, period).figure("money", period, "USD")
    assert found.witness is not None
    return None if found.bound is None else f"{found.bound:.2f}", f"{found.witness.amount:.2f}"


@pytest.fixture(scope="module")
def desk() -> Radius:
    """The radius of the desk as it is."""
    return radius(make_desk())


def test_a_run_moves_what_one_customer_may_get_in_each_of_two_days(desk: Radius) -> None:
    found = desk.figure("money", "run", "USD")

    assert found.bound == 1_000
    assert [limit.name for limit in found.binding] == ["`refund-customer-day`"]
    assert found.binding[0].why == (
        "`refund-customer-day`: at most 500.00 for one `{customer.customer_id}` in a UTC day; all calls of a run have"
        " the same `{customer.customer_id}`; a run can see 2 UTC days"
    )
    assert [(limit.name, limit.amount) for limit in found.next] == [
        ("`refund-desk-day`", 10_000),
        ("budget `tool_calls`", 10_000),
    ]


def test_the_witness_of_a_run_stands_across_midnight(desk: Radius) -> None:
    witness = desk.figure("money", "run", "USD").witness

    assert witness is not None
    assert [(call.tool, call.amount) for call in witness.calls] == [("create_refund", 500)] * 2
    assert len({call.at[:10] for call in witness.calls}) == 2
    assert len({call.facts["customer"]["customer_id"] for call in witness.calls}) == 1
    assert len({call.arguments["order_id"] for call in witness.calls}) == 2
    assert again(make_desk(), witness) == 1_000


def test_a_day_moves_what_the_desk_may_pay_out(desk: Radius) -> None:
    found = desk.figure("money", "day", "USD")

    assert found.bound == 5_000
    assert [limit.name for limit in found.binding] == ["`refund-desk-day`"]
    assert found.is_open_then, "customers exist without end"
    assert found.witness is not None
    assert found.witness.amount == 5_000
    assert found.witness.runs == 10
    assert len({call.facts["customer"]["customer_id"] for call in found.witness.calls}) == 10
    assert len({call.at[:10] for call in found.witness.calls}) == 1


def test_everything_else_is_as_it_was_worked_out(desk: Radius) -> None:
    def bound(figure: Figure) -> str | None:
        return None if figure.bound is None else f"{figure.bound.normalize():f}"

    found = {(each.measure, each.period): bound(each) for each in desk.figures if each.measure != "money"}

    assert found == {
        ("records", "run"): "20",
        ("deletes", "run"): "0",
        ("recipients", "run"): "0",
        ("classes", "run"): "0",
        ("spend", "run"): "0.4",
        ("records", "day"): None,
        ("deletes", "day"): "0",
        ("recipients", "day"): "0",
        ("classes", "day"): "0",
        ("spend", "day"): None,
    }
    assert [each.is_confirmed for each in desk.figures if each.bound and each.measure != "spend"] == [
        True,
        True,
        True,
    ]


def test_what_is_not_done_without_a_person_is_said(desk: Radius) -> None:
    assert [(each.tool, each.rules) for each in desk.held] == [("send_reply", ("send-needs-a-person",))]
    assert "`cancel_refund`, `get_case`" in desk.notes[0]


def test_what_it_rests_on_is_said(desk: Radius) -> None:
    text = "\n".join(desk.assumptions)

    for said in (
        "nobody is asked",
        "facts answer anything that fits their types",
        "`customer.customer_id` stays the same within a run while it is read for the same `customer_email`",
        "a run is at work for 120 s at most",
        "`args.amount_usd` is > 0, ≤ 20,000, a multiple of 0.01 (the schema gate sees to it)",
        "z3",
    ):
        assert said in text


def test_it_takes_seconds(desk: Radius) -> None:
    assert desk.seconds < SECONDS_MAX


CUSTOMER_CAP = 'context.totals.customer_day.amount.greaterThan(decimal("500.00"))'
ORDER_CAP = 'context.totals.order.amount.greaterThan(decimal("500.00"))'


def up(rule: str, amount: str = "5000.00") -> tuple[str, str]:
    """A cap of $500 made another one."""
    return rule, rule.replace("500.00", amount)


@pytest.mark.parametrize(
    ("agent", "run", "day"),
    [
        pytest.param(changed(up(CUSTOMER_CAP)), "10000.00", "5000.00", id="customer cap ten times: twenty orders"),
        pytest.param(changed(up(CUSTOMER_CAP), up(ORDER_CAP)), "10000.00", "5000.00", id="both caps ten times"),
        pytest.param(changed(up(CUSTOMER_CAP, "120.50")), "241.00", "5000.00", id="a smaller cap"),
        pytest.param(changed(without=("refund-customer-day",)), "10000.00", "5000.00", id="no customer cap"),
        pytest.param(changed(without=("refund-desk-day",)), "1000.00", None, id="no desk cap"),
        pytest.param(
            changed(without=("refund-own-order",)), "10000.00", "5000.00", id="any customer: as often as calls allow"
        ),
        pytest.param(changed(without=("refund-paid-and-closed",)), "1000.00", "5000.00", id="unpaid orders too"),
        pytest.param(
            changed(without=("refund-desk-day", "refund-own-order"), budget=Budget(tool_calls=40, wall_clock="2m")),
            "20000.00",
            None,
            id="any customer, and twice the calls",
        ),
        pytest.param(
            changed(without=("refund-desk-day",), budget_per_day=Budget(tool_calls=60)), "1000.00", "30000.00",
            id="the calls of a day",
        ),
        pytest.param(changed(budget=Budget(tool_calls=1, wall_clock="2m")), "500.00", "5000.00", id="one call"),
        pytest.param(changed(budget=Budget(tool_calls=20, wall_clock="25h")), "1500.00", "5000.00", id="a day at work"),
        pytest.param(changed(autonomy="shadow"), "0.00", "0.00", id="shadow"),
        pytest.param(changed(autonomy="propose"), "0.00", "0.00", id="propose"),
        pytest.param(changed(autonomy="full"), "1000.00", "5000.00", id="full: the rules hold all the same"),
        pytest.param(changed(autonomy_by_tool={"create_refund": "shadow"}), "0.00", "0.00", id="one tool in shadow"),
    ],
)  # fmt: skip
def test_a_change_moves_the_figures_as_worked_out(agent: Agent, run: str, day: str | None) -> None:
    assert money(agent, "run") == (run, run)
    bound, witness = money(agent, "day")
    assert bound == day
    assert day is None or witness == day


def test_without_any_cap_the_schema_is_what_binds_a_call() -> None:
    """What is over $5,000 needs finance by a rule of its own; without that, the schema's $20,000 bind."""
    caps = ("refund-cap", "refund-customer-day", "refund-desk-day")

    assert money(changed(without=caps), "run") == ("100000.00", "100000.00")
    assert money(changed(without=(*caps, "refund-large")), "run") == ("400000.00", "400000.00")


def test_a_run_that_may_wait_without_limit_may_see_any_number_of_days() -> None:
    found = radius(changed(budget=Budget(tool_calls=20)), "run").figure("money", "run", "USD")

    assert found.bound == 10_000
    assert found.witness is not None
    assert found.witness.amount == 10_000
    assert len({call.at[:10] for call in found.witness.calls}) == 20


def test_a_tool_of_which_nothing_is_declared_bounds_nothing() -> None:
    agent = changed()
    tools = [
        replace(tool, spec=replace(tool.spec, impact=None)) if tool.name == "draft_reply" else tool
        for tool in agent.tools
    ]

    found = radius(replace(agent, tools=tools), "run")

    for measure, unit in (("money", "USD"), ("records", ""), ("recipients", "")):
        figure = found.figure(measure, "run", unit)  # pyright: ignore[reportArgumentType]
        assert figure.bound is None
        assert figure.missing == (
            "declare `impact=Impact(...)` on `draft_reply`: what a call of it can do at most",
        )


def test_sending_by_itself_lets_people_be_told_and_data_leave() -> None:
    """Only to the address on the ticket: any other needs somebody from privacy."""
    found = radius(changed(without=("send-needs-a-person",)))

    told = found.figure("recipients", "run")
    assert told.bound == 20
    assert told.is_confirmed
    assert found.figure("recipients", "day").bound is None
    assert found.figure("classes", "run").classes == ("internal",)
    assert found.figure("classes", "run").is_confirmed
    assert told.witness is not None
    assert {call.arguments["to"] for call in told.witness.calls} == set(told.witness.on_behalf_of)


def test_more_records_by_each_call_are_counted() -> None:
    agent = changed()
    tools = [
        replace(tool, spec=replace(tool.spec, impact=Impact(records=7, deletes=7)))
        if tool.name == "draft_reply"
        else tool
        for tool in agent.tools
    ]

    found = radius(replace(agent, tools=tools), "run")

    assert found.figure("records", "run").bound == 140
    assert found.figure("deletes", "run").bound == 140
    assert found.figure("deletes", "run").is_confirmed
