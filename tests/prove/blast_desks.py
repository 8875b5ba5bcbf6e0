"""Small agents whose worst can be worked out by hand, and the radius of each."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BaseModel, Field

from answerable import Agent, Arguments, Budget, Impact, Kind, Text, Tool, Total, Trusted, fact, tool
from answerable.project import bundle_of
from answerable.prove.blast_radius import blast_radius
from answerable.prove.blast_subject import subject_of
from answerable.prove.blast_world import Start, Step, Underway, World

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from answerable.prove.blast_figures import Figure, Measure, Period, Radius, Witness

PERMIT = """
@id("may-do-everything")
@text("The agent may use all of its tools.")
permit (principal == Agent::"clerk", action, resource);
"""
Amount = Annotated[Decimal, Field(gt=0, le=1_000, decimal_places=2)]
CUSTOMERS = ("ana", "ben")
Customer = Literal["ana", "ben"]


class Task(Arguments):
    """What the agent is given."""

    id: str = "task"
    who: Annotated[str, Field(pattern="^[a-z]{3,8}$")] = "ana"
    wish: Annotated[Text, Trusted()] = ""


class Errand(Arguments):
    """A task in which nothing is trusted."""

    id: str = "errand"
    who: str = "ana"


class Account(BaseModel):
    """Whose money it is."""

    owner: str
    limit: Decimal = Decimal(0)


def forbid(name: str, action: str, condition: str, *, asks: bool = False, unless: bool = False) -> str:
    """A rule of which only the condition matters."""
    decision = '@decision("require_approval")\n@approvers("lead")\n' if asks else ""
    where = f'action == Action::"{action}"' if action else "action"
    return f"""
@id("{name}")
@text("A rule of the tests.")
{decision}forbid (principal, {where}, resource) {"unless" if unless else "when"} {{ {condition} }};
"""


def desk(tools: Sequence[Tool], *rules: str, **more: Any) -> Agent:
    """The agent `clerk`, under these rules and the permission to do everything."""
    settings: dict[str, Any] = {
        "name": "clerk",
        "owner": "tests",
        "prompt": "Do it.",
        "models": ["scripted:clerk"],
        "tools": list(tools),
        "policy": {"rules.cedar": PERMIT + "".join(rules)},
        "task": Task,
        "on_behalf_of": "{who}",
        "autonomy": "full",
        "budget": Budget(tool_calls=5, wall_clock="2m"),
    }
    return Agent(**{**settings, **more})


def radius(agent: Agent, *periods: Period) -> Radius:
    """The blast radius of an agent under its own rules."""
    return blast_radius(agent, bundle_of(agent), periods=periods or ("run", "day"))


def figure(agent: Agent, measure: Measure, period: Period, unit: str = "") -> Figure:
    """One figure of an agent."""
    return radius(agent, period).figure(measure, period, unit)


def interval(agent: Agent, measure: Measure, period: Period, unit: str = "") -> tuple[str | None, str]:
    """The bound and the witness of a figure, as text; no bound is None."""
    found = figure(agent, measure, period, unit)
    assert found.witness is not None
    bound = None if found.bound is None else f"{found.bound.normalize():f}"
    return bound, f"{found.witness.amount.normalize():f}"


def again(agent: Agent, witness: Witness) -> Decimal:
    """What the calls of a witness come to in a new world: every one has to be let through once more.

    Only single runs: which task each run of a day had is not in its witness.
    """
    world = World(subject_of(agent, bundle_of(agent)))
    run = begun(world, witness.on_behalf_of[0] if witness.on_behalf_of else "")
    for call in witness.calls:
        step = Step(
            tool=call.tool,
            arguments=call.arguments,
            facts=call.facts,
            result=None,
            now_us=micros_of(call.at),
        )
        judged = world.judge(run, step)
        assert judged.is_let_through, judged.decision
        world.perform(run, step, judged)
    return sum((call.amount for call in witness.calls), Decimal(0))


def begun(world: World, who: str, task: Mapping[str, Any] | None = None) -> Underway:
    """A run of the world for somebody."""
    return world.begin(Start(task=task or {"id": "task", "who": who, "wish": ""}, on_behalf_of=who))


def micros_of(text: str) -> int:
    """Microseconds of UTC behind an ISO text."""
    from datetime import datetime

    return int(datetime.fromisoformat(text).timestamp() * 1_000_000)


@tool(mode="upsert", impact=Impact(money="amount"))
def pay_freely(account: str, amount: Amount, note: str) -> None:
    """Pay with nothing counted."""
    del account, amount, note


@tool(
    mode="upsert",
    impact=Impact(money="amount"),
    totals=(
        Total(name="account_day", of="amount", by="{account}", per="day"),
        Total(name="day", of="amount", per="day"),
        Total(name="ever", of="amount"),
    ),
)
def pay(account: str, amount: Amount, note: str) -> None:
    """Pay into an account."""
    del account, amount, note


@tool(mode="upsert", impact=Impact(records=3, deletes=2))
def clean(folder: str) -> None:
    """Tidy a folder up: one record is changed, two are deleted."""
    del folder


@tool(mode="upsert")
def undeclared(name: str) -> None:
    """Do something of which nothing is said."""
    del name


@tool(mode="upsert", impact=Impact(recipients="to"))
def send(to: Annotated[list[str], Field(min_length=1, max_length=4)], body: Text) -> None:
    """Send a letter to several people."""
    del to, body


@tool(mode="upsert", impact=Impact(recipients="to"))
def send_many(to: list[str], body: Text) -> None:
    """Send a letter to any number of people."""
    del to, body


@tool(mode="upsert", impact=Impact(recipients="to"))
def send_one(to: Annotated[str, Kind("email")], body: Text) -> None:
    """Send a letter to one person."""
    del to, body


@tool(effect="write", mode="upsert", impact=Impact(records=0))
def fetch(url: Annotated[str, Kind("url")]) -> str:
    """Follow an address."""
    return url


@tool(effect="read", data_class="personal")
def read_people(name: str) -> str:
    """Read about a person."""
    return name


@tool(effect="read", data_class="prices")
def read_prices(name: str) -> str:
    """Read a price."""
    return name


@tool(effect="read")
def get_account(account: str) -> Account:
    """Read whose account it is."""
    return Account(owner=account)


@tool(
    mode="upsert",
    impact=Impact(money="amount"),
    totals=(Total(name="owner_day", of="amount", by="{account_.owner}", per="day"),),
    facts={"account_": fact(get_account, account="{account}")},
)
def pay_owner(account: str, amount: Amount, note: str) -> None:
    """Pay into somebody's account."""
    del account, amount, note


class Person(BaseModel):
    """Who somebody is."""

    account: str


@tool(effect="read")
def identify(name: str) -> Person:
    """Find out who it is."""
    return Person(account=name)
