"""A desk on requests that nobody here wrote: recorded retail conversations, and what the gates made of them.

The recording cuts every answer off at 300 characters. So order numbers and most payment methods stay hidden
from who only reads, the clerk can seldom act, and mostly it hands over. The figures are about the gates and
the journal; they say nothing about how good a model is.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from pydantic import Field
from tau2_clerk import HANDOVER, clerk
from tau2_policy import make_policy
from tau2_shop import RETAIL, Call, RecordedShop, Retail, build_tool, canonical, load_retail

from answerable import Agent, Arguments, Budget, Text, ToolFailed, open_runtime
from answerable.gates.approval import Approver
from answerable.gates.schema import Refused, accept
from answerable.journal.verify import verify_database
from answerable.kernel import events
from answerable.kernel.ids import run_stream
from answerable.models.scripted import ScriptedModel
from answerable.project import bundle_of

if TYPE_CHECKING:
    from pathlib import Path

    from answerable import Outcome, Run, Runtime

pytestmark = pytest.mark.skipif(
    not RETAIL.is_file(), reason=f"no recorded retail workload at {RETAIL} (set ANSWERABLE_WORKLOADS)"
)

NAME = "retail-desk"
READ_ONLY = {"calculate", "list_all_product_types"}
"""Tools whose kind the recording does not say, and whose description says that they only look."""
YES_MAX = 10


class Request(Arguments):
    """What a customer asks."""

    id: Annotated[str, Field(pattern=r"^[0-9]{1,4}$")]
    text: Text


@dataclass
class Done:
    """One conversation, when it was over."""

    trace: dict[str, Any]
    outcome: Outcome
    shop: RecordedShop
    events: list[events.Event]
    yeses: int

    @property
    def ended(self) -> list[events.CallEnded]:
        """The last outcome of each call, in order."""
        return list({e.path: e for e in self.events if isinstance(e, events.CallEnded)}.values())


@dataclass
class Report:
    """All of them, and where their journal is."""

    journal: Path
    seconds: float
    runs: list[Done] = field(default_factory=list)


def make_desk(retail: Retail, **changes: Any) -> Agent:
    """The agent, with every recorded tool."""
    tools = []
    for definition in retail.definitions:
        name = definition["function"]["name"]
        is_read = retail.kinds.get(name) == "READ" or name in READ_ONLY
        tools.append(build_tool(definition, mode=None if is_read else "upsert"))
    writes = [tool.name for tool in tools if tool.spec.is_write and tool.name != HANDOVER]
    return Agent(
        **{
            "name": NAME,
            "owner": "retail",
            "prompt": retail.policy_text,
            "models": ["scripted:clerk"],
            "tools": tools,
            "policy": make_policy(NAME, writes, handover=HANDOVER),
            "task": Request,
            "source": "{id}",
            "budget": Budget(tool_calls=40, model_calls=40, money="0.10", wall_clock="2m"),
            **changes,
        }
    )


async def run_all(retail: Retail, agent: Agent, journal: Path) -> Report:
    """Every conversation on one journal, each with a shop and a tenant of its own; the customer says yes."""
    begun = time.monotonic()
    report = Report(journal, 0.0)
    key = Ed25519PrivateKey.generate()
    private = key.private_bytes(Encoding.Raw, PrivateFormat.Raw, NoEncryption())
    public = key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
    customer = Approver(name="customer", roles=frozenset({"customer"}), public_key=public)
    bundle = bundle_of(agent)
    for trace in retail.traces:
        shop = RecordedShop(trace["steps"], retail.before)
        async with open_runtime(
            f"sqlite:///{journal}",
            agents=[agent],
            approvers=[customer],
            resources={"shop": shop},
            models={"scripted:clerk": ScriptedModel("clerk", clerk, seed=7)},
            bundles={NAME: bundle},
            tenant=f"shop-{trace['id']}",
            durability="relaxed",
        ) as runtime:
            report.runs.append(await _converse(runtime, agent, trace, shop, private))
    report.seconds = time.monotonic() - begun
    return report


async def _converse(
    runtime: Runtime, agent: Agent, trace: dict[str, Any], shop: RecordedShop, private: bytes
) -> Done:
    user = trace["user"]
    text = f"{user['known_info']}\n{user['reason_for_call']}"
    outcome = await runtime.run(agent, {"id": trace["id"], "text": text})
    yeses = 0
    while outcome.waiting_for == "approval" and yeses < YES_MAX:
        await runtime.answer(outcome.run, "grant", approver="customer", private_key=private)
        yeses += 1
        outcome = await runtime.drive(outcome.run)
    entries = await runtime.store.entries(run_stream(outcome.run))
    happened = [event for entry in entries for event in entry.events]
    return Done(trace, outcome, shop, happened, yeses)


async def oracle_steps(run: Run, task: Any) -> str:
    """A program that performs what the oracle did: not a model, a measure of what the gates let through."""
    steps = ORACLE[task.id]
    for step in steps:
        try:
            await run.call(step["tool"], **step["args"])
        except ToolFailed:
            continue
    return "performed"


ORACLE: dict[str, list[dict[str, Any]]] = {}


@pytest.fixture(scope="module")
def retail() -> Retail:
    """The recorded domain."""
    return load_retail()


def test_every_request_is_worked_on_within_the_rules(
    retail: Retail, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nine in ten runs make two tool calls or more, none fails or is left open, and no effect lacks a permit.

    Every write that reached a shop was decided, agreed to and intended before; the shops' own books say the
    same; and the independent reader finds nothing wrong in the journal.
    """
    report = asyncio.run(run_all(retail, make_desk(retail), tmp_path / "retail.db"))
    with capsys.disabled():
        print(table(report, "the clerk"))
    calls = [len(done.ended) for done in report.runs]

    assert len(report.runs) == 114
    assert sum(count >= 2 for count in calls) >= 0.9 * len(calls)
    assert not [
        done.trace["id"] for done in report.runs if done.outcome.name in (None, "failed", "abandoned")
    ]
    assert report.seconds < 60
    check_permits(report)
    assert verify_database(report.journal).findings == ()


def test_what_the_oracle_did_passes_the_same_gates(
    retail: Retail, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """With the oracle in the model's place nothing fails; a write is refused only by a rule that says why."""
    ORACLE.update({trace["id"]: trace["steps"] for trace in retail.traces})
    agent = make_desk(retail, program=oracle_steps, budget=Budget(tool_calls=60, model_calls=1))
    report = asyncio.run(run_all(retail, agent, tmp_path / "oracle.db"))
    with capsys.disabled():
        print(table(report, "the oracle in the model's place"))

    check_permits(report)
    assert verify_database(report.journal).findings == ()
    assert not [
        done.trace["id"] for done in report.runs if done.outcome.name in (None, "failed", "abandoned")
    ]
    refused = Counter(done.outcome.rules for done in report.runs if done.outcome.name == "escalated")
    assert {rule for rules in refused for rule in rules} <= {
        "authenticate-first",
        "facts-complete",
        "own-orders-only",
    }


def check_permits(report: Report) -> None:
    """The invariant, over every run: arrived at the shop = intended, after an allow and a signed yes."""
    for done in report.runs:
        arrived = dict(done.shop.arrived)
        intended: dict[str, str] = {}
        allowed: set[str] = set()
        granted: set[str] = set()
        performed: set[str] = set()
        for event in done.events:
            match event:
                case events.CallDecided(verdict="allow"):
                    allowed.add(event.path)
                case events.CallDecided():
                    allowed.discard(event.path)
                case events.ApprovalSettled(state="granted"):
                    granted.add(event.path)
                case events.CallIntended():
                    assert event.path in allowed, f"{event.tool} was intended without an allow"
                    assert event.tool == HANDOVER or event.path in granted, f"{event.tool} without a yes"
                    intended[event.effect] = event.tool
                case events.CallEnded(effect=str() as effect):
                    assert effect in intended, f"{event.tool} ended without an intent"
                    if event.state == "done":
                        performed.add(effect)
                case _:
                    pass
        assert arrived == intended
        assert set(done.shop.performed) == performed


def table(report: Report, who: str) -> str:
    """What was done, beside what the oracle did."""
    outcomes = Counter(done.outcome.name for done in report.runs)
    codes = Counter((done.outcome.code or "-", *done.outcome.rules) for done in report.runs)
    rows = {kind: Counter[str]() for kind in ("reads", "writes")}
    for done in report.runs:
        mine = Counter(done.shop.calls)
        oracle = Counter(canonical(step["tool"], step["args"]) for step in done.trace["steps"])
        for call, count in oracle.items():
            rows[_kind(call)]["oracle's"] += count
        for call, count in mine.items():
            row = rows[_kind(call)]
            row["made"] += count
            row["as the oracle"] += min(count, oracle[call])
            row["others"] += max(0, count - oracle[call])
    intents = sum(isinstance(e, events.CallIntended) for done in report.runs for e in done.events)
    lines = [f"\nretail, {who}: {len(report.runs)} requests in {report.seconds:.1f} s"]
    head = ("oracle's", "made", "as the oracle", "others")
    lines.append(f"  {'calls':<8}" + "".join(f"{name:>15}" for name in head))
    lines += [f"  {kind:<8}" + "".join(f"{row[name]:>15}" for name in head) for kind, row in rows.items()]
    calls = [len(done.ended) for done in report.runs]
    before = [sum(ended.tool != HANDOVER for ended in done.ended) for done in report.runs]
    lines.append(
        f"  runs with 2 calls or more: {sum(count >= 2 for count in calls)} of {len(calls)};"
        f" without handing over: {sum(count >= 2 for count in before)}"
    )
    lines.append(
        f"  writes: {intents} intended, {sum(done.yeses for done in report.runs)} yeses asked and given,"
        f" {sum(len(done.shop.performed) for done in report.runs)} performed by the shops"
    )
    lines.append("  outcomes: " + ", ".join(f"{name} {count}" for name, count in outcomes.most_common()))
    lines += [f"    {' '.join(code)}: {count}" for code, count in codes.most_common()]
    return "\n".join(lines)


def _kind(call: Call) -> str:
    return "reads" if call[0].startswith(("find_", "get_", "list_", "calculate")) else "writes"


def test_a_recorded_schema_becomes_a_strict_tool(retail: Retail) -> None:
    """What a definition does not name, types otherwise or requires is refused, by the tool built from it."""
    definition = next(
        d for d in retail.definitions if d["function"]["name"] == "return_delivered_order_items"
    )
    spec = build_tool(definition, mode="upsert").spec
    good = {"order_id": "#W1", "item_ids": ["1"], "payment_method_id": "paypal_1"}

    assert set(spec.parameters()["required"]) == set(definition["function"]["parameters"]["required"])
    assert spec.parameters()["additionalProperties"] is False
    accept(spec, good)
    for bad in (
        {**good, "amount": "5"},
        {**good, "order_id": 1},
        {**good, "item_ids": "1"},
        {**good, "item_ids": [1]},
        {name: value for name, value in good.items() if name != "item_ids"},
    ):
        with pytest.raises(Refused):
            accept(spec, bad)


def test_a_schema_that_says_too_little_is_no_tool() -> None:
    """An open object in a definition is refused when the tool is built: what is open cannot be gated."""
    parameters = {"type": "object", "properties": {"anything": {"type": "object"}}, "required": ["anything"]}
    definition = {"function": {"name": "do", "description": "Do something.", "parameters": parameters}}

    with pytest.raises(ValueError, match="cannot be made strict"):
        build_tool(definition, mode="upsert")
