"""What one decision of the rules costs: CPU of `Bundle.decide`, nothing else. Ours alone, on one core.

`python -m bench.decisions` prints a table as Markdown. Every request is distinct, so that nothing is remembered but what
the product itself remembers: decisions of a slice that reads no context. Sizes are interleaved: each round measures
every case once, in the same order.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

from answerable.gates.policy import Bundle, load_bundle
from answerable.gates.request import Label, PolicyRequest, TotalValue
from answerable.kernel.state import Tally
from answerable.project import Project, load_project
from bench.keep import keep
from bench.machine import this_machine
from bench.summary import Spread, ratio, spread

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

ROOT = Path(__file__).parents[1]
DECISIONS = 1_000
"""So many distinct decisions are one round of one case."""
NOW = 1_780_000_000_000_000
LIMITS_US = {"allowed, one pass": 200.0, "no rule reads the context": 15.0}
SCOPED_MAX = 1.2
"""500 action-scoped rules may cost so much more than 5."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """Some decisions that are measured together, and what each of them must say."""

    name: str
    bundle: Bundle
    requests: Sequence[PolicyRequest]
    verdict: str


def desk_cases(project: Project) -> list[Case]:
    """The refund desk as it ships: 17 rules, a full context of arguments, labels, two facts and three totals."""
    agent, bundle = project.agents["refund-desk"], project.bundle("refund-desk")
    specs = {name: tool.spec for name, tool in agent.all_tools().items()}

    def request(number: int, amount: Decimal) -> PolicyRequest:
        order, email = f"O-{number % 10_000:04d}", f"customer{number}@example.com"
        refund, look = specs["create_refund"], specs["get_order"]
        facts: dict[str, Any] = {
            "order": look.result.validate_json(json.dumps(_order(order, number))),
            "customer": specs["get_customer"].result.validate_json(json.dumps(_customer(email, number))),
        }
        label = Label(sources=("prompt", "task", "get_order"), classes=frozenset({"internal"}))
        return PolicyRequest(
            agent=agent.name,
            tenant="default",
            on_behalf_of=email,
            tool=refund,
            arguments=refund.arguments.model_validate_json(
                json.dumps(
                    {
                        "ticket_id": f"T-{number}",
                        "order_id": order,
                        "customer_email": email,
                        "amount_usd": str(amount),
                        "reason": "arrived broken",
                    }
                )
            ),
            labels=dict.fromkeys(refund.arguments.model_fields, label),
            facts=facts,
            totals={
                name: TotalValue(amount=amount, count=0) for name in ("order", "customer_day", "desk_day")
            },
            calls_before=number % 7,
            classes_read=frozenset({"internal"}),
            history={"get_order": Tally(decided=1, done=1, last=1)},
            budget_left={"tool_calls": 18, "model_calls": 28, "tokens": 50_000, "money": 390_000},
            now_us=NOW + number * 1_000_000,
        )

    few = [request(n, Decimal(n % 400) + Decimal("0.50")) for n in range(DECISIONS)]
    much = [replace(each, totals=_totals(each, Decimal(501))) for each in few]
    reads = [
        replace(
            each,
            tool=specs["get_order"],
            arguments=specs["get_order"].arguments.model_validate_json(
                json.dumps({"order_id": f"O-{number % 10_000:04d}"})
            ),
            facts={},
            totals={},
            labels={"order_id": Label()},
        )
        for number, each in enumerate(few)
    ]
    return [
        Case(name="allowed, one pass", bundle=bundle, requests=few, verdict="allow"),
        Case(name="a person is asked, two passes", bundle=bundle, requests=much, verdict="require_approval"),
        Case(name="no rule reads the context", bundle=bundle, requests=reads, verdict="allow"),
    ]


def wide_cases(project: Project, asked: Case, counts: Sequence[int], *, is_scoped: bool) -> list[Case]:
    """The desk's rules among others: of other tools where they are scoped, else of every tool."""
    agent = project.agents["refund-desk"]
    folder = ROOT / "examples" / "refund_desk" / "policy"
    rules = {path.name: path.read_text("utf-8") for path in folder.glob("*.cedar")}
    specs = [tool.spec for tool in agent.all_tools().values()]
    cases: list[Case] = []
    for count in counts:
        others = "\n".join(_rule(number, is_scoped=is_scoped) for number in range(count))
        name = f"{count} more rules, {'of another tool' if is_scoped else 'of every tool'}"
        bundle = load_bundle({**rules, "more.cedar": others} if count else rules, specs, [agent.name])
        cases.append(Case(name=name, bundle=bundle, requests=asked.requests, verdict="allow"))
    return cases


def _rule(number: int, *, is_scoped: bool) -> str:
    scope = 'action == Action::"send_reply"' if is_scoped else "action"
    condition = f'context.run.on_behalf_of == "blocked{number}@example.com" && context.run.calls_before > {number % 5}'
    return (
        f'@id("more-{number}") @text("Nothing is done for a blocked customer.")\n'
        f"forbid (principal, {scope}, resource) when {{ {condition} }};"
    )


def _order(order: str, number: int) -> dict[str, Any]:
    return {
        "order_id": order,
        "customer_id": f"C-{number}",
        "status": "delivered",
        "is_paid": True,
        "paid_with": "card",
        "currency": "USD",
        "total": "450.00",
        "refunded": "0.00",
        "placed": "2026-05-01",
        "items": [{"name": f"Thing {each}", "quantity": 1, "price": "150.00"} for each in range(3)],
        "note": "please ring twice",
    }


def _customer(email: str, number: int) -> dict[str, Any]:
    return {
        "customer_id": f"C-{number}",
        "name": f"Customer {number}",
        "email": email,
        "language": "en",
        "standing": "good",
    }


def _totals(request: PolicyRequest, amount: Decimal) -> dict[str, TotalValue]:
    return {**request.totals, "customer_day": TotalValue(amount=amount, count=1)}


def measure(cases: Sequence[Case], rounds: int) -> dict[str, list[float]]:
    """CPU microseconds a decision, by case, one figure a round. Raises where a decision is not what it must be."""
    for case in cases:  # slices are made, and memories filled, before anything counts
        for request in case.requests[:50]:
            said = case.bundle.decide(request)
            if said.verdict.value != case.verdict:
                message = f"{case.name}: {said.verdict.value}, not {case.verdict}: {said.reason}"
                raise RuntimeError(message)
    found: dict[str, list[float]] = {case.name: [] for case in cases}
    for _ in range(rounds):
        for case in cases:
            found[case.name].append(_once(case.bundle.decide, case.requests))
    return found


def _once(decide: Callable[[PolicyRequest], object], requests: Sequence[PolicyRequest]) -> float:
    started = time.process_time_ns()
    for request in requests:
        decide(request)
    return (time.process_time_ns() - started) / len(requests) / 1_000


def main(arguments: Sequence[str]) -> int:
    """Measure, print and keep the figures. Exits 1 where a target is missed."""
    parser = argparse.ArgumentParser(prog="python -m bench.decisions", description=__doc__)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args(arguments)
    project = load_project(ROOT / "examples" / "refund_desk")
    desk = desk_cases(project)
    scoped = wide_cases(project, desk[0], (5, 500), is_scoped=True)
    unscoped = wide_cases(project, desk[0], (5, 500), is_scoped=False)
    measured = measure([*desk, *scoped, *unscoped], given.rounds)
    figures = {name: spread(values) for name, values in measured.items()}
    wider = {
        "500 rules of another tool, against 5": ratio(measured[scoped[1].name], measured[scoped[0].name]),
        "500 rules of every tool, against 5": ratio(measured[unscoped[1].name], measured[unscoped[0].name]),
    }
    missed = [name for name, limit in LIMITS_US.items() if figures[name].median > limit]
    if wider["500 rules of another tool, against 5"].median > SCOPED_MAX:
        missed.append("500 rules of another tool, against 5")
    machine, now = this_machine(ROOT), datetime.now(UTC)
    kept = {
        "command": "python -m bench.decisions",
        "date": now.isoformat(timespec="seconds"),
        "machine": asdict(machine),
        "rounds": given.rounds,
        "decisions_a_round": DECISIONS,
        "cpu_us": {name: asdict(each) for name, each in figures.items()},
        "ratios": {name: asdict(each) for name, each in wider.items()},
        "missed": missed,
    }
    keep(kept, at=now, name="decisions")
    if given.json:
        print(json.dumps(kept, indent=1))
    else:
        print(
            f"`{kept['command']}`, {now.date()}, {given.rounds} rounds of {DECISIONS} distinct decisions.  "
        )
        print(f"{machine}.\n")
        print("| CPU of one decision | median µs (least to greatest) |\n| --- | --- |")
        print("\n".join(f"| {name} | {_said(each)} |" for name, each in figures.items()))
        print("\n| ratio | median (least to greatest) |\n| --- | --- |")
        print("\n".join(f"| {name} | {_said(each, 2)} |" for name, each in wider.items()))
        print(f"\nMissed: {', '.join(missed) or 'none'}")
    return 1 if missed else 0


def _said(each: Spread, places: int = 1) -> str:
    return f"{each.median:.{places}f} ({each.low:.{places}f} to {each.high:.{places}f})"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
